"""Random changes to training images: drawn from an explicit generator, then applied to uint8 pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foveal.engine import crops
from foveal.recipe.recipe import Augmentation
from foveal.types import Bools, Ints, Pixels

Augment = Callable[[Pixels, np.random.Generator], Pixels]
"""A user's own augmentation: uint8 images (N, S, S, C) and a generator -> images of the same shape."""


@dataclass(frozen=True, kw_only=True)
class AugmentationDraws:
    """The random changes to each image of a batch."""

    flipped: Bools
    """Whether each image is flipped left to right, (N,)."""
    down: Ints
    """The number of pixels by which each crop moves down before flipping, (N,)."""
    right: Ints
    """The number of pixels by which each crop moves right before flipping, (N,)."""


def draw_augmentation(
    config: Augmentation,
    n: int,
    generator: np.random.Generator,
    *,
    first_flipped: Bools | None = None,
    epoch: int = 1,
) -> AugmentationDraws:
    """Draw the changes to the n images of a batch.

    Alternating flips are not random. `first_flipped` (N,) tells which images the first epoch flips, and every
    other epoch flips the other images. So two epochs show an image both ways. Random flips would show every
    second image the same way twice (Jordan 2024, arXiv:2404.00498, section 3.6).
    """
    flipped = np.zeros(n, dtype=np.bool_)
    if config.flip and first_flipped is not None:
        flipped = first_flipped ^ (epoch % 2 == 0)
    elif config.flip:
        flipped = generator.random(n) < 0.5
    down, right = np.zeros((2, n), dtype=np.int64)
    if config.shift:
        down, right = generator.integers(-config.shift, config.shift + 1, size=(2, n))
    return AugmentationDraws(flipped=flipped, down=down, right=right)


def apply_augmentation(pixels: Pixels, indices: Ints, draws: AugmentationDraws, *, shrink: int = 1) -> Pixels:
    """Select images from (M, S, S, C) by indices (N,) and change them as drawn.

    A shift fills the border with the reflected image, without repeating the border row itself. Then each
    `shrink` × `shrink` pixels become their mean, rounded to the nearest, halves up.

    Returns:
        The images, uint8 (N, S / shrink, S / shrink, C).
    """
    size = pixels.shape[1]
    down = _reflect(np.arange(size) + draws.down[:, None], size)  # (N, S): the source row of each row
    across = _reflect(np.arange(size) + draws.right[:, None], size)
    across = np.where(draws.flipped[:, None], size - 1 - across, across)
    if crops.supports(pixels):
        return crops.gather_crops(pixels, indices, down, across, shrink=shrink)
    return shrink_images(pixels[indices[:, None, None], down[:, :, None], across[:, None, :]], shrink)


def shrink_images(images: Pixels, factor: int) -> Pixels:
    """Average each factor × factor pixels of images (N, S, S, C), rounding to the nearest, halves up."""
    if factor == 1:
        return images
    n, size, _, channels = images.shape
    blocks = images.reshape(n, size // factor, factor, size // factor, factor, channels)
    sums = blocks.sum(axis=(2, 4), dtype=np.uint32)
    means: Pixels = ((2 * sums + factor**2) // (2 * factor**2)).astype(np.uint8)
    return means


def _reflect(positions: Ints, size: int) -> Ints:
    """Reflect positions outside 0 … size-1 at the borders until they are inside."""
    period = max(1, 2 * (size - 1))
    positions = positions % period
    return np.minimum(positions, period - positions)
