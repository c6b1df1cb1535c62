"""Decodes images in parallel: worker processes fill one file of pixels.

A file that kills its decoder ends a worker, not the run, and costs no other file its outcome. Nothing is
pickled. A script needs no `if __name__ == "__main__"`, as it would with the processes of multiprocessing.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import IO, Any, Self

import numpy as np

from foveal.data.decode import Decoding, compute_seconds
from foveal.data.decode_worker import Outcome
from foveal.errors import OutsideError
from foveal.progress import Bar, printable
from foveal.types import Ints

MAX_FILES_PER_CHUNK = 256
"""The number of files that a worker gets at a time: enough to work fast, and few enough to move a bar."""
MAX_STALL_SECONDS = 30.0
"""The time by the clock that a file may take beside the processor time that its size allows."""
MAX_START_SECONDS = 120.0
"""The time that a worker may take to start."""
WORKER_COMMAND = (sys.executable, "-P", "-m", "foveal.data.decode_worker")
"""The command of a worker process."""
_MIN_FILES_PER_CHUNK = 8
_CHUNKS_PER_WORKER = 8  # of few files, so that the slow ones among them are shared out
_WATCH_INTERVAL = 0.25  # seconds
_MAX_DEATHS = 2  # of workers by the same file

Job = tuple[int, str]
"""The index of an image in the pixel file, and the path of its file."""


def decode_files(
    root: Path,
    jobs: Sequence[Job],
    *,
    decoding: Decoding,
    pixels: Path,
    n_images: int,
    bar: Bar,
    measure: bool = False,
) -> dict[int, Outcome]:
    """Decode files into a pixel file, in as many processes as there are usable cores.

    A file that takes far longer than a picture of its size should is given up, and need not be tried again.

    Args:
        root: The folder that relative paths belong to.
        jobs: The index of each image in the pixel file, and the path of its file.
        decoding: The settings that make pixels of bytes.
        pixels: An existing file of `n_images` × S × S × C bytes.
        n_images: The number of images in that file.
        bar: A progress bar that counts files.
        measure: Whether the outcomes tell how many seconds each file took.

    Returns:
        The outcome for each index, in the order of the jobs.

    Raises:
        OutsideError: No worker process can be started.
    """
    header = {
        "root": str(root),
        "pixels": str(pixels),
        "n_images": n_images,
        "decoding": decoding.to_json(),
        "measure": measure,
        "parent": os.getpid(),
    }
    n_chunks = max(_CHUNKS_PER_WORKER * count_usable_cores(), -(-len(jobs) // MAX_FILES_PER_CHUNK))
    size = max(_MIN_FILES_PER_CHUNK, -(-len(jobs) // n_chunks))
    chunks = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    patience = MAX_STALL_SECONDS + compute_seconds(decoding.max_pixels, "HEIF")
    outcomes: dict[int, Outcome] = {}
    with (
        _WorkerPool(header, patience) as workers,
        ThreadPoolExecutor(max(1, min(count_usable_cores(), len(chunks)))) as threads,
    ):
        try:
            for future in as_completed([threads.submit(workers.decode, chunk) for chunk in chunks]):
                outcomes.update(future.result())
                bar.advance(len(future.result()))
        except BaseException:  # an error or Ctrl-C: do not wait for the running chunks
            workers.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return {index: outcomes[index] for index, _ in jobs}


class _WorkerPool:
    """The worker processes of one call. A thread ends the processes whose answer is overdue."""

    def __init__(self, header: dict[str, object], patience: float) -> None:
        self._header = header
        self._patience = patience
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
            worker.forget_place()

    def decode(self, chunk: Sequence[Job]) -> dict[int, Outcome]:
        """Decode files with an idle worker, or with a new one. It returns the outcome for each index."""
        try:
            worker = self._idle.get_nowait()
        except Empty:
            worker = _Worker(self._header, self._patience, self._stopping)
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

    def __init__(self, header: dict[str, object], patience: float, stopping: Event) -> None:
        self._patience = patience
        self._stopping = stopping
        self._process: subprocess.Popen[str] | None = None
        self._place_file, self._place = _create_place()
        self._header = {**header, "place": str(self._place_file)}
        self._place_then = -1  # the place at which the watch last saw the process, and since when
        self._deadline: float | None = None  # on the clock of `time.monotonic`
        self._late = False

    def decode(self, chunk: Sequence[Job]) -> list[Outcome]:
        """Decode files, and return their outcomes in the same order.

        The process tells at which file it is. So if it ends early, that file alone is to blame. A file that
        took too long is given up at once. One at which the process died is tried again after the others.
        """
        outcomes: dict[int, Outcome] = {}
        n_deaths = [0] * len(chunk)
        pending = list(range(len(chunk)))
        while pending:
            if self._process is None:
                self._start()
            answers, fault = self._decode_some([chunk[number] for number in pending])
            outcomes.update(zip(pending, answers, strict=False))
            if fault is None:
                break
            self.kill()
            suspect = pending[max(len(answers), min(int(self._place[0]), len(pending) - 1))]
            fault, is_final = self._explain(fault)
            pending = [number for number in pending[len(answers) :] if number != suspect]
            n_deaths[suspect] += 1
            if is_final or n_deaths[suspect] == _MAX_DEATHS:
                outcomes[suspect] = Outcome(error=fault, retry=not is_final)
            else:
                pending.append(suspect)
        return [outcomes[number] for number in range(len(chunk))]

    def _decode_some(self, jobs: Sequence[Job]) -> tuple[list[Outcome], str | None]:
        """Return the outcomes of the first jobs, and why the others have none."""
        self._place[0] = -1
        outcomes: list[Outcome] = []
        answer = self._request(jobs, self._patience)
        while isinstance(answer, list):
            outcomes += map(Outcome.from_json, answer)
            if len(outcomes) >= len(jobs):
                return outcomes[: len(jobs)], None
            answer = self._read_answer(self._patience)
        return outcomes, str(answer)

    def _explain(self, fault: str) -> tuple[str, bool]:
        """End the process, and return why a file ended it, and whether it would do so another time, too."""
        process = self._process
        self.close()
        if self._late:
            return fault, True
        if process is not None and process.returncode == -getattr(signal, "SIGPROF", 0) != 0:
            return "takes far longer to decode than a picture of its size should", True
        return fault, False

    def forget_place(self) -> None:
        """Remove the file in which the process notes its place."""
        del self._place  # Windows cannot remove a file that is mapped
        self._place_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the process at once."""
        if (process := self._process) is not None:
            process.kill()

    def kill_if_late(self) -> None:
        """End the process at once if it has been at the same file for too long."""
        deadline, place = self._deadline, int(self._place[0])
        if deadline is None:
            return
        if place != self._place_then:
            self._place_then, self._deadline = place, time.monotonic() + self._patience
        elif time.monotonic() > deadline:
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
        self._late = False
        with suppress(OSError):  # it died, so there will be no answer
            _pipe(self._process.stdin).write(json.dumps(value) + "\n")
            _pipe(self._process.stdin).flush()
        return self._read_answer(seconds)

    def _read_answer(self, seconds: float) -> Any:  # noqa: ANN401 - JSON
        """Return the next answer, or a text that tells why there is none."""
        assert self._process is not None
        self._deadline = time.monotonic() + seconds
        answer = _pipe(self._process.stdout).readline()
        self._deadline = None
        if answer.endswith("\n"):
            try:
                return json.loads(answer)
            except ValueError:
                return f"the decoder said {printable(answer)}"
        return f"the decoder took longer than {seconds:.0f} seconds" if self._late else "the decoder died"


def _create_place() -> tuple[Path, Ints]:
    """Create the file in which a process notes at which job of its chunk it is."""
    try:
        handle, name = tempfile.mkstemp(prefix="foveal-place-")
        with os.fdopen(handle, "wb") as file:
            file.write(np.int64(-1).tobytes())
        return Path(name), np.asarray(np.memmap(name, dtype=np.int64, mode="r+", shape=(1,)))
    except OSError as error:
        raise OutsideError(f"cannot write to {tempfile.gettempdir()}: {error.strerror}") from error


def _pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end


def count_usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
