"""Several runs of one recipe: how much they vary, and how much of this is due to seeds and to test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from scipy import stats

from foveal.types import Bools


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A share, such as the accuracy, over several runs."""

    n: int
    """The number of runs."""
    mean: float
    """The mean over the runs."""
    deviation: float | None
    """The standard deviation from run to run. It is None for a single run."""
    interval: tuple[float, float] | None
    """Student's 95 % interval for the mean over all possible seeds. It is None for a single run."""
    lowest: float
    """The lowest value of the runs."""
    highest: float
    """The highest value of the runs."""


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Standard deviations of a single run's accuracy by their source, as fractions."""

    seeds: float
    """With another seed and the same test images."""
    images: float
    """With as many other test images of the same kind."""


def summarize_spread(values: Sequence[float], *, confidence: float = 0.95) -> Spread:
    """Summarise a share of several runs that differ only in their seeds.

    Raises:
        ValueError: There is no run.
    """
    n = len(values)
    if n == 0:
        raise ValueError("a spread needs a run at least")
    centre, low, high = mean(values), min(values), max(values)
    if n == 1:
        return Spread(n=1, mean=centre, deviation=None, interval=None, lowest=low, highest=high)
    deviation = stdev(values)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * deviation / sqrt(n)
    return Spread(
        n=n,
        mean=centre,
        deviation=deviation,
        interval=(max(0.0, centre - half), min(1.0, centre + half)),
        lowest=low,
        highest=high,
    )


def variance_components(correct: Bools) -> VarianceComponents | None:
    """Split the variance of a run's accuracy; `correct` is (runs, images).

    A correct prediction depends on the image, since some are hard for every seed. It also depends on the run,
    since some seeds are luckier, and on both together. The three variances follow from a two-way layout with
    random effects and one observation in each cell. A negative estimate counts as zero. Returns None for a
    single run or image.

    Source: S. R. Searle, G. Casella, C. E. McCulloch, Variance Components (1992), section 4.3.
    """
    runs, images = correct.shape
    if runs < 2 or images < 2:
        return None
    residual = residual_variance(correct)
    of_runs = max(0.0, float(correct.mean(axis=1).var(ddof=1)) - residual / images)
    of_images = max(0.0, float(correct.mean(axis=0).var(ddof=1)) - residual / runs)
    return VarianceComponents(seeds=sqrt(of_runs), images=sqrt((of_images + residual) / images))


def residual_variance(correct: Bools) -> float:
    """Return the variance in a two-way layout (runs, images) that is due neither to runs nor to images."""
    runs, images = correct.shape
    run_means, image_means = correct.mean(axis=1), correct.mean(axis=0)
    centre = float(run_means.mean())
    total = runs * images * centre * (1 - centre)
    of_runs = images * float(((run_means - centre) ** 2).sum())
    of_images = runs * float(((image_means - centre) ** 2).sum())
    degrees_of_freedom: int = (runs - 1) * (images - 1)
    return max(0.0, float(total - of_runs - of_images)) / degrees_of_freedom
