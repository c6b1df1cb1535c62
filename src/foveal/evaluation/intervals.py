"""How far a measured figure may lie from the true one, at 95 % unless another confidence is asked for.

How often each holds the truth is simulated in `tests/evaluation/test_coverage.py`.
"""

from collections.abc import Callable
from math import sqrt
from statistics import NormalDist


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Give Wilson's score interval for a proportion seen `successes` times in `n` independent trials.

    It is the set of true proportions that a two-sided score test at level 1 - `confidence` does not reject.
    Unlike the textbook interval (±1.96 standard errors) it never leaves [0, 1] and keeps its coverage near 0
    and 1, where good classifiers live. Without trials nothing is known, and the interval is (0, 1).

    Raises:
        ValueError: unless 0 <= `successes` <= `n` and 0 < `confidence` < 1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22
    (1927), 209-212; recommended by Brown, Cai and DasGupta, Statistical Science 16 (2001), 101-133.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials: successes must lie between 0 and the trials")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: must lie strictly between 0 and 1")
    return wilson_interval_of_share(successes / n, n, confidence=confidence) if n else (0.0, 1.0)


def wilson_interval_of_share(share: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Give Wilson's interval by the share itself, which need not be a whole number of n trials."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the bound is exactly 0 or 1; rounding would leave 1e-17 or 1 - 1e-16.
    low = 0.0 if share == 0 else (centre - half) / scale
    high = 1.0 if share == 1 else (centre + half) / scale
    return low, high


def f1_interval(found: int, others: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Give an interval for F1 = 2·TP / (2·TP + FP + FN), of `found` = TP and `others` = FP + FN.

    F1 is 2·J / (1 + J), where J = TP / (TP + FP + FN) is a proportion (Jaccard's index): Wilson's interval
    for J, carried over. Where nothing of the class occurred or was predicted the interval is (0, 1).
    """
    low, high = wilson_interval(found, found + others, confidence=confidence)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def auc_interval(
    area: float, variance: float, positives: int, negatives: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Give an interval for the area under a ROC curve.

    It is the set of true areas t that a score test does not reject: |`area` - t| <= z · √V(t). V is Hanley
    and McNeil's variance in Newcombe's version, which does not vanish when every pair is in order; where the
    data vary more than that model says, by their own `variance` (DeLong's, `roc.Ranking.area_variance`), it
    is raised in proportion. So it is rarely too narrow; where positives scatter less than negatives it is
    wider than need be.

    Source: R. G. Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic, part 2, Statistics in Medicine 25 (2006), 559-573, method 5.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (positives + negatives) / 2

    def modelled(t: float) -> float:
        spread = (1 - t) / (2 - t) + t / (1 + t)
        return t * (1 - t) * (1 + (middle - 1) * spread) / (positives * negatives)

    at_area = modelled(area)
    raised = max(1.0, variance / at_area) if at_area > 0 else 1.0

    def rejected(t: float) -> bool:
        return (area - t) ** 2 > z * z * raised * modelled(t)

    return _boundary(rejected, area, 0.0), _boundary(rejected, area, 1.0)


def _boundary(rejected: Callable[[float], bool], inside: float, end: float) -> float:
    """Halve the way from a value that is not rejected to `end`, until the boundary is met."""
    outside = end
    for _ in range(60):  # the ends themselves are rejected, having no variance, unless they were measured
        middle = (inside + outside) / 2
        if rejected(middle):
            outside = middle
        else:
            inside = middle
    return inside


def average_precision_interval(
    area: float, positives: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Give an interval for the average precision, the area under a precision-recall curve.

    Wilson's, as though it were a share of the positive images. It is wider than need be.

    Source: after K. Boyd, K. H. Eng, C. D. Page, Area under the precision-recall curve: point estimates and
    confidence intervals, ECML PKDD 2013, whose binomial interval collapses at 1.
    """
    return wilson_interval_of_share(area, positives, confidence=confidence)
