"""Measures a few files of a listing before all of them are decoded."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from foveal.data.decode import DecodeError, Decoding, decode, read_dimensions
from foveal.data.scan import Listing

MAX_PROBED_FILES = 40
"""The number of files that are measured, if there are so many."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The size of a listing's images, and the time to decode them."""

    side: int
    """The median of the images' longer sides in pixels."""
    seconds: float
    """The median time to decode a file on one processor core, in seconds."""


def probe_files(listing: Listing, *, seed: int = 0) -> Probe | None:
    """Measure some files of a listing, drawn at random. The result is None if none of them can be read."""
    drawn = np.random.default_rng(seed).permutation(len(listing.records))[:MAX_PROBED_FILES]
    sides, seconds = [], []
    for index in drawn.tolist():
        start = time.perf_counter()
        try:
            content = (listing.root / listing.records[index].path).read_bytes()
            sides.append(max(read_dimensions(content)))
            decode(content, Decoding(size=32, channels=3, fit="stretch", background="black"))
        except (OSError, DecodeError):
            continue  # it is reported when all files are decoded
        seconds.append(time.perf_counter() - start)
    if not seconds:
        return None
    return Probe(side=round(statistics.median(sides)), seconds=statistics.median(seconds))
