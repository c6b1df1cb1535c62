"""Decoding in parallel: worker processes that fill one file of pixels.

A worker is `python -m foveal.data.workers`: it reads jobs as JSON lines on standard input and answers on
standard output. So a file that kills its decoder takes a worker along, not the run; nothing is pickled;
and a script needs no `if __name__ == "__main__"`, as it would with multiprocessing's spawned processes.
"""

import hashlib
import json
import os
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveal.data.decode import MAX_BYTES, DecodeError, Decoding, DeepImageError, decode
from foveal.errors import OutsideError
from foveal.progress import Bar, printable

CHUNK = 256
"""Files a job. Large enough that talking costs nothing, small enough that a bar moves."""
SECONDS = 30.0
"""What one file may take. A picture of the permitted size can be written so that it takes days."""
MEMORY = 512_000_000
"""Bytes that a worker may take beside the pixel file (on Linux), whatever a file makes its decoder ask."""
START_SECONDS = 120.0
"""What the start of a worker may take."""
_GLANCE = 0.25
"""Seconds between two looks at whether a worker is late."""
COMMAND = (sys.executable, "-P", "-m", "foveal.data.workers")


class Outcome(NamedTuple):
    """What became of one file. A tuple, because JSON writes one as it is and there is one a file."""

    digest: str = ""
    """Of the file's bytes: BLAKE2b, 128 bits, as hexadecimal digits; empty if it could not be read."""
    error: str | None = None
    """Why it was rejected."""
    deep: tuple[float, float] | None = None
    """Lowest and highest value of a deep greyscale image that waits for the data set's range."""
    grey: bool = False
    clipped: int = 0
    retry: bool = False
    """Whether it may be another time, though neither size nor time of the file change: it was locked, say."""


def decode_files(
    root: Path, jobs: Sequence[tuple[int, str]], *, decoding: Decoding, pixels: Path, rows: int, bar: Bar
) -> dict[int, Outcome]:
    """Decode files into rows of a pixel file, in as many processes as there are cores to use.

    Args:
        root: the folder that the paths are relative to, those that are not absolute.
        jobs: pairs of a row and the path of the file that belongs there.
        decoding: how bytes become pixels.
        pixels: an existing file of `rows` × S × S × C bytes.
        rows: rows of that file.
        bar: counts files.

    Returns:
        The outcome for each row.

    Raises:
        OutsideError: no worker process can be started.
    """
    header = {"root": str(root), "pixels": str(pixels), "rows": rows, "decoding": decoding.to_json()}
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    outcomes: dict[int, Outcome] = {}
    workers: list[_Worker] = []
    idle: SimpleQueue[_Worker] = SimpleQueue()
    stopping, finished = Event(), Event()

    def watch() -> None:
        while not finished.wait(_GLANCE):
            for worker in tuple(workers):
                worker.kill_if_late()

    def decode_chunk(chunk: Sequence[tuple[int, str]]) -> dict[int, Outcome]:
        try:
            worker = idle.get_nowait()
        except Empty:
            worker = _Worker(header, stopping)
            workers.append(worker)
        answers = worker.decode(chunk)
        idle.put(worker)
        return {row: answer for (row, _), answer in zip(chunk, answers, strict=True)}

    Thread(target=watch, daemon=True).start()
    try:
        with ThreadPoolExecutor(max(1, min(_usable_cores(), len(chunks)))) as pool:
            try:
                for done in as_completed([pool.submit(decode_chunk, chunk) for chunk in chunks]):
                    outcomes.update(done.result())
                    bar.advance(len(done.result()))
            except BaseException:  # a fault or Ctrl-C: do not wait for what is under way
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in workers:
                    worker.kill()
                raise
    finally:
        finished.set()
        for worker in workers:
            worker.end()  # all of them at once
        for worker in workers:
            worker.close()
    return outcomes


class _Worker:
    """A worker process, started when needed and again after it died, and the two pipes to it."""

    def __init__(self, header: dict[str, Any], stopping: Event) -> None:
        self._header = header
        self._stopping = stopping
        self._process: subprocess.Popen[str] | None = None
        self._deadline: float | None = None
        """When an answer is due that is waited for, on the clock of `time.monotonic`."""
        self._late = False

    def decode(self, chunk: Sequence[tuple[int, str]]) -> list[Outcome]:
        """Decode files into their rows."""
        if self._process is None:
            self._start()
        answers = self._ask(chunk, SECONDS + len(chunk))
        if isinstance(answers, list):
            return [
                Outcome(digest, error, deep and tuple(deep), *rest) for digest, error, deep, *rest in answers
            ]
        self.kill()
        self.close()
        if len(chunk) > 1:  # one of them is to blame: find out which
            return [outcome for job in chunk for outcome in self.decode([job])]
        return [Outcome(error=answers, retry=True)]

    def kill(self) -> None:
        """End the process at once."""
        if (process := self._process) is not None:
            process.kill()

    def kill_if_late(self) -> None:
        """End the process if its answer is overdue."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._late = True
            self.kill()

    def end(self) -> None:
        """Close the process's input, at which it ends."""
        if self._process is not None:
            with suppress(OSError):
                _pipe(self._process.stdin).close()

    def close(self) -> None:
        """Let the process end and wait for it."""
        self.end()
        if self._process is not None:
            self._process.wait()
            _pipe(self._process.stdout).close()
            self._process = None

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # C libraries chat there
                text=True,
                encoding="ascii",
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "OPENBLAS_NUM_THREADS": "1",  # NumPy would start threads here that nothing uses
                },
                # A group of its own is spared by Ctrl-C: it ends when our pipe does.
                process_group=0 if os.name == "posix" else None,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise OutsideError(f"cannot start a process to decode images: {error.strerror}") from error
        if (answer := self._ask(self._header, START_SECONDS)) is not None:
            raise OutsideError(f"no image can be decoded: {answer}; to see why: {shlex.join(COMMAND)}")

    def _ask(self, value: object, seconds: float) -> Any:  # noqa: ANN401 - JSON
        """Send a line and return the answer, or what happened instead."""
        if self._stopping.is_set():
            raise CancelledError
        assert self._process is not None
        self._late, self._deadline = False, time.monotonic() + seconds
        with suppress(OSError):  # it died: there will be no answer
            _pipe(self._process.stdin).write(json.dumps(value) + "\n")
            _pipe(self._process.stdin).flush()
        answer = _pipe(self._process.stdout).readline()
        self._deadline = None
        if answer.endswith("\n"):
            try:
                return json.loads(answer)
            except ValueError:
                return f"the decoder said {printable(answer)}"
        return f"the decoder took longer than {seconds:.0f} seconds" if self._late else "the decoder died"


def _pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ---- the worker's side


def _limit_memory() -> None:
    with suppress(
        ImportError, OSError, ValueError
    ):  # Windows has no such limits; elsewhere there are lower ones
        import resource

        # Not the address space: that of a data set's pixels, mapped here, may be far larger.
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _work(source: IO[str], sink: IO[str]) -> None:
    _limit_memory()
    header = json.loads(source.readline())
    decoding = Decoding.from_json(header["decoding"])
    shape = (header["rows"], decoding.size, decoding.size, decoding.channels)
    pixels = np.asarray(np.memmap(header["pixels"], dtype=np.uint8, mode="r+", shape=shape))
    root = header["root"]

    def answer(value: object) -> None:
        sink.write(json.dumps(value) + "\n")
        sink.flush()

    answer(None)  # ready
    for text in source:
        chunk = json.loads(text)
        answer([_decode_file(root, path, decoding, pixels, row) for row, path in chunk])


def _decode_file(root: str, path: str, decoding: Decoding, pixels: NDArray[np.uint8], row: int) -> Outcome:
    # A `Path` would take as long as the system takes for all that is asked of it here.
    path = os.path.join(root, path)  # noqa: PTH118
    try:
        status = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited on forever
            return Outcome(error="cannot be read: it is no ordinary file")
        if status.st_size > MAX_BYTES:
            return Outcome(error=f"larger than {MAX_BYTES:,} bytes")
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
    pixels[row] = decoded.pixels
    return Outcome(digest=digest, grey=decoded.grey, clipped=decoded.clipped)


if __name__ == "__main__":
    _work(sys.stdin, sys.stdout)
