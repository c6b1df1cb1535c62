"""A confusion matrix -> precision, recall and F1 averaged over classes, with their intervals."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, kw_only=True)
class Averages:
    """Precision, recall and F1 averaged over classes, as fractions, each with its 95 % interval."""

    precision: float
    precision_interval: tuple[float, float]
    recall: float
    recall_interval: tuple[float, float]
    f1: float
    f1_interval: tuple[float, float]


def macro_average(confusion: Ints) -> Averages:
    """Average over the classes that occur or were predicted, each counting alike.

    `confusion` is (K, K), true classes by predicted ones. An undefined value counts as 0. The intervals are
    the delta method's, by image, on counts smoothed as Agresti and Coull smooth a proportion's.

    Source: K. Takahashi, K. Yamamoto, A. Kuchiba, T. Koyama, Confidence interval for micro-averaged F1 and
    macro-averaged F1 scores, Applied Intelligence 52 (2022), for the delta method.
    """
    seen = (confusion.sum(axis=0) + confusion.sum(axis=1) > 0).astype(np.float64)
    return _averages(confusion, seen / seen.sum(), by_images=False)


def weighted_average(confusion: Ints) -> Averages:
    """Average over classes, each counting by its images; otherwise as `macro`. Recall is the accuracy."""
    return _averages(confusion, confusion.sum(axis=1) / confusion.sum(), by_images=True)


def _averages(confusion: Ints, weights: Floats, *, by_images: bool) -> Averages:
    measured = _Figures(confusion.astype(np.float64), weights, by_images=by_images)
    smoothed = _Figures(_smoothed(confusion), weights, by_images=by_images)

    def interval(value: float, centre: float, slopes: Floats) -> tuple[float, float]:
        half = Z * smoothed.deviation(slopes)
        return max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half))

    precision, recall, f1 = measured.precision()[0], measured.recall()[0], measured.f1()[0]
    return Averages(
        precision=precision,
        precision_interval=interval(precision, *smoothed.precision()),
        recall=recall,
        recall_interval=interval(recall, *smoothed.recall()),
        f1=f1,
        f1_interval=interval(f1, *smoothed.f1()),
    )


def _smoothed(confusion: Ints) -> Floats:
    """Add z² images, half of them right, to a confusion matrix, divided among classes as the images are.

    Without them the interval of a classifier that made no error, or few, would shrink to a point or nearly.
    """
    counts = confusion.astype(np.float64)
    k, shares = len(counts), counts.sum(axis=1) / counts.sum()
    wrong = (np.ones((k, k)) - np.eye(k)) / max(1, k - 1)
    smoothed: Floats = counts + Z * Z / 2 * (np.diag(shares) + wrong * shares[:, None])
    return smoothed


class _Figures:
    """Averages over the classes of a confusion matrix, each with its slopes: its derivative by every cell."""

    def __init__(self, counts: Floats, weights: Floats, *, by_images: bool) -> None:
        self._counts, self._weights, self._by_images = counts, weights, by_images
        self._n = float(counts.sum())
        self._hits = np.diagonal(counts)
        true, predicted = counts.sum(axis=1), counts.sum(axis=0)
        self._per_true, self._per_predicted = _inverse(true), _inverse(predicted)
        self._per_both = _inverse(true + predicted)

    def recall(self) -> tuple[float, Floats]:
        values = self._hits * self._per_true
        return self._average(values, hit=self._per_true, row=values * self._per_true)

    def precision(self) -> tuple[float, Floats]:
        values = self._hits * self._per_predicted
        return self._average(values, hit=self._per_predicted, column=values * self._per_predicted)

    def f1(self) -> tuple[float, Floats]:
        values = 2 * self._hits * self._per_both
        less = values * self._per_both
        return self._average(values, hit=2 * self._per_both, row=less, column=less)

    def _average(
        self,
        values: Floats,
        *,
        hit: Floats,
        row: Floats | float = 0.0,
        column: Floats | float = 0.0,
    ) -> tuple[float, Floats]:
        """Average the classes' values (K,); say what one more image in a cell (K, K) would change.

        An image adds `hit` to its class if it is found there, and takes `row` from its true class's value
        and `column` from its predicted class's.
        """
        average = float(self._weights @ values)
        slopes = np.diag(self._weights * hit)
        slopes -= (self._weights * row)[:, None] + (self._weights * column)[None, :]
        if self._by_images:  # it changes the weights, too
            slopes += (values[:, None] - average) / self._n
        return average, slopes

    def deviation(self, slopes: Floats) -> float:
        """Return the standard deviation of a figure with such slopes, the images being a sample."""
        shares = self._counts / self._n
        mean = float((shares * slopes).sum())
        return sqrt(max(0.0, self._n * (float((shares * slopes**2).sum()) - mean**2)))


def _inverse(counts: Floats) -> Floats:
    """Return 1 / counts, and 0 where there are none."""
    return np.divide(1, counts, out=np.zeros_like(counts), where=counts > 0)
