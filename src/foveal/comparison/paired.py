"""Tests of two classifiers on the same images, by the images that only one of them classifies correctly.

Everything here follows from three counts: `first` images that only the first classifier gets right, `second`
images that only the second gets right, and `n` images in all. On all other images the two do not differ.
"""

from collections.abc import Sequence
from math import ceil, erfc, sqrt
from statistics import NormalDist

MAX_EXACT_TOSSES = 1000
"""Up to so many tosses the binomial is summed exactly. Beyond, its normal limit has the same four digits."""


def mcnemar(first: int, second: int) -> float:
    """Return the two-sided mid-p value of McNemar's test of the hypothesis that both are equally good.

    Under this hypothesis each image that only one gets right is a toss of a fair coin. The exact test counts
    the observed outcome fully and rejects too rarely; mid-p counts half of it.

    Raises:
        ValueError: A count is negative.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157; mid-p as Fagerland, Lydersen and Laake, BMC Medical
    Research Methodology 13:91 (2013), recommend.
    """
    if first < 0 or second < 0:
        raise ValueError(f"{first} and {second} images: counts must not be negative")
    tosses, fewer = first + second, min(first, second)
    if tosses == 0 or first == second:
        return 1.0
    if tosses > MAX_EXACT_TOSSES:
        # The normal limit without continuity correction, which is the limit of mid-p.
        return erfc(abs(first - second) / sqrt(2 * tosses))
    below, ways = 0, 1
    for k in range(fewer):
        below += ways
        ways = ways * (tosses - k) // (k + 1)  # the ways to choose k + 1, exactly
    return float((2 * below + ways) / 2**tosses)


def accuracy_difference(
    first: int, second: int, n: int, *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return how much more accurate the second classifier is, and both ends of an interval, as fractions.

    The interval is Bonett and Price's: Wald's interval for paired proportions after adding one image to each
    side. It keeps its coverage with few images and where the two hardly differ.

    Raises:
        ValueError: The counts do not fit together.

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
    """Estimate the number of test images needed to tell a difference of this size apart.

    With so many images McNemar's test at the level 1 − `confidence` rejects in a share of `power` of tests.
    The shares measured here are taken for the true ones. Returns None where there is no difference.

    Source: R. J. Connor, Biometrics 43 (1987), 207-211.
    """
    if first == second:
        return None
    discordant, difference = (first + second) / n, abs(first - second) / n
    z_level, z_power = NormalDist().inv_cdf((1 + confidence) / 2), NormalDist().inv_cdf(power)
    spread = z_level * sqrt(discordant) + z_power * sqrt(max(0.0, discordant - difference**2))
    return ceil(spread**2 / difference**2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's method: all tests together err as rarely as a single one.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
