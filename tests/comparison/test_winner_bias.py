"""The best of several models: chosen, and corrected for having been chosen, where the truth is known."""

from statistics import NormalDist

import numpy as np
import pytest

from foveal.comparison import winner_bias
from foveal.comparison.winner_bias import select_best


def draw(shares: list[float], images: int, draws: int, alike: float) -> tuple[float, float, float]:
    """Return the mean errors of the winner's accuracy, raw and corrected, and how often the interval held.

    `alike` is how much the models' answers depend on what they share: the difficulty of the image.
    """
    random = np.random.default_rng(5)
    limits = np.array([NormalDist().inv_cdf(share) for share in shares])[:, None]
    naive, corrected, held = [], [], []
    for seed in range(draws):
        shared, own = random.standard_normal((1, images)), random.standard_normal((len(shares), images))
        right = alike**0.5 * shared + (1 - alike) ** 0.5 * own < limits
        found = select_best(right, random.random(right.shape), seed=seed)
        truth = shares[found.best]
        naive.append(found.accuracy - truth)
        corrected.append(found.corrected - truth)
        held.append(found.interval[0] <= truth <= found.interval[1])
    return float(np.mean(naive)), float(np.mean(corrected)), float(np.mean(held))


@pytest.mark.parametrize("alike", [0.0, 0.6])
def test_what_choosing_flatters_is_taken_away(monkeypatch: pytest.MonkeyPatch, alike: float) -> None:
    monkeypatch.setattr(winner_bias, "N_BOOTSTRAP_SAMPLES", 300)
    naive, corrected, held = draw([0.85] * 10, 200, 200, alike)
    assert naive > 0.025
    assert abs(corrected) < 0.006  # some three standard errors of 200 draws
    assert held >= 0.93


def test_where_one_model_stands_out_nothing_much_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winner_bias, "N_BOOTSTRAP_SAMPLES", 300)
    naive, corrected, held = draw([0.75] * 9 + [0.95], 200, 200, 0.0)
    assert abs(naive) < 0.005
    assert -0.01 < corrected < 0.005
    assert held >= 0.93


def test_ties_go_to_the_lower_loss() -> None:
    right = np.array([[True, False, True], [True, True, False], [True, False, False]])
    losses = np.array([[0.2, 0.9, 0.3], [0.1, 0.2, 0.9], [0.0, 0.0, 0.0]])
    assert select_best(right, losses).best == 1


def test_one_model_was_not_chosen() -> None:
    found = select_best(np.array([[True, True, False, True]]), np.zeros((1, 4)))
    assert (found.accuracy, found.corrected, found.inflation) == (0.75, 0.75, 0.0)
    assert found.interval[0] < 0.75 < found.interval[1]


def test_an_infinite_loss_loses_the_tie() -> None:
    right = np.array([[True, False], [True, False]])
    assert select_best(right, np.array([[0.1, np.inf], [0.1, 5.0]])).best == 1
