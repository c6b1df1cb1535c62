"""Recipes, each trained with several seeds: which is better, whatever the seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from foveal.comparison.crossed_effects import recipe_difference
from foveal.comparison.paired import holm
from foveal.comparison.seed_variance import summarize_spread
from foveal.comparison.verdict import (
    COMPARISON_SCHEMA,
    Verdict,
    decide,
    format_p_value,
    format_points,
    format_rounded,
)
from foveal.files.typed_json import plain
from foveal.progress import printable
from foveal.tables import text_table
from foveal.types import Bools

METHODS = (
    "p: t test over seeds and images with Satterthwaite's degrees of freedom, corrected by Holm for all "
    "pairs. Intervals of a mean: Student's t over seeds."
)
"""The sentence on the methods of a comparison."""


@dataclass(frozen=True, kw_only=True)
class RecipeRuns:
    """Several runs of a recipe."""

    name: str
    """The name by which the recipe is called in the comparison."""
    correct: Bools
    """Which run classifies which image correctly, (runs, images)."""
    seconds: float | None = None
    """The mean seconds of training of a run, where they are known."""
    parameters: int | None = None
    """The number of parameters of the network, where it is known."""


@dataclass(frozen=True, kw_only=True)
class RecipeSummary:
    """The accuracy of a recipe over its runs."""

    name: str
    """The name by which the recipe is called in the comparison."""
    runs: int
    """The number of runs."""
    mean: float
    """The mean accuracy."""
    deviation: float | None
    """The standard deviation of the accuracy from run to run."""
    interval: tuple[float, float] | None
    """Student's 95 % interval for the mean accuracy over all possible seeds."""
    seconds: float | None
    """The mean seconds of training of a run, where they are known."""
    parameters: int | None
    """The number of parameters of the network, where it is known."""


@dataclass(frozen=True, kw_only=True)
class RecipePair:
    """The comparison of two recipes by several runs of each."""

    first: str
    """The name of the first recipe."""
    second: str
    """The name of the second recipe."""
    difference: float
    """The second recipe's mean accuracy minus the first's, as a fraction."""
    interval: tuple[float, float]
    """The 95 % interval for the difference over seeds and images, not corrected for several pairs."""
    p: float
    """The p-value of the test with crossed random effects."""
    p_corrected: float
    """The p-value, corrected by Holm for all pairs."""
    verdict: Verdict
    """The verdict on the second recipe against the first."""
    runs_needed: int | None
    """The runs of each that find such a difference in four of five comparisons. None if no number does."""

    def describe(self) -> str:
        """Return a sentence with the verdict and its figures."""
        first, second = printable(self.first, 80), printable(self.second, 80)
        low, high = (format_points(bound) for bound in self.interval)
        figures = (
            f"difference of the means {format_points(self.difference)} points, 95 % interval {low} to "
            f"{high}; {format_p_value(self.p_corrected)}"
        )
        if self.verdict != "cannot be told apart":
            return f"The recipe of {second} is {self.verdict} than that of {first} ({figures})."
        if self.difference == 0:
            return f"The recipes of {second} and {first} cannot be told apart: their means are equal."
        needed = "no number of runs would do on these images alone"
        if self.runs_needed is not None:
            count = format_rounded(self.runs_needed)
            needed = f"about {count} runs of each would be needed, if it is what it seems"
        return f"The recipes of {second} and {first} cannot be told apart ({figures}); {needed}."


@dataclass(frozen=True, kw_only=True)
class RecipeComparison:
    """Recipes compared in pairs, each by several runs on the same images.

    >>> group = foveal.repeat("digits", runs=2, recipe="digits", settings={"epochs": 1}, out="runs/two")
    >>> other = foveal.repeat("digits", runs=2, recipe="digits", settings={"epochs": 2}, out="runs/other")
    >>> foveal.compare(group, other).split
    'test'
    """

    split: str
    """The name of the images' split."""
    n: int
    """The number of images."""
    groups: tuple[RecipeSummary, ...]
    """The recipes in the order in which their groups of runs were given."""
    pairs: tuple[RecipePair, ...]
    """The comparison of every two recipes."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values: `compare --json` of groups in docs/contract.md."""
        values = plain(self)
        assert isinstance(values, dict)
        return {"schema": COMPARISON_SCHEMA, "kind": "recipes", **values}

    def lay_out(self) -> tuple[list[str], list[list[str]]]:
        """Return the table of the recipes: its header and the texts of its rows."""
        rows = [
            [
                printable(group.name, 60),
                str(group.runs),
                f"{100 * group.mean:.2f} %",
                "" if group.deviation is None else f"{100 * group.deviation:.2f}",
                ""
                if group.interval is None
                else " to ".join(f"{100 * bound:.2f} %" for bound in group.interval),
                "" if group.seconds is None else f"{group.seconds:,.1f}",
                "" if group.parameters is None else f"{group.parameters:,}",
            ]
            for group in self.groups
        ]
        header = ["group", "runs", "mean accuracy", "deviation, points", "95 % interval of the mean"]
        return [*header, "seconds of training", "parameters"], rows

    def __str__(self) -> str:
        parts = [f"{self.n:,} {self.split} images", text_table(*self.lay_out(), right={1, 2, 3, 5, 6})]
        return "\n\n".join([*parts, *(pair.describe() for pair in self.pairs), METHODS])

    __repr__ = __str__


def compare_recipes(groups: Sequence[RecipeRuns], *, split: str) -> RecipeComparison:
    """Compare every two recipes on the same images, in the given order, the second against the first.

    Raises:
        ValueError: A recipe has fewer than two runs, or the images differ.
    """
    pairs = list(combinations(groups, 2))
    differences = [recipe_difference(first.correct, second.correct) for first, second in pairs]
    corrected = holm([difference.p for difference in differences])
    return RecipeComparison(
        split=split,
        n=groups[0].correct.shape[1],
        groups=tuple(_summarize(group) for group in groups),
        pairs=tuple(
            RecipePair(
                first=first.name,
                second=second.name,
                difference=each.difference,
                interval=each.interval,
                p=each.p,
                p_corrected=p,
                verdict=decide(each.difference, p),
                runs_needed=each.runs_needed,
            )
            for (first, second), each, p in zip(pairs, differences, corrected, strict=True)
        ),
    )


def _summarize(group: RecipeRuns) -> RecipeSummary:
    spread = summarize_spread(group.correct.mean(axis=1).tolist())
    return RecipeSummary(
        name=group.name,
        runs=spread.n,
        mean=spread.mean,
        deviation=spread.deviation,
        interval=spread.interval,
        seconds=group.seconds,
        parameters=group.parameters,
    )
