"""A few files of a listing, looked at before all of them are decoded."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from foveal.data.decode import DecodeError, Decoding, decode, dimensions
from foveal.data.scan import Listing

FILES = 40
"""Files that are looked at."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the files look like."""

    side: int
    """Median of the images' longer sides, in pixels."""
    seconds: float
    """What decoding a file takes one processor core: the median."""


def preview(listing: Listing, *, seed: int = 0) -> Preview | None:
    """Look at some files of a listing, drawn from `seed`; None if not one of them can be read."""
    drawn = np.random.default_rng(seed).permutation(len(listing.records))[:FILES]
    sides, seconds = [], []
    for row in drawn.tolist():
        began = time.perf_counter()
        try:
            content = (listing.root / listing.records[row].path).read_bytes()
            sides.append(max(dimensions(content)))
            decode(content, Decoding(size=32, channels=3, fit="stretch", background="black"))
        except (OSError, DecodeError):
            continue  # it is reported when all files are decoded
        seconds.append(time.perf_counter() - began)
    if not seconds:
        return None
    return Preview(side=round(statistics.median(sides)), seconds=statistics.median(seconds))
