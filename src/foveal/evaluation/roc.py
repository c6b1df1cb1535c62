"""One class against the rest: receiver operating characteristics, counted in integers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RocCurve:
    """One class against the rest: rates at the corners of the curve, each (P,), from (0, 0) to (1, 1)."""

    name: str
    fpr: Floats
    tpr: Floats
    auc: float


def roc_curves(
    probabilities: ArrayLike, labels: ArrayLike, class_names: Sequence[str]
) -> tuple[RocCurve, ...]:
    """Give each class's curve by its probability, thinned to its corners, which changes no point of it.

    `probabilities` is (N, K), `labels` (N,) integers. A class without images, or with all of them, has none.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    curves = []
    for k, name in enumerate(class_names):
        tp, fp, _ = _roc_counts(y == k, p[:, k])
        auc = _area(tp, fp)
        if auc is not None:
            corner = _corners(fp, tp)
            curves.append(RocCurve(name=name, fpr=fp[corner] / fp[-1], tpr=tp[corner] / tp[-1], auc=auc))
    return tuple(curves)


def roc_curve(positive: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Give false-positive rates, true-positive rates and their thresholds (score >= threshold).

    `positive` is bool (N,), `scores` (N,). Points run from (0, 0) at threshold infinity to (1, 1), one for
    each distinct score: images with equal scores are never ordered. Same as scikit-learn's with
    `drop_intermediate=False`.

    Raises:
        ValueError: there is no positive or no negative image, or a score is NaN.
    """
    tp, fp, thresholds = _roc_counts(positive, scores)
    if tp[-1] == 0 or fp[-1] == 0:
        raise ValueError("a ROC curve needs at least one positive and one negative image")
    return fp / fp[-1], tp / tp[-1], thresholds


def roc_auc(positive: ArrayLike, scores: ArrayLike) -> float | None:
    """Give the area under `roc_curve`, or None without positive or without negative images.

    It is the share of pairs (positive, negative) in which the positive scores higher, ties counting half
    (Mann and Whitney's U), counted in integers, so that rounding enters once.
    """
    tp, fp, _ = _roc_counts(positive, scores)
    return _area(tp, fp)


def shown(auc: float | None) -> str:
    """Write an area with four decimals; – for None. What is below 1 is never written as 1."""
    if auc is None:
        return "–"
    return "> 0.9999" if 0.99995 <= auc < 1 else f"{auc:.4f}"


def _roc_counts(positive: ArrayLike, scores: ArrayLike) -> tuple[Ints, Ints, Floats]:
    """Count true and false positives at each distinct threshold, beginning with none at infinity."""
    is_positive, s = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if np.isnan(s).any():
        raise ValueError("a score is NaN")
    order = np.argsort(-s, kind="stable")
    s, is_positive = s[order], is_positive[order]
    last = np.flatnonzero(np.append(np.diff(s) != 0, True))[: len(s)]  # the last image of each distinct score
    tp = np.cumsum(is_positive, dtype=np.int64)[last]
    fp = last + 1 - tp
    return np.append(0, tp), np.append(0, fp), np.append(np.inf, s[last])


def _area(tp: Ints, fp: Ints) -> float | None:
    """Give the area under a curve by its counts; see `roc_auc`."""
    pairs = int(tp[-1]) * int(fp[-1])
    if pairs == 0:
        return None
    return int((np.diff(fp) * (tp[1:] + tp[:-1])).sum()) / (2 * pairs)


def _corners(fp: Ints, tp: Ints) -> NDArray[np.bool_]:
    """Mark the ends and every point where the curve turns; the rest lie on straight lines between them."""
    keep = np.ones(len(fp), dtype=bool)
    dx, dy = np.diff(fp), np.diff(tp)
    keep[1:-1] = dx[1:] * dy[:-1] != dx[:-1] * dy[1:]  # integers: collinear is exact
    return keep
