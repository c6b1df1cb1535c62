"""Two recipes, each trained with several seeds and judged on the same images: the recipe, or luck."""

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class RecipeDifference:
    """How much more accurate the second recipe is than the first, over seeds and images there could be."""

    difference: float
    """Of the mean accuracies, as a fraction,"""
    interval: tuple[float, float]
    """and its 95 % interval."""
    p: float
    """Two-sided, that the recipes are equally good."""
    degrees: float
    """Of freedom, Satterthwaite's."""
    runs_needed: int | None
    """Runs of each with which four such comparisons of five would find such a difference; None: none."""


def recipe_difference(first: Bools, second: Bools, *, confidence: float = 0.95) -> RecipeDifference:
    """Compare two recipes by who got which image right: `first` and `second` are (runs, images).

    Three things make the difference of their means vary: the seeds of the first, those of the second, and
    which images there are. The variance over seeds is that of the runs' accuracies. That over images is the
    variance of the images' differences, less what the runs' chance adds to it, which is counted with the
    seeds already. The sum is taken for a t distribution with Satterthwaite's degrees of freedom, as in
    Welch's test, to which this comes down where both recipes find the same images hard.

    Raises:
        ValueError: less than two runs of a recipe, or other images.

    Source: F. E. Satterthwaite, Biometrics Bulletin 2 (1946), 110-114; variance components as in
    `spread.sources`.
    """
    (runs, images), (others, same) = first.shape, second.shape
    if min(runs, others) < 2 or images != same or images < 2:
        raise ValueError("two runs of each recipe, judged on the same images, are the least")
    one, other = first.mean(axis=1), second.mean(axis=1)
    by_seed = (float(one.var(ddof=1)) / runs, float(other.var(ddof=1)) / others)
    apart = second.mean(axis=0) - first.mean(axis=0)  # (images,)
    chance = _rest(first) / runs + _rest(second) / others
    by_image = max(0.0, float(apart.var(ddof=1)) - chance) / images
    gap, variance = float(other.mean() - one.mean()), by_seed[0] + by_seed[1] + by_image
    parts = ((by_seed[0], runs - 1), (by_seed[1], others - 1), (by_image, images - 1))
    weight = sum(part**2 / free for part, free in parts)
    degrees = variance**2 / weight if weight > 0 else float(runs + others - 2)
    error = sqrt(variance)
    half = float(stats.t.ppf((1 + confidence) / 2, degrees)) * error
    p = float(2 * stats.t.sf(abs(gap) / error, degrees)) if error > 0 else float(gap == 0)
    return RecipeDifference(
        difference=gap,
        interval=(gap - half, gap + half),
        p=p,
        degrees=degrees,
        runs_needed=_runs_needed(gap, by_seed[0] * runs + by_seed[1] * others, by_image),
    )


def _rest(right: Bools) -> float:
    """Return the variance that is neither the run's nor the image's, of a two-way layout (runs, images)."""
    runs, images = right.shape
    by_run, by_image = right.mean(axis=1), right.mean(axis=0)
    centre = float(by_run.mean())
    total = runs * images * centre * (1 - centre)
    ours = images * float(((by_run - centre) ** 2).sum())
    theirs = runs * float(((by_image - centre) ** 2).sum())
    free: int = (runs - 1) * (images - 1)
    return max(0.0, float(total - ours - theirs)) / free


def _runs_needed(gap: float, by_seed: float, by_image: float) -> int | None:
    """Estimate the runs of each recipe for a power of 0.8; None where no number of runs would do."""
    reach = float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    room = (gap / reach) ** 2 - by_image
    return max(2, ceil(by_seed / room)) if room > 0 else None
