import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from foveal.evaluation import macro_averages
from foveal.evaluation.intervals import wilson_interval

matrices = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 9), min_size=k, max_size=k), min_size=k, max_size=k)
)


@settings(deadline=None, max_examples=150)
@given(matrices.filter(lambda rows: sum(map(sum, rows)) > 0))
def test_equals_scikit_learn(rows: list[list[int]]) -> None:
    confusion = np.array(rows)
    true, predicted = (np.repeat(i, confusion.ravel()) for i in map(np.ravel, np.indices(confusion.shape)))
    for name, ours in (
        ("macro", macro_averages.macro_average(confusion)),
        ("weighted", macro_averages.weighted_average(confusion)),
    ):
        theirs = sk.precision_recall_fscore_support(true, predicted, average=name, zero_division=0)
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(theirs[:3], abs=1e-12)
        for value, (low, high) in (
            (ours.precision, ours.precision_interval),
            (ours.recall, ours.recall_interval),
            (ours.f1, ours.f1_interval),
        ):
            assert 0 <= low <= value <= high <= 1


@pytest.mark.parametrize("by_images", [False, True])
@pytest.mark.parametrize("figure", ["precision", "recall", "f1"])
def test_slopes_are_the_derivatives(figure: str, by_images: bool) -> None:
    random = np.random.default_rng(0)
    counts = random.integers(1, 50, (4, 4)).astype(float)

    def value(cells: np.ndarray) -> float:
        weights = cells.sum(axis=1) / cells.sum() if by_images else np.full(4, 0.25)
        averages = macro_averages._ClassAverages(cells, weights, weighted_by_images=by_images)
        return getattr(averages, figure)()[0]

    weights = counts.sum(axis=1) / counts.sum() if by_images else np.full(4, 0.25)
    averages = macro_averages._ClassAverages(counts, weights, weighted_by_images=by_images)
    _, slopes = getattr(averages, figure)()
    for cell in np.ndindex(4, 4):
        step = np.zeros((4, 4))
        step[cell] = 1e-4
        measured = (value(counts + step) - value(counts - step)) / 2e-4
        assert slopes[cell] == pytest.approx(measured, abs=1e-8)


def test_two_equal_classes_are_a_proportion() -> None:
    # Then macro recall is the accuracy, and the interval Agresti and Coull's, close to Wilson's.
    found = macro_averages.macro_average(np.array([[90, 10], [10, 90]]))
    assert found.recall_interval == pytest.approx(wilson_interval(180, 200), abs=0.003)


def test_no_error_is_not_certainty() -> None:
    found = macro_averages.macro_average(np.diag([50, 50, 50]))
    assert (found.recall, found.recall_interval[1]) == (1, 1)
    assert 0.95 < found.recall_interval[0] < 0.99
