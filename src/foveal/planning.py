"""What fits into a time budget: a recipe for this data on this machine, and the reasons.

The rules have few constants; where they come from is told in docs/decisions/0007-time-budget.md.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import torch

from foveal import recipes
from foveal.data.batches import Batch, steps_per_epoch, training_batches, training_parts
from foveal.data.dataset import Dataset, default_cache
from foveal.data.pack import is_packed
from foveal.data.preview import preview
from foveal.data.scan import Listing
from foveal.data.symmetry import mirror_asymmetry
from foveal.errors import RecipeError
from foveal.evaluation.predict import logits
from foveal.models import registry
from foveal.recipe import Image, LowResolution, Recipe, Sprint
from foveal.training import optimizers
from foveal.training.budget import Pace
from foveal.training.epoch import TrainingState, run_epoch


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A width of network, and what it needs to be worth its time."""

    widths: tuple[int, ...]
    images: int
    """Images, one as often as it comes, below which a narrower network does better in the same time."""
    batch_size: int


LADDER = (
    Rung(widths=(32, 64, 80), images=0, batch_size=250),
    Rung(widths=(48, 96, 96), images=50_000, batch_size=250),
    Rung(widths=(64, 128, 128), images=100_000, batch_size=500),
    Rung(widths=(64, 192, 192), images=250_000, batch_size=500),
    Rung(widths=(64, 256, 256), images=350_000, batch_size=500),
)
SIZES = (16, 32, 48, 64, 96)
"""Heights and widths in pixels to choose from: the smallest that loses nothing, if time allows."""
SMALLEST = 32
"""Larger images are halved down to this, not further, where time is short."""
DEEP = 64
"""From this size on the network has one more group, of half the first one's width, before the others."""
ASYMMETRIC = 2 / 3
"""Images are mirrored in training if fewer than so many can be told from their mirror images."""
STEPS_AN_EPOCH = 8
"""Batches are made smaller so that even a small set gives so many,"""
SMALLEST_BATCH = 16
SHIFTED_FROM = 4.0
"""Epochs from which on images are shifted, by a sixteenth of their size: fewer have no time to gain by it."""
DECODING = 0.3
"""Of the budget, at most, for decoding; a sample is decoded where all would take longer."""
VALIDATING = 0.05
"""Of the training time, at most, for validating before the end."""
REPORT = 2.5
"""Seconds for the model's files, the report with its pictures, and the process's end."""
FINISHING = 0.5
"""Seconds for the same without report."""
MARGIN = 0.015
"""Of the budget, kept for what nobody foresees."""
MEASURED = 8
"""Steps that are measured of each kind,"""
MEASURING = 0.4
"""or fewer, but three, when they take more than so many seconds."""
TRIAL = 250
"""Random images with which the machine is tried out before there are any of the data set."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a listing's files are to become."""

    image: Image
    share: float | None
    """Of the files, drawn as a sample; None: all."""
    why: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was measured of a recipe: seconds."""

    low: float
    """Of a training step on small images,"""
    full: float
    """and on whole ones."""
    image: float
    """Of classifying an image."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The best training that is expected to fit."""

    recipe: Recipe
    seconds: float
    """The budget."""
    pace: Pace
    reserve: float
    """Seconds that validating, testing and reporting will take after the last step."""
    most: int
    """Steps beyond which more are not expected to help."""
    why: tuple[str, ...]
    more: str
    """What more time would change."""
    tested: bool
    """Whether the budget has room for testing and reporting."""

    def to_json(self) -> dict[str, Any]:
        """Return what the journal keeps of a plan, as JSON values."""
        return {
            "seconds": self.seconds,
            "steps": self.recipe.steps,
            "pace": asdict(self.pace),
            "reserve": round(self.reserve, 3),
            "most": self.most,
            "why": list(self.why),
            "more": self.more,
            "tested": self.tested,
        }


def most_epochs(images: int) -> float:
    """Return how many passes over so many training images are expected to help."""
    return max(60.0, min(200.0, 100_000 / images))


# ---- before decoding


def look(
    listing: Listing,
    image: Image,
    *,
    changed: Collection[str],
    seconds: float,
    left: float,
    cache: Path | None,
) -> Look:
    """Choose the size of images, and a sample where there are more than fit into the time that is left.

    Settings whose path is in `changed` are the user's and stay. `seconds` is the whole budget.
    """
    seen = preview(listing)
    if seen is None:  # nothing can be read: decoding all files will say so
        return Look(image=image, share=None, why=())
    why = []
    training = max(1, sum(record.folder != "test" for record in listing.records))
    if "image.size" not in changed:
        size = next((each for each in SIZES if each >= seen.side), SIZES[-1])
        image = replace(image, size=size)
        why.append(f"images of {size} × {size} pixels: their longer side is {seen.side} at the median")
    fitting = _images_that_fit(image, 0.75 * left)
    while fitting < training and "image.size" not in changed and image.size >= 2 * SMALLEST:
        image = replace(image, size=image.size // 2)
        why.append(f"halved to {image.size} pixels, as each image could not be seen once otherwise")
        fitting = _images_that_fit(image, 0.75 * left)
    share = fitting / training
    if not is_packed(listing, image, cache or default_cache()):
        cores = os.cpu_count() or 1
        share = min(share, DECODING * seconds * cores / (seen.seconds * len(listing.records)))
    if share >= 1:
        return Look(image=image, share=None, why=tuple(why))
    why.append(
        f"a sample of {share:.1%} of the files, alike in every class and split: "
        f"there is no time to decode all and to see each once"
    )
    return Look(image=image, share=share, why=tuple(why))


def _images_that_fit(image: Image, seconds: float) -> float:
    """Estimate how many random images the narrowest network can be trained on in so many seconds."""
    recipe = _on_rung(recipes.budgeted(), LADDER[0], image.size, ())
    images = torch.randint(0, 256, (TRIAL, image.size, image.size, 3), dtype=torch.uint8)
    batch = Batch(images=images, labels=torch.zeros(TRIAL, dtype=torch.int64), seed=0)
    each = _step_seconds(recipe, iter([batch] * MEASURED), channels=3, size=image.size, classes=2)
    return max(0.0, seconds) / each * TRIAL


# ---- after decoding


def plan(
    dataset: Dataset,
    base: Recipe,
    *,
    changed: Collection[str],
    seconds: float,
    clock: Callable[[], float],
    seed: int,
    tested: bool,
) -> Plan:
    """Plan the training of a data set.

    Args:
        dataset: the images.
        base: what a plan starts from; settings whose path is in `changed` are the user's and stay.
        changed: paths of settings.
        seconds: the budget.
        clock: how many seconds of it are spent.
        seed: of the order of images, from which the first batches are timed.
        tested: whether testing and reporting are to fit into the budget, too.
    """
    why: list[str] = []
    base = _augmented(dataset, base, changed, why)
    n = len(dataset.rows("train"))
    rungs = LADDER if "model.widths" not in changed else LADDER[:1]
    chosen: tuple[Recipe, Cost] | None = None
    wider = ""
    for rung in rungs:
        recipe = _on_rung(base, rung, base.image.size, changed)
        recipe = _batched(recipe, n, changed)
        cost = measure(recipe, dataset, seed=seed)
        fitting = _steps_that_fit(recipe, cost, dataset, seconds=seconds, spent=clock(), tested=tested)
        needed = min(rung.images, n * most_epochs(n))
        if chosen is not None and fitting * recipe.batch_size < needed:
            lacking = (needed / recipe.batch_size - fitting) * _pace(recipe, cost).seconds(0, 1)
            wider = f"about {_time(max(1.0, lacking))} more would pay for a wider network, {_widths(recipe)}"
            break
        chosen = recipe, cost
    assert chosen is not None
    recipe, cost = chosen
    pace = _pace(recipe, cost)
    reserve = _reserve(cost, dataset, seconds=seconds, tested=tested)
    fitting = _steps_that_fit(recipe, cost, dataset, seconds=seconds, spent=clock(), tested=tested)
    per_epoch = steps_per_epoch(training_parts(dataset, recipe), recipe.batch_size)
    most = max(1, round(most_epochs(n) * per_epoch))
    steps = max(1, min(int(fitting), most))
    epochs = steps / per_epoch
    if "augmentation.shift" not in changed and epochs >= SHIFTED_FROM:
        recipe = replace(
            recipe, augmentation=replace(recipe.augmentation, shift=max(1, recipe.image.size // 16))
        )
    epoch_seconds = per_epoch * pace.full
    validating = len(dataset.splits.validation) * cost.image
    every = max(1, -int(-validating // (VALIDATING * epoch_seconds)))
    recipe = replace(recipe, steps=steps, epochs=-(-steps // per_epoch), validate_every=every)
    why.append(f"the network {_widths(recipe)}: the widest that time and data suffice for")
    if fitting < per_epoch:
        why.append("the budget is too small for anything useful: what fits into it is trained")
    if steps == most:
        why.append(f"{epochs:.0f} epochs, as more are not expected to help with {n:,} training images")
        more = "more time would hardly buy anything: the data, not the time, is the limit"
    else:
        twice = _steps_that_fit(recipe, cost, dataset, seconds=2 * seconds, spent=clock(), tested=tested)
        twice = min(twice, most) / per_epoch
        more = f"twice the time would be enough for {twice:.1f} epochs in place of {epochs:.1f}"
        more += f"; {wider}" if wider else ""
    return Plan(
        recipe=recipe,
        seconds=seconds,
        pace=pace,
        reserve=reserve,
        most=most,
        why=tuple(why),
        more=more,
        tested=tested,
    )


def _augmented(dataset: Dataset, base: Recipe, changed: Collection[str], why: list[str]) -> Recipe:
    """Decide whether images are mirrored."""
    if any(path.startswith("augmentation.") for path in changed):
        return base
    rows = dataset.rows("train")
    told = mirror_asymmetry(dataset.pack.pixels, dataset.labels, rows)
    if told < ASYMMETRIC:
        why.append(f"mirrored by turns: {told:.0%} can be told from their mirror images, one half by chance")
        return base
    why.append(f"never mirrored: {told:.0%} can be told from their mirror images, one half by chance")
    return replace(base, augmentation=replace(base.augmentation, flip=False, alternate=False))


def _on_rung(recipe: Recipe, rung: Rung, size: int, changed: Collection[str]) -> Recipe:
    """Give a recipe a rung's network and batch, and small images first where they can be halved."""
    model = recipe.model
    assert isinstance(model, Sprint)
    if "model.widths" not in changed:
        first = (rung.widths[0] // 2,) if size >= DEEP else ()
        model = replace(model, widths=(*first, *rung.widths))
        recipe = replace(recipe, model=model)
    if "batch_size" not in changed:
        recipe = replace(recipe, batch_size=rung.batch_size)
    if not any(path.startswith("low_resolution") for path in changed):
        small = size // 2
        halved = size % 2 == 0 and small >= SIZES[0] and small >> len(model.widths) >= 1
        recipe = replace(recipe, low_resolution=LowResolution(size=small) if halved else None)
    return recipe


def _batched(recipe: Recipe, n: int, changed: Collection[str]) -> Recipe:
    """Make batches smaller where a training set of n images would give too few."""
    if "batch_size" in changed:
        return recipe
    return replace(recipe, batch_size=min(recipe.batch_size, max(SMALLEST_BATCH, n // STEPS_AN_EPOCH)))


def _pace(recipe: Recipe, cost: Cost) -> Pace:
    share = recipe.low_resolution.share if recipe.low_resolution else 0.0
    return Pace(low=cost.low, full=cost.full, share=share)


def _reserve(cost: Cost, dataset: Dataset, *, seconds: float, tested: bool) -> float:
    """Estimate what comes after the last step."""
    splits = dataset.splits
    images = len(splits.validation) + (len(splits.test) if tested else 0)
    return images * cost.image + (REPORT if tested else FINISHING) + MARGIN * seconds


def _steps_that_fit(
    recipe: Recipe, cost: Cost, dataset: Dataset, *, seconds: float, spent: float, tested: bool
) -> float:
    left = seconds - spent - _reserve(cost, dataset, seconds=seconds, tested=tested)
    return max(0.0, left) / _pace(recipe, cost).seconds(0, 1)


# ---- measuring


def measure(recipe: Recipe, dataset: Dataset, *, seed: int) -> Cost:
    """Take a few steps with a network that is thrown away, on the first batches of the data set."""
    decoding = dataset.pack.decoding
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(dataset.classes)}

    def batches(shrink: int) -> Iterator[Batch]:
        for epoch in count(1):  # a small set's epoch is shorter than the measurement
            yield from training_batches(dataset, recipe, seed=seed, epoch=epoch, shrink=lambda _: shrink)

    full = _step_seconds(recipe, batches(1), **shape)
    low = _step_seconds(recipe, batches(recipe.shrink_at(0)), **shape) if recipe.low_resolution else full
    network = registry.build(recipe.model, **shape, seed=seed)
    some = dataset.rows("train")[:TRIAL]
    logits(network, dataset.pack.pixels, some[:1])
    began = time.perf_counter()
    logits(network, dataset.pack.pixels, some)
    return Cost(low=low, full=full, image=(time.perf_counter() - began) / len(some))


def _step_seconds(
    recipe: Recipe, batches: Iterator[Batch], *, size: int, channels: int, classes: int
) -> float:
    """Return the seconds of the fastest of a few steps: the first ones fetch memory."""
    network = registry.build(recipe.model, size=size, channels=channels, classes=classes, seed=0)
    state = TrainingState(
        network=network,
        optimizer=optimizers.build(recipe.optimizer, network, l2=recipe.l2),
        class_weights=None,
        label_smoothing=recipe.label_smoothing,
    )
    state.learning_rate = 0.0  # nothing is to be learned, and nothing to diverge
    with torch.random.fork_rng(devices=[]):
        readings = [time.perf_counter()]
        for _ in run_epoch(state, batches):
            readings.append(time.perf_counter())
            if len(readings) > MEASURED or (readings[-1] - readings[0] > MEASURING and len(readings) > 3):
                break
    return min(after - before for before, after in pairwise(readings))


def refuse_settings(changed: Collection[str]) -> None:
    """Refuse settings that a budget decides.

    Raises:
        RecipeError: naming the first.
    """
    for path in ("epochs", "steps", "validate_every"):
        if path in changed:
            raise RecipeError(
                f"the setting {path} is decided by the budget; name a recipe to decide it yourself"
            )


def _widths(recipe: Recipe) -> str:
    assert isinstance(recipe.model, Sprint)
    return "-".join(map(str, recipe.model.widths))


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
