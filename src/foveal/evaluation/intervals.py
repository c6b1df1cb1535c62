"""How far a measured share may lie from the true one."""

from math import sqrt
from statistics import NormalDist


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
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
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the bound is exactly 0 or 1; rounding would leave 1e-17 or 1 - 1e-16.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return low, high
