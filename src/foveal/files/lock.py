"""One process at a time writes to a run; any other is told which. The lock ends with its process."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from foveal.errors import RunError
from foveal.files.atomic import outside_faults
from foveal.files.run_records import Writer
from foveal.files.typed_file import read_file
from foveal.files.typed_json import plain

LOCK = ".lock"
"""The file that the operating system locks while a process writes. It stays: removing it would let two in."""
WRITER = ".writer.json"
"""The file that says which process that is, for people."""
MAX_WRITER_BYTES = 10_000
"""The size in bytes that this file may have."""


@contextmanager
def only_writer(run: Path) -> Iterator[None]:
    """Be the only process that writes to a run folder inside the block.

    A process that holds the lock may enter again.

    Raises:
        RunError: Another process holds it; the message says which.
    """
    from filelock import FileLock, Timeout  # here, so that listing runs does not import it

    path = run.resolve()
    with outside_faults(path):
        lock = FileLock(path / LOCK, timeout=0, is_singleton=True, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"{run} is being written by {_describe_writer(path)}; wait for it, or end it first"
            ) from None
    try:
        if lock.lock_counter == 1:
            _sign(path / WRITER)
        yield
    finally:
        lock.release()


def _sign(path: Path) -> None:
    writer = Writer(
        pid=os.getpid(), host=platform.node(), since=datetime.now(UTC).isoformat(timespec="seconds")
    )
    with outside_faults(path):
        path.write_text(json.dumps(plain(writer)), encoding="utf-8")


def read_writer(run: Path) -> Writer | None:
    """Return the process that last wrote to a run, or None where no file says so.

    Raises:
        RunError: The file is damaged.
    """
    path = run / WRITER
    if not path.is_file():
        return None
    return read_file(path, Writer, limit=MAX_WRITER_BYTES)


def _describe_writer(run: Path) -> str:
    with suppress(RunError):
        if (writer := read_writer(run)) is not None:
            return f"process {writer.pid} on {writer.host[:80]} since {writer.since[:40]}"
    return "another process"  # it has only just begun
