"""A process that has imported everything and forks a child for each life: so a death costs little.

It reads JSON lines on standard input and answers each on standard output. A child trains or resumes a run,
on one thread, saving after every step, and may be killed: at an operation on its files, or after a time. With
a budget it calls the commands, which go on to the test and the report.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from disk import Disk, die

import foveal
from foveal import errors, planning  # noqa: F401 - imported once, for all children
from foveal.cli.main import main as call
from foveal.reporting import report_files  # noqa: F401
from foveal.run import checkpoint_timer, resume, train


def main() -> None:
    """Serve."""
    torch.set_num_threads(1)
    checkpoint_timer.MAX_SAVING_SHARE = float("inf")  # save as often as asked, whatever it costs
    for line in sys.stdin:
        asked = json.loads(line)
        children = [fork(asked) for _ in range(asked.get("children", 1))]
        if (seconds := asked.get("after")) is not None:
            time.sleep(seconds)
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, 9)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.stdout.write(json.dumps(codes) + "\n")
        sys.stdout.flush()


def fork(asked: dict[str, Any]) -> int:
    """Start a child."""
    child = os.fork()
    if child:
        return child
    sys.stdout = sys.stderr = Path(asked["log"]).open("a")  # noqa: SIM115 - until the child's end
    code = 99
    try:
        code = live(asked)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        code = error.exit_code if isinstance(error, errors.FovealError) else 98
    finally:
        sys.stderr.flush()
        os._exit(code)


def live(asked: dict[str, Any]) -> int:
    """Train or resume, and record how many operations on files that took."""
    run = Path(asked["run"])
    disk = Disk(run.parent, at=asked.get("at", 0), act=die, after=asked.get("late", False))
    code = 0
    with disk.installed():
        if (budget := asked.get("budget")) is not None:
            words = ["train", asked["data"], "--budget", budget, "--out", str(run), "--cache", asked["cache"]]
            code = call(["resume", str(run)] if run.exists() else words)
        elif run.exists():
            resume.resume(run, options=foveal.TrainOptions(save_every=1e-9))
        else:
            train.train(
                foveal.DataOptions(asked["data"], cache=asked["cache"]),
                recipe="model-s-02",
                settings=asked["settings"],
                out=run,
                options=foveal.TrainOptions(save_every=1e-9),
            )
    Path(asked["log"]).with_suffix(".operations").write_text(json.dumps(disk.done))
    return code


if __name__ == "__main__":
    main()
