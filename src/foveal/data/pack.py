"""Records -> one memory-mapped file of uint8 pixels, made once and found again by a listing.

A pack is a folder in the cache. Its file `pixels` holds the images one after another (N, S, S, C), and
`index.json` their digests and the rejected files. Its name is a digest of the data set's folder, of every
path, size and modification time, and of how images become pixels. So a changed, missing or added file means
another pack. The paths are not stored, because the listing that finds a pack has them.

A pack is believed only as far as it is checked, each time it is opened:

- Files may have been moved or written although path, size and time are the same. Then their inodes or change
  times differ from those in `stamps`. They are read and compared with their digests. So is a sample of all.
- Pixels are compared with their checksums, and the index with a digest of its own.

What does not fit is decoded again, and nothing else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from foveal import progress
from foveal.data.arrays import Arrays
from foveal.data.checksums import ChecksumTest, compute_file_digest, count_blocks, iter_file_digests
from foveal.data.decode import Decoding, resize_images
from foveal.data.pack_build import PIXELS, StoredPack, build_pack, patch_pack
from foveal.data.pack_folders import evict, give_name, mark_as_used, remove_leftovers, workplace
from foveal.data.pack_index import FileTable, find_restamped_files, read_index, write_stamps
from foveal.data.scan import Listing
from foveal.errors import DataError, OutsideError
from foveal.progress import printable
from foveal.recipe.recipe import Image
from foveal.types import Pixels

PACK_FORMAT = 4
"""The version of packs. It changes when the same files would give other pixels or another index."""
MAX_SAMPLED_FILES = 24
"""The number of files, drawn anew each time, that are read and compared whenever a pack is opened."""
MAX_SAMPLED_BYTES = 20_000_000
"""The size of a file that is too large for the sample."""
MAX_ATTEMPTS = 3
"""The number of times that a pack is looked for while other processes replace it."""


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
    """The number of values of deep images outside the data set's range."""
    decoding: Decoding
    """The settings that made the pixels."""
    retry: bool
    """Whether a rejected file may be accepted another time, although its size and time do not change."""
    notes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """What is noted of files that are used, but not as a whole, by their indices: see `file_notes`."""
    checksums: tuple[int, ...] = ()
    """The checksum of each block of the pixels."""
    test: ChecksumTest | None = None
    """The comparison of the pixels with their checksums, or None if they were made just now."""

    @property
    def decoded_indices(self) -> list[int]:
        """The indices of the files that were decoded."""
        return [index for index in range(len(self.paths)) if index not in self.errors]

    def is_damaged(self) -> bool:
        """Wait until the pixels are compared with their checksums, and tell whether they differ."""
        return self.test is not None and bool(self.test.find_damaged_images(self.pixels, self.checksums))

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 digest of all decoded files' relative paths and contents, as hexadecimal digits."""
        lines = "".join(f"{self.paths[index]}\0{self.digests[index]}\n" for index in self.decoded_indices)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def open_pack(
    listing: Listing, image: Image, cache: Path, *, verify: bool = False, is_tested_later: bool = False
) -> Pack:
    """Return the pack of a listing. Files are decoded only if the cache lacks them or has them wrong.

    Args:
        listing: The files.
        image: The size, the channels and the resize mode of the images.
        cache: The folder for decoded images.
        verify: Whether all files are read and compared with their digests.
        is_tested_later: Whether the caller will ask `Pack.is_damaged`, and open a damaged pack again. So the
            pixels are compared while other work is done.

    Raises:
        OutsideError: The cache cannot be written.
    """
    packs, files = cache / "packs", FileTable.of(listing)
    folder = packs / _get_name(listing.root, files, image)
    remove_leftovers(packs)
    for _ in range(MAX_ATTEMPTS):
        test = ChecksumTest(folder / PIXELS)
        stored = _load(folder, listing)
        repair = None
        if stored is not None:
            damaged = (
                [] if is_tested_later else test.find_damaged_images(stored.pixels, stored.index.checksums)
            )
            repair = _find_repair(stored, listing, files, damaged, verify=verify)
            if repair is None:
                mark_as_used(folder)
                return _to_pack(stored, files, test)
        elif folder.exists():
            progress.warn(f"the decoded images in {folder} are damaged; all are made again from their files")
        with workplace(packs) as new:
            seen = b""
            if stored is None or repair is None:
                build_pack(new, listing, image)
            elif patch_pack(new, listing, image, stored, repair.rows, damaged=repair.damaged):
                seen = stored.index_digest
            else:
                return _to_pack(stored, files, test)
            del stored, test  # Windows cannot replace a file that is mapped
            is_own = _publish(new, folder, listing, instead_of=seen)
        evict(packs, keep=folder)
        if is_own and (stored := _load(folder, listing)) is not None:
            return _to_pack(stored, files, None)
    raise OutsideError(f"the pack {folder} was removed or damaged by somebody else; run again")


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
    """Tell whether the cache has a pack of a listing, of which at most a part has to be made again."""
    name = _get_name(listing.root, FileTable.of(listing), image)
    return _load(cache / "packs" / name, listing) is not None


def _get_name(root: Path, files: FileTable, image: Image) -> str:
    """Compute the name of a pack."""
    # The folder distinguishes data sets whose files differ in content only. Files from archives often have
    # equal times, and uncompressed images of equal dimensions have equal sizes.
    return files.compute_name({"format": PACK_FORMAT, "place": str(root.resolve()), "image": vars(image)})


@dataclass(frozen=True, kw_only=True)
class _Repair:
    """What has to be done to a pack before it is used."""

    rows: list[int]
    """The indices of the files to decode."""
    damaged: bool
    """Whether the pixels are damaged. Otherwise the pack may stay if decoding changes nothing."""


def _find_repair(
    stored: StoredPack, listing: Listing, files: FileTable, damaged: Sequence[int], *, verify: bool
) -> _Repair | None:
    """Find out which files of a pack are to be decoded again, and tell why. None stands for none.

    `damaged` are the indices of the images in damaged blocks.
    """
    digests, paths = stored.index.digests, files.paths
    moved = find_restamped_files(stored.folder, files.stamps, stored.index_digest)
    everything = range(len(paths))
    changed = _find_changed_files(listing, digests, everything if verify else moved)
    if not verify and _find_changed_files(listing, digests, _draw_files(listing, digests)) - changed:
        changed = _find_changed_files(listing, digests, everything)  # inodes and times cannot be trusted here
    if changed:
        n, first = len(changed), printable(paths[min(changed)])
        hold = "files hold" if n > 1 else "file holds"
        progress.line(
            f"{n:,} {hold} other bytes than before, though name, size and time did not change "
            f"({first}{' …' if n > 1 else ''}): decoded again"
        )
    root = str(listing.root)
    retried = {row for row in stored.index.retry if digests[row] or compute_file_digest(root, paths[row])}
    if damaged:
        progress.warn(
            f"{len(damaged):,} of {len(paths):,} decoded images in {stored.folder} are damaged; "
            f"they are made again from their files"
        )
    # Rejected files have no image, unless there are none but those.
    lost = {row for row in damaged if str(row) not in stored.index.errors} or set(damaged)
    if rows := changed | retried | lost:
        return _Repair(rows=sorted(rows), damaged=bool(damaged))
    if moved:
        with suppress(OutsideError):  # a cache that cannot be written serves as well
            write_stamps(stored.folder, files.stamps, stored.index_digest)
    return None


def _draw_files(listing: Listing, digests: Sequence[str]) -> list[int]:
    """Draw a few files that can be read fast. Other ones are drawn each time."""
    rows = np.random.default_rng().permutation(len(digests))[:MAX_SAMPLED_FILES].tolist()
    return [row for row in rows if digests[row] and listing.records[row].size <= MAX_SAMPLED_BYTES]


def _find_changed_files(listing: Listing, digests: Sequence[str], rows: Sequence[int]) -> set[int]:
    """Read files, and return the indices of those whose digests differ from the known ones."""
    if not rows:
        return set()
    paths = [listing.records[row].path for row in rows]
    with progress.bar(len(rows), "comparing", "files") as bar:
        changed = set()
        for row, digest in zip(rows, iter_file_digests(listing.root, paths), strict=True):
            bar.advance()
            if digest != digests[row]:
                changed.add(row)
        return changed


def _publish(new: Path, folder: Path, listing: Listing, *, instead_of: bytes) -> bool:
    """Give a finished pack its name, unless another process has put its own there meanwhile.

    `instead_of` is the digest of the index that the replaced pack has. Returns whether the pack got the name.
    """
    other = _load(folder, listing)
    if other is not None and other.index_digest != instead_of:
        return False
    del other  # Windows cannot replace a file that is mapped
    give_name(new, folder)
    return True


def _load(folder: Path, listing: Listing) -> StoredPack | None:
    """Open the pack of a listing. The result is None if there is no pack, or no whole one."""
    try:
        index, digest = read_index(folder)
        decoding = index.decoding
        shape = (len(index.digests), decoding.size, decoding.size, decoding.channels)
        pixels = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r", shape=shape)
        if (
            len(index.digests) != len(listing.records)
            or (folder / PIXELS).stat().st_size != pixels.nbytes
            or len(index.checksums) != count_blocks(pixels)
        ):
            return None
    except (OSError, ValueError, RecursionError):
        return None
    return StoredPack(folder=folder, index=index, index_digest=digest, pixels=pixels)


def _to_pack(stored: StoredPack, files: FileTable, test: ChecksumTest | None) -> Pack:
    index = stored.index
    return Pack(
        pixels=stored.pixels,
        paths=files.paths,
        digests=index.digests,
        errors={int(row): error for row, error in index.errors.items()},
        clipped=sum(index.clipped.values()),
        decoding=index.decoding,
        retry=bool(index.retry),
        notes={int(row): notes for row, notes in index.notes.items()},
        checksums=index.checksums,
        test=test,
    )


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
            if listing.table is not None:
                raise DataError(
                    f"no image of the class {printable(record.label)} of {listing.table} can be read; "
                    f"the first, {printable(record.path)}: {pack.errors[index]}"
                )
            depth = 1 if listing.layout == "flat" else 2
            folder = listing.root.joinpath(*record.path.split("/")[:depth])
            raise DataError(
                f"no file of the class folder {folder} can be read as an image; the first, {record.path}: "
                f"{pack.errors[index]}"
            )
