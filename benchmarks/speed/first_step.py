"""Run a `foveal` command until its first training step is done, print when that was, and end.

    python -m benchmarks.speed.first_step train DATA --recipe model-s-02

Prints one JSON line: the times when the first epoch began and when its first step was done, in seconds since
1970. The command runs unchanged: the time and order of its imports are its own.
"""

import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from benchmarks.measurement.hook import replace_on_import

if TYPE_CHECKING:
    from foveal.training.epoch import Step


def end_after_first_step(run_epoch: Callable[..., Iterator["Step"]]) -> Callable[..., Iterator["Step"]]:
    """Return an epoch that ends the process after its first step."""

    def run_first_step(state: object, batches: object, **options: int) -> Iterator["Step"]:
        began = time.time()
        yield next(run_epoch(state, batches, **options))
        print(json.dumps({"began": began, "done": time.time()}), flush=True)
        os._exit(0)

    return run_first_step


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        raise SystemExit(__doc__)
    replace_on_import("foveal.training.epoch", "run_epoch", end_after_first_step)
    sys.argv[0] = "foveal"
    runpy.run_module("foveal", run_name="__main__")
