"""Taking, moving, flipping and shrinking the images of a batch by a kernel, in one pass over their bytes."""

import numpy as np
import torch

from foveal.engine.compiled import library_or_none, require_library
from foveal.engine.signatures import Crops
from foveal.types import Ints, Pixels


def supports(pixels: Pixels) -> bool:
    """Say whether the kernel can read these images."""
    return pixels.flags.c_contiguous and library_or_none() is not None


def gather_crops(
    pixels: Pixels, indices: Ints, source_rows: Ints, source_columns: Ints, *, shrink: int
) -> Pixels:
    """Put together images (N, S / shrink, S / shrink, C) from images (M, S, S, C).

    Before shrinking, the pixel in row i and column j of image n is that of row `source_rows[n, i]` and column
    `source_columns[n, j]` of image `indices[n]`. Then shrink × shrink pixels become their mean, and halves
    are rounded up. The caller has checked `supports`.
    """
    n, (_, size, _, channels) = len(indices), pixels.shape
    assert size % shrink == 0
    assert n == 0 or (indices.min() >= 0 and indices.max() < len(pixels))
    indices, source_rows, source_columns = (
        np.ascontiguousarray(table, dtype=np.int64) for table in (indices, source_rows, source_columns)
    )
    output = np.empty((n, size // shrink, size // shrink, channels), dtype=np.uint8)
    batch = Crops(
        images=n,
        size=size,
        channels=channels,
        shrink=shrink,
        pixels=pixels.ctypes.data,
        indices=indices.ctypes.data,
        source_rows=source_rows.ctypes.data,
        source_columns=source_columns.ctypes.data,
        output=output.ctypes.data,
        threads=torch.get_num_threads(),
    )
    require_library().foveal_gather_crops(batch)
    return output
