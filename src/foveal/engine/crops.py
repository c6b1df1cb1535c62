"""Taking, moving, mirroring and shrinking images of a batch by a kernel, in one pass over their bytes."""

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.engine.compiled import loaded as kernels


def fits(pixels: NDArray[np.uint8]) -> bool:
    """Say whether the kernel can read these images."""
    return pixels.flags.c_contiguous and kernels() is not None


def crops(
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    down: NDArray[np.int64],
    across: NDArray[np.int64],
    *,
    shrink: int,
) -> NDArray[np.uint8]:
    """Return images (N, S / shrink, S / shrink, C) put together from images (M, S, S, C).

    Before shrinking, the pixel in row i and column j of image n is that of row `down[n, i]` and column
    `across[n, j]` of image `rows[n]`; then shrink × shrink pixels become their mean, halves rounded up.
    The caller has asked `fits`.
    """
    library = kernels()
    assert library is not None
    n, (_, size, _, channels) = len(rows), pixels.shape
    assert size % shrink == 0
    assert n == 0 or (rows.min() >= 0 and rows.max() < len(pixels))
    tables = [np.ascontiguousarray(each, dtype=np.int64) for each in (rows, down, across)]
    made = np.empty((n, size // shrink, size // shrink, channels), dtype=np.uint8)
    library.foveal_crops(
        n,
        size,
        channels,
        shrink,
        torch.get_num_threads(),
        pixels.ctypes.data,
        *(each.ctypes.data for each in tables),
        made.ctypes.data,
    )
    return made
