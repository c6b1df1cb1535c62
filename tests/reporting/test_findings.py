import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.evaluation.intervals import wilson_interval
from foveal.evaluation.metrics import Evaluation, evaluate
from foveal.reporting.findings import Finding, describe_evaluation

Judge = Callable[..., Evaluation]


def said(evaluation: Evaluation) -> list[str]:
    return [finding.sentence for finding in describe_evaluation(evaluation)]


def of_kind(evaluation: Evaluation, kind: str) -> list[Finding]:
    return [finding for finding in describe_evaluation(evaluation) if finding.kind == kind]


def test_a_cifar_matrix(cifar: Evaluation) -> None:
    assert said(cifar) == [
        "8,118 of 10,000 test images were classified correctly: accuracy 81.18 %, with a 95 % interval "
        "from 80.40 % to 81.93 %.",
        "The classes are balanced (1,000 images each): read the macro average (F1 81.16 %); the weighted "
        "one (81.16 %) cannot differ much then.",
        "The weakest class is cat: 64.0 % of its 1,000 images found (95 % interval 61.0 % to 66.9 %), "
        "precision 65.9 %, F1 64.9 %. No other interval overlaps; bird is next, with 72.0 %.",
        "The strongest class is automobile: 90.5 % of its 1,000 images found (95 % interval 88.5 % to 92.2 "
        "%), precision 88.3 %, F1 89.4 %. Its interval overlaps that of ship, truck and frog: the order is "
        "not certain.",
        "Most confused: cat and dog, with 14.2 % of the 1,882 errors (cat taken for dog 140 times, dog for "
        "cat 128 times).",
        "Next: automobile and truck, with 6.2 % of the 1,882 errors (automobile taken for truck 54 times, "
        "truck for automobile 62 times).",
        "Next: bird and deer, with 5.7 % of the 1,882 errors (bird taken for deer 60 times, deer for bird "
        "48 times).",
        "2 groups of classes confused among themselves: bird, cat, deer, dog, frog and horse; airplane, "
        "automobile, ship and truck. 82.5 % of the 1,882 errors stay inside a group (49.7 % if spread "
        "evenly); two classes of a group are confused at least 4.0 times as often as one of them with a "
        "class outside.",
    ]


def test_their_numbers(cifar: Evaluation) -> None:
    counts = np.array(cifar.confusion)
    (weakest,) = of_kind(cifar, "weakest_class")
    assert weakest.numbers["recall_interval"] == list(wilson_interval(640, 1000))
    assert weakest.numbers["overlapping"] == []
    first, second, third = of_kind(cifar, "confused_pair")
    assert first.numbers["share_of_errors"] == (140 + 128) / 1882
    assert [f.numbers["place"] for f in (first, second, third)] == [1, 2, 3]
    (groups,) = of_kind(cifar, "groups")
    assert groups.numbers["groups"] == [
        ["bird", "cat", "deer", "dog", "frog", "horse"],
        ["airplane", "automobile", "ship", "truck"],
    ]
    animals, vehicles = [2, 3, 4, 5, 6, 7], [0, 1, 8, 9]
    rates = counts / 1000
    np.fill_diagonal(rates, 0)
    across = (rates[np.ix_(animals, vehicles)].mean() + rates[np.ix_(vehicles, animals)].mean()) / 2
    inside = min(rates[np.ix_(g, g)].sum() / (len(g) * (len(g) - 1)) for g in (animals, vehicles))
    assert groups.numbers["ratio"] == pytest.approx(inside / across)
    for finding in describe_evaluation(cifar):
        json.dumps(finding.to_json(), allow_nan=False)


def test_uniform_confusion(judge: Judge) -> None:
    counts = np.full((10, 10), 20) + np.eye(10, dtype=int) * 800
    assert said(judge(counts.tolist()))[2:] == [
        "No pair of classes stands out: 45 pairs share the first place, with 40 errors each.",
        "No groups of classes stand out: no division of the classes keeps the errors together.",
    ]


def test_no_error(judge: Judge) -> None:
    assert said(judge([[7, 0], [0, 7]])) == [
        "14 of 14 test images were classified correctly: accuracy 100.0 %, with a 95 % interval from 78.5 "
        "% to 100.0 %.",
        "The classes are balanced (7 images each): read the macro average (F1 100.0 %); the weighted one "
        "(100.0 %) cannot differ much then.",
    ]


def test_one_error(judge: Judge) -> None:
    counts = np.eye(5, dtype=int) * 30
    counts[1, 2], counts[1, 1] = 1, 29
    assert said(judge(counts.tolist(), list("abcde")))[2:] == [
        "The weakest class is b: 96.7 % of its 30 images found (95 % interval 83.3 % to 99.4 %), precision "
        "100.0 %, F1 98.3 %. Its interval overlaps that of every other class, so the order is not certain.",
        "The strongest classes are a, c, d and e, level with each other: 100.0 % of their images found.",
        "Most confused: b and c, with 100.0 % of the 1 error (b taken for c once, c for b never).",
        "No groups of classes stand out: errors spread evenly look as grouped as these in about 100.0 % of "
        "trials.",
    ]


def test_tied_pairs_are_named_only_together(judge: Judge) -> None:
    counts = np.eye(6, dtype=int) * 40
    counts[0, 1] = counts[0, 2] = counts[0, 3] = counts[0, 4] = 1
    (tie,) = [f for f in describe_evaluation(judge(counts.tolist())) if f.kind.startswith("confused")]
    assert tie.sentence == "No pair of classes stands out: 4 pairs share the first place, with 1 error each."
    counts[0, 1] = 5  # now one leads, and three share the second place: all are shown that fit, or none
    pairs = of_kind(judge(counts.tolist()), "confused_pair")
    assert [pair.numbers["place"] for pair in pairs] == [1]
    counts[0, 4] = 0  # two share it, and both fit
    pairs = of_kind(judge(counts.tolist()), "confused_pair")
    assert [pair.numbers["classes"] for pair in pairs] == [["c0", "c1"], ["c0", "c2"], ["c0", "c3"]]
    assert [pair.sentence.split(":")[0] for pair in pairs] == ["Most confused", "Next", "As often"]


def test_unbalanced(judge: Judge) -> None:
    (averages,) = of_kind(judge([[90, 0], [8, 2]]), "averages")
    assert averages.sentence == (
        "The classes are not balanced (10 to 90 images each): read the macro average (F1 64.5 %), where "
        "every class counts alike. Accuracy and the weighted average (F1 89.5 %) favour large classes; "
        "always naming the largest would be right in 90.0 % of cases."
    )
    assert averages.numbers["read"] == "macro"


def test_absent_and_never_predicted(judge: Judge) -> None:
    e = judge([[5, 0, 1], [2, 0, 1], [0, 0, 0]], ["a", "b", "c"])
    assert of_kind(e, "absent_classes")[0].sentence == (
        "No image of c was tested, so nothing is known about recall there."
    )
    assert of_kind(e, "never_predicted")[0].sentence == (
        "Never predicted: b. Precision is undefined there, and macro counts it as 0."
    )


def test_all_wrong(judge: Judge) -> None:
    sentences = said(judge([[0, 4], [4, 0]], ["a", "b"]))
    assert sentences[0].startswith("0 of 8 test images were classified correctly: accuracy 0.0 %")
    assert (
        sentences[2]
        == "Most confused: a and b, with 100.0 % of the 8 errors (a taken for b 4 times, b for a 4 times)."
    )


def test_long_lists_and_names_are_cut(judge: Judge) -> None:
    counts = np.eye(40, dtype=int) * 50
    counts[0, 1] = 3
    sentences = said(judge(counts.tolist(), [f"{i:02d}" + "x" * 5000 for i in range(40)]))
    assert max(map(len, sentences)) < 700
    assert any("and 31 more, level with each other" in sentence for sentence in sentences)


def test_one_class() -> None:
    assert len(said(evaluate([[1.0]], [0], ["only"], split="test"))) == 2


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 7).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 6), min_size=k, max_size=k), min_size=k, max_size=k)
    )
)
def test_whatever_the_matrix_sentences_are_whole(counts: list[list[int]]) -> None:
    matrix = np.array(counts)
    if matrix.sum() == 0:
        return
    k = len(matrix)
    labels = np.repeat(np.arange(k), matrix.sum(axis=1))
    guesses = np.concatenate([np.repeat(np.arange(k), row) for row in matrix])
    e = evaluate(np.eye(k)[guesses], labels, [f"c{i}" for i in range(k)], split="test")
    for finding in describe_evaluation(e):
        assert finding.sentence.endswith(".")
        assert not any(bad in finding.sentence for bad in ("nan", "inf", "None", "  ", ".."))
        assert json.loads(json.dumps(finding.to_json(), allow_nan=False))["sentence"] == finding.sentence
    pairs = of_kind(e, "confused_pair")
    both = sorted((int(matrix[i, j] + matrix[j, i]) for i in range(k) for j in range(i)), reverse=True)
    counted = [f.numbers["first_taken_for_second"] + f.numbers["second_taken_for_first"] for f in pairs]
    assert counted == both[: len(counted)]
