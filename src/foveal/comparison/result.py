"""The result of a comparison of classifiers, as figures, as JSON and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from foveal.files.typed_json import json_field, plain
from foveal.progress import printable
from foveal.tables import text_table

MAX_IMAGES_PER_SIDE = 3
"""The text names at most so many images that only one of two classifiers gets right."""
MAX_CONFUSIONS_IN_TEXT = 12
"""The text lists at most so many confusions."""
METHODS = (
    "p: McNemar's test (mid-p), of errors a permutation test; corrected by Holm for all pairs, classes or "
    "confusions. Intervals: Wilson; of differences Bonett and Price."
)
"""The sentence on the methods of a comparison."""


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """A classifier of a comparison with its accuracy and its costs."""

    name: str
    """The name by which it is called in the comparison."""
    details: Mapping[str, object]
    """Further JSON values, such as its run, recipe and seed. In JSON they stand beside the others."""
    accuracy: float
    """The share of images that it classifies correctly."""
    accuracy_interval: tuple[float, float]
    """Wilson's 95 % interval for the accuracy."""
    seconds: float | None
    """The seconds of training, where they are known."""
    parameters: int
    """The number of parameters of the network."""


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """How the recall of a class differs between two classifiers."""

    name: str
    """The name of the class."""
    n: int
    """The number of images of this class."""
    only_first: int
    """The number of its images that only the first classifier gets right."""
    only_second: int
    """The number of its images that only the second classifier gets right."""
    difference: float
    """The second classifier's recall minus the first's."""
    interval: tuple[float, float]
    """Bonett and Price's 95 % interval for the difference."""
    p: float
    """McNemar's p-value, corrected by Holm for all classes of the pair."""


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """An image that only some of the classifiers get right."""

    path: str
    """The relative path of the image."""
    label: str
    """The name of its true class."""
    predicted: tuple[str, ...]
    """The name of the class that each classifier predicts."""
    true_class_probabilities: tuple[float, ...] | None = json_field("of_truth")
    """The probability that each classifier gives to the true class. Its key in JSON is `of_truth`."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The comparison of two classifiers on the same images."""

    first: str
    """The name of the first classifier."""
    second: str
    """The name of the second classifier."""
    both: int
    """The number of images that both get right."""
    only_first: int
    """The number of images that only the first gets right."""
    only_second: int
    """The number of images that only the second gets right."""
    neither: int
    """The number of images that neither gets right."""
    difference: float
    """The second's accuracy minus the first's, as a fraction."""
    interval: tuple[float, float]
    """Bonett and Price's 95 % interval for the difference, not corrected for several pairs."""
    p: float
    """McNemar's mid-p value."""
    p_corrected: float
    """McNemar's mid-p value, corrected by Holm for all pairs of the comparison."""
    verdict: Verdict
    """The verdict on the second classifier against the first."""
    needed: int | None
    """The images that tell such a difference apart in four of five tests. None if they are equally good."""
    classes: tuple[ClassChange, ...]
    """How the recall of each class differs."""
    confusions: tuple[ConfusionChange, ...]
    """How often each classifier confuses which classes, those first that changed most surely, at most 200."""
    mistakes: ErrorComparison | None
    """Whether the errors fall on the same pairs of classes. It is None where one makes no error."""
    mistakes_p_corrected: float | None
    """The p-value of `mistakes`, corrected by Holm for all pairs of the comparison."""

    @property
    def n(self) -> int:
        """The number of images."""
        return self.both + self.only_first + self.only_second + self.neither

    def describe(self) -> str:
        """Return a sentence with the verdict and its figures."""
        first, second = printable(self.first, 80), printable(self.second, 80)
        counts = f"right alone on {self.only_second:,} images, {first} on {self.only_first:,}"
        low, high = (format_points(bound) for bound in self.interval)
        figures = (
            f"difference {format_points(self.difference)} points, 95 % interval {low} to {high}; "
            f"{format_p_value(self.p_corrected)}"
        )
        if self.verdict != "cannot be told apart":
            return f"{second} is {self.verdict} than {first}: {counts} ({figures})."
        if self.needed is None:
            reason = "they are right equally often"
        elif self.needed > self.n:
            needed = format_rounded(self.needed)
            reason = f"about {needed} images would be needed, if the difference is what it seems"
        else:  # among many pairs
            reason = "of so many pairs some differ as much by chance"
        start = f"{second} and {first} cannot be told apart with {self.n:,} images"
        return f"{start}: {counts} ({figures}); {reason}."

    def describe_mistakes(self) -> str:
        """Return a sentence on whether the errors are distributed alike."""
        first, second = printable(self.first, 80), printable(self.second, 80)
        if self.mistakes is None or self.mistakes_p_corrected is None:
            return f"{second if self.both + self.only_second == self.n else first} makes no error."
        figures = (
            f"{self.mistakes.first:,} and {self.mistakes.second:,} errors; "
            f"{100 * self.mistakes.distance:.1f} % of them fall on other pairs of classes, "
            f"{100 * self.mistakes.by_chance:.1f} % were to be expected by chance alone; "
            f"{format_p_value(self.mistakes_p_corrected)}"
        )
        if self.mistakes_p_corrected < SIGNIFICANCE_LEVEL:
            return f"{second}'s errors are distributed otherwise than {first}'s ({figures})."
        return f"That {second}'s errors are distributed otherwise than {first}'s cannot be told ({figures})."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Classifiers compared in pairs on the same images. It shows itself as tables and sentences.

    >>> comparison = foveal.compare("runs/first", "runs/second")
    >>> comparison.split
    'test'
    """

    split: str
    """The name of the images' split."""
    n: int
    """The number of images."""
    contenders: tuple[ComparedModel, ...]
    """The classifiers in the order in which they were given."""
    pairs: tuple[Pair, ...]
    """The comparison of every two classifiers."""
    images: tuple[Disagreement, ...]
    """The images that only some classifiers get right, the largest gaps in probability first."""
    recipes: str
    """A sentence on what the comparison tells about recipes."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values: `compare --json` in docs/contract.md."""
        values = plain(self)
        assert isinstance(values, dict)
        values["contenders"] = [
            {"name": model.pop("name"), **model.pop("details"), **model} for model in values["contenders"]
        ]
        return {"schema": COMPARISON_SCHEMA, "kind": "models", **values}

    def lay_out(self) -> tuple[list[str], list[list[str]]]:
        """Return the table of the classifiers: its header and the texts of its rows."""
        rows = [
            [
                printable(model.name, 60),
                format_percent(model.accuracy, self.n),
                " to ".join(format_percent(bound, self.n) for bound in model.accuracy_interval),
                "" if model.seconds is None else f"{model.seconds:,.1f}",
                f"{model.parameters:,}",
            ]
            for model in self.contenders
        ]
        return ["run", "accuracy", "95 % interval", "seconds of training", "parameters"], rows

    def __str__(self) -> str:
        parts = [
            f"{self.n:,} {self.split} images",
            text_table(*self.lay_out(), right={1, 3, 4}),
            *(pair.describe() for pair in self.pairs),
            *(self._describe_two(self.pairs[0]) if len(self.pairs) == 1 else []),
            METHODS,
            self.recipes,
        ]
        return "\n\n".join(parts)

    __repr__ = __str__

    def _describe_two(self, pair: Pair) -> list[str]:
        """Describe in which classes, confusions and images two classifiers differ."""
        parts = [_describe_classes(pair), pair.describe_mistakes(), _describe_confusions(pair)]
        for side, name, total in ((0, pair.first, pair.only_first), (1, pair.second, pair.only_second)):
            images = [image for image in self.images if image.predicted[side] == image.label]
            if not images:
                continue
            rows = [
                [printable(text, 60) for text in (image.path, image.label, image.predicted[1 - side])]
                for image in images[:MAX_IMAGES_PER_SIDE]
            ]
            title = (
                f"Images that only {printable(name, 80)} gets right: {len(rows)} of {total:,}, all by --json"
            )
            parts.append(f"{title}\n{text_table(['image', 'class', 'the other says'], rows)}")
        return parts


def _describe_classes(pair: Pair) -> str:
    """Lay out the classes whose recall differs by more than chance."""
    changed = [change for change in pair.classes if change.p < SIGNIFICANCE_LEVEL]
    if not changed:
        return f"No class's recall differs by more than chance ({len(pair.classes)} classes)."
    header, rows = lay_out_classes(sorted(changed, key=lambda change: change.difference))
    table = text_table(header, rows, right=set(range(1, len(header))))
    return f"Classes whose recall differs by more than chance:\n{table}"


def lay_out_classes(classes: Sequence[ClassChange]) -> tuple[list[str], list[list[str]]]:
    """Return a table of how the recall of classes differs: its header and the texts of its rows."""
    rows = [
        [
            printable(change.name, 40),
            f"{change.n:,}",
            f"{change.only_first:,}",
            f"{change.only_second:,}",
            format_points(change.difference),
            f"{format_points(change.interval[0])} to {format_points(change.interval[1])}",
            _format_bare_p_value(change.p),
        ]
        for change in classes
    ]
    return ["class", "images", "first alone", "second alone", "recall, points", "95 % interval", "p"], rows


def _describe_confusions(pair: Pair) -> str:
    """Lay out the confusions that are rarer or more frequent by more than chance."""
    changed = [change for change in pair.confusions if change.p < SIGNIFICANCE_LEVEL]
    if not changed:
        return "No two classes are confused more or less often by more than chance."
    table = text_table(*lay_out_confusions(changed[:MAX_CONFUSIONS_IN_TEXT]), right={1, 2, 3})
    n = MAX_CONFUSIONS_IN_TEXT
    selection = f", the surest {n} of {len(changed)}" if len(changed) > n else ""
    return f"Confusions rarer or more frequent by more than chance{selection}:\n{table}"


def lay_out_confusions(confusions: Sequence[ConfusionChange]) -> tuple[list[str], list[list[str]]]:
    """Return a table of how often classes are confused: its header and the texts of its rows."""
    rows = [
        [
            f"{printable(change.true, 40)} → {printable(change.predicted, 40)}",
            f"{change.first:,}",
            f"{change.second:,}",
            _format_bare_p_value(change.p),
        ]
        for change in confusions
    ]
    return ["true → predicted", "first", "second", "p"], rows


def _format_bare_p_value(p: float) -> str:
    """Return a p-value for a column that is headed by p."""
    return format_p_value(p).removeprefix("p ").removeprefix("= ")
