"""Calibration, thresholds and sets of classes: against other implementations, and by simulation."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from foveal.evaluation import calibration
from foveal.evaluation.calibration import Confidence


def sample(
    random: np.random.Generator, n: int, k: int = 5, *, sharpness: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits (n, k) and labels whose true probabilities are softmax(logits / sharpness)."""
    logits = random.normal(scale=2, size=(n, k))
    p = softmax(logits, axis=1)
    labels = (p.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    return logits * sharpness, labels


def judged(random: np.random.Generator, n: int, sharpness: float = 1.0) -> Confidence:
    before, after = sample(random, n, sharpness=sharpness), sample(random, n, sharpness=sharpness)
    return calibration.evaluate_calibration(
        *after, calibration.choose_thresholds(*before, calibration.fit_temperature(*before))
    )


def test_the_temperature_is_torch_s() -> None:
    random = np.random.default_rng(0)
    logits, labels = sample(random, 4000, sharpness=2.5)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    spread = 1 / 4002
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, tolerance_grad=1e-10)
    z, y = torch.from_numpy(logits), torch.from_numpy(labels)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(z / log_temperature.exp(), y, label_smoothing=spread)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = calibration.fit_temperature(logits, labels)
    assert found == pytest.approx(log_temperature.exp().item(), rel=1e-4)
    assert found == pytest.approx(2.5, rel=0.05)


def test_a_network_that_never_errs_on_few_images_is_not_sure_of_everything() -> None:
    labels = np.arange(20) % 4
    logits = 3.0 * np.eye(4)[labels]
    temperature = calibration.fit_temperature(logits, labels)
    assert calibration.TEMPERATURE_RANGE[0] < temperature < 1
    assert calibration.softmax(logits, temperature).max() < 0.99


def test_the_temperature_mends_overconfidence() -> None:
    found = judged(np.random.default_rng(1), 5000, sharpness=3)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.calibrated is not None
    assert found.as_trained.error > found.as_trained.error_limit
    assert found.as_trained.confidence > found.calibrated.confidence + 0.05
    assert found.calibrated.error < found.as_trained.error / 3
    assert found.calibrated.loss < found.as_trained.loss


def test_the_calibration_error_by_its_definition() -> None:
    random = np.random.default_rng(2)
    logits, labels = sample(random, 300)
    p = softmax(logits, axis=1)
    found = calibration.measure_calibration(p, labels)
    order = np.argsort(p.max(axis=1))
    groups = np.array_split(order[::-1], len(found.bins))
    error = sum(
        len(rows) / 300 * abs((p[rows].argmax(axis=1) == labels[rows]).mean() - p[rows].max(axis=1).mean())
        for rows in groups
    )
    assert found.error == pytest.approx(error, rel=1e-12)
    assert [each.n for each in found.bins] == [20] * 15
    assert [each.confidence for each in found.bins] == sorted(each.confidence for each in found.bins)


@pytest.mark.parametrize("n", [100, 1000])
def test_a_calibrated_model_s_error_is_what_chance_gives(n: int) -> None:
    random = np.random.default_rng(3)
    found = []
    for _ in range(2000):
        logits, labels = sample(random, n)
        found.append(calibration.measure_calibration(softmax(logits, axis=1), labels))
    errors = np.array([each.error for each in found])
    by_chance = np.mean([each.error_by_chance for each in found])
    assert errors.mean() == pytest.approx(by_chance, rel=0.03)
    beyond = np.mean([each.error > each.error_limit for each in found])
    assert 0.035 < beyond < 0.07


def test_sets_hold_the_true_class_as_often_as_they_promise() -> None:
    """The guarantee is over validation and test images together: it is drawn anew each time."""
    random = np.random.default_rng(4)
    held: dict[float, list[float]] = {level: [] for level in calibration.COVERAGE_LEVELS}
    for _ in range(2000):
        before = sample(random, 150, sharpness=4)  # badly overconfident: no matter
        p = calibration.softmax(before[0])
        logits, labels = sample(random, 20, sharpness=4)
        for chosen in calibration._choose_conformal(p, before[1]):
            sets = calibration._evaluate_sets(calibration.softmax(logits), labels, chosen)
            held[chosen.level].append(sets.coverage)
    for level, shares in held.items():
        assert np.mean(shares) >= level - 0.004  # 40,000 images: one standard error is 0.0015 at most
    assert np.mean(held[0.9]) < 0.92  # and hardly more


def test_too_few_images_for_a_level_name_every_class() -> None:
    random = np.random.default_rng(5)
    logits, labels = sample(random, 50)
    quantiles = {
        each.level: each.threshold for each in calibration.choose_thresholds(logits, labels, 1.0).conformal
    }
    assert quantiles[0.99] == 0  # the 51·0.99-th of 50 does not exist
    assert quantiles[0.9] > 0
    sets = calibration.evaluate_calibration(
        logits, labels, calibration.choose_thresholds(logits, labels, 1.0)
    ).prediction_sets
    assert {each.level: each.size for each in sets}[0.99] == 5


def test_thresholds_reach_what_is_wanted_on_validation_images() -> None:
    random = np.random.default_rng(6)
    logits, labels = sample(random, 2000)
    thresholds = calibration.choose_thresholds(logits, labels, 1.0)
    assert [each.target_accuracy for each in thresholds.selective] == [0.9, 0.95, 0.98, 0.99, 0.995]
    here = calibration.evaluate_calibration(logits, labels, thresholds)
    for each in here.selective:
        assert each.accuracy is not None
        assert each.accuracy >= each.target_accuracy
        # and the least probability that does: one image more, and it is missed from there on
        p = softmax(logits, axis=1)
        order = np.sort(p.max(axis=1))[::-1]
        assert order[each.n - 1] == pytest.approx(each.threshold)
    there = judged(np.random.default_rng(7), 2000)
    for each in there.selective:
        assert each.accuracy == pytest.approx(each.target_accuracy, abs=0.03)


def test_risk_falls_with_coverage_to_the_error_of_all() -> None:
    random = np.random.default_rng(8)
    logits, labels = sample(random, 1000)
    found = calibration.evaluate_calibration(logits, labels, None)
    assert len(found.risk) == 100
    assert found.risk[-1] == pytest.approx((logits.argmax(axis=1) != labels).mean())
    assert found.risk[9] < found.risk[49] < found.risk[-1]
    assert found.temperature is None
    assert found.prediction_sets == found.selective == ()


def test_sure_of_everything_is_still_finite() -> None:
    logits = np.array([[1000.0, 0.0], [0.0, 1000.0], [1000.0, 0.0]])
    found = calibration.evaluate_calibration(logits, np.array([0, 0, 0]), None)
    assert np.isfinite(found.as_trained.loss)
    assert found.as_trained.error == pytest.approx(1 / 3)
    assert found.as_trained.error_limit == 0


def test_the_surest_errors_come_first() -> None:
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    assert calibration.find_confident_errors(p, np.array([1, 1, 1, 0]), limit=5) == [0, 3, 1]
    assert calibration.find_confident_errors(p, np.array([1, 1, 1, 0]), limit=1) == [0]
