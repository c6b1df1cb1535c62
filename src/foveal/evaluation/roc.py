"""ROC and precision-recall curves of one class against the rest, and the areas under them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from foveal.types import Bools, Floats, Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Images sorted by a score: how many positive and negative ones reach each distinct threshold."""

    tp: Ints
    """The true positives at each of P thresholds, (P,): from 0 at infinity to all positive images."""
    fp: Ints
    """The false positives at each threshold, (P,): from 0 at infinity to all negative images."""

    @property
    def positives(self) -> int:
        """The number of positive images."""
        return int(self.tp[-1])

    @property
    def negatives(self) -> int:
        """The number of negative images."""
        return int(self.fp[-1])

    @property
    def area(self) -> float | None:
        """The area under the ROC curve. It is None without positive or without negative images.

        It is the share of pairs (positive, negative) in which the positive image scores higher, where ties
        count half (Mann and Whitney's U). It is counted in integers, so it is rounded only once.
        """
        pairs = self.positives * self.negatives
        if pairs == 0:
            return None
        return int((np.diff(self.fp) * (self.tp[1:] + self.tp[:-1])).sum()) / (2 * pairs)

    @property
    def area_variance(self) -> float:
        """DeLong's estimate of the variance of that area; it counts a side with a single image as 0.

        Source: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Comparing the areas under two or more
        correlated receiver operating characteristic curves, Biometrics 44 (1988), 837-845.
        """
        more_tp, more_fp = np.diff(self.tp), np.diff(self.fp)
        # At each threshold: the share of negatives below a positive, and of positives above a negative.
        below = 1 - (self.fp[:-1] + more_fp / 2) / self.negatives
        above = (self.tp[:-1] + more_tp / 2) / self.positives
        return _variance_of_mean(below, more_tp) + _variance_of_mean(above, more_fp)

    @property
    def average_precision(self) -> float | None:
        """The area under the precision-recall curve as scikit-learn defines it. None without positives.

        It is the precision at the threshold of each positive image, averaged over these images.
        """
        if self.positives == 0:
            return None
        precision = self.tp[1:] / (self.tp[1:] + self.fp[1:])
        return float((np.diff(self.tp) * precision).sum()) / self.positives


def _variance_of_mean(values: Floats, counts: Ints) -> float:
    n = int(counts.sum())
    if n < 2:
        return 0.0
    mean = float((counts * values).sum()) / n
    return float((counts * (values - mean) ** 2).sum()) / (n - 1) / n


def rank_scores(positive: ArrayLike, scores: ArrayLike) -> Ranking:
    """Sort images by score, the highest first; `positive` is bool (N,), `scores` (N,).

    Raises:
        ValueError: A score is NaN.
    """
    is_positive, s = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if np.isnan(s).any():
        raise ValueError("a score is NaN")
    order = np.argsort(-s, kind="stable")
    s, is_positive = s[order], is_positive[order]
    last = np.flatnonzero(np.append(np.diff(s) != 0, True))[: len(s)]  # the last image of each distinct score
    tp = np.cumsum(is_positive, dtype=np.int64)[last]
    return Ranking(tp=np.append(0, tp), fp=np.append(0, last + 1 - tp))


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassCurves:
    """The ROC curve and the precision-recall curve of one class against the rest, and their areas."""

    name: str
    """The name of the class."""
    fpr: Floats
    """The false-positive rates at the corners of the ROC curve, (P,), from 0 to 1."""
    tpr: Floats
    """The true-positive rates at the same corners, (P,), from 0 to 1."""
    area: float
    """The area under the ROC curve."""
    recall: Floats
    """The recalls at the corners of the precision-recall curve, (Q,), from 0 to 1."""
    precision: Floats
    """The precision at each recall, (Q,). It holds from the recall before up to this one."""
    average_precision: float
    """The area under the precision-recall curve."""


def compute_class_curves(
    probabilities: ArrayLike, y_true: ArrayLike, class_names: Sequence[str]
) -> tuple[ClassCurves, ...]:
    """Return the curves of each class, ranked by its probability, at their corners only.

    `probabilities` is (N, K), `y_true` (N,) integers. Points between corners lie on the lines that join them.
    A class without images, or with all of them, has no curves.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(y_true)
    curves = []
    for k, name in enumerate(class_names):
        ranking = rank_scores(y == k, p[:, k])
        area, average_precision = ranking.area, ranking.average_precision
        if area is None or average_precision is None:
            continue
        corners = _find_corners(ranking.fp, ranking.tp)
        rises = np.flatnonzero(np.diff(ranking.tp)) + 1  # where the recall grows
        precision = ranking.tp[rises] / (ranking.tp[rises] + ranking.fp[rises])
        curves.append(
            ClassCurves(
                name=name,
                fpr=ranking.fp[corners] / ranking.negatives,
                tpr=ranking.tp[corners] / ranking.positives,
                area=area,
                recall=np.append(0.0, ranking.tp[rises] / ranking.positives),
                precision=np.append(precision[0], precision),
                average_precision=average_precision,
            )
        )
    return tuple(curves)


def _find_corners(fp: Ints, tp: Ints) -> Bools:
    """Return which points are ends of the curve or points where it turns."""
    is_corner = np.ones(len(fp), dtype=bool)
    dx, dy = np.diff(fp), np.diff(tp)
    is_corner[1:-1] = dx[1:] * dy[:-1] != dx[:-1] * dy[1:]  # with integers, collinear is exact
    return is_corner


def format_area(area: float | None) -> str:
    """Return an area with four decimals, or – for None. An area below 1 is never written as 1."""
    if area is None:
        return "–"
    return "> 0.9999" if 0.99995 <= area < 1 else f"{area:.4f}"
