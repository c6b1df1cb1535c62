"""One flipped bit in one stored file: a command refuses, says so, or gives what it gave before."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foveal
from foveal.errors import FovealError
from foveal.files.run_folder import RunFolder
from foveal.reporting.report_files import build_evaluation_json
from foveal.run.report import build_report

FLIPS = int(os.environ.get("FOVEAL_FLIPS", "6"))
"""How many bits of each file are flipped, one at a time."""
Command = Callable[[Path], Any]
Capture = pytest.CaptureFixture[str]
READERS = {
    "recipe.json": ("list", "report", "evaluate"),
    "dataset.json": ("report", "evaluate", "compare"),
    "environment.json": ("list", "report", "evaluate"),
    "history.jsonl": ("list", "report"),
    "events.jsonl": ("list", "report"),
    "evaluation.json": ("list", "report", "evaluate", "compare"),
    "predictions/test.csv": ("report",),
    "predictions/validation.csv": ("report",),
    "predictions/test.safetensors": ("report", "compare"),
    "predictions/validation.safetensors": ("evaluate",),
    "model/config.json": ("report", "evaluate", "predict"),
    "model/model.safetensors": ("report", "evaluate", "predict"),
}
"""Which commands read each file of a finished run."""
UNFINISHED_FILES = ("recipe.json", "dataset.json", "environment.json", "history.jsonl", "events.jsonl")


class _StoppedError(Exception):
    """The training was stopped from outside."""


@pytest.fixture(scope="module")
def unfinished(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that ended without a word in its second epoch."""
    run = tmp_path_factory.mktemp("unfinished") / "run"

    def stop(record: Any) -> bool:
        if record.epoch == 2:
            raise _StoppedError
        return False

    with pytest.raises(_StoppedError):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=[*small, "epochs=3"],
            out=run,
            options=foveal.TrainOptions(stop=stop),
        )
    assert RunFolder(run).state == "training"
    return run


def list_runs(run: Path) -> Any:
    """`foveal runs`: a run that is listed as damaged is refused."""
    (listed,) = foveal.runs(run)
    if listed.state == "damaged":
        raise foveal.RunError(str(listed.reason))
    return listed.to_json()


def report(run: Path) -> Any:
    """`foveal report`, all but its pictures."""
    return build_evaluation_json(build_report(foveal.Run(run)))


def evaluate(run: Path) -> Any:
    """`foveal evaluate`."""
    return foveal.evaluate(run).to_json()


def predict(run: Path, data: Path) -> Any:
    """`foveal predict`."""
    image = sorted((data / "test" / "3").iterdir())[0]
    (prediction,) = foveal.predict(run, image)
    return prediction.label, prediction.probabilities


def resume(run: Path) -> Any:
    """`foveal resume`: the bits that it ends with."""
    model = foveal.resume(run).path / "model"
    names = ("model.safetensors", "config.json")
    return [(run / "history.jsonl").read_bytes(), *((model / name).read_bytes() for name in names)]


def try_flips(
    source: Path, name: str, commands: list[Command], tmp_path: Path, capsys: Capture, *, seed: int
) -> dict[str, int]:
    """Flip bits of a file of a run, call the commands after each, and count what came of it."""
    run = tmp_path / "run"

    def fresh() -> Path:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(source, run)
        return run

    expected = [command(fresh()) for command in commands]
    content = (source / name).read_bytes()
    draw = random.Random(seed)
    counts = {"refused": 0, "said": 0, "same": 0}
    for _ in range(FLIPS):
        bit = draw.randrange(8 * len(content))
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        for command, value in zip(commands, expected, strict=True):
            (fresh() / name).write_bytes(flipped)
            capsys.readouterr()
            try:
                outcome = command(run)
            except FovealError:
                counts["refused"] += 1
                continue
            if outcome == value:
                counts["same"] += 1
                continue
            what = f"bit {bit} of {name} silently changes {command.__doc__}"
            assert "damaged" in capsys.readouterr().err, what
            counts["said"] += 1
    return counts


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_of_a_finished_run(
    name: str, finished: Path, few_digits: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = Path(shutil.copytree(finished, tmp_path / "other"))

    def compare(run: Path) -> Any:
        """`foveal compare`."""
        return foveal.compare(run, other).to_json()

    def predict_digit(run: Path) -> Any:
        """`foveal predict`."""
        return predict(run, few_digits)

    commands: dict[str, Command] = {
        "list": list_runs,
        "report": report,
        "evaluate": evaluate,
        "compare": compare,
        "predict": predict_digit,
    }
    used = [commands[reader] for reader in READERS[name]]
    counts = try_flips(finished, name, used, tmp_path, capsys, seed=len(name))
    with capsys.disabled():
        if FLIPS >= 100:
            print(name, counts)  # noqa: T201 - the figure of a large count
    if not name.endswith(".csv"):  # which is for people, and read by no command
        assert counts["refused"] > 0


@pytest.mark.parametrize("name", [*UNFINISHED_FILES, "checkpoint"])
def test_a_flipped_bit_of_an_unfinished_run(
    name: str, unfinished: Path, tmp_path: Path, capsys: Capture
) -> None:
    if name == "checkpoint":
        newest = max((unfinished / "checkpoints").iterdir())
        name = str(newest.relative_to(unfinished))
    counts = try_flips(unfinished, name, [resume], tmp_path, capsys, seed=len(name))
    with capsys.disabled():
        if FLIPS >= 100:
            print("unfinished", name, counts)  # noqa: T201 - the figure of a large count
