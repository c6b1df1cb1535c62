"""A disk that is full, broken or read-only: one line, and the checkpoint from before is whole."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import foveal
from foveal.deployment.bundle import load_bundle
from foveal.errors import ModelError, OutsideError, RunError
from foveal.files.run_folder import RunFolder
from foveal.models import registry
from foveal.recipe import recipe as recipes
from foveal.training import checkpoint, optimizers
from foveal.training.checkpoint import DamagedError
from foveal.training.optimizers import Optimizer

FLIPS = int(os.environ.get("FOVEAL_FLIPS", "1000"))
FAULTS = [errno.ENOSPC, errno.EIO, errno.EROFS]
N_SIGN_OFF_OPERATIONS = 3
"""A file is opened, written and renamed when a process stops to write to a run."""
Live = tuple[Any, Optimizer]


def live(seed: int) -> Live:
    network = registry.build_network(
        recipes.ModelS(widths=(4, 4), dense=8), size=8, channels=1, classes=3, seed=seed
    )
    return network, optimizers.build_optimizer(recipes.RMSprop(), network, l2=0.0)


def operations_of(disk: ModuleType, folder: Path) -> list[str]:
    """What a save does to files."""
    (folder / "counted").mkdir()
    with disk.Disk(folder / "counted").installed() as counted:
        checkpoint.save_checkpoint(folder / "counted" / "a.safetensors", *live(1), {"n": 1})
    assert counted.done == ["open", "write", "fsync", "replace", "fsync"]
    return counted.done


@pytest.mark.parametrize("fault", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_every_operation_of_a_save_failing_once(
    disk: ModuleType, tmp_path: Path, fault: int, late: bool
) -> None:
    for at in range(1, len(operations_of(disk, tmp_path)) + 1):
        file = tmp_path / f"{at}" / "step-000001.safetensors"
        file.parent.mkdir()
        checkpoint.save_checkpoint(file, *live(1), {"n": 1})
        failing = disk.Disk(file.parent, at=at, act=disk.fail(fault), after=late)
        with failing.installed(), pytest.raises(OutsideError, match=os.strerror(fault)) as caught:
            checkpoint.save_checkpoint(file, *live(2), {"n": 2})
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)
        found = checkpoint.read_checkpoint(file, *live(3))
        assert found.state in ({"n": 1}, {"n": 2})
        assert [each.name for each in file.parent.iterdir()] == [file.name]  # nothing half-written stays


@pytest.mark.parametrize("fault", FAULTS, ids=errno.errorcode.get)
def test_a_disk_that_fails_while_training_loses_nothing(
    disk: ModuleType,
    few_digits: Path,
    cache: Path,
    settings: list[str],
    bits: Callable[[Path], object],
    tmp_path: Path,
    fault: int,
) -> None:
    whole = tmp_path / "whole"
    with disk.Disk(tmp_path).installed() as counted:
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache), recipe="model-s-02", settings=settings, out=whole
        )
    draw = random.Random(fault)
    for number, at in enumerate(sorted(draw.sample(range(1, len(counted.done) + 1), 8))):
        run = tmp_path / f"run-{number}"
        failing = disk.Disk(tmp_path, at=at, act=disk.fail(fault))
        with failing.installed():
            try:
                foveal.train(
                    foveal.DataOptions(few_digits, cache=cache),
                    recipe="model-s-02",
                    settings=settings,
                    out=run,
                )
            except (OutsideError, RunError):
                pass
            else:  # only that the writer signs off may fail without a word, at the very end
                assert at > len(failing.done) - N_SIGN_OFF_OPERATIONS
        if run.exists():
            foveal.resume(run)
        else:
            foveal.train(
                foveal.DataOptions(few_digits, cache=cache), recipe="model-s-02", settings=settings, out=run
            )
        assert bits(run) == bits(whole)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Change one byte, or cut the file short."""
    if draw.random() < 0.1:
        return content[: draw.randrange(len(content))]
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ draw.randrange(1, 256)]) + content[at + 1 :]


def test_every_changed_byte_and_every_cut_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "step-000001.safetensors"
    network, optimizer = live(1)
    state = {"epoch": 1, "text": '"foveal":"{"digest": "' + "0" * 64}
    checkpoint.save_checkpoint(file, network, optimizer, state)
    content = file.read_bytes()
    draw = random.Random(3)
    for _ in range(FLIPS):
        file.write_bytes(damaged(content, draw))
        with pytest.raises(DamagedError, match="damaged"):
            checkpoint.read_checkpoint(file, network, optimizer)
    header = 8 + int.from_bytes(content[:8], "little")
    for at in range(header):  # where the meaning is, every byte
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(DamagedError, match="damaged"):
            checkpoint.read_checkpoint(file, network, optimizer)
    file.write_bytes(content)
    assert checkpoint.read_checkpoint(file, network, optimizer).state["epoch"] == 1


def test_a_model_that_was_damaged_is_refused(finished: Path, tmp_path: Path) -> None:
    draw = random.Random(4)
    shutil.copytree(finished / "model", tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    content = file.read_bytes()
    for _ in range(FLIPS // 10):
        file.write_bytes(damaged(content, draw))
        with pytest.raises(ModelError, match=r"model\.safetensors cannot be used"):
            load_bundle(tmp_path / "model")


def test_a_damaged_best_checkpoint_is_trained_again(
    few_digits: Path,
    cache: Path,
    settings: list[str],
    bits: Callable[[Path], object],
    victim: Any,
    whole: Path,
    tmp_path: Path,
) -> None:
    """The best epoch's weights are needed at the end: without them the newest checkpoint is of no use."""
    run = tmp_path / "run"
    # It dies once the second epoch, which is the best so far, was saved and is no longer the newest.
    at = 0
    while not run.exists() or len(RunFolder(run).history()) < 2:
        at += 40
        assert victim.live(run, at=at) in ([-9], [0])
    best = json.loads((run / "history.jsonl").read_text().splitlines()[1])["step"]
    file = run / "checkpoints" / f"step-{best:06d}.safetensors"
    if file.exists():
        file.write_bytes(file.read_bytes()[:-1])
    assert victim.live(run) == [0], victim.log
    assert bits(run) == bits(whole)


# ---- a real disk that is full, and a real one that is read-only


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte. It takes a user who may mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    words = [str(mount), "-t", "tmpfs", "-o", "size=400k", "foveal-test", str(place)]
    if mount is None or subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_real_disk_that_is_full_and_then_is_not(
    few_digits: Path,
    cache: Path,
    settings: list[str],
    bits: Callable[[Path], object],
    whole: Path,
    small_disk: Path,
) -> None:
    words = [sys.executable, "-m", "foveal"]
    train = [*words, "train", few_digits, "--recipe", "model-s-02", "--out", small_disk / "run"]
    train += ["--cache", cache, *(word for setting in settings for word in ("--set", setting))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def call(command: list[Any]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=100, check=False
        )

    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * 300_000)
    full = call(train)
    assert full.returncode == 3, full.stderr
    assert "No space left on device" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    locked = call([*words, "resume", small_disk / "run"] if (small_disk / "run").exists() else train)
    assert locked.returncode in (2, 3), locked.stderr
    assert "Read-only file system" in locked.stderr.splitlines()[-1]
    subprocess.run(["mount", "-o", "remount,rw,size=50m", small_disk], check=True)
    resumed = call([*words, "resume", small_disk / "run"] if (small_disk / "run").exists() else train)
    assert resumed.returncode == 0, resumed.stderr
    assert bits(small_disk / "run") == bits(whole)
