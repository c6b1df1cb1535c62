"""More epochs than a run was begun with: the bits of a run that was begun with so many, or a refusal."""

import json
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
from foveal.deployment.bundle import load_bundle
from foveal.errors import DataError, Interrupted, RecipeError, RunError
from foveal.files.run_folder import RunFolder

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


@pytest.mark.parametrize("first", [1, 3, 4])
def test_more_epochs_give_the_run_that_was_begun_with_so_many(train: Train, first: int) -> None:
    whole = train("whole", "epochs=5").path
    part = train("part", f"epochs={first}").path
    run = foveal.resume(part, settings="epochs=5")
    assert bits(run.path) == bits(whole)
    assert run.recipe.epochs == 5
    assert len(run.history) == 5
    assert run.folder.state == "trained"


def test_more_epochs_from_the_command_line(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train().path
    assert main(["resume", str(run), "--set", "epochs=4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 4
    assert main(["resume", str(run), "--set", "epochs=4"]) == 0
    assert "nothing to resume" in capsys.readouterr().err


def test_what_the_old_model_measured_is_no_longer_the_runs(train: Train) -> None:
    run = train()
    run.evaluate("test")
    run.report()
    longer = foveal.resume(run.path, settings={"epochs": 4})
    assert longer.evaluation("test") is None
    aside = run.path / "after-3-epochs"
    assert {path.name for path in aside.iterdir()} == {
        "model", "evaluation.json", "predictions", "plots", "report.html"
    }  # fmt: skip
    assert load_bundle(aside / "model").classes == longer.bundle.classes


def test_more_epochs_can_be_interrupted_and_resumed(train: Train) -> None:
    nothing = foveal.TrainOptions(augment=StopAfter(-1))
    expected = bits(train("whole", "epochs=5", augment=StopAfter(-1)).path)
    path = train("run", augment=StopAfter(-1)).path
    with pytest.raises(Interrupted):
        foveal.resume(path, settings="epochs=5", options=foveal.TrainOptions(augment=StopAfter(9)))
    assert bits(foveal.resume(path, options=nothing).path) == expected


def test_more_epochs_may_be_killed_at_any_moment(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the event and the recipe: the run ends as it had ended, and goes on when asked again."""
    whole = bits(train("whole", "epochs=4").path)
    path = train().path
    before = bits(path)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "replace_recipe", die)
        with pytest.raises(KeyboardInterrupt):
            foveal.resume(path, settings="epochs=4")
    assert bits(foveal.resume(path).path) == before
    assert bits(foveal.resume(path, settings="epochs=4").path) == whole


def test_an_interrupted_run_goes_on_to_more_epochs(train: Train) -> None:
    expected = bits(train("whole", "epochs=5", augment=StopAfter(-1)).path)
    path = interrupt(train)
    run = foveal.resume(path, settings="epochs=5", options=foveal.TrainOptions(augment=StopAfter(-1)))
    assert bits(run.path) == expected


@pytest.mark.parametrize(
    ("settings", "epochs", "reason"),
    [
        (
            ("plateau=none", "early_stopping=none", "anneal=default"),
            9,
            "learning rate falls to zero over all 3",
        ),
        (("steps=5",), 9, "ends after 5 steps"),
        ((), 2, "3 are trained already"),
        (
            ("plateau=none", "early_stopping=none", "validate_every=2"),
            9,
            "last epoch was validated because it was the last",
        ),
    ],
)
def test_a_schedule_that_more_epochs_would_change_is_refused(
    train: Train, settings: tuple[str, ...], epochs: int, reason: str
) -> None:
    run = train("run", *settings).path
    before = bits(run)
    with pytest.raises(
        RunError, match=f"cannot go on to {epochs} epochs: .*{reason}.*train anew: foveal train"
    ):
        foveal.resume(run, settings=f"epochs={epochs}")
    assert bits(run) == before
    assert foveal.Run(run).folder.state == "trained"


def test_low_resolution_is_a_share_of_all_epochs(data: Path, cache: Path, tmp_path: Path) -> None:
    settings = ("widths=[8,8]", "epochs=1", "batch_size=40", "anneal=none")
    run = foveal.train(
        foveal.DataOptions(data, cache=cache), recipe="sprint", settings=settings, out=tmp_path / "run"
    )
    with pytest.raises(RunError, match="trains at low resolution"):
        foveal.resume(run.path, settings="epochs=2")


def test_a_run_that_stopped_early_would_do_so_again(train: Train) -> None:
    run = train("run", "epochs=30", "early_stopping.patience=1", "learning_rate=0.5").path
    assert len(foveal.Run(run).history) < 30
    with pytest.raises(RunError, match=r"stopped early after epoch .*patience"):
        foveal.resume(run, settings="epochs=40")


def test_a_budget_is_no_number_of_epochs(data: Path, cache: Path, tmp_path: Path) -> None:
    run = foveal.train(
        foveal.DataOptions(data, cache=cache), budget="5s", settings="image.size=8", out=tmp_path / "run"
    )
    with pytest.raises(RunError, match="planned for a time budget"):
        foveal.resume(run.path, settings="epochs=900")


def test_no_other_setting_changes_while_a_run_goes_on(train: Train) -> None:
    run = train().path
    with pytest.raises(RecipeError, match=r"batch_size cannot change while a run goes on, only epochs can"):
        foveal.resume(run, settings=["epochs=5", "batch_size=8"])


def test_gone_data_leave_a_run_as_it_was(train: Train, data: Path) -> None:
    run = train().path
    data.rename(data.with_name("elsewhere"))
    with pytest.raises(DataError, match="--data DIR"):
        foveal.resume(run, settings="epochs=5")
    assert foveal.Run(run).folder.state == "trained"
    assert foveal.Run(run).recipe.epochs == 3
