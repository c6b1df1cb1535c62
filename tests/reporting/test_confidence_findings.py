"""What is said of a model's probabilities follows from its numbers."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax

from foveal.evaluation import calibration, metrics
from foveal.evaluation.metrics import Evaluation, format_percent
from foveal.reporting.confidence_findings import describe_confidence, summarise


def judged(n: int, sharpness: float, *, tuned: bool = True, seed: int = 0) -> Evaluation:
    """Judge logits whose true probabilities are softmax(logits / sharpness)."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2, size=(2 * n, 5))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > random.random((2 * n, 1))).argmax(axis=1)
    logits *= sharpness
    chosen = None
    if tuned:
        temperature = calibration.fit_temperature(logits[:n], labels[:n])
        chosen = calibration.choose_thresholds(logits[:n], labels[:n], temperature)
    return metrics.evaluate(logits[n:], labels[n:], list("abcde"), split="test", thresholds=chosen)


@pytest.mark.parametrize(("sharpness", "which"), [(3.0, "too sure"), (0.4, "not sure enough")])
def test_what_the_temperature_mended(sharpness: float, which: str) -> None:
    e = judged(4000, sharpness)
    said = describe_confidence(e)[0]
    assert said.kind == "calibration"
    assert said.numbers["beyond_chance"] is False
    assert "can be taken at their word" in said.sentence
    assert f"{format_percent(e.confidence.as_trained.error, e.n)}, {which} on the whole" in said.sentence
    assert f"temperature of {e.confidence.temperature:.3f}" in said.sentence


@pytest.mark.parametrize(("sharpness", "side"), [(3.0, "too high"), (0.4, "too low")])
def test_without_a_temperature_it_says_how_the_probabilities_are_off(sharpness: float, side: str) -> None:
    said = describe_confidence(judged(4000, sharpness, tuned=False))
    assert [each.kind for each in said] == ["calibration"]  # nothing was chosen, so nothing else is said
    assert said[0].numbers["beyond_chance"] is True
    assert f"its probabilities are, on the whole, {side}" in said[0].sentence


def test_answers_and_sets_are_told_with_their_intervals() -> None:
    e = judged(4000, 1.0)
    _, answering, sets = describe_confidence(e)
    of = {each.target_accuracy: each for each in e.confidence.selective}[0.95]
    assert answering.numbers["coverage"] == of.coverage
    assert (
        f"answers {format_percent(of.coverage, e.n)} and is right in {format_percent(of.accuracy, of.n)}"
        in answering.sentence
    )
    at = {each.level: each for each in e.confidence.prediction_sets}[0.95]
    assert f"name {at.size:.2f} classes on average" in sets.sentence
    assert (
        f"{format_percent(at.coverage_interval[0], e.n)} to {format_percent(at.coverage_interval[1], e.n)}"
        in sets.sentence
    )
    assert f"answers {100 * of.coverage:.0f} of 100 images" in summarise(e).sentence


def test_the_summary_in_plain_words(judge: Callable[..., Evaluation]) -> None:
    e = judge([[80, 15, 5], [9, 90, 1], [2, 3, 95]], ["ant", "bee", "cow"])
    finding = summarise(e)
    assert finding.sentence.startswith(
        "Of 100 images like these, it classifies about 88 correctly; with 300 images"
    )
    assert "take ant for bee (15 of 35 errors)" in finding.sentence
    assert finding.numbers["times"] == 15
    tied = summarise(judge([[80, 15, 5], [15, 84, 1], [2, 3, 95]], ["ant", "bee", "cow"]))
    assert "most frequent" not in tied.sentence
    assert "most frequent" not in summarise(judge([[9, 0], [0, 9]])).sentence
    assert "most frequent" not in summarise(judge([[9]])).sentence
