"""Reads known files from a tar or tar.gz: front to back, with checked digests, nothing extracted."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from foveal.errors import DataError
from foveal.progress import printable

_MAX_HEADERS = 1000
_READ_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError, zlib.error)


@dataclass(frozen=True, kw_only=True)
class Member:
    """The size and the digest that a file of an archive must have."""

    size: int
    """The number of bytes."""
    md5: str
    """The digest as hexadecimal digits."""


def iter_members(
    archive: Path, expected: Mapping[str, Member], *, max_bytes: int
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each expected file, in the archive's order, with checked digests.

    Names only select files. They never become paths. Everything else in the archive is passed over unread.

    Args:
        archive: A tar or tar.gz.
        expected: The files by their names in the archive.
        max_bytes: The largest number of bytes that are unpacked.

    Raises:
        DataError: It is no archive, is broken, or lacks a file; or a file is not what it must be.
    """
    shown = printable(str(archive))
    missing = dict(expected)
    with _open_tar(archive, max_bytes) as tar:
        while missing:
            name, content = _read_next(tar, missing, shown)
            member = missing.pop(name)
            # Publishers give md5 digests. Nobody can make another file with a given md5 yet.
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if digest != member.md5:
                raise DataError(
                    f"{shown}: {name} has the md5 {digest}, and the official file has {member.md5}; "
                    "get the archive again"
                )
            yield name, content


def _read_next(tar: tarfile.TarFile, missing: Mapping[str, Member], shown: str) -> tuple[str, bytes]:
    """Return the name and the content of the next file that is still missing."""
    with _read_errors_as_data_errors(shown):
        for _ in range(_MAX_HEADERS):
            header = tar.next()
            if header is None:
                raise DataError(f"{shown} lacks {', '.join(sorted(missing))}; get the archive again")
            name = header.name.removeprefix("./")
            if name not in missing:
                continue
            # A link or a device with the right name is refused, and nothing of another size is read.
            if not header.isreg() or header.issparse() or header.size != missing[name].size:
                expected = f"an ordinary file of {missing[name].size:,} bytes"
                raise DataError(f"{shown}: {name} is not {expected}; get the archive again")
            file = tar.extractfile(header)
            assert file is not None  # it is a regular file
            return name, file.read()
    raise DataError(f"{shown} holds more than {_MAX_HEADERS:,} other files; is it the right archive?")


@contextmanager
def _open_tar(archive: Path, max_bytes: int) -> Iterator[tarfile.TarFile]:
    """Open a tar or tar.gz for one pass."""
    shown = printable(str(archive))
    if not archive.is_file():
        raise DataError(
            f"{shown} {'is no file' if archive.exists() else 'does not exist'}; name a tar or tar.gz"
        )
    with _read_errors_as_data_errors(shown):
        file = archive.open("rb")
    with file:
        with _read_errors_as_data_errors(shown):
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            plain: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
            tar = tarfile.open(fileobj=_LimitedFile(plain, max_bytes), mode="r|")  # noqa: SIM115 - closed below
        with tar:
            yield tar


class _LimitedFile(io.RawIOBase):
    """A file that raises an error after `max_bytes` bytes, because small archives can unpack to huge ones."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, max_bytes: int) -> None:
        super().__init__()
        self._file = file
        self._bytes_left = max_bytes

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._bytes_left -= len(content)
        if self._bytes_left < 0:
            raise EOFError("it unpacks to more than it should")
        return content


@contextmanager
def _read_errors_as_data_errors(shown: str) -> Iterator[None]:
    """Turn the many errors that a broken tar can raise into one message of one line."""
    try:
        yield
    except DataError:
        raise
    except _READ_ERRORS as error:
        reason = printable(str(error))
        raise DataError(
            f"{shown} cannot be read as a tar or tar.gz ({reason}); get the archive again"
        ) from error
