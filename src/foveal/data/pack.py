"""Records -> one memory-mapped file of uint8 pixels, made once and found again by a listing.

A pack is a folder in the cache. Its file `pixels` holds the images one after another (N, S, S, C), and
`index.json` their digests and the rejected files. Its name is a digest of the data set's folder, of every
path, size and modification time, and of how images become pixels. So a changed, missing or added file means
another pack. The paths are not stored, because the listing that finds a pack has them.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from foveal import progress
from foveal.data.arrays import Arrays
from foveal.data.decode import Decoding, resize_images
from foveal.data.decode_worker import Outcome
from foveal.data.deep_range import find_range
from foveal.data.scan import Listing
from foveal.data.workers import decode_files
from foveal.errors import DataError, OutsideError
from foveal.files.atomic import outside_faults, write_json
from foveal.recipe.recipe import Image
from foveal.types import Pixels

PACK_FORMAT = 4
"""The version of packs. It changes when the same files would give other pixels or another index."""
MAX_CACHE_BYTES = 20_000_000_000
"""The largest size of all packs together. The least recently used packs are removed first."""
ABANDONED_AFTER_SECONDS = 7 * 24 * 3600
"""The age after which an unfinished pack is removed, because its process was probably killed."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Decoded images and their files. Index i of every field belongs to the same file."""

    pixels: Pixels
    """The images, uint8 (N, S, S, C), read-only. Images of rejected files have no meaning."""
    paths: tuple[str, ...]
    """The files' paths relative to the data set's folder."""
    digests: tuple[str, ...]
    """The digests of the files' bytes: BLAKE2b, 128 bits, as hexadecimal digits."""
    errors: dict[int, str]
    """The reason for each rejected file, by its index."""
    clipped: int
    """The number of deep greyscale pixels outside the range. It is 0 if the range is this pack's own."""
    decoding: Decoding
    """The settings that made the pixels."""
    retry: bool
    """Whether a rejected file may be accepted another time, although its size and time do not change."""

    @property
    def decoded_indices(self) -> list[int]:
        """The indices of the files that were decoded."""
        return [index for index in range(len(self.paths)) if index not in self.errors]

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 digest of all decoded files' relative paths and contents, as hexadecimal digits."""
        lines = "".join(f"{self.paths[index]}\0{self.digests[index]}\n" for index in self.decoded_indices)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def open_pack(listing: Listing, image: Image, cache: Path) -> Pack:
    """Return the pack of a listing. The files are decoded only if the cache has no pack of them.

    A damaged pack is made anew. So is a pack that lacks files which could not be read then, but may be now.

    Raises:
        OutsideError: The cache cannot be written.
    """
    packs = cache / "packs"
    folder = packs / _compute_name(listing, image)
    pack = _load(folder, listing)
    if pack is None or pack.retry:
        del pack  # Windows cannot replace a file that is mapped
        with outside_faults(packs):
            packs.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=".building-", dir=packs))
        try:
            _build(building, listing, image)
            with outside_faults(folder):
                _publish(building, folder, listing)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        _evict(packs, keep=folder)
        pack = _load(folder, listing)
        if pack is None:
            raise OutsideError(f"the pack {folder} was removed or damaged by somebody else; run again")
    with suppress(OSError):  # a cache that cannot be written serves as well
        os.utime(folder)  # the time of the last use, for eviction
    return pack


def pack_arrays(arrays: Arrays, image: Image) -> Pack:
    """Return images in memory at a recipe's size and channels. Images that have both are not copied."""
    grey = bool((arrays.images == arrays.images[..., :1]).all())
    decoding = Decoding(
        size=image.size,
        channels=1 if image.channels == "grey" or (image.channels == "auto" and grey) else 3,
        fit=image.fit,
        background=image.background,
    )
    return Pack(
        pixels=resize_images(arrays.images, decoding),
        paths=tuple(f"X[{index}]" for index in range(len(arrays.images))),
        digests=tuple(
            hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest() for pixels in arrays.images
        ),
        errors={},
        clipped=0,
        decoding=decoding,
        retry=False,
    )


def has_pack(listing: Listing, image: Image, cache: Path) -> bool:
    """Tell whether the cache has a pack of a listing that can be used as it is."""
    pack = _load(cache / "packs" / _compute_name(listing, image), listing)
    return pack is not None and not pack.retry


def _compute_name(listing: Listing, image: Image) -> str:
    """Compute the name of a listing's pack."""
    # The folder distinguishes data sets whose files differ in content only. Files from archives often have
    # equal times, and uncompressed images of equal dimensions have equal sizes.
    settings = {"format": PACK_FORMAT, "place": str(listing.root.resolve()), "image": vars(image)}
    lines = "".join(f"{path}\0{size}\0{modified}\n" for path, size, modified, *_ in listing.records)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(lines.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _build(folder: Path, listing: Listing, image: Image) -> None:
    """Decode every file into a new pack."""
    n_files = len(listing.records)
    decoding = Decoding(
        size=image.size,
        channels=1 if image.channels == "grey" else 3,
        fit=image.fit,
        background=image.background,
        max_pixels=image.max_pixels,
    )
    file = folder / "pixels"
    with outside_faults(file):
        _allocate(file, n_files * decoding.size**2 * decoding.channels)
    jobs = [(index, record.path) for index, record in enumerate(listing.records)]
    with progress.bar(n_files, "decoding", "images") as bar:
        outcomes = decode_files(listing.root, jobs, decoding=decoding, pixels=file, n_images=n_files, bar=bar)
    decoding = _decode_deep_files(listing, outcomes, decoding=decoding, file=file)
    errors = {index: outcome.error for index, outcome in outcomes.items() if outcome.error is not None}
    decoded = [outcome for outcome in outcomes.values() if outcome.error is None]
    if image.channels == "auto" and decoded and all(outcome.grey for outcome in decoded):
        decoding = _reduce_to_one_channel(file, n_files, decoding)
    _sync(file)  # before the index, so that a pack is complete or absent after a power cut
    index_file = {
        "decoding": decoding.to_json(),
        "digests": [outcomes[index].digest for index in range(n_files)],
        "errors": {str(index): errors[index] for index in sorted(errors)},
        "clipped": sum(outcome.clipped for outcome in decoded),
        "retry": any(outcome.retry for outcome in outcomes.values()),
    }
    write_json(folder / "index.json", index_file, indent=None)


def _decode_deep_files(
    listing: Listing, outcomes: dict[int, Outcome], *, decoding: Decoding, file: Path
) -> Decoding:
    """Decode the deep greyscale files, whose common range is known only after the first pass."""
    ranges = {index: outcome.deep for index, outcome in outcomes.items() if outcome.deep is not None}
    if not ranges:
        return decoding
    decoding = replace(decoding, deep_range=find_range(ranges.values()))
    jobs = [(index, listing.records[index].path) for index in sorted(ranges)]
    with progress.bar(len(jobs), "scaling deep images", "images") as bar:
        outcomes.update(
            decode_files(
                listing.root, jobs, decoding=decoding, pixels=file, n_images=len(listing.records), bar=bar
            )
        )
    return decoding


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


def _sync(file: Path) -> None:
    """Make sure that the pixels, which workers wrote through mapped files, are on the disk."""
    with outside_faults(file), file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _publish(building: Path, folder: Path, listing: Listing) -> None:
    """Give a finished pack its name, unless another process has made the same pack meanwhile."""
    with suppress(OSError):
        building.rename(folder)
        return
    pack = _load(folder, listing)
    if pack is not None and not pack.retry:
        return
    del pack
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)


def _load(folder: Path, listing: Listing) -> Pack | None:
    """Open the pack of a listing. The result is None if there is no pack, or an incomplete one."""
    try:
        index_file: dict[str, Any] = json.loads(
            (folder / "index.json").read_text(encoding="utf-8", errors="surrogateescape")
        )
        decoding = Decoding.from_json(index_file["decoding"])
        digests = tuple(index_file["digests"])
        if len(digests) != len(listing.records):
            return None
        shape = (len(digests), decoding.size, decoding.size, decoding.channels)
        return Pack(
            pixels=np.memmap(folder / "pixels", dtype=np.uint8, mode="r", shape=shape),
            paths=tuple(record.path for record in listing.records),
            digests=digests,
            errors={int(index): error for index, error in index_file["errors"].items()},
            clipped=index_file["clipped"],
            decoding=decoding,
            retry=index_file["retry"],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _evict(packs: Path, *, keep: Path) -> None:
    """Remove abandoned packs, and the least recently used ones until the rest fit into the cache."""
    finished: list[tuple[float, int, Path]] = []
    for folder in packs.iterdir():
        with suppress(OSError):  # another process is removing it
            last_use = folder.stat().st_mtime
            if not folder.name.startswith("."):
                finished.append((last_use, (folder / "pixels").stat().st_size, folder))
            elif time.time() - last_use > ABANDONED_AFTER_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
    total = sum(size for _, size, _ in finished)
    for _, size, folder in sorted(finished):
        if total > MAX_CACHE_BYTES and folder != keep:
            total -= size
            shutil.rmtree(folder, ignore_errors=True)


def require_images(pack: Pack, listing: Listing) -> None:
    """Refuse a pack if no image of some class and split can be read. Classes left out do not matter.

    Raises:
        DataError: A class has no readable image. The message has the reason of its first file.
    """
    if not pack.errors:  # the listing has refused class folders without files
        return
    readable = {(listing.records[i].folder, listing.records[i].label) for i in pack.decoded_indices}
    for index, record in enumerate(listing.records):
        if (record.folder, record.label) not in readable and record.label in listing.classes:
            depth = 1 if listing.layout == "flat" else 2
            folder = listing.root.joinpath(*record.path.split("/")[:depth])
            raise DataError(
                f"no file of the class folder {folder} can be read as an image; the first, {record.path}: "
                f"{pack.errors[index]}"
            )
