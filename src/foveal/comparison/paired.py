"""Two classifiers judged on the same images: what the images on which only one is right can tell.

Everything here follows from three counts: `first` images that only the first classifier gets right, `second`
that only the second does, and `n` images in all. Where both are right, or both wrong, they do not differ.
"""

from collections.abc import Sequence
from math import ceil, erfc, sqrt
from statistics import NormalDist


def mcnemar(first: int, second: int) -> float:
    """Return McNemar's test's two-sided mid-p value: the chance of so uneven a split, were both as good.

    Under that hypothesis each image that only one gets right is a toss of a fair coin. The exact test counts
    the outcome at hand whole and rejects too rarely; mid-p counts half of it.

    Raises:
        ValueError: a count is negative.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157; mid-p as Fagerland, Lydersen and Laake, BMC Medical
    Research Methodology 13:91 (2013), recommend.
    """
    if first < 0 or second < 0:
        raise ValueError(f"{first} and {second} images: counts must not be negative")
    tosses, fewer = first + second, min(first, second)
    if tosses == 0 or first == second:
        return 1.0
    if tosses > _EXACT:
        # The normal limit, its half step left out as mid-p does.
        return erfc(abs(first - second) / sqrt(2 * tosses))
    below, ways = 0, 1
    for k in range(fewer):
        below += ways
        ways = ways * (tosses - k) // (k + 1)  # from the ways to choose k to those to choose k + 1: exact
    return float((2 * below + ways) / 2**tosses)


_EXACT = 1000
"""Tosses up to which the binomial is summed as it is; beyond, its normal limit has the same four digits."""


def accuracy_difference(first: int, second: int, n: int, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return how much more accurate the second classifier is, and an interval for that: fractions.

    Bonett and Price's: Wald's interval for paired proportions after adding one image to either side, which
    keeps its coverage with few images and where the two hardly differ.

    Raises:
        ValueError: the counts do not fit together.

    Source: D. G. Bonett and R. M. Price, Journal of Educational and Behavioral Statistics 37 (2012), 479-488.
    """
    if min(first, second) < 0 or first + second > n or n < 1:
        raise ValueError(f"{first} and {second} of {n} images do not fit together")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p, q, m = (first + 1) / (n + 2), (second + 1) / (n + 2), n + 2
    half = z * sqrt(max(0.0, p + q - (p - q) ** 2) / m)
    return (second - first) / n, max(-1.0, q - p - half), min(1.0, q - p + half)


def estimate_images_needed(
    first: int, second: int, n: int, *, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Estimate the test images with which a difference of this size would be told apart.

    That is: with which McNemar's test at 1 − `confidence` would reject in a share of `power` of such tests,
    if the shares seen here were the true ones. None where there is no difference to find.

    Source: R. J. Connor, Biometrics 43 (1987), 207-211.
    """
    if first == second:
        return None
    apart, gap = (first + second) / n, abs(first - second) / n
    z, reserve = NormalDist().inv_cdf((1 + confidence) / 2), NormalDist().inv_cdf(power)
    return ceil((z * sqrt(apart) + reserve * sqrt(max(0.0, apart - gap**2))) ** 2 / gap**2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests so that all of them together err with the chance of one.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
