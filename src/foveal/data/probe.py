"""Measures a few files of a listing before all of them are decoded."""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foveal import progress
from foveal.data.decode import DecodeError, Decoding, read_dimensions
from foveal.data.scan import Listing
from foveal.data.workers import decode_files
from foveal.files.atomic import outside_faults

MAX_PROBED_FILES = 40
"""The number of files that are measured, if there are so many."""
_DECODING = Decoding(size=32, channels=3, fit="stretch", background="black", deep_range=(0.0, 65535.0))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The size of a listing's images, and the time to decode them."""

    side: int
    """The median of the images' longer sides in pixels."""
    seconds: float
    """The median time to decode a file on one processor core, in seconds."""


def probe_files(listing: Listing, *, seed: int = 0) -> Probe | None:
    """Measure some files of a listing, drawn at random. The result is None if none of them can be read.

    They are decoded as all files will be, by worker processes, which give up what takes too long.
    """
    drawn = np.random.default_rng(seed).permutation(len(listing.records))[:MAX_PROBED_FILES]
    paths = [listing.records[index].path for index in drawn.tolist()]
    temporary = Path(tempfile.gettempdir())
    with (
        outside_faults(temporary),
        tempfile.TemporaryDirectory(prefix="foveal-") as folder,
        progress.bar(len(paths), "measuring some", "images") as bar,
    ):
        pixels = Path(folder) / "pixels"
        np.zeros((len(paths), _DECODING.size, _DECODING.size, 3), dtype=np.uint8).tofile(pixels)
        outcomes = decode_files(
            listing.root,
            list(enumerate(paths)),
            decoding=_DECODING,
            pixels=pixels,
            n_images=len(paths),
            bar=bar,
            measure=True,
        )
    readable = [index for index, outcome in outcomes.items() if outcome.error is None]
    sides = []
    for index in readable:
        try:
            sides.append(max(read_dimensions((listing.root / paths[index]).read_bytes())))
        except (OSError, DecodeError):
            continue  # it has changed meanwhile, and is reported when all files are decoded
    if not sides:
        return None
    seconds = [outcomes[index].seconds for index in readable]
    return Probe(side=round(statistics.median(sides)), seconds=statistics.median(seconds))
