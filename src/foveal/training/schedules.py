"""Learning rates by step, and decisions after each epoch: small objects that decide from numbers alone.

`ReduceOnPlateau`, `EarlyStopper` and `BestEpoch` compare losses as Keras' callbacks do. As there, a loss that
is NaN is never an improvement.
"""

from dataclasses import asdict, dataclass
from math import inf
from typing import Any


@dataclass(kw_only=True)
class Progress:
    """The progress of a run, from 0 before its first step to 1 after its last.

    Progress grows in a straight line with the steps. When the number of steps is corrected during training,
    the line bends: the progress made so far stays, and the rest reaches 1 at the new last step. So a learning
    rate that depends on progress never jumps and always reaches its end.
    """

    steps: int
    """The number of steps in the whole run."""
    corrected_at: int = 0
    """The step after which the number of steps was last corrected, or 0."""
    progress_then: float = 0.0
    """The progress at the last correction."""

    def at(self, step: int) -> float:
        """Return the progress after `step` steps, which must not lie before the last correction."""
        if step >= self.steps:
            return 1.0
        share = (1 - self.progress_then) * (step - self.corrected_at) / (self.steps - self.corrected_at)
        return self.progress_then + share

    def correct(self, step: int, steps: int) -> None:
        """Let the run, which is at `step`, end after `steps` steps in all."""
        self.progress_then, self.corrected_at, self.steps = self.at(step), step, steps


@dataclass(frozen=True, kw_only=True)
class LinearAnneal:
    """A learning rate that rises in a straight line during the warm-up and then falls to zero."""

    warm_up: float
    """The share of all steps over which the learning rate rises from zero."""

    def compute_factor(self, progress: float, steps: int) -> float:
        """Return the factor of the learning rate at a progress from 0 to 1 of a run of `steps` steps."""
        if progress < self.warm_up:
            return (progress * steps + 1) / (self.warm_up * steps + 1)
        return (1 - progress) / (1 - self.warm_up)


@dataclass(kw_only=True)
class ReduceOnPlateau:
    """Cuts of the learning rate (Keras' ReduceLROnPlateau without cooldown and minimum).

    A loss is an improvement if it is below the best by more than `min_delta`. After `patience` epochs without
    improvement the learning rate is cut, and the count begins again.
    """

    factor: float
    """The factor that the learning rate is multiplied by at each cut."""
    patience: int
    """The number of epochs without improvement before a cut."""
    min_delta: float
    """The loss must fall by more than this to count as an improvement."""
    best: float = inf
    """The lowest loss that counted as an improvement."""
    waited: int = 0
    """The number of epochs since the last improvement or cut."""

    def update(self, loss: float, learning_rate: float) -> float:
        """Take the validation loss of an epoch, and return the learning rate of the next."""
        if loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
            return learning_rate
        self.waited += 1
        if self.waited < self.patience:
            return learning_rate
        self.waited = 0
        return learning_rate * self.factor

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` restores, as JSON values."""
        return {"best": _null_if_infinite(self.best), "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        self.best, self.waited = _infinite_if_null(state["best"]), state["waited"]


@dataclass(kw_only=True)
class EarlyStopper:
    """The decision to stop (Keras' EarlyStopping with min_delta 0).

    Training stops after `patience` epochs in a row without a loss below the best. As in Keras, it never stops
    after the very first epoch.
    """

    patience: int
    """The number of epochs in a row without improvement after which training stops."""
    best: float = inf
    """The lowest loss of all epochs."""
    waited: int = 0
    """The number of epochs since the lowest loss."""
    epochs: int = 0
    """The number of epochs in all."""

    def update(self, loss: float) -> bool:
        """Take the validation loss of an epoch, and return whether to stop."""
        self.epochs += 1
        self.waited += 1
        if loss < self.best:
            self.best, self.waited = loss, 0
        return self.waited >= self.patience and self.epochs > 1

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` restores, as JSON values."""
        return {"best": _null_if_infinite(self.best), "waited": self.waited, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        self.best = _infinite_if_null(state["best"])
        self.waited, self.epochs = state["waited"], state["epochs"]


@dataclass(kw_only=True)
class BestEpoch:
    """The epoch with the lowest validation loss (Keras' ModelCheckpoint with save_best_only).

    In a run without validation every epoch counts as better than the one before: the last weights are kept.
    """

    loss: float = inf
    """The validation loss of the best epoch, or infinity in a run without validation."""
    epoch: int = 0
    """The number of the best epoch, from 1, or 0 before the first epoch has ended."""
    step: int = 0
    """The number of steps that were done when the best epoch ended."""

    def update(self, loss: float | None, *, epoch: int, step: int) -> bool:
        """Take the validation loss of an epoch, or None without validation; return whether it is the best."""
        # The first epoch is kept even if its loss is NaN, so that a run always has weights.
        is_best = loss is None or loss < self.loss or self.epoch == 0
        if is_best:
            self.loss, self.epoch, self.step = inf if loss is None else loss, epoch, step
        return is_best

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` restores, as JSON values."""
        return asdict(self) | {"loss": _null_if_infinite(self.loss)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        self.loss, self.epoch, self.step = _infinite_if_null(state["loss"]), state["epoch"], state["step"]


def _null_if_infinite(loss: float) -> float | None:
    """Return a loss as a JSON value, which cannot be infinite."""
    return None if loss == inf else loss


def _infinite_if_null(loss: float | None) -> float:
    return inf if loss is None else loss
