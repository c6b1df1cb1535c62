"""The best training that is expected to fit into a time budget, and the reasons."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

from foveal.data.arrays import Arrays
from foveal.data.batches import count_steps_per_epoch, get_training_parts
from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataOptions
from foveal.data.scan import scan
from foveal.data.split import check_options
from foveal.data.symmetry import measure_flip_asymmetry
from foveal.errors import RecipeError
from foveal.files.events import Planned, PlannedPace
from foveal.planning.image_size import choose_image_size, choose_size_of_arrays
from foveal.planning.memory_estimate import has_enough_memory
from foveal.planning.networks import NETWORK_SIZES, apply_network_size, widths
from foveal.planning.step_time import Costs, measure_costs
from foveal.recipe.recipe import Recipe
from foveal.reporting.gallery import MAX_SEARCHED_IMAGES
from foveal.training.budget_controller import Pace

ASYMMETRIC = 2 / 3
"""Images are mirrored in training if fewer than so many can be told from their mirror images."""
STEPS_AN_EPOCH = 8
"""Batches are made smaller so that even a small set gives so many,"""
SMALLEST_BATCH = 16
USEFUL = 10
"""Steps below which nothing useful is learned."""
SHIFTED_FROM = 4.0
"""Epochs from which on images are shifted, by a sixteenth of their size: fewer have no time to gain by it."""
REPORT = 2.5
"""Seconds for the model's files, the report with its pictures, and the process's end."""
FINISHING = 0.5
"""Seconds for the same without report."""
MIN_BUDGET_FOR_SEARCH = 120.0
"""Seconds of a budget from which on the report seeks the training images most like an error."""
MARGIN = 0.015
"""Of the budget, kept for what nobody foresees."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The best training that is expected to fit."""

    recipe: Recipe
    seconds: float
    """The budget."""
    pace: Pace
    reserve: float
    """Seconds after the last step for files, report and surprises,"""
    judging: float
    """and for validating and testing."""
    most: int
    """Steps beyond which more are not expected to help."""
    why: tuple[str, ...]
    more: str
    """What more time would change."""
    tested: bool
    """Whether the budget has room for testing and reporting."""

    def to_event(self, *, seconds_spent: float) -> Planned:
        """Return what the run's events keep of the plan, `seconds_spent` after the budget began."""
        return Planned(
            seconds=self.seconds,
            steps=self.recipe.steps,
            pace=PlannedPace(**asdict(self.pace)),
            reserve=round(self.reserve, 3),
            judging=round(self.judging, 3),
            most=self.most,
            why=self.why,
            more=self.more,
            tested=self.tested,
            spent=seconds_spent,
        )


def max_useful_epochs(images: int) -> float:
    """Return how many passes over so many training images are expected to help."""
    return max(60.0, min(200.0, 100_000 / images))


def plan_training(
    data: DataOptions,
    base: Recipe,
    changed: frozenset[str],
    *,
    seconds: float,
    clock: Callable[[], float],
    seed: int,
    tested: bool,
) -> tuple[Dataset, Plan]:
    """Open the data, or a sample of it, and plan what to do with it in so many seconds."""
    if not 0 < seconds < inf:
        raise RecipeError(f"the budget is {seconds:g} seconds; it must be above 0")
    _refuse_settings(changed)
    if isinstance(data.source, Arrays):
        seen = choose_size_of_arrays(data.source, base.image, changed=changed)
        dataset = open_dataset(data, seen.image, seed=seed)
    else:
        listing = scan(data.source)
        check_options(listing, data)
        left = seconds - clock()
        seen = choose_image_size(
            listing, base.image, changed=changed, seconds=seconds, left=left, cache=data.cache_folder
        )
        dataset = open_dataset(data, seen.image, seed=seed, listing=listing, share=seen.share)
    made = plan_dataset(
        dataset,
        replace(base, image=seen.image),
        changed=changed,
        seconds=seconds,
        clock=clock,
        seed=seed,
        tested=tested,
    )
    return dataset, replace(made, why=(*seen.why, *made.why))


def plan_dataset(
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
    n = len(dataset.get_indices("train"))

    def fitting(recipe: Recipe, cost: Costs, *, seconds: float) -> float:
        left = seconds - clock() - _reserve(seconds, tested) - _judging(cost, dataset, seconds, tested)
        return max(0.0, left) / _pace(recipe, cost).seconds(0, 1)

    recipe, cost, wider = _climb(
        dataset, base, changed, lambda *known: fitting(*known, seconds=seconds), seed=seed
    )
    pace = _pace(recipe, cost)
    fits = fitting(recipe, cost, seconds=seconds)
    per_epoch = count_steps_per_epoch(get_training_parts(dataset, recipe), recipe.batch_size)
    most = max(1, round(max_useful_epochs(n) * per_epoch))
    steps = max(1, min(int(fits), most))
    epochs = steps / per_epoch
    if epochs >= SHIFTED_FROM and not {"augmentation", "augmentation.shift"} & set(changed):
        recipe = replace(
            recipe, augmentation=replace(recipe.augmentation, shift=max(1, recipe.image.size // 16))
        )
    recipe = replace(recipe, steps=steps, epochs=-(-steps // per_epoch))
    why.append(f"the network {widths(recipe)}: the widest that time and data suffice for")
    if steps < USEFUL:
        why.append("the budget is too small for anything useful: what fits into it is trained")
    elif fits < per_epoch:
        why.append(f"{epochs:.0%} of the images are seen once, the others not at all")
    if steps == most:
        why.append(f"{epochs:.0f} epochs, as more are not expected to help with {n:,} training images")
        more = "more time would hardly buy anything: the data, not the time, is the limit"
    else:
        twice = min(fitting(recipe, cost, seconds=2 * seconds), most) / per_epoch
        more = f"twice the time would be enough for {twice:.1f} epochs in place of {epochs:.1f}"
        more += f"; {wider}" if wider else ""
    return Plan(
        recipe=recipe,
        seconds=seconds,
        pace=pace,
        reserve=_reserve(seconds, tested),
        judging=_judging(cost, dataset, seconds, tested),
        most=most,
        why=tuple(why),
        more=more,
        tested=tested,
    )


def _climb(
    dataset: Dataset,
    base: Recipe,
    changed: Collection[str],
    fitting: Callable[[Recipe, Costs], float],
    *,
    seed: int,
) -> tuple[Recipe, Costs, str]:
    """Find the widest network that can be shown enough images.

    `fitting` says how many steps of a recipe there is time for. Returned are the recipe with that network,
    what it costs, and what the next wider one would take.
    """
    n = len(dataset.get_indices("train"))
    first, *others = NETWORK_SIZES if "model.widths" not in changed else NETWORK_SIZES[:1]
    recipe = _batched(apply_network_size(base, first, changed), n, changed)
    if "batch_size" not in changed:
        while recipe.batch_size > SMALLEST_BATCH and not has_enough_memory(recipe, dataset):
            recipe = replace(recipe, batch_size=max(SMALLEST_BATCH, recipe.batch_size // 2))
    cost = measure_costs(recipe, dataset, seed=seed)

    def lacking(recipe: Recipe, cost: Costs, needed: float) -> float:
        return (needed / recipe.batch_size - fitting(recipe, cost)) * _pace(recipe, cost).seconds(0, 1)

    for rung in others:
        needed = min(rung.images, n * max_useful_epochs(n))
        wider = _batched(apply_network_size(base, rung, changed), n, changed)
        # Where there is no time to show so many to the network at hand, a wider one need not be measured.
        if (seconds := lacking(recipe, cost, needed)) > 0:
            return recipe, cost, f"at least {_more(seconds)} would pay for a wider network, {widths(wider)}"
        if not has_enough_memory(wider, dataset):
            return recipe, cost, f"more memory would pay for a wider network, {widths(wider)}"
        wider_cost = measure_costs(wider, dataset, seed=seed)
        if (seconds := lacking(wider, wider_cost, needed)) > 0:
            return recipe, cost, f"about {_more(seconds)} would pay for a wider network, {widths(wider)}"
        recipe, cost = wider, wider_cost
    return recipe, cost, ""


def _augmented(dataset: Dataset, base: Recipe, changed: Collection[str], why: list[str]) -> Recipe:
    """Decide whether images are mirrored."""
    if {"augmentation", "augmentation.flip", "augmentation.alternate"} & set(changed):
        return base
    rows = dataset.get_indices("train")
    told = measure_flip_asymmetry(dataset.pack.pixels, dataset.labels, rows)
    if told < ASYMMETRIC:
        why.append(f"mirrored by turns: {told:.0%} can be told from their mirror images, one half by chance")
        return base
    why.append(f"never mirrored: {told:.0%} can be told from their mirror images, one half by chance")
    return replace(base, augmentation=replace(base.augmentation, flip=False, alternate=False))


def _batched(recipe: Recipe, n: int, changed: Collection[str]) -> Recipe:
    """Make batches smaller where a training set of n images would give too few."""
    if "batch_size" in changed:
        return recipe
    return replace(recipe, batch_size=min(recipe.batch_size, max(SMALLEST_BATCH, n // STEPS_AN_EPOCH)))


def _pace(recipe: Recipe, cost: Costs) -> Pace:
    share = recipe.low_resolution.share if recipe.low_resolution else 0.0
    return Pace(low=cost.low, full=cost.full, share=share)


def _reserve(seconds: float, tested: bool) -> float:
    """Return what is kept of a budget for files, report and surprises."""
    return (REPORT if tested else FINISHING) + MARGIN * seconds


def _judging(cost: Costs, dataset: Dataset, seconds: float, tested: bool) -> float:
    """Estimate what validating, testing and the report's look at training images will take."""
    splits = dataset.splits
    images = len(splits.validation)
    if tested:
        images += len(splits.test)
        if seconds >= MIN_BUDGET_FOR_SEARCH:
            images += min(MAX_SEARCHED_IMAGES, len(dataset.get_indices("train")))
    return images * cost.image


def _refuse_settings(changed: Collection[str]) -> None:
    """Refuse settings that a budget decides.

    Raises:
        RecipeError: naming the first.
    """
    for path in ("epochs", "steps", "validate_every"):
        if path in changed:
            raise RecipeError(
                f"the setting {path} is decided by the budget; name a recipe to decide it yourself"
            )


def _more(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes more" if seconds >= 120 else f"{max(1.0, seconds):.0f} seconds more"
