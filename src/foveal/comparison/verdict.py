"""The words of comparisons: what a test allows to say, and how its figures are written."""

from math import floor, log10
from typing import Literal

COMPARISON_SCHEMA = 2
"""Of `compare --json`. The first had neither confusions nor images nor the distribution of errors."""
SIGNIFICANCE_LEVEL = 0.05
"""Of the tests: two classifiers that are equally good are called different so often."""

Verdict = Literal["better", "worse", "cannot be told apart"]


def decide(difference: float, p: float) -> Verdict:
    """Judge the second of two, `difference` better than the first, by a p-value."""
    if p >= SIGNIFICANCE_LEVEL:
        return "cannot be told apart"
    return "better" if difference > 0 else "worse"


def format_points(fraction: float) -> str:
    """Write a difference of two shares in percentage points, without unit."""
    return f"{100 * fraction:+.2f}"


def format_p_value(p: float) -> str:
    """Write a p-value, `p = 0.03`. What is below 1 in 10,000 is only that: nobody can trust more digits."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def format_rounded(count: int) -> str:
    """Write an estimated count with two digits."""
    rounded = round(count, 1 - floor(log10(count))) if count > 99 else count
    return f"{rounded:,}"
