"""One writer a run."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foveal
from foveal.errors import RunError
from foveal.files.lock import only_writer

RACES = int(os.environ.get("FOVEAL_RACES", "20"))
HOLD = """
import pathlib, sys, time
from foveal.files.lock import only_writer
with only_writer(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_a_race_for_a_run_has_one_winner(
    victim: Any, bits: Callable[[Path], object], whole: Path, tmp_path: Path
) -> None:
    """Two processes train or resume the same run at once; the other is refused, or finds it finished."""
    refused = 0
    for number in range(RACES):
        run = tmp_path / f"run-{number}"
        if number % 2:  # both begin it, or both resume it
            victim.live(run, at=60 + number)
        codes = victim.live(run, children=2)
        assert set(codes) <= {0, 2}, victim.log
        assert 0 in codes
        refused += 2 in codes
        assert bits(run) == bits(whole)
    assert refused >= RACES // 4  # on a slow machine the first may have ended before the other begins


def test_the_first_writer_is_named_and_its_death_frees_the_run(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    began = time.monotonic()
    with pytest.raises(RunError, match=f"is being written by process {holder.pid} on "), only_writer(run):
        pass
    assert time.monotonic() - began < 1
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with only_writer(run), only_writer(run):  # and who has it may enter again
        assert f'"pid": {os.getpid()}' in (run / ".writer.json").read_text()


def test_judging_and_reporting_wait_for_nobody(finished: Path, tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, finished], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    run = foveal.Run(finished)
    for call in (lambda: run.evaluate("validation"), run.report, lambda: foveal.resume(finished)):
        with pytest.raises(RunError, match="is being written by"):
            call()
    holder.kill()
    holder.wait()
    holder.stdout.close()
