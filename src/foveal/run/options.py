"""What `train` and `resume` can be asked for."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from foveal.data.augment import Augment
from foveal.data.options import DataOptions
from foveal.errors import RecipeError
from foveal.files.run_records import EpochRecord
from foveal.recipe.budget import Budget
from foveal.recipe.overrides import Settings
from foveal.recipe.recipe import Recipe

SAVE_EVERY = 60.0
"""The seconds between two checkpoints within an epoch, by default."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a run is watched, saved and stopped. Nothing of it is part of the recipe.

    >>> foveal.TrainOptions(save_every=10, log="tensorboard").save_every
    10
    """

    augment: Augment | None = None
    """Your own augmentation, in place of the recipe's: a function of the images of a batch, uint8
    (N, S, S, C), and a `numpy.random.Generator`, which returns images of the same shape and type."""
    save_every: float = SAVE_EVERY
    """The seconds between two checkpoints within an epoch. Another one follows each epoch."""
    log: str | Iterable[str] = ()
    """Where the figures of every epoch are sent: "tensorboard", "mlflow" or both."""
    stop: Callable[[EpochRecord], bool] | None = None
    """A function that is called after each epoch but the last. Where it returns true, training ends there."""

    def __post_init__(self) -> None:
        if not self.save_every > 0:
            raise RecipeError(f"save_every is {self.save_every:g} seconds; it must be above 0")


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """A call of `train`, with what only Foveal's own commands know beside it."""

    data: DataOptions
    recipe: str | Path | Recipe | None = None
    budget: Budget | None = None
    settings: Settings = ()
    seed: int = 0
    model: nn.Module | None = None
    out: str | os.PathLike[str] | None = None
    options: TrainOptions = field(default_factory=TrainOptions)
    seconds_spent: float = 0.0
    """The seconds of the budget that had passed before the call."""
    includes_test: bool = False
    """Whether the test and the report follow. A budget then has room for them, and `resume` does them too."""
