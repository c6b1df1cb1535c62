"""One class against the rest: curves over all thresholds and the areas under them, counted in integers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Images in order of a score, positive and negative ones counted at every distinct threshold."""

    tp: Ints
    """(P,): positives that score at least the threshold, from 0 at infinity,"""
    fp: Ints
    """and negatives."""
    thresholds: Floats

    @property
    def positives(self) -> int:
        """How many positive images there are."""
        return int(self.tp[-1])

    @property
    def negatives(self) -> int:
        """And how many others."""
        return int(self.fp[-1])

    @property
    def area(self) -> float | None:
        """The area under the ROC curve; None without positive or without negative images.

        It is the share of pairs (positive, negative) in which the positive scores higher, ties counting half
        (Mann and Whitney's U), counted in integers, so that rounding enters once.
        """
        pairs = self.positives * self.negatives
        if pairs == 0:
            return None
        return int((np.diff(self.fp) * (self.tp[1:] + self.tp[:-1])).sum()) / (2 * pairs)

    @property
    def area_variance(self) -> float:
        """The variance of that area as the data tell it; 0 with a single image on a side.

        Source: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Comparing the areas under two or more
        correlated receiver operating characteristic curves, Biometrics 44 (1988), 837-845.
        """
        more_tp, more_fp = np.diff(self.tp), np.diff(self.fp)
        below = 1 - (self.fp[:-1] + more_fp / 2) / self.negatives  # of a positive at each threshold
        above = (self.tp[:-1] + more_tp / 2) / self.positives
        return _variance_of_mean(below, more_tp) + _variance_of_mean(above, more_fp)

    @property
    def average_precision(self) -> float | None:
        """The area under the precision-recall curve, its points joined by steps; None without positives.

        The precision at each positive image, averaged over them, as scikit-learn has it.
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
    """Order images by score; `positive` is bool (N,), `scores` (N,).

    Raises:
        ValueError: a score is NaN.
    """
    is_positive, s = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if np.isnan(s).any():
        raise ValueError("a score is NaN")
    order = np.argsort(-s, kind="stable")
    s, is_positive = s[order], is_positive[order]
    last = np.flatnonzero(np.append(np.diff(s) != 0, True))[: len(s)]  # the last image of each distinct score
    tp = np.cumsum(is_positive, dtype=np.int64)[last]
    fp = last + 1 - tp
    return Ranking(tp=np.append(0, tp), fp=np.append(0, fp), thresholds=np.append(np.inf, s[last]))


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassCurves:
    """One class against the rest: both curves at their corners, and the areas under them."""

    name: str
    fpr: Floats
    """(P,), false-positive rates, from 0 to 1,"""
    tpr: Floats
    """(P,), and true-positive rates."""
    area: float
    recall: Floats
    """(Q,), from 0 to 1,"""
    precision: Floats
    """(Q,), and the precision there: constant between a recall and the one before."""
    average_precision: float


def compute_class_curves(
    probabilities: ArrayLike, labels: ArrayLike, class_names: Sequence[str]
) -> tuple[ClassCurves, ...]:
    """Give each class's curves by its probability, thinned to their corners, which changes no point of them.

    `probabilities` is (N, K), `labels` (N,) integers. A class without images, or with all of them, has none.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    curves = []
    for k, name in enumerate(class_names):
        ranked = rank_scores(y == k, p[:, k])
        area, average = ranked.area, ranked.average_precision
        if area is None or average is None:
            continue
        corner = _corners(ranked.fp, ranked.tp)
        found = np.flatnonzero(np.diff(ranked.tp)) + 1  # where recall grows
        precision = ranked.tp[found] / (ranked.tp[found] + ranked.fp[found])
        curves.append(
            ClassCurves(
                name=name,
                fpr=ranked.fp[corner] / ranked.negatives,
                tpr=ranked.tp[corner] / ranked.positives,
                area=area,
                recall=np.append(0.0, ranked.tp[found] / ranked.positives),
                precision=np.append(precision[0], precision),
                average_precision=average,
            )
        )
    return tuple(curves)


def roc_curve(positive: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Give false-positive rates, true-positive rates and their thresholds (score >= threshold).

    `positive` is bool (N,), `scores` (N,). Points run from (0, 0) at threshold infinity to (1, 1), one for
    each distinct score: images with equal scores are never ordered. Same as scikit-learn's with
    `drop_intermediate=False`.

    Raises:
        ValueError: there is no positive or no negative image, or a score is NaN.
    """
    ranked = rank_scores(positive, scores)
    if ranked.positives == 0 or ranked.negatives == 0:
        raise ValueError("a ROC curve needs at least one positive and one negative image")
    return ranked.fp / ranked.negatives, ranked.tp / ranked.positives, ranked.thresholds


def format_area(area: float | None) -> str:
    """Write an area with four decimals; – for None. What is below 1 is never written as 1."""
    if area is None:
        return "–"
    return "> 0.9999" if 0.99995 <= area < 1 else f"{area:.4f}"


def _corners(fp: Ints, tp: Ints) -> NDArray[np.bool_]:
    """Mark the ends and every point where the curve turns; the rest lie on straight lines between them."""
    keep = np.ones(len(fp), dtype=bool)
    dx, dy = np.diff(fp), np.diff(tp)
    keep[1:-1] = dx[1:] * dy[:-1] != dx[:-1] * dy[1:]  # integers: collinear is exact
    return keep
