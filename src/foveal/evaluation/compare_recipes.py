"""Recipes, each trained with several seeds: which is better, whatever the seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from foveal.evaluation.crossed import Right, difference_of_recipes
from foveal.evaluation.paired import holm
from foveal.evaluation.spread import spread
from foveal.evaluation.verdict import SCHEMA, Verdict, judge, p_value, points, roughly
from foveal.progress import printable, table


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
            f"difference of the means {points(self.difference)} points, 95 % interval {points(low)} to "
            f"{points(high)}; {p_value(self.p_corrected)}"
        )
        if self.verdict != "cannot be told apart":
            return f"The recipe of {second} is {self.verdict} than that of {first} ({gap})."
        if self.difference == 0:
            return f"The recipes of {second} and {first} cannot be told apart: their means are equal."
        needed = (
            "no number of runs would do on these images alone"
            if self.runs_needed is None
            else f"about {roughly(self.runs_needed)} runs of each would be needed, if it is what it seems"
        )
        return f"The recipes of {second} and {first} cannot be told apart ({gap}); {needed}."


@dataclass(frozen=True, kw_only=True)
class RecipeComparison:
    """Recipes compared in pairs, each by several runs on the same images."""

    split: str
    n: int
    groups: tuple[dict[str, Any], ...]
    """Name, runs, mean, deviation and interval of each."""
    pairs: tuple[RecipePair, ...]

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON: the contract's `compare --json` of groups."""
        values = asdict(self)
        for pair in values["pairs"]:
            pair["interval"] = list(pair["interval"])
        return {"schema": SCHEMA, "kind": "recipes", **values, "pairs": list(values["pairs"])}

    def __str__(self) -> str:
        rows = [
            [
                printable(each["name"], 60),
                str(each["runs"]),
                f"{100 * each['mean']:.2f} %",
                f"{100 * each['deviation']:.2f}",
                " to ".join(f"{100 * bound:.2f} %" for bound in each["interval"]),
            ]
            for each in self.groups
        ]
        header = ["group", "runs", "mean accuracy", "deviation, points", "95 % interval of the mean"]
        parts = [f"{self.n:,} {self.split} images", table(header, rows, right={1, 2, 3})]
        return "\n\n".join([*parts, *(pair.sentence() for pair in self.pairs)])

    __repr__ = __str__


def compare_recipes(groups: Sequence[tuple[str, Right]], *, split: str) -> RecipeComparison:
    """Compare recipes by who got which image right: of each its name and (runs, images), the same images."""
    found = [
        (one[0], other[0], difference_of_recipes(one[1], other[1])) for one, other in combinations(groups, 2)
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
                verdict=judge(each.difference, p),
                runs_needed=each.runs_needed,
            )
        )
    described = []
    for name, right in groups:
        over = spread(right.mean(axis=1).tolist())
        described.append(
            {
                "name": name,
                "runs": over.n,
                "mean": over.mean,
                "deviation": over.deviation,
                "interval": None if over.interval is None else list(over.interval),
            }
        )
    return RecipeComparison(split=split, n=groups[0][1].shape[1], groups=tuple(described), pairs=tuple(pairs))
