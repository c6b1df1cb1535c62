"""How far a classifier's probabilities can be believed: calibration, "I don't know", sets of classes.

Whatever is chosen here (temperature, thresholds, quantiles) is chosen on validation images, and judged on
others. A run whose epoch was chosen on the same validation images makes these choices a little favourable;
what they bring on the test images is measured, not promised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from foveal.evaluation.intervals import wilson_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Logits = NDArray[np.float32] | NDArray[np.float64]

BINS: Final = 15
"""Groups of images by confidence, of equal size, as Guo et al. have (theirs of equal width),"""
IN_A_BIN: Final = 10
"""and fewer groups where there would not be so many images in each."""
TEMPERATURE_RANGE: Final = (0.05, 20.0)
"""Between which a temperature is looked for."""
TARGET_ACCURACIES: Final = (0.9, 0.95, 0.98, 0.99, 0.995)
"""Accuracies among answered images for which thresholds are sought."""
COVERAGE_LEVELS: Final = (0.9, 0.95, 0.99)
"""Shares of images whose true class a set of classes is to hold."""
POINTS: Final = 100
"""Of a risk-coverage curve."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Images of similar confidence."""

    n: int
    confidence: float
    """The mean probability given to the predicted class,"""
    accuracy: float
    """the share of them that is right,"""
    accuracy_interval: tuple[float, float]
    """and its Wilson interval, at 95 %."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether images predicted with 80 % are right in 80 of 100 cases."""

    loss: float
    """The mean cross-entropy, in nats."""
    confidence: float
    """The mean probability given to the predicted class; above the accuracy: overconfident."""
    error: float
    """The expected calibration error: |accuracy - confidence| of each bin, averaged by its images."""
    error_by_chance: float
    """What that would be on average, on as many images, were every probability exactly right: its bias."""
    error_limit: float
    """And what it would exceed in 5 of 100 cases then."""
    bins: tuple[Bin, ...]
    """In order of confidence."""


@dataclass(frozen=True, kw_only=True)
class SelectiveThreshold:
    """Answering only where the probability of the predicted class is high enough."""

    wanted: float
    """Accuracy among answered images, reached on validation images"""
    least: float
    """by answering from this probability on."""


@dataclass(frozen=True, kw_only=True)
class Selective:
    """What a threshold brings on other images."""

    wanted: float
    least: float
    n: int
    """Images answered."""
    coverage: float
    """Their share,"""
    coverage_interval: tuple[float, float]
    accuracy: float | None
    """and how many of them are right; None if none is answered."""
    accuracy_interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class ConformalThreshold:
    """The classes worth naming: those whose probability is at least `least`."""

    level: float
    least: float


@dataclass(frozen=True, kw_only=True)
class PredictionSets:
    """How sets of classes do on other images: all classes above a probability, and always the likeliest."""

    level: float
    """The share of images whose true class is to be in the set."""
    least: float
    coverage: float
    """The share for which it is,"""
    coverage_interval: tuple[float, float]
    size: float
    """the mean number of classes in a set,"""
    single: float
    """and the share of sets of one class."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What validation images tell about a model's probabilities."""

    temperature: float
    thresholds: tuple[SelectiveThreshold, ...]
    quantiles: tuple[ConformalThreshold, ...]


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How far the probabilities on a split can be believed."""

    as_trained: Calibration
    temperature: float | None
    """Fitted on validation images; None where these are those, or where there are none."""
    calibrated: Calibration | None
    """With the temperature."""
    risk: tuple[float, ...]
    """The share of errors among the most confident 1/`POINTS`, 2/`POINTS` … of the images."""
    answering: tuple[Selective, ...]
    sets: tuple[PredictionSets, ...]


def softmax(logits: Logits, temperature: float | None = None) -> Floats:
    """Turn logits (N, K) into probabilities (N, K), at a temperature."""
    z = logits.astype(np.float64) / (1.0 if temperature is None else temperature)
    raised: Floats = np.exp(z - z.max(axis=1, keepdims=True))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


# ---- on validation images


def choose_thresholds(logits: Logits, labels: Ints, temperature: float) -> Thresholds:
    """Choose thresholds and quantiles by validation logits (N, K) and labels (N,), at the temperature."""
    p = softmax(logits, temperature)
    return Thresholds(temperature=temperature, thresholds=_thresholds(p, labels), quantiles=_quantiles(p, labels))


def fit_temperature(logits: Logits, labels: Ints) -> float:
    """Find the temperature T for which softmax(logits / T) has the least cross-entropy with the labels.

    As in Platt's scaling, a part 1/(N + 2) of every label is spread over all classes: a network that is right
    on every validation image would otherwise be sure of everything.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017;
    J. Platt, Probabilistic outputs for support vector machines, 1999.
    """
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    spread = 1 / (len(z) + 2)
    target = (1 - spread) * z[np.arange(len(z)), labels].mean() + spread * z.mean()

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.log(np.exp(z * scale).sum(axis=1)).mean() - target * scale)

    bounds = tuple(np.log(TEMPERATURE_RANGE))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def _thresholds(p: Floats, labels: Ints) -> tuple[SelectiveThreshold, ...]:
    """Find, for each wanted accuracy, the lowest probability from which on answers are that good."""
    confidence, right = _ordered(p, labels)
    last = np.append(confidence[1:] != confidence[:-1], True)  # images alike are answered together
    accuracy = np.cumsum(right) / np.arange(1, len(right) + 1)
    found = []
    for wanted in TARGET_ACCURACIES:
        enough = np.flatnonzero((accuracy >= wanted) & last)
        if len(enough) and enough[-1] + 1 < len(right):  # else all are answered: nothing to choose
            found.append(SelectiveThreshold(wanted=wanted, least=float(confidence[enough[-1]])))
    return tuple(found)


def _quantiles(p: Floats, labels: Ints) -> tuple[ConformalThreshold, ...]:
    """Find the probability that the true class has in all but a share of images.

    With n validation images the ⌈(n + 1)·level⌉-th largest true probability is taken: then a further image's
    true class lies in the set with at least the wanted probability, whatever the network and the images, as
    long as they are drawn alike. Where n is too small for a level, every class is named.

    Source: split conformal prediction; V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random
    World (2005); M. Sadinle, J. Lei, L. Wasserman, Least ambiguous set-valued classifiers with bounded error
    levels, JASA 114 (2019).
    """
    n = len(labels)
    true = np.sort(p[np.arange(n), labels])[::-1]
    ranks = [(level, ceil((n + 1) * level)) for level in COVERAGE_LEVELS]
    return tuple(ConformalThreshold(level=level, least=float(true[k - 1]) if k <= n else 0.0) for level, k in ranks)


# ---- on any images


def evaluate_calibration(logits: Logits, labels: Ints, thresholds: Thresholds | None) -> Confidence:
    """Say how far probabilities can be believed, on logits (N, K) and labels (N,).

    `tuned` was chosen on other images; without it, as on validation images, there are only the probabilities
    as they were trained.
    """
    plain = softmax(logits)
    p = plain if thresholds is None else softmax(logits, thresholds.temperature)
    return Confidence(
        as_trained=measure_calibration(plain, labels),
        temperature=None if thresholds is None else thresholds.temperature,
        calibrated=None if thresholds is None else measure_calibration(p, labels),
        risk=_risk(p, labels),
        answering=() if thresholds is None else tuple(_answering(p, labels, each) for each in thresholds.thresholds),
        sets=() if thresholds is None else tuple(_sets(p, labels, each) for each in thresholds.quantiles),
    )


def measure_calibration(p: Floats, labels: Ints) -> Calibration:
    """Compare confidence and accuracy of probabilities (N, K) with labels (N,), in bins of equal size.

    The error's bias is what a calibrated model would show: in a bin the mean of n independent 0s and 1s, each
    1 with its own probability, lies off its mean by √(2/π) of its standard deviation, on average.

    Source: for the error, M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015; for the comparison with what
    chance alone gives, J. Bröcker, L. A. Smith, Increasing the reliability of reliability diagrams, 2007.
    """
    n = len(labels)
    confidence, right = _ordered(p, labels)
    true = p[np.arange(n), labels]
    bins, error, expected, variance = [], 0.0, 0.0, 0.0
    groups = max(1, min(BINS, n // IN_A_BIN))
    for sure, hits in zip(
        reversed(np.array_split(confidence, groups)), reversed(np.array_split(right, groups)), strict=True
    ):
        share = len(sure) / n
        deviation = sqrt(float((sure * (1 - sure)).sum())) / len(sure)
        error += share * abs(float(hits.mean() - sure.mean()))
        expected += share * sqrt(2 / pi) * deviation
        variance += (share * deviation) ** 2 * (1 - 2 / pi)
        correct = int(hits.sum())
        bins.append(
            Bin(
                n=len(sure),
                confidence=float(sure.mean()),
                accuracy=correct / len(sure),
                accuracy_interval=wilson_interval(correct, len(sure)),
            )
        )
    return Calibration(
        loss=float(-np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean()),
        confidence=float(confidence.mean()),
        error=error,
        error_by_chance=expected,
        error_limit=expected + 1.645 * sqrt(variance),
        bins=tuple(bins),
    )


def _ordered(p: Floats, labels: Ints) -> tuple[Floats, NDArray[np.bool_]]:
    """Return confidences (N,), the highest first, and whether those images are right."""
    predicted = p.argmax(axis=1)
    confidence = p[np.arange(len(p)), predicted]
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], (predicted == labels)[order]


def _risk(p: Floats, labels: Ints) -> tuple[float, ...]:
    _, right = _ordered(p, labels)
    counts = [max(1, round(len(right) * point / POINTS)) for point in range(1, POINTS + 1)]
    wrong = np.cumsum(~right)
    return tuple(float(wrong[count - 1]) / count for count in counts)


def _answering(p: Floats, labels: Ints, threshold: SelectiveThreshold) -> Selective:
    confidence, right = _ordered(p, labels)
    answered = confidence >= threshold.least
    n, hits = int(answered.sum()), int(right[answered].sum())
    return Selective(
        wanted=threshold.wanted,
        least=threshold.least,
        n=n,
        coverage=n / len(right),
        coverage_interval=wilson_interval(n, len(right)),
        accuracy=hits / n if n else None,
        accuracy_interval=wilson_interval(hits, n) if n else None,
    )


def _sets(p: Floats, labels: Ints, quantile: ConformalThreshold) -> PredictionSets:
    named = p >= quantile.least  # (N, K)
    rows = np.arange(len(p))
    named[rows, p.argmax(axis=1)] = True
    held = int(named[rows, labels].sum())
    sizes = named.sum(axis=1)
    return PredictionSets(
        level=quantile.level,
        least=quantile.least,
        coverage=held / len(p),
        coverage_interval=wilson_interval(held, len(p)),
        size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
    )


def find_confident_errors(p: Floats, labels: Ints, *, most: int) -> Sequence[int]:
    """Return the images (rows of p) that are wrong, the most confident first, at most so many."""
    predicted = p.argmax(axis=1)
    confidence = np.where(predicted == labels, -1.0, p[np.arange(len(p)), predicted])
    order = np.argsort(-confidence, kind="stable")[:most]
    return [int(row) for row in order if confidence[row] >= 0]
