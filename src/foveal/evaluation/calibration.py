"""Whether a classifier's probabilities can be trusted: calibration, selective answers, prediction sets.

The temperature and all thresholds are chosen on validation images and evaluated on other images. Where the
epoch was chosen on the same validation images, these choices are slightly optimistic. Their effect on the
test images is measured, not promised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, pi, sqrt
from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from foveal.evaluation.intervals import wilson_interval
from foveal.files.typed_json import json_field
from foveal.types import Bools, Floats, Ints, Logits

MAX_BINS: Final = 15
"""The number of bins of a calibration, where there are enough images."""
MIN_IMAGES_PER_BIN: Final = 10
"""There are fewer bins where each would have fewer images than this."""
TEMPERATURE_RANGE: Final = (0.05, 20.0)
"""The lowest and the highest temperature that can be fitted."""
TARGET_ACCURACIES: Final = (0.9, 0.95, 0.98, 0.99, 0.995)
"""The accuracies among answered images for which thresholds are rule."""
DEFAULT_TARGET: Final = 0.95
"""The accuracy among answered images that a model aims at by default."""
COVERAGE_LEVELS: Final = (0.9, 0.95, 0.99)
"""The shares of images whose prediction set is to contain the true class."""
RISK_POINTS: Final = 100
"""The number of points of the risk-coverage curve."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A group of images with similar confidence."""

    n: int
    """The number of images."""
    confidence: float
    """The mean probability of the predicted class."""
    accuracy: float
    """The share of the images that are classified correctly."""
    accuracy_interval: tuple[float, float]
    """Wilson's 95 % interval for the accuracy."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether images that are predicted with 80 % confidence are correct in 80 of 100 cases."""

    loss: float
    """The mean cross-entropy in nats."""
    confidence: float
    """The mean probability of the predicted class. Above the accuracy, the model is overconfident."""
    error: float
    """The expected calibration error: |accuracy - confidence| of each bin, weighted by its images."""
    error_by_chance: float
    """The mean error of a perfectly calibrated model on as many images."""
    error_limit: float
    """A perfectly calibrated model exceeds this error in 5 of 100 cases."""
    bins: tuple[Bin, ...]
    """The bins in ascending order of confidence. All have about the same number of images."""


@dataclass(frozen=True, kw_only=True)
class SelectiveThreshold:
    """A threshold on the confidence that was chosen on validation images."""

    target_accuracy: float
    """The accuracy that is reached among the validation images at or above the threshold."""
    threshold: float
    """The least probability of the predicted class for which the model answers."""


@dataclass(frozen=True, kw_only=True)
class Selective:
    """Selective classification: the model answers only where its confidence reaches a threshold."""

    target_accuracy: float = json_field("wanted")
    """The accuracy among answered images for which the threshold was rule. Its key in JSON is `wanted`."""
    threshold: float = json_field("least")
    """The least probability of the predicted class for which the model answers. Its key is `least`."""
    n: int
    """The number of answered images."""
    coverage: float
    """The share of images that are answered."""
    coverage_interval: tuple[float, float]
    """Wilson's 95 % interval for the coverage."""
    accuracy: float | None
    """The accuracy among answered images. It is None if no image is answered."""
    accuracy_interval: tuple[float, float] | None
    """Wilson's 95 % interval for the accuracy among answered images."""


AnySelective = TypeVar("AnySelective", SelectiveThreshold, Selective)


@dataclass(frozen=True, kw_only=True)
class ConformalThreshold:
    """A threshold on the probability of a class that was chosen on validation images."""

    level: float
    """The share of images whose prediction set is to contain the true class."""
    threshold: float
    """The least probability of a class in the prediction set."""


@dataclass(frozen=True, kw_only=True)
class PredictionSets:
    """Conformal prediction sets: the likeliest class and all whose probability reaches a threshold."""

    level: float
    """The share of images whose prediction set is to contain the true class."""
    threshold: float = json_field("least")
    """The least probability of a class in the set, except for the likeliest. Its key in JSON is `least`."""
    coverage: float
    """The share of images whose prediction set contains the true class."""
    coverage_interval: tuple[float, float]
    """Wilson's 95 % interval for the coverage."""
    size: float
    """The mean number of classes in a prediction set."""
    single: float
    """The share of prediction sets with a single class."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What is chosen on validation images for the use of a model's probabilities."""

    temperature: float
    """The logits are divided by it before the softmax."""
    selective: tuple[SelectiveThreshold, ...]
    """One threshold for each target accuracy that can be reached and is not reached anyway."""
    conformal: tuple[ConformalThreshold, ...]
    """One threshold for each of `COVERAGE_LEVELS`."""


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How far the probabilities on a split can be trusted."""

    as_trained: Calibration
    """The calibration without a temperature."""
    temperature: float | None
    """The temperature fitted on validation images. It is None on the validation images themselves."""
    calibrated: Calibration | None
    """The calibration with the temperature."""
    risk: tuple[float, ...]
    """The share of errors among the most confident 1 %, 2 % … 100 % of the images."""
    selective: tuple[Selective, ...] = json_field("answering")
    """The result of each threshold on the confidence. The key in JSON is `answering`."""
    prediction_sets: tuple[PredictionSets, ...] = json_field("sets")
    """The result of each conformal threshold. The key in JSON is `sets`."""


def softmax(logits: ArrayLike, temperature: float | None = None) -> Floats:
    """Return the float64 probabilities (N, K) of logits (N, K), first divided by the temperature."""
    z = np.asarray(logits, dtype=np.float64) / (1.0 if temperature is None else temperature)
    probabilities: Floats = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


# ---- chosen on validation images


def fit_temperature(logits: Logits, y_true: Ints) -> float:
    """Return the temperature T with which softmax(logits / T) has the lowest cross-entropy.

    `logits` is (N, K), `y_true` (N,). As in Platt scaling, a share 1/(N + 2) of every label is spread over
    all classes. Without this, a network that is correct on every validation image would become certain of
    everything.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017;
    J. Platt, Probabilistic outputs for support vector machines, 1999.
    """
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    smoothing = 1 / (len(z) + 2)
    target = (1 - smoothing) * z[np.arange(len(z)), y_true].mean() + smoothing * z.mean()

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.log(np.exp(z * scale).sum(axis=1)).mean() - target * scale)

    bounds = tuple(np.log(TEMPERATURE_RANGE))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def choose_thresholds(logits: Logits, y_true: Ints, temperature: float) -> Thresholds:
    """Choose all thresholds by the logits (N, K) and classes (N,) of validation images."""
    probabilities = softmax(logits, temperature)
    return Thresholds(
        temperature=temperature,
        selective=_choose_selective(probabilities, y_true),
        conformal=_choose_conformal(probabilities, y_true),
    )


def choose_default_threshold(selective: Sequence[AnySelective]) -> AnySelective | None:
    """Return the threshold for `DEFAULT_TARGET`, or for the next accuracy that is not reached anyway.

    If there is none from there on, it is that for the highest accuracy below, or None.
    """
    return min(
        selective,
        key=lambda rule: (rule.target_accuracy < DEFAULT_TARGET, abs(rule.target_accuracy - DEFAULT_TARGET)),
        default=None,
    )


def _choose_selective(probabilities: Floats, y_true: Ints) -> tuple[SelectiveThreshold, ...]:
    """Choose for each target accuracy the lowest threshold on the confidence that reaches it."""
    confidence, correct = _sort_by_confidence(probabilities, y_true)
    is_last = np.append(confidence[1:] != confidence[:-1], True)  # equal confidences are answered together
    accuracy = np.cumsum(correct) / np.arange(1, len(correct) + 1)
    thresholds = []
    for target in TARGET_ACCURACIES:
        candidates = np.flatnonzero((accuracy >= target) & is_last)
        # Where even the last image may be answered, no threshold is needed.
        if len(candidates) and candidates[-1] + 1 < len(correct):
            threshold = float(confidence[candidates[-1]])
            thresholds.append(SelectiveThreshold(target_accuracy=target, threshold=threshold))
    return tuple(thresholds)


def _choose_conformal(probabilities: Floats, y_true: Ints) -> tuple[ConformalThreshold, ...]:
    """Choose for each level the threshold that the true class reaches in that share of images.

    With n validation images it is the ⌈(n + 1)·level⌉-th largest probability of a true class. Then the
    prediction set of a new image contains the true class with at least that probability. This is true for any
    network, as long as the images are drawn alike. Where n is too small for a level, the set has every class.

    Source: split conformal prediction; V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random
    World (2005); M. Sadinle, J. Lei, L. Wasserman, Least ambiguous set-valued classifiers with bounded error
    levels, JASA 114 (2019).
    """
    n = len(y_true)
    of_true_class = np.sort(probabilities[np.arange(n), y_true])[::-1]
    ranks = [(level, ceil((n + 1) * level)) for level in COVERAGE_LEVELS]
    return tuple(
        ConformalThreshold(level=level, threshold=float(of_true_class[rank - 1]) if rank <= n else 0.0)
        for level, rank in ranks
    )


# ---- evaluated on any images


def evaluate_calibration(logits: Logits, y_true: Ints, thresholds: Thresholds | None) -> Confidence:
    """Evaluate the probabilities of logits (N, K) against the classes (N,).

    `thresholds` were chosen on other images. Without them, as on validation images, only the probabilities
    as trained are evaluated.
    """
    as_trained = softmax(logits)
    if thresholds is None:
        return Confidence(
            as_trained=measure_calibration(as_trained, y_true),
            temperature=None,
            calibrated=None,
            risk=_measure_risk(_sort_by_confidence(as_trained, y_true)[1]),
            selective=(),
            prediction_sets=(),
        )
    probabilities = softmax(logits, thresholds.temperature)
    confidence, correct = _sort_by_confidence(probabilities, y_true)
    return Confidence(
        as_trained=measure_calibration(as_trained, y_true),
        temperature=thresholds.temperature,
        calibrated=measure_calibration(probabilities, y_true),
        risk=_measure_risk(correct),
        selective=tuple(_evaluate_selective(confidence, correct, rule) for rule in thresholds.selective),
        prediction_sets=tuple(_evaluate_sets(probabilities, y_true, rule) for rule in thresholds.conformal),
    )


def measure_calibration(probabilities: Floats, y_true: Ints) -> Calibration:
    """Compare confidence and accuracy of probabilities (N, K) with classes (N,), in bins of equal size.

    Even a perfectly calibrated model has an error. In a bin the accuracy is a mean of independent 0s and 1s.
    It differs from its expectation by √(2/π) standard deviations on average.

    Source: for the error, M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015; for the comparison with
    chance, J. Bröcker, L. A. Smith, Increasing the reliability of reliability diagrams, 2007.
    """
    n = len(y_true)
    confidence, correct = _sort_by_confidence(probabilities, y_true)
    of_true_class = probabilities[np.arange(n), y_true]
    bins, error, expected, variance = [], 0.0, 0.0, 0.0
    n_bins = max(1, min(MAX_BINS, n // MIN_IMAGES_PER_BIN))
    for confidences, hits in zip(
        reversed(np.array_split(confidence, n_bins)), reversed(np.array_split(correct, n_bins)), strict=True
    ):
        size, mean = len(confidences), float(confidences.mean())
        std = sqrt(float((confidences * (1 - confidences)).sum())) / size
        error += size / n * abs(float(hits.mean() - confidences.mean()))
        expected += size / n * sqrt(2 / pi) * std
        variance += (size / n * std) ** 2 * (1 - 2 / pi)
        n_correct = int(hits.sum())
        interval = wilson_interval(n_correct, size)
        bins.append(Bin(n=size, confidence=mean, accuracy=n_correct / size, accuracy_interval=interval))
    return Calibration(
        loss=float(-np.log(np.maximum(of_true_class, np.finfo(np.float64).tiny)).mean()),
        confidence=float(confidence.mean()),
        error=error,
        error_by_chance=expected,
        error_limit=expected + 1.645 * sqrt(variance),
        bins=tuple(bins),
    )


def _sort_by_confidence(probabilities: Floats, y_true: Ints) -> tuple[Floats, Bools]:
    """Return the confidences (N,) in descending order, and which of these predictions are correct."""
    y_pred = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(probabilities)), y_pred]
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], (y_pred == y_true)[order]


def _measure_risk(correct: Bools) -> tuple[float, ...]:
    """Return the share of errors among the most confident images, at each point of the curve."""
    counts = [max(1, round(len(correct) * point / RISK_POINTS)) for point in range(1, RISK_POINTS + 1)]
    errors = np.cumsum(~correct)
    return tuple(float(errors[count - 1]) / count for count in counts)


def _evaluate_selective(confidence: Floats, correct: Bools, rule: SelectiveThreshold) -> Selective:
    answered = confidence >= rule.threshold
    n, n_correct = int(answered.sum()), int(correct[answered].sum())
    return Selective(
        target_accuracy=rule.target_accuracy,
        threshold=rule.threshold,
        n=n,
        coverage=n / len(correct),
        coverage_interval=wilson_interval(n, len(correct)),
        accuracy=n_correct / n if n else None,
        accuracy_interval=wilson_interval(n_correct, n) if n else None,
    )


def _evaluate_sets(probabilities: Floats, y_true: Ints, rule: ConformalThreshold) -> PredictionSets:
    n, images = len(probabilities), np.arange(len(probabilities))
    in_set = probabilities >= rule.threshold  # (N, K)
    in_set[images, probabilities.argmax(axis=1)] = True
    n_covered = int(in_set[images, y_true].sum())
    sizes = in_set.sum(axis=1)
    return PredictionSets(
        level=rule.level,
        threshold=rule.threshold,
        coverage=n_covered / n,
        coverage_interval=wilson_interval(n_covered, n),
        size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
    )


def find_confident_errors(probabilities: Floats, y_true: Ints, *, limit: int) -> Sequence[int]:
    """Return the indices of wrongly classified images, the most confident first, at most `limit`."""
    y_pred = probabilities.argmax(axis=1)
    confidence = np.where(y_pred == y_true, -1.0, probabilities[np.arange(len(probabilities)), y_pred])
    order = np.argsort(-confidence, kind="stable")[:limit]
    return [int(index) for index in order if confidence[index] >= 0]
