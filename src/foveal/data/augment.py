"""Random changes to training images: pure functions on batches, each with an explicit generator."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foveal.recipe import Augmentation

Images = NDArray[np.uint8]
Augment = Callable[[Images, np.random.Generator], Images]
"""Takes uint8 images (N, S, S, C) and the batch's own generator; returns images of the same shape."""


def from_recipe(config: Augmentation) -> Augment | None:
    """Return what a recipe's augmentation does to a batch; None if it does nothing."""
    if not config.flip and not config.shift:
        return None

    def augment(images: Images, generator: np.random.Generator) -> Images:
        if config.flip:
            images = flip(images, generator)
        if config.shift:
            images = shift(images, config.shift, generator)
        return images

    return augment


def flip(images: Images, generator: np.random.Generator) -> Images:
    """Mirror each of the images (N, S, S, C) left and right with probability ½."""
    mirrored = generator.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def shift(images: Images, pixels: int, generator: np.random.Generator) -> Images:
    """Shift each of the images (N, S, S, C) by up to `pixels` in both directions.

    What comes in from outside is the image mirrored at its border, the border row itself not repeated.
    """
    n, size = images.shape[:2]
    down, right = generator.integers(-pixels, pixels + 1, size=(2, n))
    rows = _mirrored(np.arange(size) + down[:, None], size)  # (N, S): which row comes here
    columns = _mirrored(np.arange(size) + right[:, None], size)
    return images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _mirrored(positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Fold positions outside 0 … size-1 back inside, as often as it takes."""
    period = max(1, 2 * (size - 1))
    positions = positions % period
    return np.minimum(positions, period - positions)
