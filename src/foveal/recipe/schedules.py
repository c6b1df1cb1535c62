"""What changes during training: the learning rate, the size of the images, and when training stops.

`foveal.training.schedules` has the objects that decide at each step and after each epoch.
"""

from dataclasses import dataclass

from foveal.recipe.checks import require


@dataclass(frozen=True, kw_only=True)
class Anneal:
    """Let the learning rate fall in a straight line from its full value to zero at the last step.

    >>> foveal.Anneal(warm_up=0.2).warm_up
    0.2
    """

    warm_up: float = 0.0
    """The share of all steps, from the first on, over which the learning rate rises from zero."""

    def __post_init__(self) -> None:
        require(0 <= self.warm_up < 1, f"anneal.warm_up is {self.warm_up}; it must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Cut the learning rate when the validation loss stops improving, as Keras' ReduceLROnPlateau does.

    >>> foveal.Plateau(factor=0.5).patience
    3
    """

    factor: float = 0.1
    """The factor that the learning rate is multiplied by at each cut."""
    patience: int = 3
    """The number of epochs without improvement after which the learning rate is cut."""
    min_delta: float = 1e-4
    """The validation loss must fall by more than this to count as an improvement."""

    def __post_init__(self) -> None:
        require(0 < self.factor < 1, f"plateau.factor is {self.factor}; it must lie between 0 and 1")
        require(self.patience >= 1, f"plateau.patience is {self.patience}; it must be 1 or more")
        require(self.min_delta >= 0, f"plateau.min_delta is {self.min_delta}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Stop when the validation loss stops improving, as Keras' EarlyStopping does.

    >>> foveal.EarlyStopping(patience=10).patience
    10
    """

    patience: int = 6
    """The number of epochs in a row without a lower validation loss after which training stops."""

    def __post_init__(self) -> None:
        require(self.patience >= 1, f"early_stopping.patience is {self.patience}; it must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class LowResolution:
    """Train on smaller images first: early in training they teach as much and cost less time.

    >>> foveal.LowResolution(size=16).share
    0.4
    """

    size: int = 16
    """The height and width of the smaller images in pixels. It must divide `image.size`."""
    share: float = 0.4
    """The share of all steps, from the first on, that train on the smaller images."""

    def __post_init__(self) -> None:
        require(self.size >= 4, f"low_resolution.size is {self.size}; it must be 4 or more")
        require(0 < self.share <= 1, f"low_resolution.share is {self.share}; it must lie in (0, 1]")
