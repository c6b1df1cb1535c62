"""Run a command as a whole process, and measure its time and memory."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
SAMPLING_INTERVAL = 0.1
"""The seconds between two samples of the memory that a process and its children hold together."""


@dataclass(frozen=True, kw_only=True)
class FinishedProcess:
    """A process that has ended, with its children."""

    began: float
    """The time when it was started, in seconds since 1970."""
    seconds: float
    """The wall seconds from its start to its end."""
    cpu_user: float
    """The CPU seconds in user mode, of the process and of the children that it waited for."""
    cpu_system: float
    """The CPU seconds in the kernel, of the process and of the children that it waited for."""
    largest_process_bytes: int
    """The peak memory of the largest single process among them (`ru_maxrss`)."""
    tree_bytes: int
    """The largest sampled sum of their memory. Shared memory counts more than once."""
    output: str
    """What it wrote to standard output."""

    @property
    def peak_memory_bytes(self) -> int:
        """The larger of the two memory figures: the first misses children, the second misses short peaks."""
        return max(self.largest_process_bytes, self.tree_bytes)


def foveal_program() -> str:
    """Return the path of the command `foveal` that belongs to this Python."""
    return str(Path(sys.executable).with_name("foveal.exe" if os.name == "nt" else "foveal"))


def run_process(command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> FinishedProcess:
    """Run a command in a folder to its end.

    Raises:
        RuntimeError: The command failed. The message ends with its last output.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+", errors="replace") as log:
        ended, peak = threading.Event(), [0]
        began, started = time.time(), time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=log, env=environment, cwd=folder)
        watcher = threading.Thread(target=_watch_memory, args=(process.pid, ended, peak))
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            ended.set()
            watcher.join()
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}:\n{log.read()[-3000:]}")
        output.seek(0)
        return FinishedProcess(
            began=began,
            seconds=seconds,
            cpu_user=usage.ru_utime,
            cpu_system=usage.ru_stime,
            largest_process_bytes=usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024),
            tree_bytes=peak[0],
            output=output.read(),
        )


def _watch_memory(process: int, ended: threading.Event, peak: list[int]) -> None:
    """Sample the memory of a process and its descendants until it ends, and keep the largest sum."""
    while not ended.wait(SAMPLING_INTERVAL):
        peak[0] = max(peak[0], sum(map(resident_bytes, list_descendants(process))))


def list_descendants(process: int) -> list[int]:
    """Return the ids of a process and of all its descendants. Only Linux knows the descendants."""
    processes = [process]
    for parent in processes:  # The list grows while the loop runs.
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                processes += map(int, task.read_text().split())
            except OSError:  # The process has just ended.
                continue
    return processes


def resident_bytes(process: int) -> int:
    """Return the bytes of memory that a process holds now, or 0 if it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0
