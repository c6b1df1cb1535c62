"""Files that are whole or not there at all, whenever a process or the power fails.

What a run stores as JSON has a digest of its own content as the last key, so that a damaged or edited file is
noticed. It is written and checked here alone.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from foveal.errors import OutsideError, RunError

DIGEST_KEY = "digest"
"""The last key of a JSON object that is stored with a digest of everything before it."""
_DIGEST_LENGTH = 16
_SURROGATES = re.compile("[\ud800-\udfff]")


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
    write_bytes(path, _encode(value, indent=indent) + b"\n")


def write_json_with_digest(path: Path, value: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Write a JSON object atomically, with a digest of its content, which replaces one that it has."""
    write_json(path, _add_digest(value), indent=indent)


def read_json(path: Path, *, limit: int | None = None) -> object:
    """Parse a JSON file of `limit` bytes at most. `typed_json.read` makes it an object of a known type.

    Raises:
        RunError: It is missing, too large, or no JSON.
    """
    try:
        if limit is not None and path.stat().st_size > limit:
            raise RunError(f"{path} is larger than {limit:,} bytes")
        return json.loads(_read(path).decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; is {path.parent} a whole run?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def read_json_with_digest(path: Path, *, limit: int | None = None) -> dict[str, object]:
    """Parse a JSON file that `write_json_with_digest` wrote, and return the object without its digest.

    Raises:
        RunError: It is missing, too large, no JSON object, or not as it was written.
    """
    value = read_json(path, limit=limit)
    if not isinstance(value, dict):
        raise RunError(f"{path} is not as Foveal wrote it: it is no JSON object")
    if (complaint := _check_digest(value)) is not None:
        raise RunError(f"{path} is not as Foveal wrote it: {complaint}; put back a copy of it")
    return value


def encode_line(row: Mapping[str, object]) -> bytes:
    """Return a row as a line of a file of JSON lines, with a digest of its content."""
    return _encode(_add_digest(row)) + b"\n"


def append_jsonl(path: Path, row: Mapping[str, object]) -> None:
    """Append one JSON line and sync it to the disk; a line that a crash cut short before is removed."""
    content = encode_line(row)
    with outside_faults(path), path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_jsonl(path: Path) -> Iterator[dict[str, object]]:
    """Read JSON lines without their digests, leaving out a last line that a crash cut short.

    Raises:
        RunError: The file cannot be read, or a line is not as it was written.
    """
    try:
        *lines, rest = _read(path).decode("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    for number, text in enumerate(lines, start=1):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}, line {number}: {error}") from error
        if not isinstance(row, dict):
            raise RunError(f"{path}, line {number}: not an object")
        if (complaint := _check_digest(row)) is not None:
            raise RunError(f"{path}, line {number} is not as Foveal wrote it: {complaint}")
        yield row
    if _is_whole_line(rest[:-1]):  # a crash cuts a line short, but never changes its end
        raise RunError(f"{path}, line {len(lines) + 1} is not as Foveal wrote it: its end is damaged")


def _encode(value: object, *, indent: int | None = None) -> bytes:
    """Encode JSON in UTF-8. Surrogates, which names of files may have, are written as escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def _compute_digest(value: Mapping[str, object]) -> str:
    """Return the first digits of the SHA-256 of a JSON object, in ASCII without spaces and its digest."""
    content = {key: child for key, child in value.items() if key != DIGEST_KEY}
    text = json.dumps(content, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_DIGEST_LENGTH]


def _add_digest(value: Mapping[str, object]) -> dict[str, object]:
    digest = _compute_digest(value)
    return {**{key: child for key, child in value.items() if key != DIGEST_KEY}, DIGEST_KEY: digest}


def _check_digest(value: dict[str, object]) -> str | None:
    """Remove the digest of a JSON object and return what is wrong with it, or None."""
    if DIGEST_KEY not in value:
        return "it has no digest, so it was edited, damaged or written by an older version"
    stored = value.pop(DIGEST_KEY)
    try:
        computed = _compute_digest(value)
    except RecursionError:
        computed = None
    return None if stored == computed else "it was edited or damaged, for its digest does not match"


def _is_whole_line(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


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
