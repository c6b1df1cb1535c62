"""One file over HTTP: resumed where it broke off, and whole or not there at all."""

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
from foveal.files.run_folder import outside_faults

_CHUNK = 1 << 18
_TIMEOUT = 30.0
_TRIES = 5
_GAIN = 1 << 20
"""A try that brought so many bytes is not counted against `_TRIES`: a slow line may break often."""
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
_BROKEN = (OSError, http.client.HTTPException)  # OSError: refused, reset, timed out, no such host, TLS


class _BrokenOffError(Exception):
    """A try ended early, and another may do better."""


def download(url: str, target: Path, *, md5: str, limit: int, advice: str, pause: float = 1.0) -> None:
    """Download `url` to `target`, going on from what an earlier try left in `target` + ".part".

    Args:
        url: http or https.
        target: the file to make, in a folder that exists.
        md5: the digest of the whole file, in hexadecimal.
        limit: the most bytes to accept.
        advice: what else the user can do, for the error's text.
        pause: seconds to wait before the second try; each further wait is twice as long.

    Raises:
        OutsideError: the network, the server or the disk failed. What was received stays for the next time.
    """
    assert urlsplit(url).scheme in ("http", "https"), url
    part = target.with_name(target.name + ".part")
    host = urlsplit(url).hostname or url
    resumed = _size(part) > 0
    tries = 0
    while not _is_whole(part, md5):
        before = _size(part)
        try:
            _receive(url, part, limit=limit)
        except _BrokenOffError as broken:
            if _size(part) < before + _GAIN:
                tries += 1
            if tries >= _TRIES:
                raise OutsideError(
                    f"{host} broke off {tries} times ({broken}); run the same again to go on after "
                    f"{_size(part):,} bytes, or {advice}"
                ) from broken
            time.sleep(pause * 2 ** max(tries - 1, 0))
            continue
        except urllib.error.HTTPError as refused:
            refused.close()
            raise OutsideError(f"{url} answers {refused.code} {refused.reason}; {advice}") from refused
        if _is_whole(part, md5):
            break
        with outside_faults(part):
            part.unlink()
        if not resumed:
            raise OutsideError(f"what {url} sent is not the file with the md5 {md5}; {advice}")
        resumed = False  # an old beginning and a new end: once more, from the start
    with outside_faults(target):
        part.replace(target)


def is_whole(path: Path, md5: str) -> bool:
    """Say whether a downloaded file is there with this digest.

    Raises:
        OutsideError: it is there and cannot be read.
    """
    return path.is_file() and _is_whole(path, md5)


def _is_whole(path: Path, md5: str) -> bool:
    with outside_faults(path):
        if not path.is_file():
            return False
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == md5


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _receive(url: str, part: Path, *, limit: int) -> None:
    """Ask once for what is missing, and append it; return when the server has sent all that it announced."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity", "User-Agent": "foveal"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), asserted above
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310 - http(s), asserted above
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            error.close()
            with outside_faults(part):
                part.unlink()  # longer than the file, or as long and yet another file
            raise _BrokenOffError("it has nothing after what was received before") from error
        if error.code in _TEMPORARY:
            error.close()
            raise _BrokenOffError(f"it answers {error.code} {error.reason}") from error
        raise
    except _BROKEN as error:
        raise _BrokenOffError(_reason(error)) from error
    with answer:
        have, total = _begins_at(answer, have)
        _append(answer, part, have=have, total=total, limit=limit)


def _begins_at(answer: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Read from the answer's head where its bytes begin in the file, and how long the file is."""
    length = answer.headers.get("Content-Length", "")
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0, int(length) if length.isascii() and length.isdigit() else None  # from the start
    # Content-Range: bytes 1000-1999/2000
    unit, _, rest = answer.headers.get("Content-Range", "").strip().partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit.lower() != "bytes" or first != str(have):
        raise _BrokenOffError("it answers with another part than was asked for")
    return have, int(total) if total.isascii() and total.isdigit() else None


def _append(
    answer: http.client.HTTPResponse, part: Path, *, have: int, total: int | None, limit: int
) -> None:
    with outside_faults(part):
        file = part.open("r+b" if part.exists() else "wb")
    with file, progress.bar(total, part.stem, "B", done=have) as bar:
        with outside_faults(part):
            file.seek(have)
            file.truncate()
        while True:
            try:
                chunk = answer.read(_CHUNK)
            except _BROKEN as error:
                raise _BrokenOffError(_reason(error)) from error
            if not chunk:
                break
            have += len(chunk)
            if have > limit:
                file.close()
                with suppress(OSError):
                    part.unlink()
                raise OutsideError(
                    f"{answer.url} sends more than {limit:,} bytes and is not the file asked for"
                )
            with outside_faults(part):
                file.write(chunk)
            bar.advance(len(chunk))
        with outside_faults(part):
            file.flush()
    if total is not None and have < total:
        # http.client does not say so itself when it is read piece by piece
        raise _BrokenOffError(f"the connection ended after {have:,} of {total:,} bytes")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)  # URLError wraps what happened
    return str(reason or error or type(error).__name__)
