"""What each class is confused with follows from the confusion matrix."""

from collections.abc import Callable

from foveal.evaluation.metrics import Evaluation
from foveal.reporting.confusions import ClassCount, find_confusions


def test_errors_of_a_class_are_counted_both_ways(judge: Callable[..., Evaluation]) -> None:
    cat, dog, ox = find_confusions(judge([[7, 2, 1], [0, 9, 0], [3, 4, 5]], ["cat", "dog", "ox"]))
    assert (cat.name, cat.missed, cat.wrong) == ("cat", 3, 3)
    assert cat.taken_for == (ClassCount(name="dog", n=2), ClassCount(name="ox", n=1))
    assert cat.instead_of == (ClassCount(name="ox", n=3),)
    assert (dog.missed, dog.taken_for, dog.wrong) == (0, (), 6)
    assert dog.instead_of == (ClassCount(name="ox", n=4), ClassCount(name="cat", n=2))
    assert (ox.missed, ox.wrong) == (7, 1)


def test_the_three_most_frequent_are_named_and_equals_in_the_order_of_the_classes(
    judge: Callable[..., Evaluation],
) -> None:
    counts = [[5, 1, 2, 2, 2], *([0] * k + [1] + [0] * (4 - k) for k in range(1, 5))]
    first = find_confusions(judge(counts, list("abcde")))[0]
    assert first.missed == 7
    assert [other.name for other in first.taken_for] == ["c", "d", "e"]
