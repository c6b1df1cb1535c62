"""The verdicts of comparisons, and how their figures are written."""

from math import floor, log10
from typing import Literal

COMPARISON_SCHEMA = 2
"""The schema of `compare --json`. Version 1 had neither confusions nor images nor mistakes."""
SIGNIFICANCE_LEVEL = 0.05
"""The level of all tests: how often two equally good classifiers are called different."""

Verdict = Literal["better", "worse", "cannot be told apart"]


def decide(difference: float, p: float) -> Verdict:
    """Return the verdict on the second of two, `difference` better than the first, by a p-value."""
    if p >= SIGNIFICANCE_LEVEL:
        return "cannot be told apart"
    return "better" if difference > 0 else "worse"


def format_points(fraction: float) -> str:
    """Return a difference of two shares in percentage points, without the unit."""
    return f"{100 * fraction:+.2f}"


def format_p_value(p: float) -> str:
    """Return a p-value such as `p = 0.03`. Values below 1 in 10,000 are `p < 0.0001`."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def format_rounded(count: int) -> str:
    """Return an estimated count with two digits."""
    rounded = round(count, 1 - floor(log10(count))) if count > 99 else count
    return f"{rounded:,}"
