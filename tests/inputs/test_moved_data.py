"""Runs that outlive their folders: data that moved, classes that changed."""

import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import foveal
from foveal.cli.main import main
from foveal.errors import DataError, Interrupted, RunError
from foveal.files.run_folder import default_run_path

SMALL = ("size=8", "widths=[8]", "dense=16", "batch_size=16", "momentum=0.5")


def bits(path: Path) -> dict[str, Any]:
    """The tensors of the model and of all checkpoints, and the history."""
    tensors = {}
    for file in (path / "model" / "model.safetensors", *(path / "checkpoints").glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            tensors[f"{file.name}/{name}"] = tensor.numpy().tobytes()
    return {**tensors, "history": (path / "history.jsonl").read_text()}


class StopAfter:
    """An augmentation that changes nothing and sends Ctrl-C with its `n`th batch."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, images: Any, _random: np.random.Generator) -> Any:
        self.n -= 1
        if self.n == 0:
            signal.raise_signal(signal.SIGINT)
        return images


Train = Callable[..., foveal.Run]


@pytest.fixture
def data(few_digits: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(few_digits, tmp_path / "data"))


@pytest.fixture
def train(data: Path, cache: Path, tmp_path: Path) -> Train:
    """Train on a copy of the digits that a test may change."""

    def train_small(name: str = "run", *settings: str, **options: Any) -> foveal.Run:
        return foveal.train(
            foveal.DataOptions(options.pop("source", data), cache=cache),
            recipe="model-s-02",
            settings=(*SMALL, "epochs=3", *settings),
            out=tmp_path / name,
            options=foveal.TrainOptions(**options),
        )

    return train_small


def interrupt(train: Train, *settings: str, after: int = 9) -> Path:
    with pytest.raises(Interrupted) as stopped:
        train("run", *settings, augment=StopAfter(after))
    return stopped.value.run


# ---- data that moved


def test_gone_data_are_named_with_the_option_that_helps(train: Train, data: Path) -> None:
    run = train().path
    data.rename(data.with_name("elsewhere"))
    for call in (foveal.evaluate, foveal.Run(run).look_up_data):
        with pytest.raises(
            DataError, match=r"is not there any more; name the place where it is now: --data DIR"
        ):
            call(run) if call is foveal.evaluate else call()


@pytest.mark.parametrize("verb", ["evaluate", "report"])
def test_a_verb_takes_moved_data(
    train: Train, data: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train().path
    data.rename(data.with_name("elsewhere"))
    assert main([verb, str(run), "--data", str(data.with_name("elsewhere"))]) == 0
    assert "no images" not in capsys.readouterr().err


def test_the_figures_of_moved_data_are_those_of_before(train: Train, data: Path) -> None:
    run = train().path
    before = foveal.evaluate(run)
    data.rename(data.with_name("elsewhere"))
    assert foveal.evaluate(run, data=data.with_name("elsewhere")).to_json() == before.to_json()


def test_moved_data_may_be_named_by_a_relative_path(
    train: Train, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train().path
    data.rename(data.with_name("elsewhere"))
    monkeypatch.chdir(data.parent)
    assert foveal.evaluate("run", data="elsewhere").n == 30
    assert run.name == "run"


def test_other_data_are_refused_by_their_digests(train: Train, data: Path) -> None:
    """An image of the same name and another content, in a copy of the folder."""
    run = train().path
    copy = Path(shutil.copytree(data, data.with_name("copy")))
    first, second = sorted((copy / "test" / "0").iterdir())[:2]
    shutil.copy(first, second)
    with pytest.raises(RunError, match=r"copy are not those: their fingerprint was"):
        foveal.evaluate(run, data=copy)


def test_no_such_place_is_refused(train: Train, tmp_path: Path) -> None:
    run = train().path
    with pytest.raises(DataError, match=r"nowhere does not exist; name the place .* --data DIR"):
        foveal.evaluate(run, data=tmp_path / "nowhere")


def test_images_without_a_table_are_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train().path
    assert main(["evaluate", str(run), "--images", "there"]) == 2
    assert "--images has no effect without --data" in capsys.readouterr().err


def test_a_run_resumes_elsewhere_to_the_same_bits_and_remembers_the_place(train: Train, data: Path) -> None:
    expected = bits(train("whole", augment=StopAfter(-1)).path)
    path = interrupt(train)
    moved = data.rename(data.with_name("elsewhere"))
    run = foveal.resume(path, data=moved, options=foveal.TrainOptions(augment=StopAfter(-1)))
    assert bits(run.path) == expected
    assert run.folder.environment.data == str(moved)
    assert foveal.evaluate(path).n == 30  # without --data


# ---- classes that changed


def test_force_never_renames_a_class(train: Train, data: Path) -> None:
    path = interrupt(train)
    for split in ("train", "test"):
        (data / split / "0").rename(data / split / "zero")
    for force in (False, True):
        with pytest.raises(
            RunError, match=r"0 is gone and zero is new\. Class names .* never forced"
        ) as refused:
            foveal.resume(path, force=force, options=foveal.TrainOptions(augment=StopAfter(-1)))
        assert "--force" not in str(refused.value)


def test_force_never_adds_a_class(train: Train, data: Path) -> None:
    path = interrupt(train)
    for split in ("train", "test"):
        shutil.copytree(data / split / "0", data / split / "A")
    with pytest.raises(RunError, match=r"other classes than .* has now: A is new.*train anew: foveal train"):
        foveal.resume(path, force=True, options=foveal.TrainOptions(augment=StopAfter(-1)))


def test_force_never_removes_a_class(train: Train, data: Path) -> None:
    path = interrupt(train)
    for split in ("train", "test"):
        shutil.rmtree(data / split / "8")
    with pytest.raises(RunError, match="8 is gone"):
        foveal.resume(path, force=True, options=foveal.TrainOptions(augment=StopAfter(-1)))


def test_a_renamed_class_is_no_evaluation(train: Train, data: Path) -> None:
    run = train().path
    for split in ("train", "test"):
        (data / split / "0").rename(data / split / "zero")
    with pytest.raises(RunError, match="never forced"):
        foveal.evaluate(run)


def test_the_command_that_trains_anew_can_be_pasted(
    train: Train, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = data.rename(data.with_name("it's $HOME"))
    path = train("run", source=odd).path
    for split in ("train", "test"):
        (odd / split / "0").rename(odd / split / "zero")
    with pytest.raises(RunError) as refused:
        foveal.evaluate(path)
    words = shlex.split(str(refused.value).partition("train anew: ")[2])
    assert words[:3] == ["foveal", "train", str(odd)]
    monkeypatch.chdir(tmp_path)
    assert main([*words[1:], "--out", "anew", "--set", "epochs=1"]) == 0


def test_other_validation_images_make_the_best_epoch_anew(
    train: Train, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best epoch of before was chosen on other images, so it is not compared with those to come."""
    path = interrupt(train, after=9)
    assert [record.epoch for record in foveal.Run(path).history if record.validation_loss] == [1]
    (data / "train").rename(data / "train1")
    shutil.copytree(data / "test", data / "train2")
    run = foveal.resume(path, force=True, options=foveal.TrainOptions(augment=StopAfter(-1)))
    assert "the best epoch is chosen anew" in capsys.readouterr().err
    assert [record.epoch for record in run.history if record.validation_loss] == [2, 3]
    assert run.summary()["best_epoch"] in (2, 3)
    assert run.folder.events()[-1].best_epoch == run.history.best.epoch  # type: ignore[union-attr]


def test_the_same_validation_images_keep_the_best_epoch(train: Train, data: Path) -> None:
    """Only a test image is another one."""
    path = interrupt(train, after=15)
    first, second = sorted((data / "test" / "0").iterdir())[:2]
    shutil.copy(first, second)
    run = foveal.resume(path, force=True, options=foveal.TrainOptions(augment=StopAfter(-1)))
    assert [record.epoch for record in run.history if record.validation_loss] == [1, 2, 3]


# ---- names


def test_two_runs_of_the_same_second_do_not_collide(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("foveal.run.train.default_run_path", lambda name: Path("runs") / f"now-{name}")
    paths = [
        foveal.train(
            foveal.DataOptions(data, cache=cache), recipe="model-s-02", settings=(*SMALL, "epochs=1")
        ).path
        for _ in range(3)
    ]
    assert [path.name for path in paths] == ["now-model-s-02", "now-model-s-02-2", "now-model-s-02-3"]


def test_a_default_name_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = default_run_path("tune")
    first.mkdir(parents=True)
    assert default_run_path("tune") != first


def test_foveal_alone_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "foveal demo" in capsys.readouterr().out
