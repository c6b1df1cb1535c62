"""The small files of a pack: what became of each image file, and how the files were found at that time."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from foveal.data.decode import Decoding
from foveal.data.decode_worker import Outcome
from foveal.data.scan import Listing
from foveal.files.atomic import write_bytes
from foveal.files.typed_json import read, to_json
from foveal.types import Ints

INDEX = "index.json"
"""The file that describes the images. Without it a pack does not count."""
STAMPS = "stamps"
"""The file with the inode and the change time of each image file, int64 (N, 2), after the index's digest."""
_DIGEST_BYTES = 16
_PREFIX = b'{"digest": "%s", "content": '
_SUFFIX = b"}\n"


@dataclass(frozen=True, kw_only=True)
class PackIndex:
    """What became of each file, and how the pixels can be checked. Keys that stand for indices are text."""

    decoding: Decoding
    """The settings that made the pixels."""
    digests: tuple[str, ...]
    """The digest of each file's bytes, or an empty text where a file could not be read."""
    errors: Mapping[str, str]
    """The reason for each rejected file."""
    sketches: Mapping[str, tuple[float, ...]]
    """The sketch of each deep image's values."""
    grey: tuple[int, ...]
    """The indices of the images whose channels are equal."""
    clipped: Mapping[str, int]
    """The number of values outside the deep range, where there are any."""
    retry: tuple[int, ...]
    """The indices of the rejected files that may be accepted another time."""
    notes: Mapping[str, tuple[str, ...]]
    """What is noted of files that are not used as a whole."""
    checksums: tuple[int, ...]
    """The checksum of each block of the pixels."""

    def __post_init__(self) -> None:
        n = len(self.digests)
        indices = [*self.grey, *self.retry]
        for mapping in (self.errors, self.sketches, self.clipped, self.notes):
            indices += map(int, mapping)
        if indices and not 0 <= min(indices) <= max(indices) < n:
            raise ValueError("an index lies outside the files")

    def to_outcomes(self) -> list[Outcome]:
        """Return the outcome of each file."""
        grey, retry = set(self.grey), set(self.retry)
        return [
            Outcome(
                digest=digest,
                error=self.errors.get(str(index)),
                deep=self.sketches.get(str(index)),
                grey=index in grey,
                clipped=self.clipped.get(str(index), 0),
                retry=index in retry,
                notes=self.notes.get(str(index), ()),
            )
            for index, digest in enumerate(self.digests)
        ]


def index_outcomes(outcomes: Sequence[Outcome], decoding: Decoding, checksums: tuple[int, ...]) -> PackIndex:
    """Return the index of files with these outcomes."""
    return PackIndex(
        decoding=decoding,
        digests=tuple(outcome.digest for outcome in outcomes),
        errors={str(index): each.error for index, each in enumerate(outcomes) if each.error is not None},
        sketches={str(index): each.deep for index, each in enumerate(outcomes) if each.deep is not None},
        grey=tuple(index for index, each in enumerate(outcomes) if each.grey),
        clipped={str(index): each.clipped for index, each in enumerate(outcomes) if each.clipped},
        retry=tuple(index for index, each in enumerate(outcomes) if each.retry),
        notes={str(index): each.notes for index, each in enumerate(outcomes) if each.notes},
        checksums=checksums,
    )


def write_index(folder: Path, index: PackIndex) -> bytes:
    """Write the index of a pack, with a digest of its own, and return that digest.

    Raises:
        OutsideError: The disk refuses it.
    """
    content = json.dumps(to_json(index), allow_nan=False).encode("ascii")
    digest = _compute_digest(content)
    write_bytes(folder / INDEX, _PREFIX % digest.hex().encode() + content + _SUFFIX)
    return digest


def read_index(folder: Path) -> tuple[PackIndex, bytes]:
    """Read the index of a pack, and its digest.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not as it was written.
    """
    content = (folder / INDEX).read_bytes()
    content, prefix = content[_LENGTH : -len(_SUFFIX)], content[:_LENGTH]
    digest = _compute_digest(content)
    if prefix != _PREFIX % digest.hex().encode():
        raise ValueError("its digest does not match")
    return read(json.loads(content), PackIndex, "index"), digest


_LENGTH = len(_PREFIX % bytes(2 * _DIGEST_BYTES))


def _compute_digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


@dataclass(frozen=True, kw_only=True)
class FileTable:
    """The files of a listing in columns, which are made once: a data set may have a million files."""

    paths: tuple[str, ...]
    """The files' paths relative to the data set's folder."""
    sizes_and_times: Ints
    """The size and the modification time of each file, int64 (N, 2)."""
    stamps: Ints
    """The inode and the change time of each file, int64 (N, 2).

    A system that tells no inodes has the modification time of the file's folder instead, which changes when
    files are moved.
    """

    @classmethod
    def of(cls, listing: Listing) -> "FileTable":
        """Return the files of a listing, of at least one."""
        # Each number is touched once, because it may lie anywhere in memory.
        numbers = _to_numbers(
            [(record.size, record.modified, record.inode, record.changed) for record in listing.records]
        )
        paths = tuple([record.path for record in listing.records])
        if not numbers[:, 2].any():
            numbers[:, 2] = _read_folder_times(listing.root, paths)
        return cls(paths=paths, sizes_and_times=numbers[:, :2], stamps=numbers[:, 2:])

    def compute_name(self, settings: Mapping[str, object]) -> str:
        """Compute the name of a pack of these files: a digest of paths, sizes, times and of the settings."""
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(self.sizes_and_times.tobytes())
        digest.update("\0".join(self.paths).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:32]


def _read_folder_times(root: Path, paths: Sequence[str]) -> list[int]:
    """Return the modification time of each file's folder, or 0 if the system does not tell."""
    times: dict[str, int] = {}
    for folder in {path.rpartition("/")[0] for path in paths}:
        try:
            times[folder] = (root / folder).stat().st_mtime_ns
        except (OSError, ValueError):
            times[folder] = 0
    return [times[path.rpartition("/")[0]] for path in paths]


def _to_numbers(rows: list[tuple[int, ...]]) -> Ints:
    """Return rows of whole numbers as int64 (N, 4). Of larger ones the lowest 64 bits are kept."""
    n_numbers = sum(map(len, rows))
    try:
        numbers = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=n_numbers)
    except OverflowError:
        unsigned = (number % 2**64 for number in chain.from_iterable(rows))
        numbers = np.fromiter(unsigned, dtype=np.uint64, count=n_numbers).view(np.int64)
    return numbers.reshape(len(rows), -1)


def write_stamps(folder: Path, stamps: Ints, index_digest: bytes) -> None:
    """Write the stamps that the files of an index had when they were read.

    Raises:
        OutsideError: The disk refuses it.
    """
    write_bytes(folder / STAMPS, index_digest + stamps.tobytes())


def find_restamped_files(folder: Path, stamps: Ints, index_digest: bytes) -> list[int]:
    """Return the indices of the files whose stamps are not those that were written. Without any, all are."""
    try:
        content = (folder / STAMPS).read_bytes()
    except OSError:
        content = b""
    if content[:_DIGEST_BYTES] != index_digest or len(content) != _DIGEST_BYTES + stamps.nbytes:
        return list(range(len(stamps)))
    before = np.frombuffer(content, dtype=np.int64, offset=_DIGEST_BYTES).reshape(stamps.shape)
    indices: list[int] = np.flatnonzero((before != stamps).any(axis=1)).tolist()
    return indices
