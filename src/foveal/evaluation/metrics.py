"""Logits and labels -> the numbers by which a classifier is judged.

All of it is computed in float64 with numpy. What is undefined (the precision of a class that was never
predicted, the recall of one without images) is None, never a silent zero.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import DataError, ModelError, RecipeError, RunError
from foveal.evaluation import calibration, macro_averages, roc
from foveal.evaluation.calibration import Confidence, Thresholds
from foveal.evaluation.intervals import auc_interval, average_precision_interval, f1_interval, wilson_interval
from foveal.evaluation.macro_averages import Averages
from foveal.files.typed_json import plain, read
from foveal.progress import printable
from foveal.tables import html_table, text_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BALANCED_RATIO: Final = 1.2
"""A split counts as balanced if its largest class has at most this many times the images of its smallest.

Accuracy weighs each class's recall by its share of the images, macro recall weighs all alike. For class
sizes within a ratio r the two can differ by at most (√r - 1)/(√r + 1) (the total variation between the
shares), whatever the classifier does: 4.6 percentage points at 1.2.
"""

DEFINITIONS: Final[Mapping[str, str]] = {
    "Accuracy": "The share of all images whose class was predicted correctly.",
    "95 % interval": "Where the true share plausibly lies, given how many images were tested (Wilson's score "
    "interval): of many such intervals, 95 in 100 hold the true share.",
    "Loss": "The mean cross-entropy in nats: the average of −ln(probability given to the true class). Lower "
    "is better; a uniform guess among K classes scores ln K.",
    "Precision": "Of the images predicted as a class, the share that belong to it. Undefined (–) for a class "
    "that was never predicted.",
    "Recall": "Of the images that belong to a class, the share that were predicted as it. Undefined (–) for "
    "a class without images.",
    "F1": "The harmonic mean of precision and recall: 2·TP / (2·TP + FP + FN), with TP the images of the "
    "class that were found, FP those of other classes taken for it, and FN those of it that were missed.",
    "Macro": "The plain mean over classes, so that each class counts alike. An undefined value counts as 0; "
    "classes that neither occur nor were predicted are left out.",
    "Weighted": "The mean over classes weighted by each class's number of images, so that each image counts "
    "alike. Weighted recall equals accuracy.",
    "Average precision": "The area under the curve of precision over recall, one class against the rest: the "
    "precision at each image of the class, as the threshold on its probability falls, averaged. Where the "
    "class is rare it is stricter than the ROC AUC; chance gives the share of the class.",
    "ROC AUC": "The area under the curve of true-positive rate over false-positive rate, one class against "
    "the rest, by its predicted probability: the chance that a random image of the class is given a higher "
    "probability for it than a random image of another. 0.5 is chance, 1 is perfect separation.",
}


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """What was measured for one class, as fractions; None where undefined."""

    name: str
    n: int
    """Images of this class."""
    precision: float | None
    precision_interval: tuple[float, float] | None
    """At 95 %, like the others; see `intervals` for their methods."""
    recall: float | None
    recall_interval: tuple[float, float] | None
    f1: float | None
    f1_interval: tuple[float, float] | None
    roc_auc: float | None
    roc_auc_interval: tuple[float, float] | None
    average_precision: float | None
    average_precision_interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Views:
    """How it did on the same images with its logits averaged over several views of each: beside the point.

    The evaluation proper judges the model as it is saved and used, with one view an image.
    """

    n: int
    """Views of each image."""
    accuracy: float
    accuracy_interval: tuple[float, float]
    """Wilson's, at 95 %."""
    loss: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """How a classifier did on one split. Shares are fractions, the loss is in nats."""

    split: str
    n: int
    loss: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    """Wilson's, at 95 %."""
    macro: Averages
    weighted: Averages
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    """(K, K): `confusion[i][j]` images of class i were predicted as class j."""
    balanced: bool
    """Whether the largest class is at most `BALANCED_RATIO` times the smallest."""
    confidence: Confidence
    """How far its probabilities can be believed."""
    views: Views | None = None
    """What test-time augmentation gave, if it was asked for."""

    def with_views(self, n: int, averaged: "Evaluation") -> "Evaluation":
        """Return this with the figures of `averaged` beside it: of the same images, n views of each."""
        assert (averaged.split, averaged.n) == (self.split, self.n)
        views = Views(
            n=n,
            accuracy=averaged.accuracy,
            accuracy_interval=averaged.accuracy_interval,
            loss=averaged.loss,
        )
        return replace(self, views=views)

    @property
    def errors(self) -> int:
        """How many images were predicted wrongly."""
        return self.n - sum(row[i] for i, row in enumerate(self.confusion))

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON with the keys of the contract's `evaluate --json` and more."""
        values = plain(self)
        assert isinstance(values, dict)
        return values

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Evaluation":
        """Read what `to_json` gave.

        Raises:
            RunError: it is not that.
        """
        try:
            found = read(value, cls, "evaluation")
        except RecipeError as error:
            raise RunError(f"not an evaluation: {error}; evaluate the run again") from error
        assert isinstance(found, cls)
        k = len(found.classes)
        if k < 2 or [len(row) for row in found.confusion] != [k] * k or found.n < 1:
            raise RunError("not an evaluation: its parts do not fit together; evaluate the run again")
        return found

    def _rows(self) -> list[list[str]]:
        def row(name: str, n: int, *values: float | None) -> list[str]:
            return [printable(name, 40), f"{n:,}", *(format_percent(value, n) for value in values)]

        rows = [[*row(c.name, c.n, c.precision, c.recall, c.f1), roc.format_area(c.roc_auc)] for c in self.classes]
        for name, mean in (("macro average", self.macro), ("weighted average", self.weighted)):
            rows.append([*row(name, self.n, mean.precision, mean.recall, mean.f1), ""])
        return rows

    def __str__(self) -> str:
        shown = text_table(_HEADER, self._rows(), right={1, 2, 3, 4, 5})
        seen = "" if self.views is None else f"{self.views_sentence}\n"
        return f"{self._headline()}\n{seen}\n{shown}"

    __repr__ = __str__

    def _headline(self) -> str:
        return f"{printable(self.split, 80)}: {self._figures(self)}, {self.n:,} images"

    def _figures(self, of: "Evaluation | Views") -> str:
        low, high = of.accuracy_interval
        return (
            f"accuracy {format_percent(of.accuracy, self.n)} (95 % interval {format_percent(low, self.n)} to "
            f"{format_percent(high, self.n)}), loss {of.loss:.4f}"
        )

    @property
    def views_sentence(self) -> str | None:
        """What test-time augmentation gave, what it costs and what it is not; None where it was not asked."""
        if self.views is None:
            return None
        return (
            f"On {printable(self.split, 80)}, {self.views.n} views of each image averaged (test-time "
            f"augmentation) give {self._figures(self.views)}; this costs {_times(self.views.n)} the "
            "computing and is no property of the saved model."
        )

    def _repr_html_(self) -> str:
        head = "".join(
            f"<p>{html.escape(text)}</p>" for text in (self._headline(), self.views_sentence) if text
        )
        return head + html_table(_HEADER, self._rows())


_HEADER: Final = ["class", "images", "precision", "recall", "F1", "ROC AUC"]


def _times(n: int) -> str:
    return {3: "three times", 6: "six times"}.get(n, f"{n} times")


def format_percent(fraction: float | None, n: int) -> str:
    """Write a share measured on `n` images: two decimals from 5,000 on, one below; – for None.

    What is not exactly 0 or 1 is never written as 0 or 100 %.
    """
    if fraction is None:
        return "–"
    decimals = 2 if n >= 5000 else 1
    shown = f"{100 * fraction:.{decimals}f}"
    if float(shown) == 0 and fraction > 0:
        return f"< {10**-decimals:.{decimals}f} %"
    if float(shown) == 100 and fraction < 1:
        return f"> {100 - 10**-decimals:.{decimals}f} %"
    return f"{shown} %"


# ---- from logits to an evaluation


def evaluate(
    logits: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    *,
    split: str,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Judge logits (N, K) against integer labels (N,).

    The largest logit is the prediction; among equal ones, the first. `tuned` is what was chosen on other
    images for the model's probabilities: see `calibration.tune`.

    Raises:
        DataError: the split has no images.
        ModelError: a logit is not finite.
        ValueError: shapes or labels do not fit the class names.
    """
    z, y = _checked(logits, labels, len(class_names), split)
    matrix = confusion_matrix(y, z.argmax(axis=1), len(class_names))
    n_true, n_predicted, hits = matrix.sum(axis=1), matrix.sum(axis=0), np.diagonal(matrix)
    probabilities = softmax(z)
    classes = tuple(
        _scores(
            name,
            hits=int(hits[k]),
            true=int(n_true[k]),
            predicted=int(n_predicted[k]),
            ranked=roc.rank_scores(y == k, probabilities[:, k]),
        )
        for k, name in enumerate(class_names)
    )
    correct = int(hits.sum())
    return Evaluation(
        split=split,
        n=len(y),
        loss=cross_entropy(z, y),
        accuracy=correct / len(y),
        accuracy_interval=wilson_interval(correct, len(y)),
        macro=macro_averages.macro_average(matrix),
        weighted=macro_averages.weighted_average(matrix),
        classes=classes,
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
        balanced=bool(n_true.max() <= BALANCED_RATIO * n_true.min()),
        confidence=calibration.evaluate_calibration(z, y, thresholds),
    )


def _scores(name: str, *, hits: int, true: int, predicted: int, ranked: roc.Ranking) -> ClassScores:
    area, average = ranked.area, ranked.average_precision
    either = true + predicted
    return ClassScores(
        name=name,
        n=true,
        precision=hits / predicted if predicted else None,
        precision_interval=wilson_interval(hits, predicted) if predicted else None,
        recall=hits / true if true else None,
        recall_interval=wilson_interval(hits, true) if true else None,
        f1=2 * hits / either if either else None,
        f1_interval=f1_interval(hits, either - 2 * hits) if either else None,
        roc_auc=area,
        roc_auc_interval=None
        if area is None
        else auc_interval(area, ranked.area_variance, ranked.positives, ranked.negatives),
        average_precision=average,
        average_precision_interval=None if average is None else average_precision_interval(average, true),
    )


def _checked(logits: ArrayLike, labels: ArrayLike, k: int, split: str) -> tuple[Floats, Ints]:
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if len(y) == 0:
        raise DataError(f"the split {split!r} has no images; name one that has")
    if z.ndim != 2 or y.ndim != 1 or z.shape != (len(y), k):
        raise ValueError(f"logits {z.shape} and labels {y.shape} do not fit {k} classes")
    if not np.isfinite(z).all():
        bad = int((~np.isfinite(z)).any(axis=1).sum())
        raise ModelError(f"the model's output is not finite for {bad} of {len(y)} images of {split!r}")
    return z, _indices(y, k)


def _indices(labels: ArrayLike, k: int) -> Ints:
    y = np.asarray(labels)
    if y.size and (y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= k):
        raise ValueError(f"labels must be integers from 0 to {k - 1}")
    return y.astype(np.int64)


# ---- the mathematics


def softmax(logits: ArrayLike) -> Floats:
    """Turn logits (N, K) into probabilities (N, K); each row sums to 1."""
    return calibration.softmax(np.asarray(logits, dtype=np.float64))


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Give the mean over images of -ln softmax(logits)[label], in nats; logits (N, K), labels (N,)."""
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    shifted = z - z.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))  # (N,)
    return float(np.mean(log_sums - shifted[np.arange(len(y)), y]))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, k: int) -> Ints:
    """Count (K, K): entry [i, j] is how many images of class i were predicted as class j."""
    true, predicted = _indices(y_true, k), _indices(y_pred, k)
    return np.bincount(k * true + predicted, minlength=k * k).reshape(k, k).astype(np.int64)
