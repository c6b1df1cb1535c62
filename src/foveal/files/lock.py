"""One writer a run: who else tries is told who it is. The lock goes with its process, however that ends."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from foveal.errors import RunError
from foveal.files.run_folder import outside_faults

LOCK = ".lock"
"""Locked by the operating system while somebody writes. It stays, since to remove it would let two in."""
WRITER = ".writer.json"
"""Who that is, for people."""


@contextmanager
def only_writer(run: Path) -> Iterator[None]:
    """Be the only process that writes to a run folder inside the block.

    A process that has it may enter again.

    Raises:
        RunError: another process has it, and which.
    """
    path = run.resolve()
    with outside_faults(path):
        lock = FileLock(path / LOCK, timeout=0, is_singleton=True, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"{run} is being written by {_writer(path / WRITER)}; wait for it, or end it first"
            ) from None
    try:
        if lock.lock_counter == 1:
            _sign(path / WRITER)
        yield
    finally:
        lock.release()


def _sign(path: Path) -> None:
    me = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with outside_faults(path):
        path.write_text(json.dumps(me), encoding="utf-8")


def _writer(path: Path) -> str:
    with suppress(OSError, ValueError, LookupError, TypeError):
        who: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return f"process {int(who['pid'])} on {str(who['host'])[:80]} since {str(who['since'])[:40]}"
    return "another process"  # it has only just begun
