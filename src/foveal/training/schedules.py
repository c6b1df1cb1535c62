"""Learning rates by step, and decisions between epochs: small objects that decide from numbers alone.

The three that decide compare as Keras' callbacks do, NaN included: a loss that is not a number never
improves.
"""

from dataclasses import asdict, dataclass
from math import inf
from typing import Any


@dataclass(kw_only=True)
class Progress:
    """How far a run has come, from 0 at its first step to 1 after its last.

    Progress is a straight line over the steps. Where their number is corrected under way the line bends;
    what is behind stays behind, so whatever follows progress goes on without a jump and ends in time.
    """

    steps: int
    """In all."""
    since: int = 0
    """The step of the last correction,"""
    before: float = 0.0
    """and the progress at it."""

    def progress(self, step: int) -> float:
        """Return the progress at a step, counted from 0, not before the last correction."""
        if step >= self.steps:
            return 1.0
        return self.before + (1 - self.before) * (step - self.since) / (self.steps - self.since)

    def correct(self, step: int, steps: int) -> None:
        """Go on from `step` so as to end after so many steps in all."""
        self.before, self.since, self.steps = self.progress(step), step, steps


@dataclass(frozen=True, kw_only=True)
class Anneal:
    """A straight line down to zero, after a rise over the first `warm_up` of all steps."""

    warm_up: float

    def factor(self, progress: float, steps: int) -> float:
        """Return what the learning rate is multiplied with at a point of a run's progress."""
        if progress < self.warm_up:
            return (progress * steps + 1) / (self.warm_up * steps + 1)
        return (1 - progress) / (1 - self.warm_up)


@dataclass(kw_only=True)
class Plateau:
    """Say when to cut the learning rate (Keras' ReduceLROnPlateau without cooldown or floor).

    An improvement is a loss below the best by more than `min_delta`. After `patience` epochs without one
    the rate is to be cut, and counting starts anew.
    """

    factor: float
    patience: int
    min_delta: float
    best: float = inf
    waited: int = 0

    def update(self, loss: float, learning_rate: float) -> float:
        """Take an epoch's validation loss; return the learning rate to go on with."""
        if loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
            return learning_rate
        self.waited += 1
        if self.waited < self.patience:
            return learning_rate
        self.waited = 0
        return learning_rate * self.factor

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on deciding alike."""
        return {"best": _finite(self.best), "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self.best, self.waited = _infinite(state["best"]), state["waited"]


@dataclass(kw_only=True)
class EarlyStopping:
    """Say when to stop (Keras' EarlyStopping with min_delta 0).

    Training stops after `patience` epochs in a row without a loss below the best, but, as in Keras, never
    after the very first epoch.
    """

    patience: int
    best: float = inf
    waited: int = 0
    epochs: int = 0

    def update(self, loss: float) -> bool:
        """Take an epoch's validation loss; return whether to stop."""
        self.epochs += 1
        self.waited += 1
        if loss < self.best:
            self.best, self.waited = loss, 0
        return self.waited >= self.patience and self.epochs > 1

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on deciding alike."""
        return {"best": _finite(self.best), "waited": self.waited, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self.best, self.waited, self.epochs = _infinite(state["best"]), state["waited"], state["epochs"]


@dataclass(kw_only=True)
class Best:
    """Remember the epoch with the lowest loss (Keras' ModelCheckpoint with save_best_only).

    Where nothing validates, every epoch is better than the one before: the last weights are kept.
    """

    loss: float = inf
    epoch: int = 0
    step: int = 0

    def update(self, loss: float | None, *, epoch: int, step: int) -> bool:
        """Take an epoch's validation loss (None: nothing validates); return whether it is the best."""
        # The first epoch is kept even if its loss is NaN: a run always has weights to show.
        better = loss is None or loss < self.loss or self.epoch == 0
        if better:
            self.loss, self.epoch, self.step = inf if loss is None else loss, epoch, step
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on deciding alike."""
        return asdict(self) | {"loss": _finite(self.loss)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self.loss, self.epoch, self.step = _infinite(state["loss"]), state["epoch"], state["step"]


def _finite(loss: float) -> float | None:
    """JSON has no infinity: a best that is still infinite is written as null."""
    return None if loss == inf else loss


def _infinite(loss: float | None) -> float:
    return inf if loss is None else loss
