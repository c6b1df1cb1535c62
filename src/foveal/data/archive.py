"""Known files out of a tar or tar.gz: read front to back, checked one by one, nothing extracted."""

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

_MOST_HEADERS = 1000
_BROKEN = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError, zlib.error)


@dataclass(frozen=True, kw_only=True)
class Member:
    """What a file of an archive must be."""

    size: int
    md5: str


def members(archive: Path, wanted: Mapping[str, Member], *, limit: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each wanted file, in the archive's order, once its digest is checked.

    Names only select: no path is ever made of them. Everything else in the archive is passed over unread.

    Args:
        archive: a tar or tar.gz.
        wanted: the files by their names in the archive.
        limit: the most bytes that are unpacked.

    Raises:
        DataError: it is no archive, is broken, or lacks a file; or a file is not what it must be.
    """
    shown = printable(str(archive))
    waiting = dict(wanted)
    with _opened(archive, limit) as tar:
        while waiting:
            name, content = _next(tar, waiting, shown)
            member = waiting.pop(name)
            # md5 is what publishers give. To make another file with a given md5 is still out of reach.
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if digest != member.md5:
                raise DataError(
                    f"{shown}: {name} has the md5 {digest}, and the official file has {member.md5}; "
                    "get the archive again"
                )
            yield name, content


def _next(tar: tarfile.TarFile, waiting: Mapping[str, Member], shown: str) -> tuple[str, bytes]:
    """Return the name and content of the next file that is waited for."""
    with _faults(shown):
        for _ in range(_MOST_HEADERS):
            found = tar.next()
            if found is None:
                raise DataError(f"{shown} lacks {', '.join(sorted(waiting))}; get the archive again")
            name = found.name.removeprefix("./")
            if name not in waiting:
                continue
            # A link or a device with the right name is refused, and nothing of another size is read.
            if not found.isreg() or found.issparse() or found.size != waiting[name].size:
                expected = f"an ordinary file of {waiting[name].size:,} bytes"
                raise DataError(f"{shown}: {name} is not {expected}; get the archive again")
            file = tar.extractfile(found)
            assert file is not None  # it is a regular file
            return name, file.read()
    raise DataError(f"{shown} holds more than {_MOST_HEADERS:,} other files; is it the right archive?")


@contextmanager
def _opened(archive: Path, limit: int) -> Iterator[tarfile.TarFile]:
    """Open a tar or tar.gz for one pass."""
    shown = printable(str(archive))
    if not archive.is_file():
        raise DataError(
            f"{shown} {'is no file' if archive.exists() else 'does not exist'}; name a tar or tar.gz"
        )
    with _faults(shown):
        file = archive.open("rb")
    with file:
        with _faults(shown):
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            plain: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
            tar = tarfile.open(fileobj=_Limited(plain, limit), mode="r|")  # noqa: SIM115 - closed below
        with tar:
            yield tar


class _Limited(io.RawIOBase):
    """A file that fails where more than `limit` bytes are read of it: small files can unpack huge."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        super().__init__()
        self._file = file
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise EOFError("it unpacks to more than it should")
        return content


@contextmanager
def _faults(shown: str) -> Iterator[None]:
    """Turn the many ways in which a tar can be broken into one clear line."""
    try:
        yield
    except DataError:
        raise
    except _BROKEN as error:
        reason = printable(str(error))
        raise DataError(
            f"{shown} cannot be read as a tar or tar.gz ({reason}); get the archive again"
        ) from error
