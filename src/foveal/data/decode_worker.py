"""The process that decodes images for `workers`: `python -m foveal.data.decode_worker`.

It reads chunks of jobs as JSON lines from standard input, and writes the pixels into a shared file. It
answers with the outcomes on standard output.
"""

import hashlib
import json
import os
import stat
import sys
from contextlib import suppress
from typing import IO, NamedTuple

import numpy as np

from foveal.data.decode import MAX_FILE_BYTES, DecodeError, Decoding, DeepImageError, decode
from foveal.types import Pixels

MAX_MEMORY = 512_000_000
"""The bytes that a worker may use besides the pixel file (on Linux), whatever a file demands."""


class Outcome(NamedTuple):
    """The result of decoding one file. It is a tuple, because JSON writes tuples as they are."""

    digest: str = ""
    """The digest of the file's bytes: BLAKE2b, 128 bits, as hexadecimal digits. It is empty without bytes."""
    error: str | None = None
    """The reason if the file was rejected."""
    deep: tuple[float, float] | None = None
    """The lowest and highest value of a deep greyscale image that waits for the data set's range."""
    grey: bool = False
    """Whether all channels of the image are equal."""
    clipped: int = 0
    """The number of deep greyscale pixels outside the data set's range."""
    retry: bool = False
    """Whether a rejected file may be readable another time, although its size and time do not change."""


def run_worker(source: IO[str], sink: IO[str]) -> None:
    """Decode chunks of files until the source ends."""
    _limit_memory()
    header = json.loads(source.readline())
    decoding = Decoding.from_json(header["decoding"])
    shape = (header["n_images"], decoding.size, decoding.size, decoding.channels)
    pixels = np.asarray(np.memmap(header["pixels"], dtype=np.uint8, mode="r+", shape=shape))
    root = header["root"]

    def answer(value: object) -> None:
        sink.write(json.dumps(value) + "\n")
        sink.flush()

    answer(None)  # ready
    for line in source:
        answer([decode_file(root, path, decoding, pixels, index) for index, path in json.loads(line)])


def _limit_memory() -> None:
    # Windows has no such limits, and other systems may have lower ones.
    with suppress(ImportError, OSError, ValueError):
        import resource

        # The limit is not on the address space: the pixels of a data set, mapped there, may be far larger.
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))


def decode_file(root: str, path: str, decoding: Decoding, pixels: Pixels, index: int) -> Outcome:
    """Read and decode one file, and write the image to `pixels[index]`."""
    # A `Path` would take as long as the system takes for all of this function's calls.
    path = os.path.join(root, path)  # noqa: PTH118
    try:
        status = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would never end
            return Outcome(error="cannot be read: it is no ordinary file")
        if status.st_size > MAX_FILE_BYTES:
            return Outcome(error=f"larger than {MAX_FILE_BYTES:,} bytes")
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            content = file.read(status.st_size)
    except (FileNotFoundError, ValueError) as error:  # ValueError: a name that no file can have
        return Outcome(error=f"cannot be read: {getattr(error, 'strerror', error)}")
    except OSError as error:
        return Outcome(error=f"cannot be read: {error.strerror}", retry=True)
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        decoded = decode(content, decoding)
    except DeepImageError as deep:
        return Outcome(digest=digest, deep=(deep.low, deep.high))
    except DecodeError as error:
        return Outcome(digest=digest, error=str(error))
    pixels[index] = decoded.pixels
    return Outcome(digest=digest, grey=decoded.grey, clipped=decoded.clipped)


if __name__ == "__main__":
    run_worker(sys.stdin, sys.stdout)
