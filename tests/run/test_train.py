"""Whole runs from Python, small ones: what is trained, kept, interrupted and taken up again."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import foveal
from foveal.data.dataset import Dataset
from foveal.deployment.bundle import load_bundle
from foveal.engine.compiled import load_library, without_kernels
from foveal.errors import DataError, DivergenceError, Interrupted, ModelError, RecipeError, RunError
from foveal.evaluation.predict import compute_logits
from foveal.files.atomic import write_json_with_digest
from foveal.models import registry
from foveal.run import checkpoint_timer, loop
from foveal.training import checkpoint
from foveal.training.session import Session


def bits(run: foveal.Run) -> dict[str, bytes]:
    """What the contract calls bit-identical."""
    tensors = load_file(run.path / "model" / "model.safetensors")
    found = {name: each.numpy().tobytes() for name, each in tensors.items()}
    checkpoints = {file.name: file.read_bytes() for file in run.folder.checkpoints.glob("*.safetensors")}
    return {**found, **checkpoints, "history": (run.path / "history.jsonl").read_bytes()}


def test_a_run_holds_what_it_promises(finished: Path) -> None:
    run = foveal.Run(finished)
    assert run.folder.state == "evaluated"
    assert {each.name for each in finished.iterdir()} == {
        *("recipe.json", "dataset.json", "environment.json", "history.jsonl", "events.jsonl", "checkpoints"),
        *("predictions", "evaluation.json", "plots", "report.html", "model", ".lock", ".writer.json"),
    }
    assert {each.name for each in (finished / "model").iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
    }
    assert {each.name for each in (finished / "predictions").iterdir()} == {
        f"{split}.{kind}" for split in ("validation", "test") for kind in ("csv", "safetensors")
    }
    assert len(run.history) == 3
    assert run.history.column("epoch") == [1, 2, 3]
    assert run.history.best.validation_loss == min(run.history.column("validation_loss"))
    assert "time" not in (finished / "history.jsonl").read_text()
    assert [event.event for event in run.folder.events()][:3] == ["created", "training", "epoch"]


def test_the_model_is_the_best_epochs_and_judges_alike(finished: Path) -> None:
    run = foveal.Run(finished)
    best = run.history.best
    evaluation = run.evaluation("validation")
    assert evaluation is not None
    assert evaluation.loss == best.validation_loss
    assert evaluation.accuracy == best.validation_accuracy
    assert checkpoint.locate_checkpoint(run.folder.checkpoints, best.step).exists()


def test_the_test_split_is_opened_once_and_that_is_recorded(finished: Path) -> None:
    events = [event.event for event in foveal.Run(finished).folder.events()]
    assert events.count("test split opened") == 1
    assert events.index("test split opened") > events.index("trained")


def test_training_learns(finished: Path) -> None:
    evaluation = foveal.Run(finished).evaluation("test")
    assert evaluation is not None
    assert evaluation.n == 30
    assert evaluation.accuracy > 0.6  # a third by chance


def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    few_digits: Path, cache: Path, small: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    torch.manual_seed(99)  # what a user did before must not matter
    again = foveal.train(
        foveal.DataOptions(few_digits, cache=cache),
        recipe="model-s-02",
        settings=small,
        out=tmp_path / "again",
    )
    other = foveal.train(
        foveal.DataOptions(few_digits, cache=cache),
        recipe="model-s-02",
        settings=small,
        out=tmp_path / "other",
        seed=1,
    )
    assert bits(again) == bits(foveal.Run(finished))
    assert bits(other)["logits.weight"] != bits(again)["logits.weight"]


def test_the_users_random_numbers_are_left_alone(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    foveal.train(
        foveal.DataOptions(few_digits, cache=cache),
        recipe="model-s-02",
        settings=[*small, "epochs=1"],
        out=tmp_path / "run",
    )
    assert torch.equal(torch.rand(3), expected)


class StopAfter:
    """An augmentation that does nothing but press Ctrl-C at its n-th batch."""

    def __init__(self, batches: int, signal_number: int = signal.SIGINT) -> None:
        self.left, self.signal_number = batches, signal_number

    def __call__(self, images: np.ndarray, _generator: np.random.Generator) -> np.ndarray:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.signal_number)
        return images


NOTHING = StopAfter(1_000_000)


@pytest.mark.parametrize("batches", [1, 5, 7, 14])
def test_an_interrupted_run_is_taken_up_with_the_same_bits(
    few_digits: Path, cache: Path, small: tuple[str, ...], finished: Path, tmp_path: Path, batches: int
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="foveal resume") as caught:
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(batches)),
        )
    assert signal.getsignal(signal.SIGINT) is before
    assert caught.value.exit_code == 130
    assert foveal.Run(tmp_path / "run").folder.state == "interrupted"
    resumed = foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))
    assert resumed.folder.state == "trained"
    assert bits(resumed) == bits(foveal.Run(finished))
    assert "resumed" in [event.event for event in resumed.folder.events()]


def test_sigterm_is_told_from_ctrl_c(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    stop = StopAfter(2, signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=stop),
        )
    assert caught.value.exit_code == 143


def test_a_run_without_a_checkpoint_begins_again_from_its_seed(
    few_digits: Path, cache: Path, small: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(4)),
        )
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        file.unlink()
    assert bits(foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))) == bits(
        foveal.Run(finished)
    )


def test_a_line_of_history_without_its_checkpoint_is_taken_back(
    few_digits: Path, cache: Path, small: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    """As after a kill between the two writes; and the torn line of a third is there, too."""
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(10)),
        )
    lines = (finished / "history.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "history.jsonl").write_text("".join(lines[:2]) + lines[2][:20])
    assert bits(foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))) == bits(
        foveal.Run(finished)
    )


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(17)),
        )
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    assert bits(foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))) == bits(
        foveal.Run(finished)
    )
    assert f"{newest} is damaged" in capsys.readouterr().err


def test_an_own_augmentation_is_not_forgotten(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(2)),
        )
    with pytest.raises(RunError, match="your own augmentation"):
        foveal.resume(tmp_path / "run")
    with pytest.raises(RecipeError, match="the augmentation is your own"):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=["flip=true"],
            out=tmp_path / "b",
            options=foveal.TrainOptions(augment=NOTHING),
        )


def test_resuming_a_finished_run_changes_nothing(finished: Path) -> None:
    before = bits(foveal.Run(finished))
    assert bits(foveal.resume(finished)) == before


def test_resuming_with_other_data_or_threads_is_refused(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(4)),
        )
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    write_json_with_digest(tmp_path / "run" / "environment.json", {**environment, "threads": 77})
    with pytest.raises(RunError, match="the number of threads was 77"):
        foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))
    write_json_with_digest(tmp_path / "run" / "environment.json", environment)
    dataset = json.loads((tmp_path / "run" / "dataset.json").read_text())
    write_json_with_digest(tmp_path / "run" / "dataset.json", {**dataset, "fingerprint": "0" * 64})
    with pytest.raises(RunError, match="fingerprint"):
        foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))


def interrupted(few_digits: Path, cache: Path, small: tuple[str, ...], out: Path) -> Path:
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=out,
            options=foveal.TrainOptions(augment=StopAfter(9)),
        )
    return out


def test_force_goes_on_and_says_what_is_no_longer_promised(
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another machine, other data and a longer recipe, all at once; and the next time nothing is forced."""
    data = Path(shutil.copytree(few_digits, tmp_path / "data"))
    path = interrupted(data, cache, small, tmp_path / "run")
    environment = json.loads((path / "environment.json").read_text())
    write_json_with_digest(path / "environment.json", {**environment, "machine": "vax"})
    recipe = json.loads((path / "recipe.json").read_text())
    (path / "recipe.json").write_text(json.dumps({**recipe, "epochs": 5}))
    next((data / "train" / "0").iterdir()).unlink()
    for expected, repair in (
        ("machine's type was vax", lambda: write_json_with_digest(path / "environment.json", environment)),
        ("fingerprint", lambda: None),
    ):
        with pytest.raises(RunError, match=f"{expected}.*--force"):
            foveal.resume(path, options=foveal.TrainOptions(augment=NOTHING))
        repair()
    run = foveal.resume(path, force=True, options=foveal.TrainOptions(augment=NOTHING))
    assert "not to the bits of an uninterrupted run" in capsys.readouterr().err
    (forced,) = [event for event in run.folder.events() if event.event == "forced"]
    assert [each.split(" was ")[0].split(":")[0] for each in forced.differences] == [
        f"the images in {data} are not those",
        "the setting epochs",
    ]
    assert len(run.history) == 5
    assert foveal.Run(path).evaluate("test").n == 30  # its data are those that it ended with


def test_an_edited_recipe_is_refused_naming_the_setting(
    few_digits: Path, cache: Path, small: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    """Another network, too, which no checkpoint fits: none is taken for damaged."""
    path = interrupted(few_digits, cache, small, tmp_path / "run")
    recipe = json.loads((path / "recipe.json").read_text())
    for changed, named in (
        ({**recipe, "epochs": 4}, "the setting epochs was 3 and is 4"),
        ({**recipe, "model": {**recipe["model"], "widths": [9]}}, r"model.widths was \[8\] and is \[9\]"),
    ):
        (path / "recipe.json").write_text(json.dumps(changed))
        with pytest.raises(RunError, match=named):
            foveal.resume(path, options=foveal.TrainOptions(augment=NOTHING))
    (path / "recipe.json").write_text(json.dumps(recipe))
    assert bits(foveal.resume(path, options=foveal.TrainOptions(augment=NOTHING))) == bits(
        foveal.Run(finished)
    )


def test_checkpoints_within_an_epoch_change_no_bits(
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved: list[int] = []
    real = Session.save
    monkeypatch.setattr(Session, "save", lambda session: (saved.append(session.step), real(session)))
    monkeypatch.setattr(checkpoint_timer, "MAX_SAVING_SHARE", float("inf"))
    run = foveal.train(
        foveal.DataOptions(few_digits, cache=cache),
        recipe="model-s-02",
        settings=small,
        out=tmp_path / "run",
        options=foveal.TrainOptions(save_every=1e-9),
    )
    assert set(saved) == set(range(run.history[-1].step + 1))
    assert bits(run) == bits(foveal.Run(finished))


def test_a_signal_does_not_wait_for_a_validation(
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is broken off where it is, and done again: the learning rate in the history is the epoch's."""
    with monkeypatch.context() as patch:

        def endless(session: Session, dataset: Dataset) -> object:
            if session.epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            return real(session, dataset)

        real = loop._validate
        patch.setattr(loop, "_validate", endless)
        began = time.monotonic()
        with pytest.raises(Interrupted) as caught:
            foveal.train(
                foveal.DataOptions(few_digits, cache=cache),
                recipe="model-s-02",
                settings=small,
                out=tmp_path / "run",
            )
        assert time.monotonic() - began < 30
        assert caught.value.exit_code == 143
    assert len(foveal.Run(tmp_path / "run").history) == 1
    assert bits(foveal.resume(tmp_path / "run")) == bits(foveal.Run(finished))


def test_a_run_stopped_at_its_very_last_step_ends_as_it_should(
    few_digits: Path, cache: Path, small: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    """All steps are done, and the last epoch is not judged yet."""
    last = foveal.Run(finished).history[-1].step
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(last)),
        )
    run = foveal.Run(tmp_path / "run")
    assert checkpoint.list_checkpoint_steps(run.folder.checkpoints)[-1] == last
    assert len(run.history) == 2
    assert bits(foveal.resume(run.path, options=foveal.TrainOptions(augment=NOTHING))) == bits(
        foveal.Run(finished)
    )


def test_a_network_of_ones_own_is_not_resumed_without_its_initial_weights(
    few_digits: Path, cache: Path, tmp_path: Path
) -> None:
    settings = ["size=8", "epochs=2", "batch_size=16"]
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            model=network,
            settings=settings,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(3)),
        )
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(RunError, match="no whole checkpoint left"):
        foveal.resume(tmp_path / "run", model=network, options=foveal.TrainOptions(augment=NOTHING))


def test_training_works_beside_the_main_thread(
    few_digits: Path, cache: Path, small: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    runs: list[foveal.Run] = []
    thread = threading.Thread(
        target=lambda: runs.append(
            foveal.train(
                foveal.DataOptions(few_digits, cache=cache),
                recipe="model-s-02",
                settings=small,
                out=tmp_path / "run",
            )
        )
    )
    thread.start()
    thread.join()
    assert bits(runs[0]) == bits(foveal.Run(finished))


def test_without_validation_all_train_and_the_last_weights_are_kept(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    run = foveal.train(
        foveal.DataOptions(few_digits, cache=cache, validation="none"),
        recipe="model-s-02",
        settings=small,
        out=tmp_path / "run",
    )
    assert run.folder.dataset.splits["train"].n == 120
    assert run.history.column("validation_loss") == [None] * 3
    assert run.history.best.epoch == 3
    assert run.recipe.plateau is None
    assert run.summary()["validation"] is None
    with pytest.raises(DataError, match="no validation images"):
        run.evaluate("validation")
    run.report()  # of the history alone


def test_a_recipe_from_a_run_trains_the_same_again(
    few_digits: Path, cache: Path, finished: Path, tmp_path: Path
) -> None:
    run = foveal.train(
        foveal.DataOptions(few_digits, cache=cache), recipe=finished / "recipe.json", out=tmp_path / "run"
    )
    assert bits(run) == bits(foveal.Run(finished))


class Own(nn.Module):
    """Somebody's own network."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.is_floating_point()
        assert images.max() <= 1
        return self.body(images)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_network_of_ones_own(few_digits: Path, cache: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = ["size=8", "epochs=2", "batch_size=16"]
    run = foveal.train(
        foveal.DataOptions(few_digits, cache=cache), model=Own(), settings=settings, out=tmp_path / "run"
    )
    file = next((few_digits / "test" / "3").iterdir())
    expected = run.predict(file)[0]
    assert run.evaluate("test").n == 30
    run.report()
    with pytest.raises(ModelError, match=r"your own class .*Own"):
        foveal.Run(run.path).predict(file)
    again = foveal.Run(run.path, model=Own()).predict(file)[0]
    assert again == expected


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_network_that_does_not_fit_is_refused_before_anything_is_written(
    few_digits: Path, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"returns \(2, 7\) for two images; logits of shape \(2, 3\)"):
        foveal.train(foveal.DataOptions(few_digits, cache=cache), model=Own(classes=7), out=tmp_path / "run")
    with pytest.raises(ModelError, match="your network fails"):
        foveal.train(foveal.DataOptions(few_digits, cache=cache), model=nn.Linear(1, 2), out=tmp_path / "run")
    with pytest.raises(RecipeError, match="no effect: the network is your own"):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            model=Own(),
            settings=["dropout=0.1"],
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


class Tied(nn.Module):
    """Two layers that share one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        self.two.weight = self.one.weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(images.mean((2, 3))))


def test_tied_weights_are_saved(few_digits: Path, cache: Path, tmp_path: Path) -> None:
    run = foveal.train(
        foveal.DataOptions(few_digits, cache=cache), model=Tied(), settings=["epochs=1"], out=tmp_path / "run"
    )
    file = next((few_digits / "test" / "3").iterdir())
    assert foveal.Run(run.path, model=Tied()).predict(file)[0] == run.predict(file)[0]


def test_none_is_none_in_any_case(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    run = foveal.train(
        foveal.DataOptions(few_digits, cache=cache, validation="None"),
        recipe="model-s-02",
        settings=small,
        out=tmp_path / "run",
    )
    assert run.folder.dataset.splits["validation"].n == 0


def test_class_weights_change_what_is_learned(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    """Nine to one: weighed alike, the rare class is found more often than unweighed."""
    skewed = tmp_path / "data"
    for label, n in (("0", 36), ("8", 4)):
        (skewed / "train" / label).mkdir(parents=True)
        for file in sorted((few_digits / "train" / label).iterdir())[:n]:
            (skewed / "train" / label / file.name).write_bytes(file.read_bytes())
        (skewed / "test" / label).mkdir(parents=True)
        for file in (few_digits / "test" / label).iterdir():
            (skewed / "test" / label / file.name).write_bytes(file.read_bytes())
    found = {}
    for weights in ("none", "balanced"):
        settings = [*small, f"class_weights={weights}", "epochs=2", "dropout=0"]
        run = foveal.train(
            foveal.DataOptions(skewed, cache=cache, validation="none"),
            recipe="model-s-02",
            settings=settings,
            out=tmp_path / weights,
        )
        rare = run.evaluate("test").confusion
        found[weights] = sum(row[1] for row in rare)  # how often class 8 is said
    assert found["balanced"] > found["none"]


def test_things_show_themselves(finished: Path) -> None:
    run = foveal.Run(finished)
    assert "evaluated" in repr(run)
    assert "test accuracy" in run._repr_html_()
    assert run.history._repr_html_().count("<tr>") == 4
    assert repr(run.history).count("\n") == 4
    assert "model-s-02" in (finished / "model" / "README.md").read_text()


# ---- sprint: kernels, low resolution first, annealing


SPRINT = (
    *("widths=[16, 16]", "low_resolution.size=8", "image.size=16", "epochs=3", "batch_size=25"),
    *("optimizer.learning_rate=0.1", "bias_learning_rate=2", "head_learning_rate=20"),
)
"""Settings that make `sprint` small: 15 steps, the first of them on images of 8 pixels."""


def sprint(data: Path, cache: Path, out: Path, *settings: str, augment: object = None) -> foveal.Run:
    return foveal.train(
        foveal.DataOptions(data, cache=cache),
        recipe="sprint",
        settings=[*SPRINT, *settings],
        out=out,
        options=foveal.TrainOptions(augment=augment),
    )


@pytest.fixture(scope="module")
def sprinted(few_digits: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `sprint`. Not to be written to."""
    return sprint(few_digits, cache, tmp_path_factory.mktemp("sprint") / "run").path


def test_sprint_learns(sprinted: Path) -> None:
    run = foveal.Run(sprinted)
    assert len(run.history) == 3
    losses = run.history.column("loss")
    assert losses[-1] < losses[0]
    accuracy = run.history.column("validation_accuracy")[-1]
    assert accuracy is not None
    assert accuracy > 0.6  # a third by chance


def test_sprint_is_annealed(sprinted: Path) -> None:
    """15 steps in all: the last of each epoch is the 5th, 10th and 15th, and the last is no step of zero."""
    rates = foveal.Run(sprinted).history.column("learning_rate")
    assert rates == pytest.approx([0.1 * 11 / 15, 0.1 * 6 / 15, 0.1 * 1 / 15])
    events = [event.event for event in foveal.Run(sprinted).folder.events()]
    assert "plateau" not in events


def test_the_whitening_is_taken_from_the_training_images(sprinted: Path) -> None:
    tensors = load_file(sprinted / "model" / "model.safetensors")
    assert (tensors["whitening.weight"].flatten(1).norm(dim=1) > 0).all()
    first = load_file(min((sprinted / "checkpoints").iterdir()))
    assert torch.equal(first["network/whitening.weight"], tensors["whitening.weight"])


@pytest.mark.parametrize("share", ["0.2", "0.45", "1"])
@pytest.mark.parametrize("batches", [1, 4, 6])
def test_sprint_is_taken_up_with_the_same_bits(
    few_digits: Path, cache: Path, tmp_path: Path, share: str, batches: int
) -> None:
    """In the middle of an epoch or at its end, before and after the change of resolution."""
    expected = sprint(few_digits, cache, tmp_path / "whole", f"share={share}", augment=NOTHING)
    with pytest.raises(Interrupted):
        sprint(few_digits, cache, tmp_path / "run", f"share={share}", augment=StopAfter(batches))
    resumed = foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))
    assert bits(resumed) == bits(expected)


def test_alternating_flips_are_taken_up_with_the_same_bits(
    few_digits: Path, sprinted: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe's own augmentation, interrupted while it validates after the first epoch."""
    real, calls = loop._validate, []

    def stop(session: Session, dataset: Dataset) -> object:
        calls.append(session.epoch)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(session, dataset)

    monkeypatch.setattr(loop, "_validate", stop)
    with pytest.raises(Interrupted):
        sprint(few_digits, cache, tmp_path / "run")
    assert calls == [1]
    assert bits(foveal.resume(tmp_path / "run")) == bits(foveal.Run(sprinted))


def test_the_same_seed_gives_the_same_bits_with_kernels(
    few_digits: Path, sprinted: Path, cache: Path, tmp_path: Path
) -> None:
    again = sprint(few_digits, cache, tmp_path / "again")
    assert bits(again) == bits(foveal.Run(sprinted))


@pytest.mark.parametrize("recipe", ["sprint", "model-s-02"])
def test_without_kernels_runs_are_about_the_same(
    few_digits: Path, cache: Path, tmp_path: Path, recipe: str
) -> None:
    """So nobody needs a compiler."""
    first = ["low_resolution.size=8"] if recipe == "sprint" else ["dropout=0", "dense=16"]
    settings = ["widths=[16, 16]", *first, "image.size=16", "epochs=1"]
    with_them = foveal.train(
        foveal.DataOptions(few_digits, cache=cache), recipe=recipe, settings=settings, out=tmp_path / "a"
    )
    with without_kernels():
        without_them = foveal.train(
            foveal.DataOptions(few_digits, cache=cache), recipe=recipe, settings=settings, out=tmp_path / "b"
        )
    one, other = (each.history.column("loss")[0] for each in (with_them, without_them))
    assert one == pytest.approx(other, rel=0.02)
    file = next((few_digits / "test" / "3").iterdir())
    with without_kernels():  # nor to use what was trained with them
        found = load_bundle(with_them.path).predict([file])[0].probability
    assert found == pytest.approx(with_them.predict(file)[0].probability, rel=1e-3)


def test_resuming_with_other_kernels_is_refused(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(4)),
        )
    file = tmp_path / "run" / "environment.json"
    environment = json.loads(file.read_text())
    assert environment["kernels"].endswith(load_library().description)
    write_json_with_digest(file, {**environment, "kernels": "source 0123, compiler 1"})
    with pytest.raises(
        RunError, match="what Foveal's kernels are made of was source 0123, compiler 1 and is"
    ):
        foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))


def test_validation_logits_are_those_of_the_kept_model(sprinted: Path) -> None:
    """They are kept from the best epoch, not computed again; both ways must say the same."""
    run = foveal.Run(sprinted)
    before = run.evaluation("validation")
    file = sprinted / "predictions" / "validation.safetensors"
    stored = load_file(file)["logits"]
    rows = run.dataset.splits.validation
    again = compute_logits(load_bundle(sprinted).network, run.dataset.pack.pixels, rows)
    assert np.array_equal(stored.numpy(), again)
    assert before is not None
    assert before.n == len(rows)


# ---- what comes in


def noise(folder: Path, counts: dict[str, int], *, grey: bool = False, even: bool = False) -> Path:
    """Class folders of random images, or of images of one colour."""
    random = np.random.default_rng(0)
    for index, (label, n) in enumerate(counts.items()):
        (folder / "train" / label).mkdir(parents=True)
        for number in range(n):
            shape = (16, 16) if grey else (16, 16, 3)
            pixels = random.normal(80 + 60 * index, 30, shape).clip(0, 255).astype(np.uint8)
            if even:
                pixels[:] = 128
                pixels[0, 0] = number  # files must differ, or they are one image
            Image.fromarray(pixels).save(folder / "train" / label / f"{number}.png")
    return folder


RECIPES = {
    "model-s-02": ["size=16", "widths=[16, 16]", "dense=8", "epochs=2"],
    "sprint": ["widths=[16, 16]", "low_resolution.size=8", "image.size=16"],
    "digits": ["widths=[16, 16]", "dense=8", "epochs=2"],
}
INPUTS = {
    "a class smaller than a batch": {"a": 40, "b": 3, "c": 40},
    "a set smaller than a batch": {"a": 4, "b": 4},
    "two a class": {"a": 2, "b": 2},
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", [*INPUTS, "grey", "one colour"])
def test_odd_data_sets_train(tmp_path: Path, recipe: str, name: str) -> None:
    options = {"grey": name == "grey", "even": name == "one colour"}
    data = noise(tmp_path / "data", INPUTS.get(name, {"a": 20, "b": 20}), **options)
    run = foveal.train(
        foveal.DataOptions(data, cache=tmp_path / "cache"),
        recipe=recipe,
        settings=RECIPES[recipe],
        out=tmp_path / "run",
    )
    assert np.isfinite(run.history.column("loss")).all()
    assert np.isfinite(run.history.column("validation_loss")).all()
    weights = load_file(run.path / "model" / "model.safetensors")
    assert all(each.isfinite().all() for each in weights.values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_image_a_class_trains_or_is_refused_with_the_reason(tmp_path: Path, recipe: str) -> None:
    """Nothing is left to validate with; if that is said, it trains."""
    data = noise(tmp_path / "data", {"a": 1, "b": 1, "c": 1})
    settings = RECIPES[recipe]
    with pytest.raises(DataError, match="the class a has 1 readable images, too few"):
        foveal.train(
            foveal.DataOptions(data, cache=tmp_path / "cache"),
            recipe=recipe,
            settings=settings,
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
    run = foveal.train(
        foveal.DataOptions(data, validation="none", cache=tmp_path / "cache"),
        recipe=recipe,
        settings=settings,
        out=tmp_path / "run",
    )
    assert np.isfinite(run.history.column("loss")).all()


@pytest.mark.parametrize("with_kernels", [True, False])
def test_a_last_batch_of_one_image_of_one_pixel_trains(tmp_path: Path, with_kernels: bool) -> None:
    """Three poolings leave one pixel of eight, and a batch of one image has no variance there."""
    data = noise(tmp_path / "data", {"a": 9, "b": 8})
    settings = ["low_resolution=none", "image.size=8", "widths=[16, 16, 16]", "batch_size=16"]

    def run() -> foveal.Run:
        return foveal.train(
            foveal.DataOptions(data, validation="none", cache=tmp_path / "cache"),
            recipe="sprint",
            settings=settings,
            out=tmp_path / "run",
        )

    if with_kernels:
        made = run()
    else:
        with without_kernels():
            made = run()
    assert np.isfinite(made.history.column("loss")).all()


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("model-s-02", ["size=16", "widths=[16, 16]", "optimizer.learning_rate=1e25"]),
        ("sprint", [*RECIPES["sprint"], "head_learning_rate=1e38", "batch_size=10"]),
    ],
)
def test_divergence_is_named_with_its_step(
    tmp_path: Path, few_digits: Path, cache: Path, recipe: str, settings: list[str]
) -> None:
    with pytest.raises(DivergenceError, match=r"(loss became|no longer finite).* step (\d+)") as caught:
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe=recipe,
            settings=settings,
            out=tmp_path / "run",
        )
    assert caught.value.exit_code == 3
    folder = foveal.Run(tmp_path / "run").folder
    assert folder.state != "trained"
    if "loss became" in str(caught.value):
        (event,) = [each for each in folder.events() if each.event == "diverged"]
        assert len(event.files) == len(set(event.files)) >= 4
        assert event.files[0] in str(caught.value)
        assert f"step {event.step}" in str(caught.value)
        assert all((few_digits / file).is_file() for file in event.files)


def test_divergence_after_an_interruption_is_named_with_the_runs_step(
    tmp_path: Path, few_digits: Path, cache: Path, small: tuple[str, ...]
) -> None:
    """Steps are counted from the beginning of the run, not of the epoch or of the process."""
    with pytest.raises(Interrupted):
        foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / "run",
            options=foveal.TrainOptions(augment=StopAfter(9)),
        )
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    assert newest.name == "step-000009.safetensors"
    real = registry.build_network

    def broken(*args: object, **options: object) -> nn.Module:
        network = real(*args, **options)
        network.register_forward_hook(lambda _module, _inputs, output: output * torch.nan)
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "build_network", broken)
        with pytest.raises(DivergenceError, match="loss became nan at step 10;"):
            foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))


def test_stop_is_asked_after_each_epoch_but_the_last(
    tmp_path: Path, few_digits: Path, cache: Path, small: tuple[str, ...]
) -> None:
    asked: list[int] = []

    def train(name: str, at: int) -> foveal.Run:
        asked.clear()
        return foveal.train(
            foveal.DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=tmp_path / name,
            options=foveal.TrainOptions(stop=lambda record: asked.append(record.epoch) or record.epoch == at),
        )

    assert train("whole", at=3).summary()["stopped"] == "finished"
    assert asked == [1, 2]
    cut = train("cut", at=2)
    assert (cut.summary()["stopped"], len(cut.history), asked) == ("early", 2, [1, 2])
    assert cut.folder.state == "trained"
    assert foveal.resume(cut.path).summary()["epochs"] == 2
