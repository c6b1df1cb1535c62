from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from foveal.evaluation.class_groups import MAX_CLASSES, find_groups
from foveal.evaluation.metrics import Evaluation

ANIMALS, VEHICLES = (2, 3, 4, 5, 6, 7), (0, 1, 8, 9)


def drawn(rates: Sequence[Sequence[float]], n: int, seed: int) -> NDArray[np.int64]:
    """Draw a confusion matrix of n images a class from error rates (zero on the diagonal)."""
    random = np.random.default_rng(seed)
    whole = np.array(rates, dtype=float)
    np.fill_diagonal(whole, 0)
    np.fill_diagonal(whole, 1 - whole.sum(axis=1))
    return np.array([random.multinomial(n, row) for row in whole])


def blocks(sizes: Sequence[int], inside: float, outside: float) -> NDArray[np.float64]:
    """Error rates between classes of the same block and of different ones."""
    block = np.repeat(np.arange(len(sizes)), sizes)
    return np.where(block[:, None] == block[None, :], inside, outside)


def test_finds_animals_and_vehicles(cifar: Evaluation) -> None:
    found = find_groups(np.array(cifar.confusion))
    assert found is not None
    assert found.clear
    assert found.groups == (ANIMALS, VEHICLES)
    counts = np.array(cifar.confusion)
    inside = sum(counts[np.ix_(g, g)].sum() for g in found.groups) - np.trace(counts)
    assert found.inside == inside / cifar.errors


def test_finds_them_again_in_new_draws_of_the_same_network(cifar: Evaluation) -> None:
    rates = np.array(cifar.confusion) / 1000
    found = [find_groups(drawn(rates, 1000, seed)) for seed in range(10)]
    assert [f is not None and f.clear and f.groups == (ANIMALS, VEHICLES) for f in found] == [True] * 10


def test_order_of_the_classes_is_of_no_matter(cifar: Evaluation) -> None:
    order = np.random.default_rng(0).permutation(10)
    counts = np.array(cifar.confusion)[np.ix_(order, order)]
    found = find_groups(counts)
    assert found is not None
    assert {frozenset(order[list(group)].tolist()) for group in found.groups} == {
        frozenset(ANIMALS),
        frozenset(VEHICLES),
    }


def test_class_sizes_are_divided_out(cifar: Evaluation) -> None:
    counts = np.array(cifar.confusion) * np.array([60, 1, 1, 1, 1, 1, 1, 1, 1, 1])[:, None]
    found = find_groups(counts)
    assert found is not None
    assert found.groups == (ANIMALS, VEHICLES)


@pytest.mark.parametrize(
    ("classes", "rate", "n"), [(10, 0.02, 1000), (10, 0.02, 30), (5, 0.1, 40), (30, 0.01, 50)]
)
def test_even_confusion_has_no_groups(classes: int, rate: float, n: int) -> None:
    for seed in range(8):
        found = find_groups(drawn(blocks([1] * classes, rate, rate), n, seed))
        assert found is None or not found.clear


def test_exactly_even_confusion_is_one_group() -> None:
    counts = np.full((10, 10), 20)
    found = find_groups(counts)
    assert found is not None
    assert not found.clear
    assert len(found.groups) == 1


def test_one_class_that_attracts_all_is_no_group() -> None:
    rates = np.full((10, 10), 0.005)
    rates[:, 3] = 0.15
    found = find_groups(drawn(rates, 1000, 0))
    assert found is not None
    assert not found.clear


def test_a_mere_pair_is_no_group() -> None:
    rates = np.full((10, 10), 0.005)
    rates[2, 3] = rates[3, 2] = 0.15
    found = find_groups(drawn(rates, 1000, 0))
    assert found is not None
    assert not found.clear


def test_many_groups_among_many_classes() -> None:
    found = find_groups(drawn(blocks([4] * 10, 0.08, 0.002), 200, 0))
    assert found is not None
    assert found.clear
    assert found.groups == tuple(tuple(range(4 * i, 4 * i + 4)) for i in range(10))
    assert found.ratio == pytest.approx(40, rel=0.35)


def test_a_class_may_stand_alone() -> None:
    rates = blocks([4, 4, 1], 0.08, 0.001)
    rates[8, :] = rates[:, 8] = 0
    found = find_groups(drawn(rates, 500, 0))
    assert found is not None
    assert found.clear
    assert found.groups == ((0, 1, 2, 3), (4, 5, 6, 7), (8,))


def test_nothing_across_has_no_ratio() -> None:
    found = find_groups(drawn(blocks([3, 3], 0.1, 0), 100, 0))
    assert found is not None
    assert found.clear
    assert (found.ratio, found.inside) == (None, 1)


def test_the_same_matrix_gives_the_same_answer(cifar: Evaluation) -> None:
    assert find_groups(np.array(cifar.confusion)) == find_groups(np.array(cifar.confusion))


@pytest.mark.parametrize("counts", [np.eye(10, dtype=int) * 5, np.ones((3, 3), dtype=int)])
def test_nothing_to_divide(counts: NDArray[np.int64]) -> None:
    assert find_groups(counts) is None


def test_too_many_classes_are_left_alone() -> None:
    assert find_groups(np.ones((MAX_CLASSES + 1, MAX_CLASSES + 1), dtype=int)) is None


def test_a_class_without_images() -> None:
    counts = drawn(blocks([3, 3], 0.1, 0.002), 300, 0)
    counts[5] = 0
    found = find_groups(counts)
    assert found is not None
    assert np.isfinite(found.inside)
