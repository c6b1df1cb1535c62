"""Findings about a model that is of no use: it does no better than guessing, or its loss has exploded."""

from typing import Final

import numpy as np
from scipy.special import bdtrc

from foveal.evaluation.metrics import Evaluation, format_percent
from foveal.progress import printable
from foveal.reporting.findings import Finding, format_count

SIGNIFICANCE: Final = 0.05
"""A model is better than guessing if guessing would be right as often in less than this share of cases."""
MAX_LOSS: Final = 100.0
"""The mean cross-entropy in nats above which a network's outputs have exploded. Guessing has log(classes)."""


def describe_uselessness(evaluation: Evaluation) -> list[Finding]:
    """Say if a model is no better than always naming the largest class, or if its loss has exploded."""
    return [*_describe_chance(evaluation), *_describe_explosion(evaluation)]


def compute_chance(n_correct: int, n: int, share: float) -> float:
    """Return how probable at least `n_correct` correct answers of `n` are, each with probability `share`.

    It is the p-value of the exact one-sided binomial test.
    """
    return 1.0 if n_correct == 0 or share >= 1 else float(bdtrc(n_correct - 1, n, share))


def _describe_chance(e: Evaluation) -> list[Finding]:
    largest = max(e.classes, key=lambda scores: scores.n)
    n_correct, share = e.n - e.errors, largest.n / e.n
    chance = compute_chance(n_correct, e.n, share)
    if chance <= SIGNIFICANCE or share == 1:
        return []
    name, split = printable(largest.name, 40), printable(e.split, 40)
    guess = f"always naming {name} would be right for {largest.n:,}"
    right = f"{n_correct:,} of {format_count(e.n, f'{split} image')} were classified correctly, and {guess}"
    finds_classes = _finds_classes(e)
    if n_correct > largest.n or compute_chance(e.n, e.n, share) > SIGNIFICANCE:
        if finds_classes and not e.balanced:
            return []
        kind = "too_few_images"
        sentence = f"Whether the model is better than a guess cannot be told from so few images: {right}."
    elif finds_classes:
        kind = "no_better_by_accuracy"
        sentence = (
            f"By accuracy the model is no better than a guess: {right}. Yet it tells the classes apart: it "
            f"finds {format_percent(e.macro.recall, e.n)} of the images of a class on average."
        )
    else:
        kind = "useless"
        sentence = f"The model is useless as it is, no better than a guess: {right}."
    numbers = {
        "n": e.n,
        "correct": n_correct,
        "largest_class": largest.name,
        "largest_class_n": largest.n,
        "chance": chance,
        "macro_recall": e.macro.recall,
    }
    return [Finding(kind=kind, sentence=sentence, numbers=numbers)]


def _finds_classes(e: Evaluation) -> bool:
    """Return whether the mean recall of the classes lies above that of guessing, by two standard errors."""
    recalls = np.array([scores.recall for scores in e.classes if scores.recall is not None])
    counts = np.array([scores.n for scores in e.classes if scores.recall is not None])
    spread = np.maximum(recalls * (1 - recalls), 1 / (counts + 1) * counts / (counts + 1)) / counts
    return bool(recalls.mean() - 1 / len(e.classes) > 2 * np.sqrt(spread.sum()) / len(recalls))


def _describe_explosion(e: Evaluation) -> list[Finding]:
    if e.loss <= MAX_LOSS:
        return []
    sentence = (
        f"The loss of {e.loss:.3g} shows that the network's outputs have exploded: its probabilities mean "
        f"nothing. Train again with a smaller learning rate."
    )
    return [Finding(kind="exploded_loss", sentence=sentence, numbers={"loss": e.loss, "limit": MAX_LOSS})]
