"""Checksums of decoded images, and digests of image files: by these, damage and changes are noticed.

The pixels of a pack are divided into blocks. The checksum of a block is the CRC-32 of everything up to its
end. So the last one is that of the whole file. It is compared first, and if it differs, each block is.
"""

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np

from foveal.data.decode import MAX_FILE_BYTES
from foveal.types import Pixels

BLOCK_BYTES = 2**20
"""The largest size of a block, unless a single image is larger. A damaged block is decoded again."""
N_READERS = 4
"""The number of threads that read files to compare them. They wait for the disk more than they work."""


def count_images_per_block(pixels: Pixels) -> int:
    """Return the number of images in a block of pixels, uint8 (N, S, S, C)."""
    return max(1, BLOCK_BYTES // max(1, int(np.prod(pixels.shape[1:]))))


def count_blocks(pixels: Pixels) -> int:
    """Return the number of blocks of pixels, uint8 (N, S, S, C)."""
    return -(-len(pixels) // count_images_per_block(pixels))


def compute_checksums(pixels: Pixels) -> tuple[int, ...]:
    """Return the checksum of each block of pixels, uint8 (N, S, S, C)."""
    step = count_images_per_block(pixels)
    checksums: list[int] = []
    for start in range(0, len(pixels), step):
        checksums.append(zlib.crc32(pixels[start : start + step].data, checksums[-1] if checksums else 0))
    return tuple(checksums)


class ChecksumTest:
    """Reads a file of pixels to compare it with its checksums, in a thread that takes no time from others.

    Args:
        file: The file. If it is missing, there is nothing to compare.
    """

    def __init__(self, file: Path) -> None:
        self._checksum = 0
        with suppress(OSError, ValueError):  # ValueError: it is empty
            content = np.memmap(file, dtype=np.uint8, mode="r")
            self._thread = Thread(target=self._compute, args=(content,), daemon=True)
            self._thread.start()

    def _compute(self, content: Pixels) -> None:
        self._checksum = zlib.crc32(content.data)  # in one call, so that it never waits for other threads

    def find_damaged_images(self, pixels: Pixels, checksums: Sequence[int]) -> list[int]:
        """Wait for the end, and return the indices of the images in damaged blocks.

        `pixels` are those of the file, uint8 (N, S, S, C).
        """
        self._thread.join()
        if self._checksum == checksums[-1]:
            return []
        step = count_images_per_block(pixels)
        damaged: list[int] = []
        for block, start in enumerate(range(0, len(pixels), step)):
            before = checksums[block - 1] if block else 0
            if zlib.crc32(pixels[start : start + step].data, before) != checksums[block]:
                damaged += range(start, min(start + step, len(pixels)))
        return damaged


def compute_file_digest(root: str, path: str) -> str:
    """Return the digest of a file's bytes as `Outcome` has it, or an empty string if it cannot be read."""
    path = os.path.join(root, path)  # noqa: PTH118 - as in `decode_file`
    try:
        status = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            return ""
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return hashlib.blake2b(file.read(status.st_size), digest_size=16).hexdigest()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return ""


def iter_file_digests(root: Path, paths: Sequence[str]) -> Iterator[str]:
    """Yield the digest of each file, in the order of the paths."""
    if len(paths) < N_READERS:
        yield from (compute_file_digest(str(root), path) for path in paths)
        return
    with ThreadPoolExecutor(N_READERS) as threads:
        yield from threads.map(partial(compute_file_digest, str(root)), paths, chunksize=64)
