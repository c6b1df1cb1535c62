"""Decoding in parallel: worker processes that fill one file of pixels.

A worker is `python -m foveal.data.workers`: it reads jobs as JSON lines on standard input and answers on
standard output. So a file that kills its decoder takes a worker along, not the run; nothing is pickled;
and a script needs no `if __name__ == "__main__"`, as it would with multiprocessing's spawned processes.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import numpy as np

from foveal.data.decode import MAX_BYTES, DecodeError, Decoding, DeepImageError, decode
from foveal.errors import OutsideError
from foveal.progress import Bar

CHUNK = 128
"""Files a job. Large enough that talking costs nothing, small enough that a bar moves."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one file."""

    digest: str = ""
    """Of the file's bytes: BLAKE2b, 128 bits, as hexadecimal digits; empty if it could not be read."""
    error: str | None = None
    """Why it was rejected."""
    deep: tuple[float, float] | None = None
    """Lowest and highest value of a deep greyscale image that waits for the data set's range."""
    grey: bool = False
    clipped: int = 0


def decode_files(
    root: Path, jobs: Sequence[tuple[int, str]], *, decoding: Decoding, pixels: Path, rows: int, bar: Bar
) -> dict[int, Outcome]:
    """Decode files into rows of a pixel file, in as many processes as there are cores to use.

    Args:
        root: the folder that the paths are relative to.
        jobs: pairs of a row and the path of the file that belongs there.
        decoding: how bytes become pixels.
        pixels: an existing file of `rows` × S × S × C bytes.
        rows: rows of that file.
        bar: counts files.

    Returns:
        The outcome for each row.
    """
    header = {"root": str(root), "pixels": str(pixels), "rows": rows, "decoding": decoding.to_json()}
    queue: SimpleQueue[Sequence[tuple[int, str]]] = SimpleQueue()
    for start in range(0, len(jobs), CHUNK):
        queue.put(jobs[start : start + CHUNK])
    processes = min(_usable_cores(), -(-len(jobs) // CHUNK))
    outcomes: dict[int, Outcome] = {}

    def serve() -> None:
        worker = _Worker(header)
        try:
            while True:
                try:
                    chunk = queue.get_nowait()
                except Empty:
                    return
                answers = worker.decode(chunk)
                if answers is None:  # it died: once more file by file, to know which one killed it
                    answers = []
                    for job in chunk:
                        worker.close()
                        worker = _Worker(header)
                        alone = worker.decode([job])
                        answers += alone or [Outcome(error="the decoder died on this file")]
                outcomes.update(zip((row for row, _ in chunk), answers, strict=True))
                bar.advance(len(chunk))
        finally:
            worker.close()

    with ThreadPoolExecutor(max(1, processes)) as pool:
        running = [pool.submit(serve) for _ in range(processes)]
        try:
            for each in running:
                each.result()
        except BaseException:
            while not queue.empty():  # an error or Ctrl-C: the other threads find nothing left to do
                queue.get_nowait()
            raise
    return outcomes


class _Worker:
    """One worker process and the two pipes to it."""

    def __init__(self, header: dict[str, Any]) -> None:
        command = [sys.executable, "-P", "-m", "foveal.data.workers"]
        own_group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}  # spared by Ctrl-C
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii", **own_group
        )
        self._say(header)

    def decode(self, chunk: Sequence[tuple[int, str]]) -> list[Outcome] | None:
        """Decode files into their rows; None if the process died."""
        self._say(chunk)
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer.endswith("\n"):
            return None
        values = json.loads(answer)
        if isinstance(values, str):
            raise OutsideError(values)
        return [Outcome(**{**each, "deep": tuple(each["deep"]) if each["deep"] else None}) for each in values]

    def _say(self, value: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died; `decode` finds no answer
            self._process.stdin.write(json.dumps(value) + "\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """Let the process end; it does when its input does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ---- the worker's side


def _work(source: IO[str], sink: IO[str]) -> None:
    header = json.loads(source.readline())
    decoding = Decoding.from_json(header["decoding"])
    shape = (header["rows"], decoding.size, decoding.size, decoding.channels)
    pixels = np.memmap(header["pixels"], dtype=np.uint8, mode="r+", shape=shape)
    root = Path(header["root"])
    for text in source:
        answers = [vars(_decode_file(root / path, decoding, pixels, row)) for row, path in json.loads(text)]
        sink.write(json.dumps(answers) + "\n")
        sink.flush()


def _decode_file(path: Path, decoding: Decoding, pixels: "np.memmap[Any, Any]", row: int) -> Outcome:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        return Outcome(error=f"cannot be read: {error.strerror}")
    if len(content) > MAX_BYTES:
        return Outcome(error=f"larger than {MAX_BYTES:,} bytes")
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        decoded = decode(content, decoding)
    except DeepImageError as deep:
        return Outcome(digest=digest, deep=(deep.low, deep.high))
    except DecodeError as error:
        return Outcome(digest=digest, error=str(error))
    pixels[row] = decoded.pixels
    return Outcome(digest=digest, grey=decoded.grey, clipped=decoded.clipped)


if __name__ == "__main__":
    _work(sys.stdin, sys.stdout)
