"""Files that are whole or not there at all, whenever a process or the power fails."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from foveal.errors import OutsideError, RunError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it holds the old content or the new, never a part of either."""
    part = path.with_name(f".{path.name}.part")
    with outside_faults(path):
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):  # on a full disk above all: give back what was taken
                part.unlink()
            raise
        sync_folder(path.parent)


def write_json(path: Path, value: object, *, indent: int | None = 2) -> None:
    """Write JSON atomically. NaN and infinities are refused: JSON has none."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8", "surrogateescape"))


def read_json(path: Path, *, limit: int | None = None) -> object:
    """Parse a JSON file of `limit` bytes at most. `typed_json.read` makes it an object of a known type.

    Raises:
        RunError: it is missing, too large, or no JSON.
    """
    try:
        if limit is not None and path.stat().st_size > limit:
            raise RunError(f"{path} is larger than {limit:,} bytes")
        return json.loads(_read(path).decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; is {path.parent} a whole run?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def append_jsonl(path: Path, row: Mapping[str, object]) -> None:
    """Append one JSON line and sync it to the disk; a line that a crash cut short before is removed."""
    content = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "surrogateescape")
    with outside_faults(path), path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_jsonl(path: Path) -> Iterator[dict[str, object]]:
    """Read JSON lines, leaving out a last line that a crash cut short."""
    try:
        lines = _read(path).decode("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    for number, text in enumerate(lines[:-1], start=1):  # what follows the last newline is a torn line
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}, line {number}: {error}") from error
        if not isinstance(row, dict):
            raise RunError(f"{path}, line {number}: not an object")
        yield row


def _read(path: Path) -> bytes:
    """Read an ordinary file: a pipe would be waited on forever, and a device might never end."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is no ordinary file")
    return path.read_bytes()


@contextmanager
def outside_faults(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses inside the block into one clear line."""
    try:
        yield
    except OSError as error:
        raise OutsideError(f"cannot write {path}: {error.strerror or error}") from error


def sync_folder(path: Path) -> None:
    """Make a rename inside `path` survive a power cut (POSIX; elsewhere a folder cannot be opened)."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
