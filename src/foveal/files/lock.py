"""One process at a time writes to a run; any other is told which. The lock ends with its process."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from foveal.commands import show_command
from foveal.errors import RunError
from foveal.files.atomic import encode_line, outside_faults
from foveal.files.processes import describe_process, is_running
from foveal.files.run_records import Writer
from foveal.files.typed_file import read_file
from foveal.files.typed_json import to_json

LOCK = ".lock"
"""The file that the operating system locks while a process writes. It stays: removing it would let two in."""
WRITER = ".writer.json"
"""The file that says which process that is, for people."""
WRITER_PART = f"{WRITER}.part"
"""The name of this file while it is written."""
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
    is_first = lock.lock_counter == 1
    try:
        if is_first:
            with outside_faults(path):
                _sign(path / WRITER, describe_process())
        yield
    finally:
        if is_first:
            _sign_off(path)
        lock.release()


def _sign(path: Path, writer: Writer) -> None:
    """Write the file at once, because others may read it at any moment; a power cut may take it."""
    part = path.with_name(WRITER_PART)
    part.write_bytes(encode_line(to_json(writer)))
    part.replace(path)


def _sign_off(run: Path) -> None:
    """Record that this process has stopped to write; not at any cost, for the disk may be full."""
    with suppress(RunError, OSError):
        if (writer := read_writer(run)) is not None:
            ended = datetime.now(UTC).isoformat(timespec="seconds")
            _sign(run / WRITER, replace(writer, ended=ended))


def read_writer(run: Path) -> Writer | None:
    """Return the process that last wrote to a run, or None where no file says so.

    Raises:
        RunError: The file is damaged.
    """
    path = run / WRITER
    if not path.is_file():
        return None
    return read_file(path, Writer, limit=MAX_WRITER_BYTES)


def find_living_writer(run: Path) -> Writer | None:
    """Return the process that writes to a run at this moment, as far as can be known, or None."""
    with suppress(RunError):
        writer = read_writer(run)
        if writer is not None and not writer.ended and is_running(writer):
            return writer
    return None


def advise_to_finish(run: Path) -> str:
    """Return what to do about a run whose training has not ended."""
    if (writer := find_living_writer(run)) is not None:
        return f"process {writer.pid} trains it at this moment; wait for it"
    return f"finish it: {show_command('resume', run)}"


def _describe_writer(run: Path) -> str:
    with suppress(RunError):
        if (writer := read_writer(run)) is not None:
            return f"process {writer.pid} on {writer.host[:80]} since {writer.since[:40]}"
    return "another process"  # it has only just begun
