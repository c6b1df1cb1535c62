"""What a comparison of classifiers found, as figures, as JSON and in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foveal.comparison.confusion_tests import ConfusionChange, ErrorComparison
from foveal.comparison.verdict import (
    COMPARISON_SCHEMA,
    SIGNIFICANCE_LEVEL,
    Verdict,
    format_p_value,
    format_points,
    format_rounded,
)
from foveal.evaluation.metrics import format_percent
from foveal.progress import printable
from foveal.tables import text_table


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
class Disagreement:
    """An image that some of the classifiers get right and others do not."""

    path: str
    label: str
    predicted: tuple[str, ...]
    """By each classifier, in their order."""
    of_truth: tuple[float, ...] | None
    """The probability that each gives to the true class."""


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
    confusions: tuple[ConfusionChange, ...]
    """How often each takes one class for another, most surely changed first; perhaps not all."""
    mistakes: ErrorComparison | None
    """Whether their errors fall on the same pairs of classes; None where one makes none."""
    mistakes_p_corrected: float | None
    """That test's p-value, by Holm for all pairs of the comparison."""

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
            f"difference {format_points(self.difference)} points, 95 % interval {format_points(low)} to {format_points(high)}; "
            f"{format_p_value(self.p_corrected)}"
        )
        if self.verdict != "cannot be told apart":
            return f"{second} is {self.verdict} than {first}: {right} ({gap})."
        if self.needed is None:
            more = "they are right equally often"
        elif self.needed > self.n:
            more = f"about {format_rounded(self.needed)} images would be needed, if the difference is what it seems"
        else:  # among many pairs
            more = "of so many pairs some differ as much by chance"
        return f"{second} and {first} cannot be told apart with {self.n:,} images: {right} ({gap}); {more}."

    def of_mistakes(self) -> str:
        """Say whether the errors are distributed alike."""
        first, second = printable(self.first, 80), printable(self.second, 80)
        if self.mistakes is None or self.mistakes_p_corrected is None:
            return f"{second if self.both + self.only_second == self.n else first} makes no error."
        found = self.mistakes
        figures = (
            f"{found.first:,} and {found.second:,} errors; {100 * found.distance:.1f} % of them fall on "
            f"other pairs of classes, {100 * found.by_chance:.1f} % were to be expected by chance alone; "
            f"{format_p_value(self.mistakes_p_corrected)}"
        )
        if self.mistakes_p_corrected < SIGNIFICANCE_LEVEL:
            return f"{second}'s errors are distributed otherwise than {first}'s ({figures})."
        return f"That {second}'s errors are distributed otherwise than {first}'s cannot be told ({figures})."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Classifiers compared in pairs on the same images. It shows itself as tables and sentences."""

    split: str
    n: int
    contenders: tuple[dict[str, Any], ...]
    """Name, accuracy with its interval, seconds, parameters, and more, of each."""
    pairs: tuple[Pair, ...]
    images: tuple[Disagreement, ...]
    """Those that some get right and others do not; the more they are apart, the sooner."""
    recipes: str
    """Whether it says anything of the recipes, not of these models alone."""

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON: the contract's `compare --json`."""
        values = asdict(self)
        for pair in values["pairs"]:
            pair["interval"] = list(pair["interval"])
            pair["classes"] = [{**each, "interval": list(each["interval"])} for each in pair["classes"]]
            pair["confusions"] = list(pair["confusions"])
        for image in values["images"]:
            image["predicted"] = list(image["predicted"])
            image["of_truth"] = None if image["of_truth"] is None else list(image["of_truth"])
        values["contenders"] = list(values["contenders"])
        values["pairs"], values["images"] = list(values["pairs"]), list(values["images"])
        return {"schema": COMPARISON_SCHEMA, "kind": "models", **values}

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Lay out the contenders: header and rows of cells."""
        rows = [
            [
                printable(each["name"], 60),
                format_percent(each["accuracy"], self.n),
                " to ".join(format_percent(bound, self.n) for bound in each["accuracy_interval"]),
                "" if each["seconds"] is None else f"{each['seconds']:,.1f}",
                f"{each['parameters']:,}",
            ]
            for each in self.contenders
        ]
        return ["run", "accuracy", "95 % interval", "seconds of training", "parameters"], rows

    def __str__(self) -> str:
        parts = [
            f"{self.n:,} {self.split} images",
            text_table(*self.rows(), right={1, 3, 4}),
            *(pair.sentence() for pair in self.pairs),
            *(self._of_two(self.pairs[0]) if len(self.pairs) == 1 else []),
            METHODS,
            self.recipes,
        ]
        return "\n\n".join(parts)

    __repr__ = __str__

    def _of_two(self, pair: Pair) -> list[str]:
        """Say where two of them differ: in which classes, confusions and images."""
        parts = [_classes(pair), pair.of_mistakes(), _confusions(pair)]
        for side, name, theirs in ((0, pair.first, pair.only_first), (1, pair.second, pair.only_second)):
            mine = [each for each in self.images if each.predicted[side] == each.label][:SHOWN]
            if not mine:
                continue
            rows = [
                [*(printable(word, 60) for word in (each.path, each.label, each.predicted[1 - side]))]
                for each in mine
            ]
            title = (
                f"Images that only {printable(name, 80)} gets right: {len(mine)} of {theirs:,}, all by --json"
            )
            parts.append(f"{title}\n{text_table(['image', 'class', 'the other says'], rows)}")
        return parts


SHOWN = 3
"""Images of each side that the text names."""
MOST_ROWS = 12
"""Confusions that the text tables."""
METHODS = (
    "p: McNemar's test (mid-p), of errors a permutation test; corrected by Holm for all pairs, classes or "
    "confusions. Intervals: Wilson; of differences Bonett and Price."
)


def _classes(pair: Pair) -> str:
    """Lay out the classes whose recall differs."""
    changed = [each for each in pair.classes if each.p < SIGNIFICANCE_LEVEL]
    if not changed:
        return f"No class's recall differs by more than chance ({len(pair.classes)} classes)."
    header, rows = class_rows(sorted(changed, key=lambda each: each.difference))
    laid = text_table(header, rows, right=set(range(1, len(header))))
    return f"Classes whose recall differs by more than chance:\n{laid}"


def class_rows(classes: Sequence[ClassChange]) -> tuple[list[str], list[list[str]]]:
    """Lay out how the recall of classes differs: header and rows of cells."""
    rows = [
        [
            printable(each.name, 40),
            f"{each.n:,}",
            f"{each.only_first:,}",
            f"{each.only_second:,}",
            format_points(each.difference),
            f"{format_points(each.interval[0])} to {format_points(each.interval[1])}",
            format_p_value(each.p).removeprefix("p ").removeprefix("= "),
        ]
        for each in classes
    ]
    return ["class", "images", "first alone", "second alone", "recall, points", "95 % interval", "p"], rows


def _confusions(pair: Pair) -> str:
    """Lay out the confusions that are rarer or more frequent."""
    changed = [each for each in pair.confusions if each.p < SIGNIFICANCE_LEVEL]
    if not changed:
        return "No two classes are confused more or less often by more than chance."
    laid = text_table(*confusion_rows(changed[:MOST_ROWS]), right={1, 2, 3})
    more = f", the surest {MOST_ROWS} of {len(changed)}" if len(changed) > MOST_ROWS else ""
    return f"Confusions rarer or more frequent by more than chance{more}:\n{laid}"


def confusion_rows(confusions: Sequence[ConfusionChange]) -> tuple[list[str], list[list[str]]]:
    """Lay out how often classes are confused: header and rows of cells."""
    rows = [
        [
            f"{printable(each.true, 40)} → {printable(each.predicted, 40)}",
            f"{each.first:,}",
            f"{each.second:,}",
            format_p_value(each.p).removeprefix("p ").removeprefix("= "),
        ]
        for each in confusions
    ]
    return ["true → predicted", "first", "second", "p"], rows
