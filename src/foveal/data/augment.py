"""Random changes to training images: drawn from an explicit generator, then applied to uint8 pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.engine import crops
from foveal.recipe.recipe import Augmentation

Images = NDArray[np.uint8]
Augment = Callable[[Images, np.random.Generator], Images]
"""A user's own: uint8 images (N, S, S, C) and the batch's own generator in, images of the same shape out."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What happens to each image of a batch."""

    mirrored: NDArray[np.bool_]
    """(N,), whether left and right change places."""
    down: NDArray[np.int64]
    """(N,), by how many pixels the window moves down before mirroring."""
    right: NDArray[np.int64]
    """(N,), and to the right."""


def draw(
    config: Augmentation,
    n: int,
    generator: np.random.Generator,
    *,
    first_mirrored: NDArray[np.bool_] | None = None,
    epoch: int = 1,
) -> Draws:
    """Draw what happens to the n images of a batch.

    With alternating flips nothing is drawn for them: `first_mirrored` (N,) says which of the images are
    mirrored in the first epoch; in every other epoch it is the others' turn. So two epochs show an image
    both ways, where chance would show every second image the same way twice (Jordan 2024, arXiv:2404.00498,
    section 3.6).
    """
    mirrored = np.zeros(n, dtype=np.bool_)
    if config.flip:
        if first_mirrored is not None:
            mirrored = first_mirrored ^ (epoch % 2 == 0)
        else:
            mirrored = generator.random(n) < 0.5
    down, right = np.zeros((2, n), dtype=np.int64)
    if config.shift:
        down, right = generator.integers(-config.shift, config.shift + 1, size=(2, n))
    return Draws(mirrored=mirrored, down=down, right=right)


def apply(pixels: Images, rows: NDArray[np.int64], draws: Draws, *, shrink: int = 1) -> Images:
    """Take rows of the images (M, S, S, C) and change them as drawn.

    What a shift brings in from outside is the image mirrored at its border, the border row itself not
    repeated. Then `shrink` × `shrink` pixels become their mean, rounded to the nearest, halves up: returned
    are images (N, S / shrink, S / shrink, C).
    """
    size = pixels.shape[1]
    down = _mirrored(np.arange(size) + draws.down[:, None], size)  # (N, S): which row comes here
    across = _mirrored(np.arange(size) + draws.right[:, None], size)
    across = np.where(draws.mirrored[:, None], size - 1 - across, across)
    if crops.fits(pixels):
        return crops.crops(pixels, rows, down, across, shrink=shrink)
    return shrunk(pixels[rows[:, None, None], down[:, :, None], across[:, None, :]], shrink)


def shrunk(images: Images, factor: int) -> Images:
    """Average factor × factor pixels of images (N, S, S, C) each, rounding to the nearest, halves up."""
    if factor == 1:
        return images
    n, size, _, channels = images.shape
    blocks = images.reshape(n, size // factor, factor, size // factor, factor, channels)
    sums = blocks.sum(axis=(2, 4), dtype=np.uint32)
    made: Images = ((2 * sums + factor**2) // (2 * factor**2)).astype(np.uint8)
    return made


def _mirrored(positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Fold positions outside 0 … size-1 back inside, as often as it takes."""
    period = max(1, 2 * (size - 1))
    positions = positions % period
    return np.minimum(positions, period - positions)
