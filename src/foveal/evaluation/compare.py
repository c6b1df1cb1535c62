"""Several classifiers on the same images: which is better, and whether these images suffice to say so."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foveal.evaluation.crossed import Right, difference_of_recipes
from foveal.evaluation.intervals import wilson
from foveal.evaluation.metrics import percent
from foveal.evaluation.paired import difference, holm, images_needed, mcnemar
from foveal.evaluation.spread import spread
from foveal.progress import printable, table

SCHEMA = 1
LEVEL = 0.05
"""Of the test: two classifiers that are equally good are called different so often."""

Verdict = Literal["better", "worse", "cannot be told apart"]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A classifier with what it predicted, and what it cost."""

    name: str
    predicted: NDArray[np.int64]
    """(N,), the class it gives to each image."""
    seconds: float | None
    """Of training."""
    parameters: int
    about: dict[str, Any]
    """What else is to be told of it, as JSON values."""


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """How the recall of a class differs between two classifiers."""

    name: str
    n: int
    only_first: int
    only_second: int
    difference: float
    """The second's recall less the first's."""
    interval: tuple[float, float]
    p: float
    """McNemar's, corrected by Holm for all classes of the pair."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What the images say of two classifiers."""

    first: str
    second: str
    both: int
    """Images that both get right,"""
    only_first: int
    only_second: int
    neither: int
    difference: float
    """The second's accuracy less the first's, as a fraction,"""
    interval: tuple[float, float]
    """and its 95 % interval (Bonett and Price), not corrected for several pairs."""
    p: float
    """McNemar's mid-p value,"""
    p_corrected: float
    """and by Holm for all pairs of the comparison."""
    verdict: Verdict
    """Of the second, against the first."""
    needed: int | None
    """Images with which a difference of this size would be found in four tests of five; None: none."""
    classes: tuple[ClassChange, ...]

    @property
    def n(self) -> int:
        """Images."""
        return self.both + self.only_first + self.only_second + self.neither

    def sentence(self) -> str:
        """Say it in a sentence."""
        low, high = self.interval
        first, second = printable(self.first, 80), printable(self.second, 80)
        right = f"right alone on {self.only_second:,} images, {first} on {self.only_first:,}"
        gap = (
            f"difference {_points(self.difference)} points, 95 % interval {_points(low)} to {_points(high)}; "
            f"p = {self.p_corrected:.2g}"
        )
        if self.verdict != "cannot be told apart":
            return f"{second} is {self.verdict} than {first}: {right} ({gap})."
        if self.needed is None:
            more = "they are right equally often"
        elif self.needed > self.n:
            more = f"about {self.needed:,} images would be needed, if the difference is what it seems"
        else:  # among many pairs
            more = "of so many pairs some differ as much by chance"
        return f"{second} and {first} cannot be told apart with {self.n:,} images: {right} ({gap}); {more}."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Classifiers compared in pairs on the same images. It shows itself as tables and sentences."""

    split: str
    n: int
    contenders: tuple[dict[str, Any], ...]
    """Name, accuracy with its interval, seconds, parameters, and more, of each."""
    pairs: tuple[Pair, ...]
    recipes: str
    """Whether it says anything of the recipes, not of these models alone."""

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON: the contract's `compare --json`."""
        values = asdict(self)
        for pair in values["pairs"]:
            pair["interval"] = list(pair["interval"])
            pair["classes"] = [{**each, "interval": list(each["interval"])} for each in pair["classes"]]
        return {"schema": SCHEMA, "kind": "models", **values, "pairs": list(values["pairs"])}

    def __str__(self) -> str:
        rows = [
            [
                printable(each["name"], 60),
                percent(each["accuracy"], self.n),
                " to ".join(percent(bound, self.n) for bound in each["accuracy_interval"]),
                "" if each["seconds"] is None else f"{each['seconds']:,.1f}",
                f"{each['parameters']:,}",
            ]
            for each in self.contenders
        ]
        header = ["run", "accuracy", "95 % interval", "seconds of training", "parameters"]
        parts = [
            f"{self.n:,} {self.split} images",
            table(header, rows, right={1, 3, 4}),
            *(pair.sentence() for pair in self.pairs),
            *self._classes(),
            self.recipes,
        ]
        return "\n\n".join(parts)

    __repr__ = __str__

    def _classes(self) -> list[str]:
        """Lay out the classes whose recall differs, where two are compared."""
        if len(self.pairs) != 1:
            return []
        (pair,) = self.pairs
        changed = [each for each in pair.classes if each.p < LEVEL]
        if not changed:
            n = len(pair.classes)
            return [f"No class's recall differs by more than chance ({n} classes, Holm's correction)."]
        rows = [
            [
                printable(each.name, 40),
                f"{each.n:,}",
                f"{each.only_first:,}",
                f"{each.only_second:,}",
                _points(each.difference),
                f"{each.p:.2g}",
            ]
            for each in sorted(changed, key=lambda each: each.difference)
        ]
        header = ["class", "images", "first alone", "second alone", "recall, points", "p"]
        return [
            "Classes whose recall differs by more than chance:\n" + table(header, rows, right={1, 2, 3, 4, 5})
        ]


def compare(
    contenders: Sequence[Contender],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    split: str,
    recipes: str,
) -> Comparison:
    """Compare classifiers that predicted the same images, in the same order, of true `labels` (N,).

    Every two are compared, in the order given, the second against the first.
    """
    right = [contender.predicted == labels for contender in contenders]
    found = [
        _pair(contenders[one].name, contenders[other].name, right[one], right[other], labels, classes)
        for one, other in combinations(range(len(contenders)), 2)
    ]
    corrected = holm([pair["p"] for pair in found])
    pairs = []
    for pair, p in zip(found, corrected, strict=True):
        verdict: Verdict = "cannot be told apart"
        if p < LEVEL:
            verdict = "better" if pair["difference"] > 0 else "worse"
        pairs.append(Pair(**pair, p_corrected=p, verdict=verdict))
    n = len(labels)
    described = tuple(
        {
            "name": each.name,
            **each.about,
            "accuracy": int(correct.sum()) / n,
            "accuracy_interval": list(wilson(int(correct.sum()), n)),
            "seconds": each.seconds,
            "parameters": each.parameters,
        }
        for each, correct in zip(contenders, right, strict=True)
    )
    return Comparison(split=split, n=n, contenders=described, pairs=tuple(pairs), recipes=recipes)


def _pair(
    first: str,
    second: str,
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    labels: NDArray[np.int64],
    classes: Sequence[str],
) -> dict[str, Any]:
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    gap, *interval = difference(only_first, only_second, len(labels))
    changes: list[dict[str, Any]] = []
    for label, name in enumerate(classes):
        mine = labels == label
        n = int(mine.sum())
        if n == 0:
            continue
        alone, alone_too = int((one & ~other & mine).sum()), int((other & ~one & mine).sum())
        by, *within = difference(alone, alone_too, n)
        changes.append(
            {
                "name": name,
                "n": n,
                "only_first": alone,
                "only_second": alone_too,
                "difference": by,
                "interval": tuple(within),
            }
        )
    p_values = holm([mcnemar(each["only_first"], each["only_second"]) for each in changes])
    return {
        "first": first,
        "second": second,
        "both": int((one & other).sum()),
        "only_first": only_first,
        "only_second": only_second,
        "neither": int((~one & ~other).sum()),
        "difference": gap,
        "interval": tuple(interval),
        "p": mcnemar(only_first, only_second),
        "needed": images_needed(only_first, only_second, len(labels)),
        "classes": tuple(ClassChange(**each, p=p) for each, p in zip(changes, p_values, strict=True)),
    }


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
            f"difference of the means {_points(self.difference)} points, 95 % interval {_points(low)} to "
            f"{_points(high)}; p = {self.p_corrected:.2g}"
        )
        if self.verdict != "cannot be told apart":
            return f"The recipe of {second} is {self.verdict} than that of {first} ({gap})."
        if self.difference == 0:
            return f"The recipes of {second} and {first} cannot be told apart: their means are equal."
        needed = (
            "no number of runs would do on these images alone"
            if self.runs_needed is None
            else f"about {self.runs_needed:,} runs of each would be needed, if it is what it seems"
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
        verdict: Verdict = "cannot be told apart"
        if p < LEVEL:
            verdict = "better" if each.difference > 0 else "worse"
        pairs.append(
            RecipePair(
                first=first,
                second=second,
                difference=each.difference,
                interval=each.interval,
                p=each.p,
                p_corrected=p,
                verdict=verdict,
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


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"
