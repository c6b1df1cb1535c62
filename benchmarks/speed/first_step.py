"""Run a `foveal` command until its first training step is done, say when that was, and end.

    python benchmarks/first_step.py train DATA --recipe model-s-02

Prints one JSON line: seconds since 1970 when the first epoch began and when its first step was done. The
command runs as it is: its modules are imported when and in what order it imports them.
"""

import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hook import replace_on_import

if TYPE_CHECKING:
    from foveal.training.epoch import Step


def ending(run_epoch: Callable[..., Iterator["Step"]]) -> Callable[..., Iterator["Step"]]:
    """Make an epoch that ends the process after its first step."""

    def first_step(state: object, batches: object, **options: int) -> Iterator["Step"]:
        began = time.time()
        yield next(run_epoch(state, batches, **options))
        print(json.dumps({"began": began, "done": time.time()}), flush=True)
        os._exit(0)

    return first_step


if __name__ == "__main__":
    replace_on_import("foveal.training.epoch", "run_epoch", ending)
    sys.argv[0] = "foveal"
    runpy.run_module("foveal", run_name="__main__")
