"""Downloads a file over HTTP: resumed where it broke off, and complete or not there at all."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from foveal import progress
from foveal.errors import OutsideError
from foveal.files.atomic import outside_faults

_CHUNK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 30.0
_MAX_TRIES = 5
_MIN_PROGRESS_BYTES = 1 << 20
"""A try that received so many bytes does not count as one of `_MAX_TRIES`: a slow line may break often."""
_TEMPORARY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_NETWORK_ERRORS = (
    OSError,
    http.client.HTTPException,
)  # OSError: refused, reset, timed out, no such host, TLS


class _BrokenOffError(Exception):
    """A try ended early, and another try may succeed."""


def download(url: str, target: Path, *, md5: str, max_bytes: int, advice: str, pause: float = 1.0) -> None:
    """Download `url` to `target`. It goes on from what an earlier try left in `target` + ".part".

    Args:
        url: An http or https address.
        target: The file to make, in a folder that exists.
        md5: The digest of the complete file as hexadecimal digits.
        max_bytes: The largest number of bytes to accept.
        advice: What else the user can do, for the error's text.
        pause: The seconds to wait before the second try. Each further wait is twice as long.

    Raises:
        OutsideError: The network, the server or the disk failed. What was received stays for the next time.
    """
    assert urlsplit(url).scheme in ("http", "https"), url
    part = target.with_name(target.name + ".part")
    host = urlsplit(url).hostname or url
    resumed = _file_size(part) > 0
    tries = 0
    while not has_digest(part, md5):
        before = _file_size(part)
        try:
            _receive(url, part, max_bytes=max_bytes)
        except _BrokenOffError as broken:
            if _file_size(part) < before + _MIN_PROGRESS_BYTES:
                tries += 1
            if tries >= _MAX_TRIES:
                raise OutsideError(
                    f"{host} broke off {tries} times ({broken}); run the same again to go on after "
                    f"{_file_size(part):,} bytes, or {advice}"
                ) from broken
            time.sleep(pause * 2 ** max(tries - 1, 0))
            continue
        except urllib.error.HTTPError as refused:
            refused.close()
            raise OutsideError(f"{url} answers {refused.code} {refused.reason}; {advice}") from refused
        if has_digest(part, md5):
            break
        with outside_faults(part):
            part.unlink()
        if not resumed:
            raise OutsideError(f"what {url} sent is not the file with the md5 {md5}; {advice}")
        resumed = False  # an old beginning and a new end: once more, from the start
    with outside_faults(target):
        part.replace(target)


def has_digest(path: Path, md5: str) -> bool:
    """Tell whether a file exists and has this digest.

    Raises:
        OutsideError: It exists and cannot be read.
    """
    with outside_faults(path):
        if not path.is_file():
            return False
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == md5


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _receive(url: str, part: Path, *, max_bytes: int) -> None:
    """Request the missing bytes once, and append them. It returns when the server has sent all of them."""
    received = _file_size(part)
    headers = {"Accept-Encoding": "identity", "User-Agent": "foveal"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), asserted above
    if received:
        request.add_header("Range", f"bytes={received}-")
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310 - http(s), asserted above
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and received:
            error.close()
            with outside_faults(part):
                part.unlink()  # longer than the file, or as long and yet another file
            raise _BrokenOffError("it has nothing after what was received before") from error
        if error.code in _TEMPORARY_STATUS:
            error.close()
            raise _BrokenOffError(f"it answers {error.code} {error.reason}") from error
        raise
    except _NETWORK_ERRORS as error:
        raise _BrokenOffError(_reason(error)) from error
    with answer:
        start, total = _parse_range(answer, received)
        _append(answer, part, start=start, total=total, max_bytes=max_bytes)


def _parse_range(answer: http.client.HTTPResponse, received: int) -> tuple[int, int | None]:
    """Return where the answer's bytes begin in the file, and how long the file is, from the headers."""
    length = answer.headers.get("Content-Length", "")
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0, int(length) if length.isascii() and length.isdigit() else None  # from the start
    # Content-Range: bytes 1000-1999/2000
    unit, _, rest = answer.headers.get("Content-Range", "").strip().partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit.lower() != "bytes" or first != str(received):
        raise _BrokenOffError("it answers with another part than was asked for")
    return received, int(total) if total.isascii() and total.isdigit() else None


def _append(
    answer: http.client.HTTPResponse, part: Path, *, start: int, total: int | None, max_bytes: int
) -> None:
    """Write the answer's bytes to the file, from `start` on."""
    received = start
    with outside_faults(part):
        file = part.open("r+b" if part.exists() else "wb")
    with file, progress.bar(total, part.stem, "B", done=start) as bar:
        with outside_faults(part):
            file.seek(start)
            file.truncate()
        while True:
            try:
                chunk = answer.read(_CHUNK_BYTES)
            except _NETWORK_ERRORS as error:
                raise _BrokenOffError(_reason(error)) from error
            if not chunk:
                break
            received += len(chunk)
            if received > max_bytes:
                file.close()
                with suppress(OSError):
                    part.unlink()
                raise OutsideError(
                    f"{answer.url} sends more than {max_bytes:,} bytes and is not the file asked for"
                )
            with outside_faults(part):
                file.write(chunk)
            bar.advance(len(chunk))
        with outside_faults(part):
            file.flush()
    if total is not None and received < total:
        # http.client does not say so itself when it is read piece by piece
        raise _BrokenOffError(f"the connection ended after {received:,} of {total:,} bytes")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)  # URLError wraps what happened
    return str(reason or error or type(error).__name__)
