"""Records -> one memory-mapped file of uint8 pixels, made once and found again by a listing.

A pack is a folder in the cache: `pixels` holds the images back to back (N, S, S, C), `index.json` their
digests and what was rejected. Its name is a digest of the data set's place, of every path, size and
modification time, and of how images become pixels, so a changed, missing or added file simply means
another pack, and the paths need not be stored: the listing that finds a pack has them.
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
from numpy.typing import NDArray

from foveal import progress
from foveal.data.arrays import Arrays
from foveal.data.decode import Decoding, bring
from foveal.data.scan import Listing
from foveal.data.workers import Outcome, decode_files
from foveal.errors import DataError, OutsideError
from foveal.files.run_folder import outside_faults, write_json
from foveal.recipe.recipe import Image

FORMAT = 3
"""Changes whenever the same files would give other pixels or another index."""
CACHE_LIMIT = 20_000_000_000
"""Bytes that all packs may take together; the least recently used go first."""
ABANDONED = 7 * 24 * 3600
"""Seconds after which a pack that is still being built is taken for one whose process was killed."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Decoded images and where they came from. Row i of every field belongs to the same file."""

    pixels: NDArray[np.uint8]
    """(N, S, S, C), read-only, mapped from the disk. Rows of rejected files are meaningless."""
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    """Of the files' bytes: BLAKE2b, 128 bits."""
    errors: dict[int, str]
    """Why a row's file was rejected."""
    clipped: int
    """Pixels of deep greyscale outside the range; always 0 when the range is this pack's own."""
    decoding: Decoding
    retry: bool
    """Whether a rejected file may be accepted another time, though its size and time do not change."""

    @property
    def accepted(self) -> list[int]:
        """Rows whose file was decoded."""
        return [row for row in range(len(self.paths)) if row not in self.errors]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of every accepted file's relative path and content: SHA-256, hexadecimal."""
        lines = "".join(f"{self.paths[row]}\0{self.digests[row]}\n" for row in self.accepted)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def open_pack(listing: Listing, image: Image, cache: Path) -> Pack:
    """Return the pack of a listing, decoding its files only if no pack of them is in the cache.

    A pack that is damaged is made anew, and so is one that lacks files which were locked then, say.

    Raises:
        OutsideError: the cache cannot be written.
    """
    packs = cache / "packs"
    folder = packs / _key(listing, image)
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
        _evict(packs, spare=folder)
        pack = _load(folder, listing)
        if pack is None:
            raise OutsideError(f"the pack {folder} was removed or damaged by somebody else; run again")
    with suppress(OSError):  # a cache that is only read is as good
        os.utime(folder)  # "recently used", for eviction
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
        pixels=bring(arrays.images, decoding),
        paths=tuple(f"X[{index}]" for index in range(len(arrays.images))),
        digests=tuple(
            hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest() for pixels in arrays.images
        ),
        errors={},
        clipped=0,
        decoding=decoding,
        retry=False,
    )


def is_packed(listing: Listing, image: Image, cache: Path) -> bool:
    """Say whether the cache has a pack of a listing, to be used as it is."""
    pack = _load(cache / "packs" / _key(listing, image), listing)
    return pack is not None and not pack.retry


def _key(listing: Listing, image: Image) -> str:
    # The place keeps data sets apart whose files differ in content alone: unpacked from archives, they
    # often have equal times, and uncompressed images of equal dimensions have equal sizes.
    settings = {"format": FORMAT, "place": str(listing.root.resolve()), "image": vars(image)}
    lines = "".join(f"{path}\0{size}\0{modified}\n" for path, size, modified, _, _ in listing.records)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(lines.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _build(folder: Path, listing: Listing, image: Image) -> None:
    """Decode every file into a new pack."""
    rows = len(listing.records)
    paths = [record.path for record in listing.records]
    decoding = Decoding(
        size=image.size,
        channels=1 if image.channels == "grey" else 3,
        fit=image.fit,
        background=image.background,
    )
    file = folder / "pixels"
    with outside_faults(file):
        _allocate(file, rows * decoding.size**2 * decoding.channels)
    with progress.bar(rows, "decoding", "images") as bar:
        jobs = list(enumerate(paths))
        outcomes = decode_files(listing.root, jobs, decoding=decoding, pixels=file, rows=rows, bar=bar)
    decoding = _second_pass(listing, outcomes, decoding=decoding, file=file)
    rejected = {row: outcome.error for row, outcome in outcomes.items() if outcome.error is not None}
    accepted = [outcome for outcome in outcomes.values() if outcome.error is None]
    if image.channels == "auto" and accepted and all(outcome.grey for outcome in accepted):
        decoding = _keep_one_channel(file, rows, decoding)
    _sync(file)  # before the index: after a power cut a pack is whole or is none
    index = {
        "decoding": decoding.to_json(),
        "digests": [outcomes[row].digest for row in range(rows)],
        "errors": {str(row): rejected[row] for row in sorted(rejected)},
        "clipped": sum(outcome.clipped for outcome in accepted),
        "retry": any(outcome.retry for outcome in outcomes.values()),
    }
    write_json(folder / "index.json", index, indent=None)


def _second_pass(
    listing: Listing, outcomes: dict[int, Outcome], *, decoding: Decoding, file: Path
) -> Decoding:
    """Decode the deep greyscale files, now that the range of them all is known."""
    ranges = {row: outcome.deep for row, outcome in outcomes.items() if outcome.deep is not None}
    if not ranges:
        return decoding
    low, high = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
    decoding = replace(decoding, deep_range=(low, high))
    jobs = [(row, listing.records[row].path) for row in sorted(ranges)]
    rows = len(listing.records)
    with progress.bar(len(jobs), "scaling deep greyscale", "images") as bar:
        outcomes.update(decode_files(listing.root, jobs, decoding=decoding, pixels=file, rows=rows, bar=bar))
    return decoding


def _allocate(file: Path, size: int) -> None:
    """Reserve the disk space now: writing to a map of a full disk would kill the process later."""
    with file.open("wb") as stream:
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            stream.truncate(size)


def _keep_one_channel(file: Path, rows: int, decoding: Decoding) -> Decoding:
    """Rewrite an RGB pixel file whose channels are all equal with one of them."""
    one = file.with_name("pixels-one")
    shape = (rows, decoding.size, decoding.size)
    rgb = np.memmap(file, dtype=np.uint8, mode="r", shape=(*shape, 3))
    with outside_faults(one):
        _allocate(one, int(np.prod(shape)))
        grey = np.memmap(one, dtype=np.uint8, mode="r+", shape=shape)
        grey[:] = rgb[..., 0]
        grey.flush()
        del grey, rgb  # Windows cannot replace a file that is mapped
        one.replace(file)
    return replace(decoding, channels=1)


def _sync(file: Path) -> None:
    """Make sure that the pixels are on the disk; workers wrote them through maps."""
    with outside_faults(file), file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _publish(building: Path, folder: Path, listing: Listing) -> None:
    """Give a finished pack its name."""
    with suppress(OSError):
        building.rename(folder)
        return
    pack = _load(folder, listing)
    if pack is not None and not pack.retry:  # another process was faster: its pack is as good
        return
    del pack
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)


def _load(folder: Path, listing: Listing) -> Pack | None:
    """Map the pack of a listing; None if there is none, or no whole one."""
    try:
        index: dict[str, Any] = json.loads(
            (folder / "index.json").read_text(encoding="utf-8", errors="surrogateescape")
        )
        decoding = Decoding.from_json(index["decoding"])
        digests = tuple(index["digests"])
        if len(digests) != len(listing.records):
            return None
        shape = (len(digests), decoding.size, decoding.size, decoding.channels)
        return Pack(
            pixels=np.memmap(folder / "pixels", dtype=np.uint8, mode="r", shape=shape),
            paths=tuple(record.path for record in listing.records),
            digests=digests,
            errors={int(row): error for row, error in index["errors"].items()},
            clipped=index["clipped"],
            decoding=decoding,
            retry=index["retry"],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _evict(packs: Path, *, spare: Path) -> None:
    """Remove what killed processes left, and the least recently used packs until the rest fit the limit."""
    found: list[tuple[float, int, Path]] = []
    for each in packs.iterdir():
        with suppress(OSError):  # another process is removing it
            used = each.stat().st_mtime
            if not each.name.startswith("."):
                found.append((used, (each / "pixels").stat().st_size, each))
            elif time.time() - used > ABANDONED:
                shutil.rmtree(each, ignore_errors=True)
    total = sum(size for _, size, _ in found)
    for _, size, each in sorted(found):
        if total > CACHE_LIMIT and each != spare:
            total -= size
            shutil.rmtree(each, ignore_errors=True)


def require_images(pack: Pack, listing: Listing) -> None:
    """Refuse a pack in which some class has not a single image that can be read.

    Raises:
        DataError: naming the class and the first reason.
    """
    if not pack.errors:  # and a class folder without files was refused when it was listed
        return
    readable = {(listing.records[row].folder, listing.records[row].label) for row in pack.accepted}
    for row, record in enumerate(listing.records):
        if (record.folder, record.label) not in readable:
            depth = 1 if listing.layout == "flat" else 2
            folder = listing.root.joinpath(*record.path.split("/")[:depth])
            raise DataError(
                f"no file of the class folder {folder} can be read as an image; the first, {record.path}: "
                f"{pack.errors[row]}"
            )
