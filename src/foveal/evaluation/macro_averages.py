"""Precision, recall and F1 of a confusion matrix averaged over classes, with their intervals."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Final

import numpy as np

from foveal.types import Floats, Ints

Z_95: Final = NormalDist().inv_cdf(0.975)
"""The standard normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Averages:
    """Precision, recall and F1 averaged over classes, as fractions, each with its 95 % interval."""

    precision: float
    """The mean precision."""
    precision_interval: tuple[float, float]
    """The delta method's 95 % interval for the precision."""
    recall: float
    """The mean recall."""
    recall_interval: tuple[float, float]
    """The delta method's 95 % interval for the recall."""
    f1: float
    """The mean of the classes' F1."""
    f1_interval: tuple[float, float]
    """The delta method's 95 % interval for F1."""


def macro_average(confusion: Ints) -> Averages:
    """Average over the classes that occur or are predicted, with equal weights.

    `confusion` is (K, K), true classes by predicted ones. An undefined value counts as 0. The intervals are
    the delta method's for a sample of images, on counts smoothed as Agresti and Coull smooth proportions.

    Source: K. Takahashi, K. Yamamoto, A. Kuchiba, T. Koyama, Confidence interval for micro-averaged F1 and
    macro-averaged F1 scores, Applied Intelligence 52 (2022), for the delta method.
    """
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1) > 0).astype(np.float64)
    return _average(confusion, occurs / occurs.sum(), weighted_by_images=False)


def weighted_average(confusion: Ints) -> Averages:
    """Average over classes weighted by their images; else as `macro_average`. Recall is the accuracy."""
    return _average(confusion, confusion.sum(axis=1) / confusion.sum(), weighted_by_images=True)


def _average(confusion: Ints, weights: Floats, *, weighted_by_images: bool) -> Averages:
    measured = _ClassAverages(confusion.astype(np.float64), weights, weighted_by_images=weighted_by_images)
    smoothed = _ClassAverages(_smooth(confusion), weights, weighted_by_images=weighted_by_images)

    def interval(value: float, centre: float, gradient: Floats) -> tuple[float, float]:
        half = Z_95 * smoothed.std(gradient)
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


def _smooth(confusion: Ints) -> Floats:
    """Add z² images, half of them correct, to a confusion matrix, divided among classes as the images are.

    Without them the interval of a classifier that makes few or no errors would shrink almost to a point.
    """
    counts = confusion.astype(np.float64)
    k, shares = len(counts), counts.sum(axis=1) / counts.sum()
    wrong = (np.ones((k, k)) - np.eye(k)) / max(1, k - 1)
    smoothed: Floats = counts + Z_95 * Z_95 / 2 * (np.diag(shares) + wrong * shares[:, None])
    return smoothed


class _ClassAverages:
    """Averages over the classes of a confusion matrix, each with its gradient by every cell, (K, K)."""

    def __init__(self, counts: Floats, weights: Floats, *, weighted_by_images: bool) -> None:
        self._counts, self._weights, self._weighted_by_images = counts, weights, weighted_by_images
        self._n = float(counts.sum())
        self._hits = np.diagonal(counts)
        true, predicted = counts.sum(axis=1), counts.sum(axis=0)
        self._per_true, self._per_predicted = _invert(true), _invert(predicted)
        self._per_both = _invert(true + predicted)

    def recall(self) -> tuple[float, Floats]:
        values = self._hits * self._per_true
        return self._average(values, hit=self._per_true, row=values * self._per_true)

    def precision(self) -> tuple[float, Floats]:
        values = self._hits * self._per_predicted
        return self._average(values, hit=self._per_predicted, column=values * self._per_predicted)

    def f1(self) -> tuple[float, Floats]:
        values = 2 * self._hits * self._per_both
        loss = values * self._per_both
        return self._average(values, hit=2 * self._per_both, row=loss, column=loss)

    def _average(
        self,
        values: Floats,
        *,
        hit: Floats,
        row: Floats | float = 0.0,
        column: Floats | float = 0.0,
    ) -> tuple[float, Floats]:
        """Average the classes' values (K,) and return the gradient: the effect of one more image in a cell.

        A correct image adds `hit` to the value of its class. Any image takes `row` from the value of its
        true class and `column` from the value of its predicted class.
        """
        average = float(self._weights @ values)
        gradient = np.diag(self._weights * hit)
        gradient -= (self._weights * row)[:, None] + (self._weights * column)[None, :]
        if self._weighted_by_images:  # the image changes the weights, too
            gradient += (values[:, None] - average) / self._n
        return average, gradient

    def std(self, gradient: Floats) -> float:
        """Return the standard deviation over samples of images of a figure with this gradient."""
        shares = self._counts / self._n
        mean = float((shares * gradient).sum())
        return sqrt(max(0.0, self._n * (float((shares * gradient**2).sum()) - mean**2)))


def _invert(counts: Floats) -> Floats:
    """Return 1 / counts, and 0 where the count is 0."""
    return np.divide(1, counts, out=np.zeros_like(counts), where=counts > 0)
