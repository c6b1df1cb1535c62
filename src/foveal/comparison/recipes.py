"""Recipes, each trained with several seeds: which is better, whatever the seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from foveal.comparison.crossed_effects import Bools, recipe_difference
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
from foveal.progress import printable
from foveal.tables import text_table


@dataclass(frozen=True, kw_only=True)
class RecipeRuns:
    """A recipe, by several runs of it."""

    name: str
    right: Bools
    """(runs, images), who got which image right."""
    seconds: float | None = None
    """A run's training takes, in the mean."""
    parameters: int | None = None


@dataclass(frozen=True, kw_only=True)
class RecipePair:
    """What several runs of each say of two recipes."""

    first: str
    second: str
    difference: float
    """The second's mean accuracy less the first's, as a fraction,"""
    interval: tuple[float, float]
    """and its 95 % interval over seeds and images, not corrected for several pairs."""
    p: float
    p_corrected: float
    """By Holm, for all pairs."""
    verdict: Verdict
    """Of the second, against the first."""
    runs_needed: int | None
    """Runs of each that would find such a difference in four comparisons of five; None: no number would."""

    def sentence(self) -> str:
        """Say it in a sentence."""
        low, high = self.interval
        first, second = printable(self.first, 80), printable(self.second, 80)
        gap = (
            f"difference of the means {format_points(self.difference)} points, 95 % interval {format_points(low)} to "
            f"{format_points(high)}; {format_p_value(self.p_corrected)}"
        )
        if self.verdict != "cannot be told apart":
            return f"The recipe of {second} is {self.verdict} than that of {first} ({gap})."
        if self.difference == 0:
            return f"The recipes of {second} and {first} cannot be told apart: their means are equal."
        needed = (
            "no number of runs would do on these images alone"
            if self.runs_needed is None
            else f"about {format_rounded(self.runs_needed)} runs of each would be needed, if it is what it seems"
        )
        return f"The recipes of {second} and {first} cannot be told apart ({gap}); {needed}."


@dataclass(frozen=True, kw_only=True)
class RecipeComparison:
    """Recipes compared in pairs, each by several runs on the same images."""

    split: str
    n: int
    groups: tuple[dict[str, Any], ...]
    """Name, runs, mean, deviation and interval of each, seconds of training in the mean, and parameters."""
    pairs: tuple[RecipePair, ...]

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON: the contract's `compare --json` of groups."""
        values = asdict(self)
        for pair in values["pairs"]:
            pair["interval"] = list(pair["interval"])
        return {"schema": COMPARISON_SCHEMA, "kind": "recipes", **values, "pairs": list(values["pairs"])}

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Lay out the groups: header and rows of cells."""
        rows = [
            [
                printable(each["name"], 60),
                str(each["runs"]),
                f"{100 * each['mean']:.2f} %",
                f"{100 * each['deviation']:.2f}",
                " to ".join(f"{100 * bound:.2f} %" for bound in each["interval"]),
                "" if each["seconds"] is None else f"{each['seconds']:,.1f}",
                "" if each["parameters"] is None else f"{each['parameters']:,}",
            ]
            for each in self.groups
        ]
        header = ["group", "runs", "mean accuracy", "deviation, points", "95 % interval of the mean"]
        header += ["seconds of training", "parameters"]
        return header, rows

    def __str__(self) -> str:
        parts = [f"{self.n:,} {self.split} images", text_table(*self.rows(), right={1, 2, 3, 5, 6})]
        return "\n\n".join([*parts, *(pair.sentence() for pair in self.pairs), METHODS])

    __repr__ = __str__


METHODS = (
    "p: t test over seeds and images with Satterthwaite's degrees of freedom, corrected by Holm for all "
    "pairs. Intervals of a mean: Student's t over seeds."
)


def compare_recipes(groups: Sequence[RecipeRuns], *, split: str) -> RecipeComparison:
    """Compare recipes by who got which image right, the same images in the same order for all."""
    found = [
        (one.name, other.name, recipe_difference(one.right, other.right))
        for one, other in combinations(groups, 2)
    ]
    corrected = holm([each.p for _, _, each in found])
    pairs = []
    for (first, second, each), p in zip(found, corrected, strict=True):
        pairs.append(
            RecipePair(
                first=first,
                second=second,
                difference=each.difference,
                interval=each.interval,
                p=each.p,
                p_corrected=p,
                verdict=decide(each.difference, p),
                runs_needed=each.runs_needed,
            )
        )
    described = []
    for group in groups:
        over = summarize_spread(group.right.mean(axis=1).tolist())
        described.append(
            {
                "name": group.name,
                "runs": over.n,
                "mean": over.mean,
                "deviation": over.deviation,
                "interval": None if over.interval is None else list(over.interval),
                "seconds": group.seconds,
                "parameters": group.parameters,
            }
        )
    n = groups[0].right.shape[1]
    return RecipeComparison(split=split, n=n, groups=tuple(described), pairs=tuple(pairs))
