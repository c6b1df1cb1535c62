"""Two recipes with several runs each on the same images: a test with crossed random effects."""

from dataclasses import dataclass
from math import ceil, sqrt

from scipy import stats

from foveal.comparison.seed_variance import residual_variance
from foveal.types import Bools


@dataclass(frozen=True, kw_only=True)
class RecipeDifference:
    """How much more accurate the second recipe is than the first, for all possible seeds and images."""

    difference: float
    """The second recipe's mean accuracy minus the first's, as a fraction."""
    interval: tuple[float, float]
    """The 95 % interval for the difference."""
    p: float
    """The two-sided p-value of the hypothesis that both recipes are equally good."""
    degrees_of_freedom: float
    """Satterthwaite's degrees of freedom of the t distribution."""
    runs_needed: int | None
    """The runs of each recipe that find such a difference in four of five tests. None if no number does."""


def recipe_difference(first: Bools, second: Bools, *, confidence: float = 0.95) -> RecipeDifference:
    """Compare two recipes by which run classifies which image correctly, (runs, images) each.

    The difference of the mean accuracies varies with the seeds of the first recipe, the seeds of the second,
    and the images. The variance over seeds is that of the runs' accuracies. The variance over images is that
    of the images' differences, without what the runs' chance adds to it, which the seeds already contain.
    The sum is the variance of a t distribution with Satterthwaite's degrees of freedom, as in Welch's test.
    It equals Welch's test where both recipes find the same images hard.

    Raises:
        ValueError: A recipe has fewer than two runs, or the images differ.

    Source: F. E. Satterthwaite, Biometrics Bulletin 2 (1946), 110-114; variance components as in
    `seed_variance.variance_components`.
    """
    (n_first, images), (n_second, n_same) = first.shape, second.shape
    if min(n_first, n_second) < 2 or images != n_same or images < 2:
        raise ValueError("two runs of each recipe, judged on the same images, are the least")
    accuracies = first.mean(axis=1), second.mean(axis=1)
    of_first, of_second = (float(each.var(ddof=1)) / len(each) for each in accuracies)
    image_differences = second.mean(axis=0) - first.mean(axis=0)  # (images,)
    chance = residual_variance(first) / n_first + residual_variance(second) / n_second
    of_images = max(0.0, float(image_differences.var(ddof=1)) - chance) / images
    difference, variance = (
        float(accuracies[1].mean() - accuracies[0].mean()),
        of_first + of_second + of_images,
    )
    parts = ((of_first, n_first - 1), (of_second, n_second - 1), (of_images, images - 1))
    weight = sum(part**2 / degrees for part, degrees in parts)
    degrees_of_freedom = variance**2 / weight if weight > 0 else float(n_first + n_second - 2)
    error = sqrt(variance)
    half = float(stats.t.ppf((1 + confidence) / 2, degrees_of_freedom)) * error
    p = (
        float(2 * stats.t.sf(abs(difference) / error, degrees_of_freedom))
        if error > 0
        else float(difference == 0)
    )
    return RecipeDifference(
        difference=difference,
        interval=(difference - half, difference + half),
        p=p,
        degrees_of_freedom=degrees_of_freedom,
        runs_needed=_estimate_runs_needed(difference, of_first * n_first + of_second * n_second, of_images),
    )


def _estimate_runs_needed(difference: float, of_single_runs: float, of_images: float) -> int | None:
    """Estimate the runs of each recipe for a power of 0.8. None where no number of runs suffices."""
    reach = float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    allowed = (difference / reach) ** 2 - of_images
    return max(2, ceil(of_single_runs / allowed)) if allowed > 0 else None
