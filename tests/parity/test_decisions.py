"""Plateau, early stopping and best model against Keras' own callbacks and against the notebook's log."""

import math
from typing import Any

import keras
import numpy as np
import pytest

from foveal.training.schedules import BestEpoch, EarlyStopper, ReduceOnPlateau

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras' own

NOTEBOOK = [
    *(1.3683, 1.2969, 1.0690, 1.6596, 0.8689, 1.0259, 0.9757, 0.8880, 0.6032, 0.6111),
    *(0.6275, 0.6083, 0.5949, 0.5965, 0.5969, 0.5996, 0.5983, 0.5988, 0.5999),
]
"""The validation losses of the notebook's nineteen epochs."""


class Recorder(keras.Model):
    """A model that notes when it is saved, instead of writing a file."""

    def __init__(self) -> None:
        super().__init__()
        self.saves = 0

    def save(self, *_: Any, **__: Any) -> None:
        self.saves += 1


def by_keras(
    losses: list[float], *, factor: float, plateau_patience: int, patience: int, min_delta: float
) -> list:
    """What Keras' callbacks decide after each epoch: (learning rate, saved as best, stop)."""
    model = Recorder()
    model.compile(optimizer=keras.optimizers.SGD(learning_rate=0.5))
    callbacks = [
        keras.callbacks.ReduceLROnPlateau(
            "val_loss", factor=factor, patience=plateau_patience, min_delta=min_delta
        ),
        keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint("unused.keras", "val_loss", save_best_only=True),
    ]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    model.stop_training = False
    decisions = []
    for epoch, loss in enumerate(losses):
        before = model.saves
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"val_loss": loss})
        decisions.append((float(model.optimizer.learning_rate), model.saves > before, model.stop_training))
        if model.stop_training:
            break
    return decisions


def by_us(
    losses: list[float], *, factor: float, plateau_patience: int, patience: int, min_delta: float
) -> list:
    plateau = ReduceOnPlateau(factor=factor, patience=plateau_patience, min_delta=min_delta)
    stopping, best = EarlyStopper(patience=patience), BestEpoch()
    rate = 0.5
    decisions = []
    for epoch, loss in enumerate(losses, start=1):
        rate = plateau.update(loss, rate)
        is_best = best.update(loss, epoch=epoch, step=epoch)
        stop = stopping.update(loss)
        decisions.append((rate, is_best, stop))
        if stop:
            break
    return decisions


def test_decisions_are_those_of_keras_on_random_sequences() -> None:
    random = np.random.default_rng(11)
    stops = 0
    for _ in range(200):
        options = {
            "factor": float(random.choice([0.1, 0.5])),
            "plateau_patience": int(random.integers(1, 5)),
            "patience": int(random.integers(1, 8)),
            "min_delta": float(random.choice([0.0, 2**-7, 2**-5])),
        }
        # Steps of 1/128, so that equal losses and improvements of just min_delta occur, and exactly so in
        # the single precision in which Keras compares.
        walk = 2 - np.cumsum(random.normal(0.01, 0.05, 25))
        losses = [float(each) for each in np.round(walk * 128) / 128]
        if random.random() < 0.1:
            losses[int(random.integers(1, 25))] = math.nan
        theirs, ours = by_keras(losses, **options), by_us(losses, **options)
        assert len(ours) == len(theirs)
        for mine, judged in zip(ours, theirs, strict=True):
            assert mine[0] == pytest.approx(judged[0], rel=1e-5)  # Keras' rate is in single precision
            assert mine[1:] == judged[1:]
        stops += ours[-1][2]
    assert 20 < stops < 200  # both ways to end were tried


def test_the_notebooks_log() -> None:
    decisions = by_us(NOTEBOOK, factor=0.1, plateau_patience=3, patience=6, min_delta=1e-4)
    rates = [0.5] + [rate for rate, _, _ in decisions]
    assert [epoch for epoch, (_, best, _) in enumerate(decisions, 1) if best] == [1, 2, 3, 5, 9, 13]
    assert [epoch for epoch in range(1, 20) if rates[epoch] != rates[epoch - 1]] == [8, 12, 16, 19]
    assert [epoch for epoch, (_, _, stop) in enumerate(decisions, 1) if stop] == [19]
    assert rates[-1] == pytest.approx(0.5e-4)


def test_a_saved_decision_goes_on_alike() -> None:
    for cut in range(1, len(NOTEBOOK)):
        first, second = (
            (ReduceOnPlateau(factor=0.1, patience=3, min_delta=1e-4), EarlyStopper(patience=6), BestEpoch())
            for _ in range(2)
        )
        outcomes: list[list] = [[], []]
        for epoch, loss in enumerate(NOTEBOOK, start=1):
            if epoch == cut:
                for here, there in zip(first, second, strict=True):
                    there.load_state_dict(here.state_dict())
            for made, outcome in ((first, outcomes[0]), (second, outcomes[1])):
                if made is first or epoch >= cut:
                    plateau, stopping, best = made
                    outcome.append(
                        (
                            plateau.update(loss, 1.0),
                            stopping.update(loss),
                            best.update(loss, epoch=epoch, step=epoch),
                        )
                    )
        assert outcomes[1] == outcomes[0][cut - 1 :]


def test_without_validation_the_last_epoch_is_the_best() -> None:
    best = BestEpoch()
    assert [best.update(None, epoch=epoch, step=epoch) for epoch in (1, 2, 3)] == [True, True, True]
    assert best.epoch == 3
