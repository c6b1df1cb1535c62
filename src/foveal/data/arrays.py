"""Labelled images in memory, which `foveal.train` takes in place of a folder."""

from dataclasses import dataclass
from pathlib import Path

from foveal.errors import DataError
from foveal.files.run_records import find_duplicate
from foveal.types import Ints, Pixels

ARRAYS_ROOT = Path("arrays in memory")
"""The name of such a data set, in messages and in the files of a run."""


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Labelled images in memory. `foveal.train` takes them in a folder's place.

    >>> import numpy as np
    >>> images = np.zeros((10, 8, 8, 1), dtype=np.uint8)
    >>> foveal.Arrays(images=images, labels=np.arange(10) % 2, classes=("even", "odd")).side
    8

    Raises:
        DataError: The images have another shape, or there are fewer than two classes, or two of one name.
    """

    images: Pixels
    """The images, uint8 (N, H, W, C). C is 1 or 3."""
    labels: Ints
    """The index of each image's class, int64 (N,)."""
    classes: tuple[str, ...]
    """The names of the classes."""
    validation_share: float = 0.1
    """The share of the images that validates, unless a run sets `validation="none"`."""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] not in (1, 3):
            raise DataError(
                f"the images have the shape {self.images.shape}; it must be (N, height, width, channels) "
                f"with 1 or 3 channels"
            )
        if len(self.classes) < 2:
            raise DataError("there is one class only; a classifier needs two classes or more")
        if (name := find_duplicate(self.classes)) is not None:
            raise DataError(f"the classes name {name!r} twice; each class needs a name of its own")

    @property
    def side(self) -> int:
        """The longer side of the images in pixels."""
        return int(max(self.images.shape[1:3]))
