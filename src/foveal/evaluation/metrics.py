"""The metrics of a classifier on one split: accuracy, loss, precision, recall, F1, areas under curves.

All of it is computed in float64 with numpy. An undefined figure is None, never a silent zero: the precision
of a class that was never predicted, and the recall of a class without images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from foveal.errors import DataError, ModelError, RecipeError, RunError
from foveal.evaluation import roc
from foveal.evaluation.calibration import Confidence, Thresholds, evaluate_calibration, softmax
from foveal.evaluation.intervals import auc_interval, average_precision_interval, f1_interval, wilson_interval
from foveal.evaluation.macro_averages import Averages, macro_average, weighted_average
from foveal.files.typed_json import plain, read
from foveal.progress import printable
from foveal.tables import html_table, text_table
from foveal.types import Floats, Ints

BALANCED_RATIO: Final = 1.2
"""A split is balanced if its largest class has at most this many times the images of its smallest.

Accuracy weights each class's recall by its share of the images, macro recall weights all classes alike. For
class sizes within a ratio r the two differ by at most (√r - 1)/(√r + 1), the total variation between the
shares. This is 4.6 percentage points at 1.2, whatever the classifier does.
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
    """The figures of one class against the rest, as fractions. An undefined figure is None.

    All intervals are 95 % intervals; `foveal.evaluation.intervals` has their methods.
    """

    name: str
    """The name of the class."""
    n: int
    """The number of images of this class."""
    precision: float | None
    """The share of the images predicted as this class that belong to it."""
    precision_interval: tuple[float, float] | None
    """Wilson's interval for the precision."""
    recall: float | None
    """The share of the images of this class that are predicted as it."""
    recall_interval: tuple[float, float] | None
    """Wilson's interval for the recall."""
    f1: float | None
    """The harmonic mean of precision and recall."""
    f1_interval: tuple[float, float] | None
    """The interval for F1, by Wilson's for Jaccard's index."""
    roc_auc: float | None
    """The area under the ROC curve."""
    roc_auc_interval: tuple[float, float] | None
    """Newcombe's interval for the area under the ROC curve."""
    average_precision: float | None
    """The area under the precision-recall curve."""
    average_precision_interval: tuple[float, float] | None
    """Wilson's interval for the average precision, as if it were a share of this class's images."""


@dataclass(frozen=True, kw_only=True)
class ViewScores:
    """The figures with test-time augmentation: logits averaged over several views of each image.

    They are additional. All other figures are of the model as it is saved and used, with one view an image.
    """

    n: int
    """The number of views of each image."""
    accuracy: float
    """The share of images that are classified correctly."""
    accuracy_interval: tuple[float, float]
    """Wilson's 95 % interval for the accuracy."""
    loss: float
    """The mean cross-entropy in nats."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """The figures of a classifier on one split. It shows itself as a table.

    >>> evaluation = foveal.Run("runs/first").evaluation("test")
    >>> low, high = evaluation.accuracy_interval
    >>> low < evaluation.accuracy < high
    True
    """

    split: str
    """The name of the split, such as "test"."""
    n: int
    """The number of images."""
    loss: float
    """The mean cross-entropy in nats."""
    accuracy: float
    """The share of images that are classified correctly."""
    accuracy_interval: tuple[float, float]
    """Wilson's 95 % interval for the accuracy."""
    macro: Averages
    """The averages over classes in which each class counts alike."""
    weighted: Averages
    """The averages over classes in which each image counts alike."""
    classes: tuple[ClassScores, ...]
    """The figures of each class."""
    confusion: tuple[tuple[int, ...], ...]
    """The confusion matrix (K, K): `confusion[i][j]` images of class i are predicted as class j."""
    balanced: bool
    """Whether the largest class has at most `BALANCED_RATIO` times the images of the smallest."""
    confidence: Confidence
    """How far the probabilities can be trusted."""
    views: ViewScores | None = None
    """The figures with test-time augmentation, if they were asked for."""

    def with_views(self, n: int, averaged: "Evaluation") -> "Evaluation":
        """Return a copy with the figures of `averaged` as `views`: the same images with n views of each."""
        assert (averaged.split, averaged.n) == (self.split, self.n)
        views = ViewScores(
            n=n,
            accuracy=averaged.accuracy,
            accuracy_interval=averaged.accuracy_interval,
            loss=averaged.loss,
        )
        return replace(self, views=views)

    @property
    def errors(self) -> int:
        """The number of images that are classified wrongly."""
        return self.n - sum(row[i] for i, row in enumerate(self.confusion))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with the keys of `evaluate --json` in docs/contract.md and more."""
        values = plain(self)
        assert isinstance(values, dict)
        return values

    @classmethod
    def from_json(cls, value: object) -> "Evaluation":
        """Return the evaluation that `to_json` returned.

        Raises:
            RunError: The value is not an evaluation.
        """
        try:
            evaluation = read(value, cls, "evaluation")
        except RecipeError as error:
            raise RunError(f"not an evaluation: {error}; evaluate the run again") from error
        k = len(evaluation.classes)
        if k < 2 or [len(row) for row in evaluation.confusion] != [k] * k or evaluation.n < 1:
            raise RunError("not an evaluation: its parts do not fit together; evaluate the run again")
        return evaluation

    def _rows(self) -> list[list[str]]:
        def row(name: str, n: int, *values: float | None) -> list[str]:
            return [printable(name, 40), f"{n:,}", *(format_percent(value, n) for value in values)]

        rows = [
            [*row(each.name, each.n, each.precision, each.recall, each.f1), roc.format_area(each.roc_auc)]
            for each in self.classes
        ]
        for name, mean in (("macro average", self.macro), ("weighted average", self.weighted)):
            rows.append([*row(name, self.n, mean.precision, mean.recall, mean.f1), ""])
        return rows

    def __str__(self) -> str:
        views = "" if self.views is None else f"{self.views_sentence}\n"
        table = text_table(_HEADER, self._rows(), right={1, 2, 3, 4, 5})
        return f"{self._headline()}\n{views}\n{table}"

    __repr__ = __str__

    def _headline(self) -> str:
        return f"{printable(self.split, 80)}: {self._figures(self)}, {self.n:,} images"

    def _figures(self, scores: "Evaluation | ViewScores") -> str:
        low, high = (format_percent(bound, self.n) for bound in scores.accuracy_interval)
        accuracy = format_percent(scores.accuracy, self.n)
        return f"accuracy {accuracy} (95 % interval {low} to {high}), loss {scores.loss:.4f}"

    @property
    def views_sentence(self) -> str | None:
        """The sentence about test-time augmentation and its cost. It is None where there are no `views`."""
        if self.views is None:
            return None
        return (
            f"On {printable(self.split, 80)}, {self.views.n} views of each image averaged (test-time "
            f"augmentation) give {self._figures(self.views)}; this costs {_times(self.views.n)} the "
            "computing and is no property of the saved model."
        )

    def _repr_html_(self) -> str:
        sentences = filter(None, (self._headline(), self.views_sentence))
        return "".join(f"<p>{escape(text)}</p>" for text in sentences) + html_table(_HEADER, self._rows())


_HEADER: Final = ["class", "images", "precision", "recall", "F1", "ROC AUC"]


def _times(n: int) -> str:
    return {3: "three times", 6: "six times"}.get(n, f"{n} times")


def format_percent(fraction: float | None, n: int) -> str:
    """Return a share of `n` images in percent: two decimals from 5,000 images on, one below, – for None.

    A share that is not exactly 0 or 1 is never written as 0 % or 100 %.
    """
    if fraction is None:
        return "–"
    decimals = 2 if n >= 5000 else 1
    text = f"{100 * fraction:.{decimals}f}"
    if float(text) == 0 and fraction > 0:
        return f"< {10**-decimals:.{decimals}f} %"
    if float(text) == 100 and fraction < 1:
        return f"> {100 - 10**-decimals:.{decimals}f} %"
    return f"{text} %"


# ---- from logits to an evaluation


def evaluate(
    logits: ArrayLike,
    y_true: ArrayLike,
    class_names: Sequence[str],
    *,
    split: str,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Evaluate logits (N, K) against the true classes (N,), integers from 0 to K - 1.

    The largest logit is the prediction; among equal ones, the first. `thresholds` were chosen on other
    images by `calibration.choose_thresholds`.

    Raises:
        DataError: The split has no images.
        ModelError: A logit is not finite.
        ValueError: The shapes or the classes do not fit the class names.
    """
    z, y = _check(logits, y_true, len(class_names), split)
    matrix = confusion_matrix(y, z.argmax(axis=1), len(class_names))
    n_true, n_predicted, n_hits = matrix.sum(axis=1), matrix.sum(axis=0), np.diagonal(matrix)
    probabilities = softmax(z)
    classes = tuple(
        _score_class(
            name,
            n_hits=int(n_hits[k]),
            n_true=int(n_true[k]),
            n_predicted=int(n_predicted[k]),
            ranking=roc.rank_scores(y == k, probabilities[:, k]),
        )
        for k, name in enumerate(class_names)
    )
    n_correct = int(n_hits.sum())
    return Evaluation(
        split=split,
        n=len(y),
        loss=cross_entropy(z, y),
        accuracy=n_correct / len(y),
        accuracy_interval=wilson_interval(n_correct, len(y)),
        macro=macro_average(matrix),
        weighted=weighted_average(matrix),
        classes=classes,
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        balanced=bool(n_true.max() <= BALANCED_RATIO * n_true.min()),
        confidence=evaluate_calibration(z, y, thresholds),
    )


def _score_class(
    name: str, *, n_hits: int, n_true: int, n_predicted: int, ranking: roc.Ranking
) -> ClassScores:
    area, precision_area = ranking.area, ranking.average_precision
    both = n_true + n_predicted
    return ClassScores(
        name=name,
        n=n_true,
        precision=n_hits / n_predicted if n_predicted else None,
        precision_interval=wilson_interval(n_hits, n_predicted) if n_predicted else None,
        recall=n_hits / n_true if n_true else None,
        recall_interval=wilson_interval(n_hits, n_true) if n_true else None,
        f1=2 * n_hits / both if both else None,
        f1_interval=f1_interval(n_hits, both - 2 * n_hits) if both else None,
        roc_auc=area,
        roc_auc_interval=None
        if area is None
        else auc_interval(area, ranking.area_variance, ranking.positives, ranking.negatives),
        average_precision=precision_area,
        average_precision_interval=None
        if precision_area is None
        else average_precision_interval(precision_area, n_true),
    )


def _check(logits: ArrayLike, y_true: ArrayLike, k: int, split: str) -> tuple[Floats, Ints]:
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(y_true)
    if len(y) == 0:
        raise DataError(f"the split {split!r} has no images; name one that has")
    if z.ndim != 2 or y.ndim != 1 or z.shape != (len(y), k):
        raise ValueError(f"logits {z.shape} and labels {y.shape} do not fit {k} classes")
    if not np.isfinite(z).all():
        n_bad = int((~np.isfinite(z)).any(axis=1).sum())
        raise ModelError(f"the model's output is not finite for {n_bad} of {len(y)} images of {split!r}")
    return z, _class_indices(y, k)


def _class_indices(labels: ArrayLike, k: int) -> Ints:
    y = np.asarray(labels)
    if y.size and (y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= k):
        raise ValueError(f"labels must be integers from 0 to {k - 1}")
    return y.astype(np.int64)


def cross_entropy(logits: ArrayLike, y_true: ArrayLike) -> float:
    """Return the mean over images of -ln softmax(logits)[y_true] in nats; logits (N, K), y_true (N,)."""
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(y_true)
    shifted = z - z.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))  # (N,)
    return float(np.mean(log_sums - shifted[np.arange(len(y)), y]))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, k: int) -> Ints:
    """Return (K, K) counts: the entry [i, j] is the number of images of class i predicted as class j."""
    true, predicted = _class_indices(y_true, k), _class_indices(y_pred, k)
    return np.bincount(k * true + predicted, minlength=k * k).reshape(k, k).astype(np.int64)
