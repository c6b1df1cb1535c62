"""Confidence intervals for measured figures, at 95 % unless another confidence is given.

`tests/evaluation/test_coverage.py` simulates how often each contains the true figure.
"""

from collections.abc import Callable
from math import sqrt
from statistics import NormalDist


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval for a proportion with `successes` in `n` independent trials.

    It is the set of true proportions that a two-sided score test at level 1 - `confidence` does not reject.
    Unlike the textbook interval (±1.96 standard errors) it never leaves [0, 1]. It keeps its coverage near 0
    and 1, where the accuracies of good classifiers are. Without trials it is (0, 1).

    Raises:
        ValueError: It is not true that 0 <= `successes` <= `n` and 0 < `confidence` < 1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22
    (1927), 209-212; recommended by Brown, Cai and DasGupta, Statistical Science 16 (2001), 101-133.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials: successes must lie between 0 and the trials")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: must lie strictly between 0 and 1")
    return wilson_interval_of_share(successes / n, n, confidence=confidence) if n else (0.0, 1.0)


def wilson_interval_of_share(share: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for a share of n trials that need not be a whole number of trials."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the bound is exactly 0 or 1; rounding would leave 1e-17 or 1 - 1e-16.
    low = 0.0 if share == 0 else (centre - half) / scale
    high = 1.0 if share == 1 else (centre + half) / scale
    return low, high


def f1_interval(n_hits: int, n_errors: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval for F1 = 2·TP / (2·TP + FP + FN), where `n_hits` is TP and `n_errors` is FP + FN.

    F1 is 2·J / (1 + J), where J = TP / (TP + FP + FN) is a proportion, Jaccard's index. So the ends of
    Wilson's interval for J are converted. A class that neither occurs nor is predicted has (0, 1).
    """
    low, high = wilson_interval(n_hits, n_hits + n_errors, confidence=confidence)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def auc_interval(
    area: float, variance: float, positives: int, negatives: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval for the area under a ROC curve.

    It is the set of true areas t that a score test does not reject: |`area` - t| <= z · √V(t). V is Hanley
    and McNeil's variance in Newcombe's version, which is not zero when every pair is in order. Where the
    data's own `variance` (DeLong's, `roc.Ranking.area_variance`) is larger than V, V is increased in
    proportion. So the interval is rarely too narrow. It is wider than necessary where the scores of
    positives vary less than those of negatives.

    Source: R. G. Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic, part 2, Statistics in Medicine 25 (2006), 559-573, method 5.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    mean_count = (positives + negatives) / 2

    def model_variance(t: float) -> float:
        terms = (1 - t) / (2 - t) + t / (1 + t)
        return t * (1 - t) * (1 + (mean_count - 1) * terms) / (positives * negatives)

    at_area = model_variance(area)
    factor = max(1.0, variance / at_area) if at_area > 0 else 1.0

    def is_rejected(t: float) -> bool:
        return (area - t) ** 2 > z * z * factor * model_variance(t)

    return _find_boundary(is_rejected, area, 0.0), _find_boundary(is_rejected, area, 1.0)


def _find_boundary(is_rejected: Callable[[float], bool], inside: float, outside: float) -> float:
    """Bisect between a value that is not rejected and an end of the range until the boundary is found."""
    for _ in range(60):  # the ends 0 and 1 have no variance, so they are rejected unless they were measured
        middle = (inside + outside) / 2
        if is_rejected(middle):
            outside = middle
        else:
            inside = middle
    return inside


def average_precision_interval(
    area: float, positives: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval for the average precision, the area under a precision-recall curve.

    It is Wilson's, as if the area were a share of the positive images. It is wider than necessary.

    Source: after K. Boyd, K. H. Eng, C. D. Page, Area under the precision-recall curve: point estimates and
    confidence intervals, ECML PKDD 2013, whose binomial interval collapses at 1.
    """
    return wilson_interval_of_share(area, positives, confidence=confidence)
