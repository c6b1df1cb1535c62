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
    ranking = roc.rank_scores(positive, scores)
    if positive.all() or not positive.any():
        assert ranking.area is None
        return
    fpr, tpr, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    assert np.array_equal(ranking.fp / ranking.negatives, fpr)
    assert np.array_equal(ranking.tp / ranking.positives, tpr)
    assert ranking.area == pytest.approx(sk.roc_auc_score(positive, scores), rel=1e-12)


def test_roc_of_many_real_scores() -> None:
    random = np.random.default_rng(1)
    positive = random.random(3000) < 0.2
    scores = random.normal(size=3000) + positive
    fpr, tpr, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    assert roc.rank_scores(positive, scores).area == pytest.approx(sk.auc(fpr, tpr), rel=1e-12)


def test_thinning_drops_no_corner() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 3, 500)
    probabilities = special.softmax(random.normal(size=(500, 3)) + np.eye(3)[labels], axis=1).round(2)
    for k, curve in enumerate(roc.compute_class_curves(probabilities, labels, ["a", "b", "c"])):
        fpr, tpr, _ = sk.roc_curve(labels == k, probabilities[:, k], drop_intermediate=False)
        assert len(curve.fpr) < len(fpr)
        # Every point of the whole curve lies on a segment of the thin one.
        for x, y in zip(fpr, tpr, strict=True):
            x0, x1, y0, y1 = curve.fpr[:-1], curve.fpr[1:], curve.tpr[:-1], curve.tpr[1:]
            inside = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
            off = np.abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0))
            assert (off[inside] < 1e-12).any()
        assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
        assert curve.area == roc.rank_scores(labels == k, probabilities[:, k]).area
        assert sk.auc(curve.fpr, curve.tpr) == pytest.approx(curve.area, rel=1e-12)


def test_an_area_below_one_is_never_shown_as_one() -> None:
    assert [roc.format_area(area) for area in (None, 0.5, 0.99994, 0.99996, 1.0)] == [
        "–", "0.5000", "0.9999", "> 0.9999", "1.0000"
    ]  # fmt: skip


def test_a_class_without_images_has_no_curve() -> None:
    curves = roc.compute_class_curves([[0.9, 0.1, 0], [0.2, 0.8, 0]], [0, 1], ["a", "b", "c"])
    assert [curve.name for curve in curves] == ["a", "b"]


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        roc.rank_scores([True, False], [math.nan, 1])


def test_average_precision_equals_scikit_learn() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        positive, scores = random.random(80) < 0.3, random.integers(0, 30, 80).astype(float)
        expected = sk.average_precision_score(positive, scores)
        assert roc.rank_scores(positive, scores).average_precision == pytest.approx(expected, rel=1e-12)
    assert roc.rank_scores([False, False], [1.0, 2.0]).average_precision is None


def test_the_area_s_variance_by_its_definition() -> None:
    # DeLong's: the variance of each image's share of pairs in order, over the images of either side.
    random = np.random.default_rng(4)
    positive, scores = random.random(60) < 0.4, random.integers(0, 9, 60).astype(float)
    ours, others = scores[positive], scores[~positive]
    order = (ours[:, None] > others) + 0.5 * (ours[:, None] == others)
    expected = order.mean(axis=1).var(ddof=1) / len(ours) + order.mean(axis=0).var(ddof=1) / len(others)
    assert roc.rank_scores(positive, scores).area_variance == pytest.approx(expected, rel=1e-12)


def test_precision_recall_curves_go_through_scikit_learn_s_points() -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, 200)
    p = random.random(200).round(2)
    curve = roc.compute_class_curves(np.stack([1 - p, p], axis=1), labels, ["no", "yes"])[1]
    precision, recall, _ = sk.precision_recall_curve(labels, p)
    assert curve.recall.tolist() == pytest.approx(sorted(set(recall.tolist())))
    for r, p_there in zip(curve.recall[1:], curve.precision[1:], strict=True):
        assert p_there == pytest.approx(max(precision[np.isclose(recall, r)]))
    area = float((np.diff(curve.recall) * curve.precision[1:]).sum())
    assert area == pytest.approx(curve.average_precision, rel=1e-12)
