"""A process that is killed at any moment loses nothing: the run ends with the bits of a whole one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foveal
from foveal.files.leftovers import MAKER
from foveal.files.run_folder import RunFolder

KILLS = int(os.environ.get("FOVEAL_KILLS", "60"))
BUDGET_KILLS = KILLS // 10
"""How many runs with a budget are killed: each takes seconds."""
BUDGET = "2s"
LIVES = 6
"""Kills of one run, at most, before it may come to its end."""
KILLED = -signal.SIGKILL


Kill = Callable[[Path, list[dict[str, object]]], int]


@pytest.fixture
def kill(victim: Any, whole: Path, bits: Callable[[Path], object]) -> Kill:
    """Let a run die again and again, then end as the whole one did; return how often it really died."""
    return lambda run, deaths: kill_and_compare(victim, whole, bits, run, deaths)


def kill_and_compare(
    victim: Any, whole: Path, bits: Callable[[Path], object], run: Path, deaths: list[dict[str, object]]
) -> int:
    died = 0
    for death in deaths:
        codes = victim.live(run, **death)
        assert codes in ([KILLED], [0]), victim.log
        died += codes == [KILLED]
    assert victim.live(run) == [0], victim.log
    assert bits(run) == bits(whole)
    assert not list(run.rglob("*.part"))
    return died


def test_killed_at_operations_on_its_files(victim: Any, kill: Kill, tmp_path: Path) -> None:
    """At random ones, before and after each; a write is torn in the middle."""
    draw = random.Random(7)
    assert victim.live(tmp_path / "counted") == [0]
    total = len(victim.operations)
    assert total > 100
    died = run = 0
    while died < KILLS // 2:
        deaths = [
            {"at": draw.randint(1, total // LIVES), "late": draw.random() < 0.5}
            for _ in range(draw.randint(1, LIVES))
        ]
        died += kill(tmp_path / f"run-{run}", deaths)
        run += 1


def test_killed_at_each_operation_of_a_save(victim: Any, kill: Kill, tmp_path: Path) -> None:
    assert victim.live(tmp_path / "counted") == [0]
    operations = victim.operations
    # The first save within training: from opening its file to the removal of what it makes superfluous.
    begin = next(
        index
        for index, name in enumerate(operations)
        if operations[index : index + 4] == ["open", "write", "fsync", "replace"]
        and index > len(operations) // 2
    )
    for at in range(begin + 1, begin + 6):
        for late in (False, True):
            run = tmp_path / f"run-{at}-{late}"
            assert kill(run, [{"at": at, "late": late}]) == 1


def test_killed_at_random_moments(victim: Any, kill: Kill, tmp_path: Path) -> None:
    began = time.monotonic()
    assert victim.live(tmp_path / "timed") == [0]
    life = time.monotonic() - began
    draw = random.Random(11)
    died = run = 0
    while died < KILLS // 3:
        deaths = [{"after": draw.uniform(0, life / 2)} for _ in range(draw.randint(1, 4))]
        died += kill(tmp_path / f"run-{run}", deaths)
        run += 1


def test_budget_runs_killed_end_with_test_and_report(victim: Any, tmp_path: Path) -> None:
    """`foveal train --budget`, killed once at a random operation, from the first file to the report."""
    budget = {"budget": BUDGET}
    assert victim.live(tmp_path / "counted", **budget) == [0], victim.log
    total = len(victim.operations)
    draw = random.Random(13)
    died = 0
    states = set()
    for number in range(max(BUDGET_KILLS, 1)):
        run = tmp_path / f"run-{number}"
        codes = victim.live(run, **budget, at=draw.randint(1, total), late=draw.random() < 0.5)
        assert codes in ([KILLED], [0]), victim.log
        died += codes == [KILLED]
        states.add(RunFolder(run).state if run.exists() else "nothing")
        assert victim.live(run, **budget) == [0], victim.log
        folder = RunFolder(run)
        assert folder.state == "evaluated"
        assert folder.report.is_file()
        assert foveal.Run(run).evaluation("test") is not None
        assert not folder.lacks_promised_test
        for left in tmp_path.glob(".run-*"):  # the next run removes them, unless no maker is named in them
            assert {entry.name for entry in left.iterdir()} <= {MAKER}
            shutil.rmtree(left)
        shutil.rmtree(run)
    assert died >= BUDGET_KILLS // 2
    if BUDGET_KILLS >= 60:
        assert {"nothing", "training", "trained", "evaluated"} <= states


def test_the_command_itself_killed_and_resumed(
    few_digits: Path, cache: Path, settings: list[str], whole: Path, tmp_path: Path
) -> None:
    """The real command, from the shell's side."""
    run = tmp_path / "run"
    words = [sys.executable, "-m", "foveal"]
    train = [*words, "train", few_digits, "--recipe", "model-s-02", "--out", run, "--cache", cache]
    train += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(train, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not run.exists() and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait()
    resumed = subprocess.run(
        [*words, "resume", run], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    history = (run / "history.jsonl").read_text()
    assert history == (whole / "history.jsonl").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves(
    few_digits: Path, cache: Path, settings: list[str], whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """With exit code 130 or 143, soon."""
    run = tmp_path / "run"
    words = [sys.executable, "-m", "foveal"]
    train = [*words, "train", few_digits, "--recipe", "model-s-02", "--out", run, "--cache", cache]
    train += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # So many epochs that it is still training when the signal comes.
    process = subprocess.Popen(
        [*train, "--set", "epochs=100000", "--set", "early_stopping=none"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not (run / "history.jsonl").exists() or not (run / "history.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert time.monotonic() - began < 5
    assert "foveal resume" in said.splitlines()[-1]
    before = (run / "history.jsonl").read_text()
    assert before.splitlines()[0] == (whole / "history.jsonl").read_text().splitlines()[0]
