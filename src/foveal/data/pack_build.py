"""Image files -> the pixels and the index of a pack: all of them, or those that an older pack lacks."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foveal import progress
from foveal.data.checksums import compute_checksums, compute_file_digest
from foveal.data.decode import Decoding
from foveal.data.decode_worker import Outcome
from foveal.data.deep_range import find_dim_images, find_range
from foveal.data.pack_index import FileTable, PackIndex, index_outcomes, write_index, write_stamps
from foveal.data.scan import Listing
from foveal.data.workers import decode_files
from foveal.files.atomic import outside_faults
from foveal.recipe.recipe import Image
from foveal.types import Pixels

PIXELS = "pixels"
"""The file that holds the images one after another."""
_DIM = "dim"
_CHUNK = 1024  # images that are copied at a time


@dataclass(frozen=True, kw_only=True)
class StoredPack:
    """A pack as it lies in the cache."""

    folder: Path
    """The folder of the pack."""
    index: PackIndex
    """What became of each file."""
    index_digest: bytes
    """The digest of the index, which tells this pack from another with the same name."""
    pixels: Pixels
    """The images, uint8 (N, S, S, C), read-only."""


def build_pack(folder: Path, listing: Listing, image: Image) -> None:
    """Decode every file of a listing into an empty folder.

    Raises:
        OutsideError: The disk refuses something, or no worker can be started.
    """
    n_files = len(listing.records)
    decoding = _get_decoding(image)
    rows = range(n_files)
    outcomes, decoding = _decode_rows(folder / PIXELS, listing, decoding, rows, [Outcome()] * n_files)
    if _are_all_grey(image, outcomes):
        decoding = _reduce_to_one_channel(folder / PIXELS, n_files, decoding)
    _finish(folder, listing, outcomes, decoding)


def patch_pack(
    folder: Path, listing: Listing, image: Image, stored: StoredPack, rows: Sequence[int], *, damaged: bool
) -> bool:
    """Make a pack of an older one: decode some files, and copy the images of all others.

    If this changes the range of the deep images, all of these are decoded. The result is the pack that
    `build_pack` makes.

    Args:
        folder: An empty folder.
        listing: The files.
        image: The settings of the pack.
        stored: The older pack of the same files.
        rows: The indices of the files to decode, in ascending order.
        damaged: Whether the older pack must be replaced in any case.

    Returns:
        Whether there is a new pack. If the files gave what they had given before, there is none.

    Raises:
        OutsideError: The disk refuses something, or no worker can be started.
    """
    before = stored.index.to_outcomes()
    deep = {row for row, outcome in enumerate(before) if outcome.deep is not None}
    decoding = replace(_get_decoding(image), deep_range=stored.index.decoding.deep_range)
    outcomes, decoding = _decode_rows(folder / "new", listing, decoding, rows, before, further=deep)
    if outcomes == before and not damaged:
        return False
    slots = sorted({*rows, *deep})
    decoded = slots if decoding.deep_range != stored.index.decoding.deep_range else rows
    channels = 1 if _are_all_grey(image, outcomes) else decoding.channels
    new = np.memmap(
        folder / "new",
        dtype=np.uint8,
        mode="r",
        shape=(len(slots), decoding.size, decoding.size, decoding.channels),
    )
    shape = (len(outcomes), decoding.size, decoding.size, channels)
    with outside_faults(folder / PIXELS):
        _allocate(folder / PIXELS, int(np.prod(shape)))
        pixels = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r+", shape=shape)
        for start in range(0, len(pixels), _CHUNK):  # equal channels are one, and one stands for three
            pixels[start : start + _CHUNK] = stored.pixels[start : start + _CHUNK, ..., :channels]
        place = {row: slot for slot, row in enumerate(slots)}
        for row in decoded:
            pixels[row] = new[place[row]][..., :channels]
        pixels[[row for row, outcome in enumerate(outcomes) if outcome.error is not None]] = 0
        pixels.flush()
        del pixels, new  # Windows cannot remove a file that is mapped
        (folder / "new").unlink()
    _finish(folder, listing, outcomes, replace(decoding, channels=channels))
    return True


def _get_decoding(image: Image) -> Decoding:
    """Return the settings that a recipe's images are decoded with at first."""
    return Decoding(
        size=image.size,
        channels=1 if image.channels == "grey" else 3,
        fit=image.fit,
        background=image.background,
        max_pixels=image.max_pixels,
    )


def _are_all_grey(image: Image, outcomes: Sequence[Outcome]) -> bool:
    """Tell whether one channel suffices although three were decoded."""
    decoded = [outcome for outcome in outcomes if outcome.error is None]
    return image.channels == "auto" and bool(decoded) and all(outcome.grey for outcome in decoded)


def _decode_rows(
    file: Path,
    listing: Listing,
    decoding: Decoding,
    rows: Sequence[int],
    before: Sequence[Outcome],
    *,
    further: Iterable[int] = (),
) -> tuple[list[Outcome], Decoding]:
    """Decode files into a new pixel file.

    Args:
        file: The pixel file, which gets an image for each of `rows` and `further`, in ascending order.
        listing: The files.
        decoding: The settings, with the range of the deep images of `before`, if there are any.
        rows: The indices of the files to decode.
        before: The outcomes of all files so far.
        further: The indices of the files that are decoded too if the range changes.

    Returns:
        The outcomes of all files, and the settings with the range of all deep images.
    """
    slots = {row: slot for slot, row in enumerate(sorted({*rows, *further}))}
    with outside_faults(file):
        _allocate(file, len(slots) * decoding.size**2 * decoding.channels)
    outcomes = list(before)
    found = _run_decoder(file, listing, slots, rows, replace(decoding, deep_range=None))
    for row in rows:
        # A file that ended its decoder has no digest, but is to be known again.
        digest = found[row].digest or compute_file_digest(str(listing.root), listing.records[row].path)
        outcomes[row] = found[row]._replace(digest=digest, seconds=0.0)
    sketches = {row: outcome.deep for row, outcome in enumerate(outcomes) if outcome.deep is not None}
    if not sketches:
        return outcomes, replace(decoding, deep_range=None)
    deep_range = find_range(sketches.values())
    again = [row for row in sketches if row in slots] if deep_range != decoding.deep_range else rows
    decoding = replace(decoding, deep_range=deep_range)
    found = _run_decoder(file, listing, slots, [row for row in again if row in sketches], decoding)
    for row, outcome in found.items():
        outcomes[row] = outcome._replace(deep=sketches[row], seconds=0.0)
    _note_dim_images(outcomes, deep_range)
    return outcomes, decoding


def _run_decoder(
    file: Path, listing: Listing, slots: Mapping[int, int], rows: Sequence[int], decoding: Decoding
) -> dict[int, Outcome]:
    """Decode files to their slots in a pixel file, and return their outcomes by their indices."""
    jobs = [(slots[row], listing.records[row].path) for row in rows]
    label = "decoding" if decoding.deep_range is None else "scaling deep images"
    with progress.bar(len(jobs), label, "images") as bar:
        found = decode_files(listing.root, jobs, decoding=decoding, pixels=file, n_images=len(slots), bar=bar)
    return {row: found[slots[row]] for row in rows}


def _note_dim_images(outcomes: list[Outcome], deep_range: tuple[float, float]) -> None:
    """Note which deep images use almost none of the range."""
    sketches = {row: outcome.deep for row, outcome in enumerate(outcomes) if outcome.deep is not None}
    dim = set(find_dim_images(sketches, deep_range))
    for row in sketches:
        notes = tuple(note for note in outcomes[row].notes if note != _DIM)
        outcomes[row] = outcomes[row]._replace(notes=(*notes, _DIM) if row in dim else notes)


def _allocate(file: Path, size: int) -> None:
    """Reserve the disk space. Otherwise, writing to a mapped file on a full disk would kill the process."""
    with file.open("wb") as stream:
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            stream.truncate(size)


def _reduce_to_one_channel(file: Path, n_images: int, decoding: Decoding) -> Decoding:
    """Replace an RGB pixel file whose channels are equal by a file of one channel."""
    grey_file = file.with_name("pixels-one")
    shape = (n_images, decoding.size, decoding.size)
    rgb = np.memmap(file, dtype=np.uint8, mode="r", shape=(*shape, 3))
    with outside_faults(grey_file):
        _allocate(grey_file, int(np.prod(shape)))
        grey = np.memmap(grey_file, dtype=np.uint8, mode="r+", shape=shape)
        grey[:] = rgb[..., 0]
        grey.flush()
        del grey, rgb  # Windows cannot replace a file that is mapped
        grey_file.replace(file)
    return replace(decoding, channels=1)


def _finish(folder: Path, listing: Listing, outcomes: Sequence[Outcome], decoding: Decoding) -> None:
    """Write the index of a pack whose pixels are complete, and how its files are found at this time."""
    shape = (len(outcomes), decoding.size, decoding.size, decoding.channels)
    checksums = compute_checksums(np.memmap(folder / PIXELS, dtype=np.uint8, mode="r", shape=shape))
    _sync(folder / PIXELS)  # before the index, so that a pack is complete or absent after a power cut
    digest = write_index(folder, index_outcomes(outcomes, decoding, checksums))
    write_stamps(folder, FileTable.of(listing).stamps, digest)


def _sync(file: Path) -> None:
    """Make sure that the pixels, which workers wrote through mapped files, are on the disk."""
    with outside_faults(file), file.open("rb+") as stream:
        os.fsync(stream.fileno())
