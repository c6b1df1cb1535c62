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
_BLANK_DIGEST = f'"{DIGEST_KEY}": ""'.encode()
_DIGEST = re.compile(rf'"{DIGEST_KEY}": "([0-9a-f]{{{_DIGEST_LENGTH}}})"\s*\}}\s*'.encode())
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
    write_bytes(path, _encode_with_digest(value, indent=indent))


def read_json(path: Path, *, limit: int | None = None) -> object:
    """Parse a JSON file of `limit` bytes at most. `typed_json.read` makes it an object of a known type.

    Raises:
        RunError: It is missing, too large, or no JSON.
    """
    return _parse(path, _read_json_file(path, limit))


def _read_json_file(path: Path, limit: int | None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise RunError(f"{path} is larger than {limit:,} bytes")
        return _read(path)
    except FileNotFoundError:
        raise RunError(f"{path} is missing; is {path.parent} a whole run?") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def _parse(path: Path, content: bytes) -> object:
    try:
        return json.loads(content.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def read_json_with_digest(path: Path, *, limit: int | None = None) -> dict[str, object]:
    """Parse a JSON file that `write_json_with_digest` wrote, and return the object without its digest.

    Raises:
        RunError: It is missing, too large, no JSON object, or not as it was written.
    """
    content = _read_json_file(path, limit)
    value = _parse(path, content)
    if not isinstance(value, dict):
        raise RunError(f"{path} is not as Foveal wrote it: it is no JSON object")
    if (complaint := _check_digest(content)) is not None:
        raise RunError(f"{path} is not as Foveal wrote it: {complaint}; put back a copy of it")
    del value[DIGEST_KEY]
    return value


def encode_line(row: Mapping[str, object]) -> bytes:
    """Return a row as a line of a file of JSON lines, with a digest of its content."""
    return _encode_with_digest(row)


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
        *lines, rest = _read(path).split(b"\n")
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}, line {number}: {error}") from error
        if not isinstance(row, dict):
            raise RunError(f"{path}, line {number}: not an object")
        if (complaint := _check_digest(line)) is not None:
            raise RunError(f"{path}, line {number} is not as Foveal wrote it: {complaint}")
        del row[DIGEST_KEY]
        yield row
    if _check_digest(rest[:-1]) is None:  # a crash cuts a line short, but never changes its end
        raise RunError(f"{path}, line {len(lines) + 1} is not as Foveal wrote it: its end is damaged")


def _encode(value: object, *, indent: int | None = None) -> bytes:
    """Encode JSON in UTF-8. Surrogates, which names of files may have, are written as escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def _encode_with_digest(value: Mapping[str, object], *, indent: int | None = None) -> bytes:
    """Encode a JSON object with its digest, which replaces one that it has, and a newline."""
    content = {key: child for key, child in value.items() if key != DIGEST_KEY}
    before, blank, after = _encode({**content, DIGEST_KEY: ""}, indent=indent).rpartition(_BLANK_DIGEST)
    return before + blank[:-1] + _compute_digest(before) + b'"' + after + b"\n"


def _compute_digest(content: bytes) -> bytes:
    """Return the first digits of the SHA-256 of what stands before a digest, whatever ends its lines."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()[:_DIGEST_LENGTH].encode()


def _check_digest(content: bytes) -> str | None:
    """Return what is wrong with the digest at the end of a JSON object, or None."""
    start = content.rfind(_BLANK_DIGEST[:-1])
    match = None if start < 0 else _DIGEST.fullmatch(content, start)
    if match is None:
        return "it has no digest, so it was edited, damaged or written by an older version"
    if match[1] != _compute_digest(content[:start]):
        return "it was edited or damaged, for its digest does not match"
    return None


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
