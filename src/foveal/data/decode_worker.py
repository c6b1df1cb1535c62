"""The process that decodes images for `workers`: `python -m foveal.data.decode_worker`.

It reads chunks of jobs as JSON lines from standard input, and writes the pixels into a shared file. It
answers with the outcomes on standard output, some at a time. Another shared file tells at which job it is.
"""

import hashlib
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, NamedTuple

import numpy as np

from foveal.data.decode import (
    MAX_FILE_BYTES,
    SECONDS_PER_FILE,
    DecodeError,
    Decoding,
    DeepImageError,
    decode,
)
from foveal.recipe.recipe import MAX_PIXELS
from foveal.types import Ints, Pixels

MAX_MEMORY = 750_000_000
"""The bytes that a worker may use besides the pixel file (on Linux), at the default limit of pixels."""
MEMORY_PER_PIXEL = 26
"""The bytes that each pixel beyond the default limit adds."""
ANSWER_EVERY = 0.02
"""The seconds of work that are lost at most, besides the file that ends the process."""

_PR_SET_PDEATHSIG = 1


class Outcome(NamedTuple):
    """The result of decoding one file. It is a tuple, because JSON writes tuples as they are."""

    digest: str = ""
    """The digest of the file's bytes: BLAKE2b, 128 bits, as hexadecimal digits. It is empty without bytes."""
    error: str | None = None
    """The reason if the file was rejected."""
    deep: tuple[float, ...] | None = None
    """The sketch of a deep image that waits for the data set's range (`deep_range.py`)."""
    grey: bool = False
    """Whether all channels of the image are equal."""
    clipped: int = 0
    """The number of deep pixels outside the data set's range."""
    retry: bool = False
    """Whether a rejected file may be readable another time, although its size and time do not change."""
    notes: tuple[str, ...] = ()
    """What is to be noted of the file: kinds of `foveal.data.file_notes`."""
    seconds: float = 0.0
    """The time that the file took, if that was asked for."""

    def to_json(self) -> tuple[object, ...]:
        """Return the values without those at the end that are as by default: what most files have."""
        values: tuple[object, ...] = tuple(self)
        while len(values) > 1 and values[-1] == _DEFAULTS[len(values) - 1]:
            values = values[:-1]
        return values

    @classmethod
    def from_json(cls, values: list[Any]) -> "Outcome":
        """Read the result of `to_json`."""
        given: list[Any] = [tuple(value) if isinstance(value, list) else value for value in values]
        return cls(*given)


_DEFAULTS = tuple(Outcome._field_defaults.values())


def run_worker(source: IO[str], sink: IO[str]) -> None:
    """Decode chunks of files until the source ends."""
    header = json.loads(source.readline())
    decoding = Decoding.from_json(header["decoding"])
    _end_with(header["parent"])
    _limit_memory(MAX_MEMORY + max(0, decoding.max_pixels - MAX_PIXELS) * MEMORY_PER_PIXEL)
    shape = (header["n_images"], decoding.size, decoding.size, decoding.channels)
    pixels = np.asarray(np.memmap(header["pixels"], dtype=np.uint8, mode="r+", shape=shape))
    # The parent reads here, after this process died, at which job of the chunk that was.
    place: Ints = np.asarray(np.memmap(header["place"], dtype=np.int64, mode="r+", shape=(1,)))
    root, measure = header["root"], header["measure"]

    def answer(value: object) -> None:
        sink.write(json.dumps(value) + "\n")
        sink.flush()

    answer(None)  # ready
    for line in source:
        outcomes: list[tuple[object, ...]] = []
        last_answer = time.monotonic()
        for number, (index, path) in enumerate(json.loads(line)):
            now = time.monotonic()
            if now - last_answer > ANSWER_EVERY:
                _set_deadline(0)
                answer(outcomes)
                outcomes, last_answer = [], now
                _stop_if_orphaned(header["parent"])
            place[0] = number
            _set_deadline(SECONDS_PER_FILE)
            outcome = decode_file(root, path, decoding, pixels, index, allow=_set_deadline)
            outcomes.append(
                (outcome._replace(seconds=time.monotonic() - now) if measure else outcome).to_json()
            )
        _set_deadline(0)
        place[0] = -1
        answer(outcomes)


def _set_deadline(seconds: float) -> None:
    """End this process after some more seconds of processor time; 0 means never. Windows cannot do that."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _end_with(parent: int) -> None:
    """Let this process end when its parent does, even if that is killed."""
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _stop_if_orphaned(parent)


def _stop_if_orphaned(parent: int) -> None:
    if os.name == "posix" and os.getppid() != parent:
        raise SystemExit(1)


def _limit_memory(n_bytes: int) -> None:
    # Windows has no such limits, and other systems may have lower ones.
    with suppress(ImportError, OSError, ValueError):
        import resource

        # The limit is not on the address space: the pixels of a data set, mapped there, may be far larger.
        resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, n_bytes))


def decode_file(
    root: str,
    path: str,
    decoding: Decoding,
    pixels: Pixels,
    index: int,
    *,
    allow: Callable[[float], None] | None = None,
) -> Outcome:
    """Read and decode one file, and write the image to `pixels[index]`. `allow` is as in `decode`."""
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
        decoded = decode(content, decoding, allow=allow)
    except DeepImageError as deep:
        return Outcome(digest=digest, deep=deep.sketch)
    except DecodeError as error:
        return Outcome(digest=digest, error=str(error))
    pixels[index] = decoded.pixels
    return Outcome(digest=digest, grey=decoded.grey, clipped=decoded.clipped, notes=decoded.notes)


if __name__ == "__main__":
    run_worker(sys.stdin, sys.stdout)
