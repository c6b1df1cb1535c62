"""Decodes images in parallel: worker processes fill one file of pixels.

A file that kills its decoder ends a worker, not the run. Nothing is pickled. A script needs no
`if __name__ == "__main__"`, as it would with the processes of multiprocessing.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import IO, Any, Self

from foveal.data.decode import Decoding
from foveal.data.decode_worker import Outcome
from foveal.errors import OutsideError
from foveal.progress import Bar, printable

MAX_FILES_PER_CHUNK = 256
"""The number of files that a worker gets at a time: enough to work fast, and few enough to move a bar."""
MAX_SECONDS_PER_FILE = 30.0
"""The time that a file may take. A picture of the permitted size can be written so that it takes days."""
MAX_START_SECONDS = 120.0
"""The time that a worker may take to start."""
WORKER_COMMAND = (sys.executable, "-P", "-m", "foveal.data.decode_worker")
"""The command of a worker process."""
_WATCH_INTERVAL = 0.25  # seconds

Job = tuple[int, str]
"""The index of an image in the pixel file, and the path of its file."""


def decode_files(
    root: Path, jobs: Sequence[Job], *, decoding: Decoding, pixels: Path, n_images: int, bar: Bar
) -> dict[int, Outcome]:
    """Decode files into a pixel file, in as many processes as there are usable cores.

    Args:
        root: The folder that relative paths belong to.
        jobs: The index of each image in the pixel file, and the path of its file.
        decoding: The settings that make pixels of bytes.
        pixels: An existing file of `n_images` × S × S × C bytes.
        n_images: The number of images in that file.
        bar: A progress bar that counts files.

    Returns:
        The outcome for each index.

    Raises:
        OutsideError: No worker process can be started.
    """
    header = {"root": str(root), "pixels": str(pixels), "n_images": n_images, "decoding": decoding.to_json()}
    chunks = [jobs[start : start + MAX_FILES_PER_CHUNK] for start in range(0, len(jobs), MAX_FILES_PER_CHUNK)]
    outcomes: dict[int, Outcome] = {}
    with (
        _WorkerPool(header) as workers,
        ThreadPoolExecutor(max(1, min(_count_usable_cores(), len(chunks)))) as threads,
    ):
        try:
            for future in as_completed([threads.submit(workers.decode, chunk) for chunk in chunks]):
                outcomes.update(future.result())
                bar.advance(len(future.result()))
        except BaseException:  # an error or Ctrl-C: do not wait for the running chunks
            workers.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


class _WorkerPool:
    """The worker processes of one call. A thread ends the processes whose answer is overdue."""

    def __init__(self, header: dict[str, object]) -> None:
        self._header = header
        self._stopping = Event()
        self._finished = Event()
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()

    def __enter__(self) -> Self:
        Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        for worker in self._workers:
            worker.end()  # all of them at once
        for worker in self._workers:
            worker.close()

    def decode(self, chunk: Sequence[Job]) -> dict[int, Outcome]:
        """Decode files with an idle worker, or with a new one. It returns the outcome for each index."""
        try:
            worker = self._idle.get_nowait()
        except Empty:
            worker = _Worker(self._header, self._stopping)
            self._workers.append(worker)
        outcomes = worker.decode(chunk)
        self._idle.put(worker)
        return {index: outcome for (index, _), outcome in zip(chunk, outcomes, strict=True)}

    def stop(self) -> None:
        """End all processes at once, and let none begin another chunk."""
        self._stopping.set()
        for worker in tuple(self._workers):
            worker.kill()

    def _watch(self) -> None:
        while not self._finished.wait(_WATCH_INTERVAL):
            for worker in tuple(self._workers):
                worker.kill_if_late()


class _Worker:
    """A worker process, which is started when needed, and again after it died."""

    def __init__(self, header: dict[str, object], stopping: Event) -> None:
        self._header = header
        self._stopping = stopping
        self._process: subprocess.Popen[str] | None = None
        self._deadline: float | None = None  # of the next answer, on the clock of `time.monotonic`
        self._late = False

    def decode(self, chunk: Sequence[Job]) -> list[Outcome]:
        """Decode files, and return their outcomes in the same order."""
        if self._process is None:
            self._start()
        answer = self._request(chunk, MAX_SECONDS_PER_FILE + len(chunk))
        if isinstance(answer, list):
            return [
                Outcome(digest, error, deep and tuple(deep), *rest) for digest, error, deep, *rest in answer
            ]
        self.kill()
        self.close()
        if len(chunk) > 1:  # one file is the cause: find out which
            return [outcome for job in chunk for outcome in self.decode([job])]
        return [Outcome(error=answer, retry=True)]

    def kill(self) -> None:
        """End the process at once."""
        if (process := self._process) is not None:
            process.kill()

    def kill_if_late(self) -> None:
        """End the process at once if its answer is overdue."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._late = True
            self.kill()

    def end(self) -> None:
        """Close the process's input, so that it ends."""
        if self._process is not None:
            with suppress(OSError):
                _pipe(self._process.stdin).close()

    def close(self) -> None:
        """End the process and wait for it."""
        self.end()
        if self._process is not None:
            self._process.wait()
            _pipe(self._process.stdout).close()
            self._process = None

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                WORKER_COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # C libraries write there
                text=True,
                encoding="ascii",
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "OPENBLAS_NUM_THREADS": "1",  # otherwise NumPy would start threads that nothing uses
                },
                # Ctrl-C does not reach a process group of its own. The worker ends when its input does.
                process_group=0 if os.name == "posix" else None,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise OutsideError(f"cannot start a process to decode images: {error.strerror}") from error
        if (answer := self._request(self._header, MAX_START_SECONDS)) is not None:
            raise OutsideError(f"no image can be decoded: {answer}; to see why: {shlex.join(WORKER_COMMAND)}")

    def _request(self, value: object, seconds: float) -> Any:  # noqa: ANN401 - JSON
        """Send a line and return the answer, or a text that tells why there is none."""
        if self._stopping.is_set():
            raise CancelledError
        assert self._process is not None
        self._late, self._deadline = False, time.monotonic() + seconds
        with suppress(OSError):  # it died, so there will be no answer
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


def _count_usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
