"""One range for all deep images of a data set: which of their values become 0 and 255.

Each image gives a sketch of its values, and the sketches of all images give the range. A few odd pixels,
such as the hot pixels of a sensor, do not stretch it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foveal.types import Floats

Sketch = tuple[float, ...]
"""The lowest and the highest value of an image, then, without the outermost, those at the shares `LEVELS`."""

LEVELS = (0.0, 0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.995, 0.999, 1.0)
"""The shares of a sketch's values."""
TAIL = 0.001
"""The share of the values, at either end, that does not decide on the range if they lie far away."""
FENCE = 0.5
"""How far away is far: this part of the range without the tails."""
MIN_LEVELS = 20
"""The number of the 256 grey levels below which an image uses almost none of the range."""
FULL_RANGE = (0.0, 65535.0)
"""The range of 16 bits. A range within it that covers half of it becomes this one."""


def sketch_values(values: Floats) -> Sketch:
    """Return the sketch of an image's values, of any shape and at least one.

    At each end a thousandth of the values is left out of the shares, and at least one value of many.
    """
    ordered = np.sort(values, axis=None)
    n_outer = max(1, int(len(ordered) * TAIL)) if len(ordered) >= 16 else 0
    inner = ordered[n_outer : len(ordered) - n_outer]
    places = np.round(np.array(LEVELS) * (len(inner) - 1)).astype(int)
    return (float(ordered[0]), float(ordered[-1]), *inner[places].tolist())


def find_range(sketches: Iterable[Sequence[float]]) -> tuple[float, float]:
    """Return the values that become 0 and 255, from the sketches of all deep images, which count equally.

    The range reaches from the lowest to the highest value, unless these lie far outside the percentiles 0.1
    and 99.9: then it ends with the last value that does not. A range that covers half of 16 bits becomes all
    of them, so that pictures of 16 bits look as their copies of 8 bits do.
    """
    table = np.array(list(sketches), dtype=np.float64)  # (images, 2 + levels)
    shares = np.diff(np.concatenate(([0.0], (np.array(LEVELS[1:]) + np.array(LEVELS[:-1])) / 2, [1.0])))
    values = table[:, 2:].ravel()
    order = np.argsort(values, kind="stable")
    values = values[order]
    total = np.cumsum(np.tile(shares / len(table), len(table))[order])
    last = len(values) - 1
    low, high = (values[min(last, int(np.searchsorted(total, share)))] for share in (TAIL, 1 - TAIL))
    if high > low:
        margin = FENCE * (high - low)
        near = table[(table >= low - margin) & (table <= high + margin)]
    else:
        near = table
    low, high = float(near.min()), float(near.max())
    if low >= 0 and high <= FULL_RANGE[1] and high - low >= (FULL_RANGE[1] + 1) / 2:
        return FULL_RANGE
    return low, high


def fills_sixteen_bits(sketch: Sequence[float]) -> bool:
    """Tell whether an image is an ordinary picture of 16 bits, whose range needs no other images."""
    return find_range([sketch]) == FULL_RANGE


def find_dim_images(sketches: Mapping[int, Sequence[float]], deep_range: tuple[float, float]) -> list[int]:
    """Return the indices of the images that use almost none of the range. They may be of another scale."""
    low, high = deep_range
    if high <= low:
        return []
    used = {
        index: min(max(sketch[-1], low), high) - min(max(sketch[2], low), high)
        for index, sketch in sketches.items()
    }
    return [index for index, width in used.items() if width / (high - low) * 255 < MIN_LEVELS]
