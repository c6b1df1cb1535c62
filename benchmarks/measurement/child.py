"""Run a command as a whole process and measure what it took."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
INTERVAL = 0.1
"""Seconds between two looks at the memory that a process and its children hold together."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A process that has ended, with its children."""

    began: float
    """Seconds since 1970 when it was started."""
    seconds: float
    """Wall seconds from its start to its end."""
    cpu_user: float
    cpu_system: float
    """CPU seconds, of the process and of those children it waited for."""
    largest_process_bytes: int
    """The most that one process among them held (`ru_maxrss`)."""
    tree_bytes: int
    """The most that all of them were seen to hold together; what they share counts more than once."""
    output: str
    """What it wrote to standard output."""

    @property
    def peak_memory_bytes(self) -> int:
        """The larger of the two ways to count memory: the first misses children, the second misses peaks."""
        return max(self.largest_process_bytes, self.tree_bytes)


def run(command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> Finished:
    """Run a command in a folder to its end.

    Raises:
        RuntimeError: it failed; the message has its last words.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+", errors="replace") as log:
        ended, seen = threading.Event(), [0]
        began, started = time.time(), time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=log, env=environment, cwd=folder)
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, seen))
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
        return Finished(
            began=began,
            seconds=seconds,
            cpu_user=usage.ru_utime,
            cpu_system=usage.ru_stime,
            largest_process_bytes=usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024),
            tree_bytes=seen[0],
            output=output.read(),
        )


def _watch(process: int, ended: threading.Event, seen: list[int]) -> None:
    """Keep the most memory that a process and its descendants are seen to hold, until it ends."""
    while not ended.wait(INTERVAL):
        seen[0] = max(seen[0], sum(resident(each) for each in family(process)))


def family(process: int) -> list[int]:
    """Return a process and all its descendants; Linux tells, elsewhere it is the process alone."""
    found = [process]
    for each in found:  # it grows meanwhile
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def resident(process: int) -> int:
    """Return the bytes of memory that a process holds at this moment; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0
