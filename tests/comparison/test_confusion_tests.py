"""Kinds of errors against scipy and by hand, and how often the test errs, by simulation."""

import os

import numpy as np
import pytest
from scipy import stats

from foveal.comparison import confusion_tests
from foveal.comparison.confusion_tests import compare_confusions, compare_errors

SETS = int(os.environ.get("FOVEAL_DRAWS", "2000"))
CLASSES = 6


def taken_for(draw: np.random.Generator) -> np.ndarray:
    """For each true class, how probable each wrong one is: (classes, classes), rows of 1, uneven."""
    rates = draw.gamma(0.7, size=(CLASSES, CLASSES))
    np.fill_diagonal(rates, 0)
    return rates / rates.sum(axis=1, keepdims=True)


def answers(
    draw: np.random.Generator, labels: np.ndarray, wrong: np.ndarray, habits: np.ndarray, tempting: np.ndarray
) -> np.ndarray:
    """Predict: where `wrong`, in three of five cases the class that tempts everybody, else by own habit."""
    own = (habits.cumsum(axis=1)[labels] < draw.random((len(labels), 1))).sum(axis=1)
    return np.where(wrong, np.where(draw.random(len(labels)) < 0.6, tempting, own), labels)


def two(
    draw: np.random.Generator, n: int, rates: tuple[float, float], other_habits: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classifiers with these error rates, for which the same images are hard; errors of one kind alike.

    How hard an image is has nothing to do with its class, so errors have one distribution whatever their
    number: the hypothesis holds exactly, unless the second has `other_habits`.
    """
    habits = taken_for(np.random.default_rng(9))
    labels = draw.integers(CLASSES, size=n)
    tempting = (habits.cumsum(axis=1)[labels] < draw.random((n, 1))).sum(axis=1)
    hardness = draw.beta(0.5, 0.5, size=n)
    found = []
    for rate, own in zip(rates, (habits, habits if other_habits is None else other_habits), strict=True):
        wrong = draw.random(n) < 2 * rate * hardness
        found.append(answers(draw, labels, wrong, own, tempting))
    return labels, found[0], found[1]


@pytest.mark.parametrize(("n", "rates"), [(200, (0.2, 0.2)), (1000, (0.276, 0.171)), (1000, (0.05, 0.2))])
def test_the_same_mistakes_are_called_different_as_rarely_as_promised(
    n: int, rates: tuple[float, float]
) -> None:
    draw = np.random.default_rng(0)
    rejected = []
    for _ in range(SETS):
        labels, first, second = two(draw, n, rates)
        found = compare_errors(labels, first, second, CLASSES, n_permutations=199)
        assert found is not None
        rejected.append(found.p <= 0.05)
    assert abs(np.mean(rejected) - 0.05) <= 0.015, np.mean(rejected)


def test_other_mistakes_are_found_and_measured() -> None:
    draw = np.random.default_rng(1)
    labels, first, second = two(draw, 10_000, (0.3, 0.15), taken_for(np.random.default_rng(10)))
    found = compare_errors(labels, first, second, CLASSES)
    assert found is not None
    assert found.p == 1 / (confusion_tests.N_PERMUTATIONS + 1)
    assert found.distance > 3 * found.by_chance
    assert (found.first, found.second) == (int((first != labels).sum()), int((second != labels).sum()))


def test_the_p_value_is_that_of_scipy_s_paired_permutation_test() -> None:
    draw = np.random.default_rng(2)
    labels, first, second = two(draw, 120, (0.2, 0.12))
    kinds = CLASSES * CLASSES

    def unevenness(one: np.ndarray, other: np.ndarray) -> float:
        rows = [
            np.bincount((labels * CLASSES + each.astype(int))[each != labels], minlength=kinds)
            for each in (one, other)
        ]
        table = np.stack(rows)[:, np.sum(rows, axis=0) > 0]
        return float(stats.chi2_contingency(table, correction=False).statistic)

    expected = stats.permutation_test(
        (first, second),
        unevenness,
        permutation_type="samples",
        alternative="greater",
        n_resamples=3000,
        random_state=np.random.default_rng(3),
    )
    found = compare_errors(labels, first, second, CLASSES, n_permutations=20_000)
    assert found is not None
    assert 0.03 < expected.pvalue < 0.97
    assert found.p == pytest.approx(expected.pvalue, abs=0.03)


def test_the_distance_is_the_share_of_errors_made_elsewhere() -> None:
    labels = np.zeros(10, dtype=np.int64)
    first = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    second = np.array([0, 0, 0, 0, 0, 1, 2, 2, 2, 2])  # 1 of 5 instead of 4 of 8 are of the first kind
    found = compare_errors(labels, first, second, 3)
    assert found is not None
    assert found.distance == pytest.approx(0.3)


def test_chance_alone_gives_the_distance_that_is_told() -> None:
    """Where only chance makes them differ, the distance is what it is said to be by chance, in the mean."""
    draw = np.random.default_rng(4)
    told, found = [], []
    for _ in range(150):
        each = compare_errors(*two(draw, 2000, (0.28, 0.12)), CLASSES, n_permutations=99)
        assert each is not None
        told.append(each.by_chance)
        found.append(each.distance)
    assert np.mean(told) == pytest.approx(np.mean(found), rel=0.04)


def test_large_pieces_and_small_ones_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, first, second = two(np.random.default_rng(5), 500, (0.2, 0.2))
    whole = compare_errors(labels, first, second, CLASSES)
    monkeypatch.setattr(confusion_tests, "_MAX_CELLS_IN_BATCH", 1)
    assert compare_errors(labels, first, second, CLASSES) == whole


def test_without_errors_there_is_nothing_to_say() -> None:
    labels = np.array([0, 1, 2])
    assert compare_errors(labels, labels, np.array([0, 1, 1]), 3) is None
    assert compare_confusions(labels, labels, labels, ["a", "b", "c"]) == []
    alike = compare_errors(labels, np.array([1, 1, 2]), np.array([1, 1, 2]), 3)
    assert alike is not None
    assert (alike.distance, alike.p) == (0.0, 1.0)


def test_confusions_are_counted_and_tested_by_the_images_on_which_one_alone_makes_them() -> None:
    labels = np.repeat([0, 1], 100)
    first, second = labels.copy(), labels.copy()
    first[:40] = 1  # 0 for 1: 40 times, of which the second makes 10, and 2 of its own
    second[30:42] = 1
    first[100:103] = second[100:103] = 0  # both make them: nothing to test, nothing to correct for
    second[150:151] = 2
    found = {
        (each.true, each.predicted): each
        for each in compare_confusions(labels, first, second, ["a", "b", "c"])
    }
    assert {key: (each.first, each.second) for key, each in found.items()} == {
        ("a", "b"): (40, 12),
        ("b", "a"): (3, 3),
        ("b", "c"): (0, 1),
    }
    exact = stats.binomtest(2, 32).pvalue - stats.binom.pmf(2, 32, 0.5)
    assert found["a", "b"].p == pytest.approx(2 * exact)
    assert found["b", "a"].p == 1
    assert next(iter(found)) == ("a", "b")
