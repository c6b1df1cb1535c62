import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics as sk

from foveal.evaluation import roc


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=2, max_size=60))
def test_roc_equals_scikit_learn(pairs: list[tuple[bool, int]]) -> None:
    positive, scores = np.array([p for p, _ in pairs]), np.array([s for _, s in pairs], dtype=float)
    if positive.all() or not positive.any():
        assert roc.roc_auc(positive, scores) is None
        with pytest.raises(ValueError, match="positive and one negative"):
            roc.roc_curve(positive, scores)
        return
    for ours, theirs in zip(
        roc.roc_curve(positive, scores), sk.roc_curve(positive, scores, drop_intermediate=False), strict=True
    ):
        assert np.array_equal(ours, theirs)
    assert roc.roc_auc(positive, scores) == pytest.approx(sk.roc_auc_score(positive, scores), rel=1e-12)


def test_roc_of_many_real_scores() -> None:
    random = np.random.default_rng(1)
    positive = random.random(3000) < 0.2
    scores = random.normal(size=3000) + positive
    fpr, tpr, _ = roc.roc_curve(positive, scores)
    assert roc.roc_auc(positive, scores) == pytest.approx(sk.auc(fpr, tpr), rel=1e-12)


def test_thinning_drops_no_corner() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 3, 500)
    probabilities = special.softmax(random.normal(size=(500, 3)) + np.eye(3)[labels], axis=1).round(2)
    for k, curve in enumerate(roc.roc_curves(probabilities, labels, ["a", "b", "c"])):
        fpr, tpr, _ = roc.roc_curve(labels == k, probabilities[:, k])
        assert len(curve.fpr) < len(fpr)
        # Every point of the whole curve lies on a segment of the thin one.
        for x, y in zip(fpr, tpr, strict=True):
            x0, x1, y0, y1 = curve.fpr[:-1], curve.fpr[1:], curve.tpr[:-1], curve.tpr[1:]
            inside = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
            off = np.abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0))
            assert (off[inside] < 1e-12).any()
        assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
        assert curve.auc == roc.roc_auc(labels == k, probabilities[:, k])
        assert sk.auc(curve.fpr, curve.tpr) == pytest.approx(curve.auc, rel=1e-12)


def test_an_area_below_one_is_never_shown_as_one() -> None:
    assert [roc.shown(area) for area in (None, 0.5, 0.99994, 0.99996, 1.0)] == [
        "–", "0.5000", "0.9999", "> 0.9999", "1.0000"
    ]  # fmt: skip


def test_a_class_without_images_has_no_curve() -> None:
    curves = roc.roc_curves([[0.9, 0.1, 0], [0.2, 0.8, 0]], [0, 1], ["a", "b", "c"])
    assert [curve.name for curve in curves] == ["a", "b"]


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        roc.roc_auc([True, False], [math.nan, 1])
