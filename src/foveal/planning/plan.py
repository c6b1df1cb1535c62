"""The best training that is expected to fit into a time budget, and the reasons for it."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace

from foveal.data.arrays import Arrays
from foveal.data.batches import count_steps_per_epoch, get_training_parts
from foveal.data.dataset import Dataset, list_source, open_dataset
from foveal.data.options import DataOptions
from foveal.data.split import check_options
from foveal.data.symmetry import measure_flip_asymmetry
from foveal.errors import RecipeError
from foveal.files.events import Planned, PlannedPace
from foveal.planning.image_size import ImagePlan, choose_image_size, choose_size_of_arrays
from foveal.planning.memory_estimate import has_enough_memory
from foveal.planning.networks import NETWORK_SIZES, NetworkSize, apply_network_size, format_widths
from foveal.planning.step_time import Costs, measure_costs
from foveal.recipe.budget import Budget
from foveal.recipe.recipe import Recipe
from foveal.reporting.gallery import MAX_SEARCHED_IMAGES
from foveal.training.budget_controller import Pace

MAX_FLIP_ASYMMETRY = 2 / 3
"""Images are flipped in training if a smaller share of them can be told from their mirror images."""
MIN_STEPS_PER_EPOCH = 8
"""Batches are made smaller until a small data set gives this number of them in an epoch."""
MIN_BATCH_SIZE = 16
"""The smallest batch size that a plan chooses."""
MIN_USEFUL_STEPS = 10
"""The number of steps below which nothing useful is learned."""
MIN_EPOCHS_FOR_SHIFTS = 4.0
"""The number of epochs from which on images are shifted. With fewer there is no time to gain by it."""
REPORT_SECONDS = 2.5
"""The time for the model's files, the report with its pictures, and the end of the process."""
FINISHING_SECONDS = 0.5
"""The time for the model's files and the end of the process, without a report."""
MIN_BUDGET_FOR_SEARCH = 120.0
"""The budget in seconds from which on the report shows the training images most like an error."""
MARGIN = 0.015
"""The share of the budget that is kept for surprises."""


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What a plan must keep to."""

    budget: Budget
    """The time from the start of the command to its end."""
    clock: Callable[[], float]
    """A function that returns the seconds of the budget that have passed."""
    changed: frozenset[str]
    """The paths of the user's settings, which stay as they are."""
    seed: int
    """The seed of the run. The first batches of its order are timed."""
    includes_test: bool
    """Whether testing and reporting must fit into the budget, too."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The best training that is expected to fit into a budget."""

    recipe: Recipe
    """The recipe to train."""
    seconds: float
    """The whole budget in seconds."""
    pace: Pace
    """How long a step takes, as measured."""
    reserve_seconds: float
    """The time kept after the last step for files, the report and surprises."""
    evaluation_seconds: float
    """The time that validating and testing are expected to take."""
    max_steps: int
    """The number of steps beyond which more are not expected to help."""
    reasons: tuple[str, ...]
    """The reasons for the plan, as sentences without a full stop."""
    outlook: str
    """What more time would change, as a sentence without a full stop."""
    includes_test: bool
    """Whether the budget has room for testing and reporting."""

    def to_event(self, *, seconds_spent: float) -> Planned:
        """Return the event that records the plan, `seconds_spent` after the budget began."""
        return Planned(
            seconds=self.seconds,
            steps=self.recipe.steps,
            pace=PlannedPace(**asdict(self.pace)),
            reserve_seconds=round(self.reserve_seconds, 3),
            evaluation_seconds=round(self.evaluation_seconds, 3),
            max_steps=self.max_steps,
            reasons=self.reasons,
            outlook=self.outlook,
            includes_test=self.includes_test,
            seconds_spent=seconds_spent,
        )


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A recipe, and what it costs on this machine and for this data set."""

    recipe: Recipe
    costs: Costs
    dataset: Dataset
    request: PlanRequest

    @property
    def pace(self) -> Pace:
        low = self.recipe.low_resolution
        return Pace(low=self.costs.low, full=self.costs.full, share=low.share if low else 0.0)

    @property
    def step_seconds(self) -> float:
        """The mean time of a step."""
        return self.pace.compute_mean_seconds(0, 1)

    def estimate_evaluation_seconds(self, budget_seconds: float) -> float:
        """Return the time for validating, testing and the report's search among training images."""
        splits = self.dataset.splits
        n_images = len(splits.validation)
        if self.request.includes_test:
            n_images += len(splits.test)
            if budget_seconds >= MIN_BUDGET_FOR_SEARCH:
                n_images += min(MAX_SEARCHED_IMAGES, len(self.dataset.get_indices("train")))
        return n_images * self.costs.image

    def count_steps_that_fit(self, budget_seconds: float) -> float:
        """Return how many steps fit into the rest of a budget."""
        remaining = budget_seconds - self.request.clock() - _compute_reserve(budget_seconds, self.request)
        remaining -= self.estimate_evaluation_seconds(budget_seconds)
        return max(0.0, remaining) / self.step_seconds

    def compute_missing_seconds(self, n_images: float) -> float:
        """Return the time by which the budget is too short to train on so many images, repeats included."""
        steps = n_images / self.recipe.batch_size
        return (steps - self.count_steps_that_fit(self.request.budget.seconds)) * self.step_seconds


def compute_max_useful_epochs(n_images: int) -> float:
    """Return the number of epochs beyond which more are not expected to help, for so many training images."""
    return max(60.0, min(200.0, 100_000 / n_images))


def plan_training(data: DataOptions, base: Recipe, request: PlanRequest) -> tuple[Dataset, Plan]:
    """Open a data set, or a sample of it, and plan its training.

    Args:
        data: The data set and its options.
        base: The recipe that the plan starts from, with the user's settings applied.
        request: The budget and what else the plan must keep to.

    Raises:
        RecipeError: A setting of the user is one that the budget decides.
        DataError: The data set cannot be used.
    """
    _refuse_settings(request.changed)
    if isinstance(data.source, Arrays):
        images = choose_size_of_arrays(data.source, base.image, changed=request.changed)
        dataset = open_dataset(data, images.image, seed=request.seed)
    else:
        listing = list_source(data)
        check_options(listing, data)
        seconds = request.budget.seconds
        images = choose_image_size(
            listing,
            base.image,
            changed=request.changed,
            budget_seconds=seconds,
            seconds_left=seconds - request.clock(),
            cache=data.cache_folder,
        )
        dataset = open_dataset(data, images.image, seed=request.seed, listing=listing, share=images.share)
    return dataset, plan_dataset(dataset, base, request, images)


def plan_dataset(dataset: Dataset, base: Recipe, request: PlanRequest, images: ImagePlan) -> Plan:
    """Plan the training of an opened data set.

    Args:
        dataset: The data set, decoded as `images` says.
        base: The recipe that the plan starts from, with the user's settings applied.
        request: The budget and what else the plan must keep to.
        images: The size of the images, and why.
    """
    seconds, n_images = request.budget.seconds, len(dataset.get_indices("train"))
    base, flip_reasons = _choose_flips(dataset, replace(base, image=images.image), request.changed)
    best, wider = _choose_network(dataset, base, request)
    recipe, steps_that_fit = best.recipe, best.count_steps_that_fit(seconds)
    per_epoch = count_steps_per_epoch(get_training_parts(dataset, recipe), recipe.batch_size)
    max_steps = max(1, round(compute_max_useful_epochs(n_images) * per_epoch))
    steps = max(1, min(int(steps_that_fit), max_steps))
    epochs = steps / per_epoch
    if epochs >= MIN_EPOCHS_FOR_SHIFTS and not {"augmentation", "augmentation.shift"} & request.changed:
        shift = max(1, recipe.image.size // 16)
        recipe = replace(recipe, augmentation=replace(recipe.augmentation, shift=shift))
    recipe = replace(recipe, steps=steps, epochs=-(-steps // per_epoch))
    reasons = [
        *images.reasons,
        *flip_reasons,
        f"the network {format_widths(recipe)}: the widest that time and data suffice for",
    ]
    if steps < MIN_USEFUL_STEPS:
        reasons.append("the budget is too small for anything useful: what fits into it is trained")
    elif steps_that_fit < per_epoch:
        reasons.append(f"{epochs:.0%} of the images are seen once, the others not at all")
    if steps == max_steps:
        reasons.append(
            f"{epochs:.0f} epochs, as more are not expected to help with {n_images:,} training images"
        )
        outlook = "more time would hardly buy anything: the data, not the time, is the limit"
    else:
        twice = min(best.count_steps_that_fit(2 * seconds), max_steps) / per_epoch
        outlook = f"twice the time would be enough for {twice:.1f} epochs in place of {epochs:.1f}"
        outlook += f"; {wider}" if wider else ""
    return Plan(
        recipe=recipe,
        seconds=seconds,
        pace=best.pace,
        reserve_seconds=_compute_reserve(seconds, request),
        evaluation_seconds=best.estimate_evaluation_seconds(seconds),
        max_steps=max_steps,
        reasons=tuple(reasons),
        outlook=outlook,
        includes_test=request.includes_test,
    )


def _choose_network(dataset: Dataset, base: Recipe, request: PlanRequest) -> tuple[_Candidate, str]:
    """Choose the widest network that can be trained on enough images.

    Returns:
        The recipe with that network, and what the next wider network would need, or "" if there is none.
    """
    n_images = len(dataset.get_indices("train"))

    def measure(recipe: Recipe) -> _Candidate:
        costs = measure_costs(recipe, dataset, seed=request.seed)
        return _Candidate(recipe=recipe, costs=costs, dataset=dataset, request=request)

    def build_recipe(size: NetworkSize) -> Recipe:
        recipe = apply_network_size(base, size, request.changed)
        if "batch_size" in request.changed:
            return recipe
        batch_size = min(recipe.batch_size, max(MIN_BATCH_SIZE, n_images // MIN_STEPS_PER_EPOCH))
        return replace(recipe, batch_size=batch_size)

    narrowest, *others = NETWORK_SIZES if "model.widths" not in request.changed else NETWORK_SIZES[:1]
    best = measure(_shrink_batch_to_memory(build_recipe(narrowest), dataset, request.changed))
    for size in others:
        needed = min(size.min_images, n_images * compute_max_useful_epochs(n_images))
        wider = build_recipe(size)
        purpose = f"would pay for a wider network, {format_widths(wider)}"
        # If even the chosen network has no time for so many images, the wider one need not be measured.
        if (missing := best.compute_missing_seconds(needed)) > 0:
            return best, f"at least {_format_more_time(missing)} {purpose}"
        if not has_enough_memory(wider, dataset):
            return best, f"more memory {purpose}"
        candidate = measure(wider)
        if (missing := candidate.compute_missing_seconds(needed)) > 0:
            return best, f"about {_format_more_time(missing)} {purpose}"
        best = candidate
    return best, ""


def _shrink_batch_to_memory(recipe: Recipe, dataset: Dataset, changed: Collection[str]) -> Recipe:
    """Halve the batch size until the memory suffices, unless the user has set it."""
    if "batch_size" not in changed:
        while recipe.batch_size > MIN_BATCH_SIZE and not has_enough_memory(recipe, dataset):
            recipe = replace(recipe, batch_size=max(MIN_BATCH_SIZE, recipe.batch_size // 2))
    return recipe


def _choose_flips(dataset: Dataset, base: Recipe, changed: Collection[str]) -> tuple[Recipe, tuple[str, ...]]:
    """Decide whether images are flipped in training, and return the reason."""
    if {"augmentation", "augmentation.flip", "augmentation.alternate"} & set(changed):
        return base, ()
    indices = dataset.get_indices("train")
    asymmetry = measure_flip_asymmetry(dataset.pack.pixels, dataset.labels, indices)
    measured = f"{asymmetry:.0%} can be told from their mirror images, one half by chance"
    if asymmetry < MAX_FLIP_ASYMMETRY:
        return base, (f"mirrored by turns: {measured}",)
    augmentation = replace(base.augmentation, flip=False, alternate=False)
    return replace(base, augmentation=augmentation), (f"never mirrored: {measured}",)


def _compute_reserve(budget_seconds: float, request: PlanRequest) -> float:
    """Return the time that is kept for files, the report and surprises."""
    return (REPORT_SECONDS if request.includes_test else FINISHING_SECONDS) + MARGIN * budget_seconds


def _refuse_settings(changed: Collection[str]) -> None:
    """Refuse settings that the budget decides.

    Raises:
        RecipeError: There is such a setting; the message names the first.
    """
    for path in ("epochs", "steps", "validate_every"):
        if path in changed:
            raise RecipeError(
                f"the setting {path} is decided by the budget; name a recipe to decide it yourself"
            )


def _format_more_time(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes more" if seconds >= 120 else f"{max(1.0, seconds):.0f} seconds more"
