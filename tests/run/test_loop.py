"""Whole runs within a budget, small ones: what is journalled, replayed, taken back and told."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

import foveal
from foveal.data.batches import Batch
from foveal.errors import DivergenceError, Interrupted, RecipeError
from foveal.files.run_records import SampleRecord
from foveal.files.typed_json import plain
from foveal.planning import plan as planning
from foveal.planning.networks import NetworkSize
from foveal.planning.step_time import Costs
from foveal.recipe.optimizers import SGD
from foveal.run import checkpoint_timer
from foveal.run.train import DEFAULT_BUDGET
from foveal.training import budget_controller, session
from foveal.training.budget_controller import BudgetController
from foveal.training.epoch import Step, TrainingState
from foveal.training.schedules import Progress

EPOCHS = 3
STEPS = 21
"""Three epochs of 108 images in batches of 16."""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """One narrow network, three epochs at most, and no decision by the clock."""
    monkeypatch.setattr(
        planning, "NETWORK_SIZES", (NetworkSize(widths=(16, 16), min_images=0, batch_size=16),)
    )
    monkeypatch.setattr(planning, "compute_max_useful_epochs", lambda _images: float(EPOCHS))
    monkeypatch.setattr(budget_controller, "MIN_WINDOW_SECONDS", 1e9)
    # a checkpoint after every epoch, however short
    monkeypatch.setattr(checkpoint_timer, "MAX_SAVING_SHARE", float("inf"))


class Decisions:
    """Decide at some steps, as a clock might have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, decided: dict[int, int]) -> None:
        real = BudgetController.update

        def update(kept: BudgetController, now: float, step: int, progress: Progress) -> int | None:
            if kept.replay and step <= max(kept.replay):
                return real(kept, now, step, progress)
            return decided.get(step)

        monkeypatch.setattr(BudgetController, "update", update)


class StopAfter:
    """An augmentation that does nothing but press Ctrl-C at its n-th batch after the measurement's."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def __call__(self, images: np.ndarray, _generator: np.random.Generator) -> np.ndarray:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return images


NOTHING = StopAfter(10**9)


def train(
    data: Path,
    cache: Path,
    out: Path,
    *,
    validation: str | None = None,
    augment: Any = None,
    settings: Any = (),
) -> foveal.Run:
    source = foveal.DataOptions(data, cache=cache, validation=validation)
    return foveal.train(
        source, budget="10m", settings=settings, out=out, options=foveal.TrainOptions(augment=augment)
    )


def bits(run: foveal.Run) -> dict[str, bytes]:
    tensors = load_file(run.path / "model" / "model.safetensors")
    return {
        **{name: each.numpy().tobytes() for name, each in tensors.items()},
        "history": (run.path / "history.jsonl").read_bytes(),
    }


def events(run: foveal.Run, name: str) -> list[dict[str, Any]]:
    found = [plain(event) for event in run.folder.events() if event.event == name]
    return [event for event in found if isinstance(event, dict)]


def test_a_budget_needs_no_recipe(few_digits: Path, cache: Path, tmp_path: Path) -> None:
    run = train(few_digits, cache, tmp_path / "run")
    (plan,) = events(run, "plan")
    assert plan["seconds"] == 600
    assert plan["steps"] == plan["most"] == STEPS
    assert any("never mirrored" in each for each in plan["why"])
    (trained,) = events(run, "trained")
    assert (trained["stopped"], trained["steps"]) == ("finished", STEPS)
    assert run.recipe.image.size == 16
    assert run.summary()["recipe"] == "budget"
    assert [record.step for record in run.history] == [7, 14, 21]
    assert run.history[-1].validation_accuracy is not None
    assert events(run, "test split opened") == []


def test_without_recipe_or_budget_there_is_a_budget(few_digits: Path, cache: Path, tmp_path: Path) -> None:
    run = foveal.train(foveal.DataOptions(few_digits, cache=cache), out=tmp_path / "run")
    assert events(run, "plan")[0]["seconds"] == DEFAULT_BUDGET.seconds


def test_a_shorter_course_is_annealed_to_its_end(
    few_digits: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step but one before the correction is the last after it, and its rate is not cut off."""
    Decisions(monkeypatch, {10: 12})
    run = train(few_digits, cache, tmp_path / "run")
    assert events(run, "budget")[0]["steps"] == 12
    assert [record.step for record in run.history] == [7, 12]
    assert run.history[-1].learning_rate == pytest.approx(0.24 * (1 - 10 / 21) / 2)
    assert run.history[-1].validation_loss is not None
    assert events(run, "trained")[0]["stopped"] == "budget"


def test_a_longer_course_takes_more_epochs(
    few_digits: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Decisions(monkeypatch, {7: 30})
    run = train(few_digits, cache, tmp_path / "run")
    assert [record.step for record in run.history] == [7, 14, 21, 28, 30]


DECIDED = {5: 25, 9: 18, 16: 20}


@pytest.mark.parametrize("batches", [3, 7, 12, 17])
@pytest.mark.parametrize("newest", ["kept", "lost"])
def test_what_the_clock_decided_is_replayed(
    few_digits: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batches: int,
    newest: str,
) -> None:
    """Also where the decision came after the checkpoint to go on from, as after a kill."""
    monkeypatch.setattr(planning, "measure_costs", lambda *_args, **_options: Costs(low=1, full=1, image=0))
    Decisions(monkeypatch, DECIDED)
    expected = train(few_digits, cache, tmp_path / "whole", augment=NOTHING)
    with pytest.raises(Interrupted):
        train(few_digits, cache, tmp_path / "run", augment=StopAfter(batches))
    if newest == "lost":
        max((tmp_path / "run" / "checkpoints").iterdir()).unlink()
    resumed = foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))
    assert bits(resumed) == bits(expected)
    assert {event["step"]: event["steps"] for event in events(resumed, "budget")} == DECIDED


def diverging(monkeypatch: pytest.MonkeyPatch, *at: int) -> None:
    """Let the loss become NaN when a step is done for the first time, the second time …"""
    real, left = session.run_epoch, list(at)

    def run_epoch(state: TrainingState, batches: Iterator[Batch], *, steps_done: int = 0) -> Iterator[Step]:
        for number, step in enumerate(real(state, batches, steps_done=steps_done), start=steps_done + 1):
            if left and number == left[0]:
                left.pop(0)
                raise DivergenceError(f"the training loss became nan at step {number}")
            yield step

    monkeypatch.setattr(session, "run_epoch", run_epoch)


def test_after_divergence_it_goes_back_once_with_half_the_rate(
    few_digits: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(few_digits, cache, tmp_path / "whole")
    diverging(monkeypatch, 12)
    run = train(few_digits, cache, tmp_path / "run")
    (back,) = events(run, "went back")
    assert (back["step"], back["to"]) == (11, 7)
    assert len(run.history) == len(whole.history) == EPOCHS
    one, other = run.history, whole.history
    assert one[0] == other[0]
    assert [each.learning_rate for each in one[1:]] == [each.learning_rate / 2 for each in other[1:]]
    assert run.folder.state == "trained"


def test_a_second_divergence_ends_the_run(
    few_digits: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging(monkeypatch, 12, 9)
    with pytest.raises(DivergenceError, match="step 9"):
        train(few_digits, cache, tmp_path / "run")
    assert len(events(foveal.Run(tmp_path / "run"), "went back")) == 1


def test_half_the_rate_survives_an_interruption(
    few_digits: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "measure_costs", lambda *_args, **_options: Costs(low=1, full=1, image=0))
    with monkeypatch.context() as patch:
        diverging(patch, 12)
        expected = train(few_digits, cache, tmp_path / "whole", augment=NOTHING)
    with monkeypatch.context() as patch:
        diverging(patch, 12)
        with pytest.raises(Interrupted):
            train(few_digits, cache, tmp_path / "run", augment=StopAfter(16))
    assert bits(foveal.resume(tmp_path / "run", options=foveal.TrainOptions(augment=NOTHING))) == bits(
        expected
    )


def test_without_a_budget_divergence_ends_the_run(
    few_digits: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging(monkeypatch, 2)
    with pytest.raises(DivergenceError):
        foveal.train(foveal.DataOptions(few_digits, cache=cache), recipe="digits", out=tmp_path / "run")


def test_a_sample_is_told_and_found_again(
    few_digits: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = planning.choose_image_size
    monkeypatch.setattr(
        planning, "choose_image_size", lambda *args, **options: replace(real(*args, **options), share=0.5)
    )
    run = train(few_digits, cache, tmp_path / "run")
    assert run.folder.dataset.sampled == SampleRecord(of=150, files=90)  # 20 of 40 and, the least, 10 of 10
    assert foveal.Run(run.path).dataset.pack.fingerprint == run.folder.dataset.fingerprint
    assert run.evaluate("test").n == 30


def lay(root: Path, counts: tuple[int, ...], *, side: int, mode: str = "RGB") -> Path:
    """Noise, each class brighter than the one before, in a flat layout."""
    random = np.random.default_rng(0)
    for label, n in enumerate(counts):
        (root / str(label)).mkdir(parents=True)
        for number in range(n):
            low = 200 * label // len(counts)
            shape = (side, side) if mode == "L" else (side, side, 3)
            pixels = random.integers(low, low + 50, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / str(label) / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("counts", "side", "mode", "size"),
    [
        ((5, 5), 8, "RGB", 16),  # ten images
        ((6, 6, 6), 96, "RGB", 96),
        ((6, 6), 64, "L", 64),
        ((100, 4), 20, "RGB", 32),  # one class has 25 times the images of the other
        ((4,) * 30, 12, "L", 16),
        ((5, 5), 300, "RGB", 96),
    ],
)
def test_any_data_set_can_be_planned_for(
    tmp_path: Path, cache: Path, counts: tuple[int, ...], side: int, mode: str, size: int
) -> None:
    data = lay(tmp_path / "data", counts, side=side, mode=mode)
    run = train(data, cache, tmp_path / "run")
    assert run.recipe.image.size == size
    assert run.folder.dataset.decoding["channels"] == (1 if mode == "L" else 3)
    evaluation = run.evaluate("test")
    assert evaluation.n >= len(counts)
    assert np.isfinite(run.history.column("loss")).all()


def test_settings_change_what_is_planned(few_digits: Path, cache: Path, tmp_path: Path) -> None:
    settings = ["optimizer=sgd", "learning_rate=0.05", "size=24", "batch_size=30"]
    run = train(few_digits, cache, tmp_path / "run", settings=settings)
    assert run.recipe.optimizer == SGD(learning_rate=0.05)
    assert (run.recipe.image.size, run.recipe.batch_size) == (24, 30)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(few_digits: Path, tmp_path: Path, minutes: float) -> None:
    with pytest.raises(RecipeError, match="the budget is"):
        foveal.train(few_digits, budget=minutes, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_budget_beside_a_recipe_is_refused(few_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a recipe decides"):
        foveal.train(few_digits, budget="1m", recipe="digits", out=tmp_path / "run")


def test_without_validation_the_last_weights_are_kept(few_digits: Path, cache: Path, tmp_path: Path) -> None:
    run = train(few_digits, cache, tmp_path / "run", validation="none")
    assert run.history.column("validation_loss") == [None] * EPOCHS
    assert events(run, "trained")[0]["best_epoch"] == EPOCHS
