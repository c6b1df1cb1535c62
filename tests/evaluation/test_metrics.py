import json
import math
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special
from sklearn import metrics as sk

from foveal.errors import DataError, ModelError, RunError
from foveal.evaluation import metrics
from foveal.evaluation.calibration import softmax
from foveal.evaluation.intervals import wilson_interval
from foveal.evaluation.metrics import BALANCED_RATIO, DEFINITIONS, Evaluation, evaluate, format_percent

Floats = NDArray[np.float64]

# Few distinct logits, so that ties abound; classes may be absent from the labels or never predicted.
cases = st.integers(2, 6).flatmap(
    lambda k: st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            st.lists(st.lists(st.integers(-3, 3), min_size=k, max_size=k), min_size=n, max_size=n),
            st.lists(st.integers(0, k - 1), min_size=n, max_size=n),
        )
    )
)


def names(k: int) -> list[str]:
    return [f"c{i}" for i in range(k)]


@settings(deadline=None, max_examples=100)
@given(cases)
def test_equals_scikit_learn(case: tuple[list[list[int]], list[int]]) -> None:
    logits, labels = np.array(case[0]) * 0.7, np.array(case[1])
    k = logits.shape[1]
    e = evaluate(logits, labels, names(k), split="test")
    guesses = logits.argmax(axis=1)
    probabilities = special.softmax(logits, axis=1)
    every = list(range(k))

    assert e.accuracy == sk.accuracy_score(labels, guesses)
    assert e.loss == pytest.approx(sk.log_loss(labels, probabilities, labels=every), rel=1e-12, abs=1e-12)
    assert np.array_equal(e.confusion, sk.confusion_matrix(labels, guesses, labels=every))
    assert e.errors == (labels != guesses).sum()
    for average, ours in (("macro", e.macro), ("weighted", e.weighted)):
        theirs = sk.precision_recall_fscore_support(labels, guesses, average=average, zero_division=0)
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(theirs[:3], rel=1e-12, abs=1e-12)
    theirs = sk.precision_recall_fscore_support(labels, guesses, labels=every, zero_division=np.nan)
    for i, scores in enumerate(e.classes):
        assert scores.n == theirs[3][i]
        ours = (scores.precision, scores.recall, scores.f1)
        for value, reference in zip(ours, (theirs[0][i], theirs[1][i], theirs[2][i]), strict=True):
            # None here exactly where scikit-learn has nothing to divide by
            assert (value is None) == bool(np.isnan(reference))
            assert value is None or value == pytest.approx(reference, rel=1e-12)
        present = labels == i
        if present.any() and not present.all():
            assert scores.roc_auc == pytest.approx(sk.roc_auc_score(present, probabilities[:, i]), rel=1e-12)
        else:
            assert scores.roc_auc is None


def test_extreme_logits_neither_overflow_nor_vanish() -> None:
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], dtype=np.float32)
    assert softmax(logits).sum(axis=1) == pytest.approx([1, 1])
    assert metrics.cross_entropy(logits, [1, 1]) == 5000
    assert metrics.cross_entropy(logits, [0, 1]) == 0


def test_undefined_is_none_and_macro_counts_it_as_zero() -> None:
    # b is never predicted, c has no image, d neither
    logits = np.array([[9, 0, 0, 0], [9, 0, 0, 0], [0, 0, 9, 0]], dtype=float)
    e = evaluate(logits, [0, 1, 1], ["a", "b", "c", "d"], split="test")
    a, b, c, d = e.classes
    assert (a.precision, a.recall, a.f1) == (0.5, 1, 2 / 3)
    assert (b.precision, b.recall, b.f1) == (None, 0, 0)
    assert (c.precision, c.recall, c.f1, c.recall_interval, c.roc_auc) == (0, None, 0, None, None)
    assert (d.precision, d.recall, d.f1) == (None, None, None)
    assert e.macro.precision == 0.5 / 3  # d, neither present nor predicted, is left out
    assert a.recall_interval == wilson_interval(1, 1)


def test_one_image_one_class() -> None:
    e = evaluate([[1.0]], [0], ["only"], split="test")
    assert (e.accuracy, e.loss, e.errors, e.balanced) == (1, 0, 0, True)
    assert e.classes[0].roc_auc is None


def test_first_of_equal_logits_is_the_prediction() -> None:
    assert evaluate([[1, 1]], [1], ["a", "b"], split="s").confusion == ((0, 0), (1, 0))


@pytest.mark.parametrize(
    ("counts", "balanced"), [([100, 120], True), ([100, 121], False), ([5, 5], True), ([0, 9], False)]
)
def test_balance(counts: list[int], *, balanced: bool) -> None:
    labels = np.repeat([0, 1], counts)
    assert evaluate(np.zeros((len(labels), 2)), labels, ["a", "b"], split="s").balanced is balanced


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(100, 120), st.floats(0, 1)), min_size=2, max_size=30),
)
def test_on_balanced_sets_accuracy_and_macro_recall_can_differ_by_less_than_five_points(
    classes: list[tuple[int, float]],
) -> None:
    sizes, recalls = np.array(classes).T
    assert sizes.max() <= BALANCED_RATIO * sizes.min()
    root = math.sqrt(BALANCED_RATIO)
    gap = abs((sizes * recalls).sum() / sizes.sum() - recalls.mean())
    assert gap <= (root - 1) / (root + 1) + 1e-12 < 0.046


def test_what_does_not_fit_is_refused() -> None:
    two = ["a", "b"]
    with pytest.raises(DataError, match="no images"):
        evaluate(np.zeros((0, 2)), np.zeros(0, dtype=int), two, split="test")
    with pytest.raises(ModelError, match="2 of 3 images"):
        evaluate([[0, math.nan], [0, math.inf], [0, 0]], [0, 1, 1], two, split="test")
    for logits, labels in (
        ([[0.0, 0.0]], [0, 1]),
        ([[0.0, 0.0, 0.0]], [0]),
        ([[0.0, 0.0]], [2]),
        ([[0.0, 0.0]], [-1]),
        ([[0.0, 0.0]], [0.5]),
    ):
        with pytest.raises(ValueError, match=r"fit|integers"):
            evaluate(logits, labels, two, split="test")


def test_json_round_trip_and_contract(cifar: Evaluation) -> None:
    value = cifar.to_json()
    text = json.dumps(value, allow_nan=False)
    assert Evaluation.from_json(json.loads(text)) == cifar
    # the keys that scripts rely on
    assert {
        "split",
        "n",
        "loss",
        "accuracy",
        "accuracy_interval",
        "macro",
        "weighted",
        "classes",
    } <= value.keys()
    for of in (value["macro"], value["weighted"], *value["classes"]):
        for figure in ("precision", "recall", "f1"):
            low, high = of[f"{figure}_interval"]
            assert low <= of[figure] <= high
    assert value["weighted"]["recall"] == pytest.approx(value["accuracy"])
    for scores in value["classes"]:
        for figure in ("roc_auc", "average_precision"):
            low, high = scores[f"{figure}_interval"]
            assert low < scores[figure] < high
    assert value["accuracy_interval"] == list(wilson_interval(8118, 10_000))


@pytest.fixture
def viewed(cifar: Evaluation, judge: Callable[..., Evaluation]) -> Evaluation:
    """An evaluation with another one's figures as those of its views."""
    names = [scores.name for scores in cifar.classes]
    return cifar.with_views(6, judge(cifar.confusion, names, seed=1))


def test_views_round_trip_and_may_be_missing(cifar: Evaluation, viewed: Evaluation) -> None:
    value = json.loads(json.dumps(viewed.to_json(), allow_nan=False))
    assert Evaluation.from_json(value) == viewed
    assert list(value["views"]) == ["n", "accuracy", "accuracy_interval", "loss"]
    assert value["views"]["accuracy_interval"] == list(wilson_interval(8118, 10_000))
    assert value["views"]["loss"] != value["loss"]
    assert {**value, "views": None} == cifar.to_json()
    del value["views"]  # as files were before
    assert Evaluation.from_json(value) == cifar
    for bad in ({}, 6, {**viewed.to_json()["views"], "more": 1}):
        with pytest.raises(RunError, match="not an evaluation"):
            Evaluation.from_json({**value, "views": bad})


def test_views_are_shown_in_one_line_that_says_what_they_are_not(
    cifar: Evaluation, viewed: Evaluation
) -> None:
    assert viewed.views is not None
    plain, shown = str(cifar).splitlines(), str(viewed).splitlines()
    assert shown[1] == (
        "On test, 6 views of each image averaged (test-time augmentation) give accuracy 81.18 % (95 % "
        f"interval 80.40 % to 81.93 %), loss {viewed.views.loss:.4f}; this costs six times the computing and "
        "is no property of the saved model."
    )
    assert [shown[0], *shown[2:]] == plain
    assert f"<p>{shown[1]}</p>" in viewed._repr_html_()
    assert "views" not in cifar._repr_html_()
    assert "costs three times the" in str(cifar.with_views(3, cifar))


def test_from_json_refuses_other_things(cifar: Evaluation) -> None:
    good = cifar.to_json()
    for bad in ({}, {**good, "more": 1}, {**good, "classes": [1]}, {**good, "accuracy_interval": [1]}):
        with pytest.raises(RunError, match="not an evaluation"):
            Evaluation.from_json(bad)


@pytest.mark.parametrize(
    ("fraction", "n", "shown"),
    [
        (0.81554, 10_000, "81.55 %"),
        (0.8155, 1000, "81.5 %"),
        (0.99999, 10_000, "> 99.99 %"),
        (0.00001, 100, "< 0.1 %"),
        (1, 9, "100.0 %"),
        (0, 9, "0.0 %"),
        (None, 9, "–"),
    ],
)
def test_percent(fraction: float | None, n: int, shown: str) -> None:
    assert format_percent(fraction, n) == shown


def test_shows_itself(cifar: Evaluation) -> None:
    text = str(cifar)
    assert text.startswith("test: accuracy 81.18 % (95 % interval 80.40 % to 81.93 %), loss ")
    assert "cat" in text
    assert "64.0 %" in text
    assert "macro average" in text


def test_shows_hostile_names_harmlessly(judge: Callable[..., Evaluation]) -> None:
    e = judge([[3, 1], [0, 4]], ["<script>alert(1)</script>\u202e\x1b[31m", "x" * 5000], split="<b>")
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(e._repr_html_())
    assert set(tags) == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    for text in (str(e), e._repr_html_()):
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "x" * 41 not in text


def test_every_figure_is_defined() -> None:
    assert {
        "Accuracy",
        "Precision",
        "Recall",
        "F1",
        "Macro",
        "Weighted",
        "ROC AUC",
        "Loss",
    } <= DEFINITIONS.keys()
    assert all(sentence.endswith(".") for sentence in DEFINITIONS.values())
