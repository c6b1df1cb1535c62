"""Several runs of one recipe: how much they differ, and how much of that is chance in the test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure of several runs."""

    n: int
    mean: float
    deviation: float | None
    """The standard deviation from run to run; None for a single one."""
    interval: tuple[float, float] | None
    """For the mean over all seeds there could be, 95 %, by Student's t; None for a single run."""
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Where the spread of a single run's accuracy comes from: standard deviations, as fractions."""

    seeds: float
    """Another seed, judged on the same images,"""
    images: float
    """and other test images of the same kind, as many."""


def summarize_spread(figures: Sequence[float], *, confidence: float = 0.95) -> Spread:
    """Summarise a share, such as the accuracy, of several runs that differ in nothing but their seeds.

    Raises:
        ValueError: there is no run.
    """
    n = len(figures)
    if n == 0:
        raise ValueError("a spread needs a run at least")
    middle, low, high = mean(figures), min(figures), max(figures)
    if n == 1:
        return Spread(n=1, mean=middle, deviation=None, interval=None, lowest=low, highest=high)
    deviation = stdev(figures)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * deviation / sqrt(n)
    return Spread(
        n=n,
        mean=middle,
        deviation=deviation,
        interval=(max(0.0, middle - half), min(1.0, middle + half)),
        lowest=low,
        highest=high,
    )


def variance_components(right: NDArray[np.bool_]) -> VarianceComponents | None:
    """Split the variance of a run's accuracy; `right` (runs, images) says who got which image right.

    Whether a run gets an image right depends on the image (some are hard for every seed), on the run (some
    seeds are luckier) and on both together. The three variances follow from the mean squares of a two-way
    layout with random effects and one observation a cell; what would be negative is zero. None for a single
    run or image.

    Source: S. R. Searle, G. Casella, C. E. McCulloch, Variance Components (1992), section 4.3.
    """
    runs, images = right.shape
    if runs < 2 or images < 2:
        return None
    values = right.astype(np.float64)
    centre = values.mean()
    by_run = images * float(((values.mean(axis=1) - centre) ** 2).sum())
    by_image = runs * float(((values.mean(axis=0) - centre) ** 2).sum())
    total = float(((values - centre) ** 2).sum())
    rest = max(0.0, total - by_run - by_image) / ((runs - 1) * (images - 1))
    of_runs = max(0.0, (by_run / (runs - 1) - rest) / images)
    of_images = max(0.0, (by_image / (images - 1) - rest) / runs)
    return VarianceComponents(seeds=sqrt(of_runs), images=sqrt((of_images + rest) / images))
