"""Finds pictures of which a part is missing, although decoders forgive it.

What can be found depends on the format. `docs/contract.md` states what cannot.
"""

import re
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_END = 0xD9
_ZEROS = bytes(24)
"""No encoder writes so many zero bytes into Huffman codes whose zeros mean a change of the picture."""
_MIN_ZERO_TAIL = 32
_PADDING = b"\xff\x00" * 24
"""24 bytes of ones, which are no Huffman code: a decoder that lacks data reads six blocks from them."""
_WEBP_PIXELS_PER_ZERO = {b"VP8 ": 200, b"VP8L": 4}
_STEP = 1_000_000  # bytes that are decompressed at a time
_BASELINE, _PROGRESSIVE = (0xC0, 0xC1), (0xC2,)


class _Scan(NamedTuple):
    """A scan of a JPEG file."""

    components: tuple[tuple[int, int, int], ...]  # number, DC table, AC table
    first: int
    last: int
    high_bit: int
    low_bit: int
    start: int
    end: int
    tables: tuple[bytes, ...]  # the segments that define Huffman tables, as far as the scan


class JpegLayout(NamedTuple):
    """What the markers of a JPEG file tell."""

    frame: int
    """The marker of the frame, 0xC0 to 0xCF."""
    components: tuple[int, ...]
    """The numbers of the components."""
    scans: list[_Scan]
    """The scans, in their order."""
    end: int | None
    """The place of the end marker, or None."""
    restarts: tuple[int, int]
    """The number of restart markers of a scan of all components, and of blocks between two of them."""


def read_jpeg_layout(content: bytes) -> JpegLayout | None:
    """Read the markers of a JPEG file. The result is None if they are not as they should be."""
    try:
        return _read_jpeg_layout(content)
    except (struct.error, IndexError, ValueError):
        return None


def _read_jpeg_layout(content: bytes) -> JpegLayout | None:
    at, frame, interval, frame_part = 2, 0, 0, b""
    components: tuple[int, ...] = ()
    tables: tuple[bytes, ...] = ()
    scans: list[_Scan] = []
    end = None
    while at < len(content):
        if content[at] != 0xFF:
            return None
        while content[at] == 0xFF:
            at += 1
        marker = content[at]
        at += 1
        if marker == _END:
            end = at - 2
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        (size,) = struct.unpack_from(">H", content, at)
        part = content[at + 2 : at + size]
        at += size
        if marker == 0xC4:
            tables = (*tables, part)
        elif marker == 0xDD:
            interval = int.from_bytes(part[:2], "big")
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            frame, components = marker, tuple(part[6 + 3 * i] for i in range(part[5]))
            frame_part = part
        elif marker == 0xDA:
            n = part[0]
            chosen = tuple((part[1 + 2 * i], part[2 + 2 * i] >> 4, part[2 + 2 * i] & 15) for i in range(n))
            first, last, bits = part[1 + 2 * n : 4 + 2 * n]
            found = _NEXT_MARKER.search(content, at)
            stop = found.start() if found else len(content)
            scans.append(_Scan(chosen, first, last, bits >> 4, bits & 15, at, stop, tables))
            at = stop
    n_restarts = (_count_units(frame_part) - 1) // interval if interval and frame_part else 0
    return JpegLayout(frame, components, scans, end, (n_restarts, interval))


def _read_first_symbols(part: bytes) -> dict[int, bytes]:
    """Return the symbol of the code of zeros of each Huffman table, by class (0 DC, 16 AC) and number."""
    found, at = {}, 0
    while at + 17 <= len(part):
        n_codes = sum(part[at + 1 : at + 17])
        found[part[at]] = part[at + 17 : at + 18]
        at += 17 + n_codes
    return found


def _count_units(part: bytes) -> int:
    """Count the blocks (MCU) of a scan of all components."""
    height, width = int.from_bytes(part[1:3], "big"), int.from_bytes(part[3:5], "big")
    across, down = 1, 1
    if part[5] > 1:
        sampling = [part[7 + 3 * i] for i in range(part[5])]
        across, down = max(each >> 4 for each in sampling), max(each & 15 for each in sampling)
    return -(-width // (8 * across)) * -(-height // (8 * down))


def find_jpeg_damage(content: bytes, layout: JpegLayout) -> str | None:
    """Return what is missing in a JPEG file, or None."""
    if not layout.scans:
        return None
    if layout.end is None and content.endswith(bytes(_MIN_ZERO_TAIL)):
        return "cut off: the rest of the file is filled with zeros"
    if layout.frame in _BASELINE:
        if set(layout.components) - {number for scan in layout.scans for number, _, _ in scan.components}:
            return "cut off: a colour is missing"
        coefficient_scans = layout.scans
    elif layout.frame in _PROGRESSIVE:
        if _misses_scans(layout):
            return "cut off: its last scans are missing"
        coefficient_scans = [scan for scan in layout.scans if scan.first > 0 and scan.high_bit == 0]
    else:
        return None
    if any(_has_odd_zeros(content, scan) for scan in coefficient_scans):
        return "damaged: a part of it is filled with zeros"
    if len(layout.scans) == 1 and _misses_restarts(content, layout):
        return "damaged: a part of it is missing"
    return None


def _has_odd_zeros(content: bytes, scan: _Scan) -> bool:
    """Tell whether zeros fill a part of a scan in whose codes they would mean coefficients."""
    if content.find(_ZEROS, scan.start, scan.end) < 0:
        return False
    first_symbols: dict[int, bytes] = {}
    for part in scan.tables:
        first_symbols |= _read_first_symbols(part)
    symbols = [first_symbols.get(16 | table, b"") for _, _, table in scan.components]
    return any(symbol and symbol[0] & 15 for symbol in symbols)  # it is followed by a coefficient's bits


def _misses_restarts(content: bytes, layout: JpegLayout) -> bool:
    """Tell whether restart markers are missing or out of order. More than needed are nothing."""
    n_expected, interval = layout.restarts
    if not interval:
        return False
    scan = layout.scans[0]
    numbers = [mark[0] & 7 for mark in _RESTART.findall(content, scan.start, scan.end)][:n_expected]
    return len(numbers) < n_expected or any(number != index % 8 for index, number in enumerate(numbers))


def _misses_scans(layout: JpegLayout) -> bool:
    """Tell whether a progressive file lacks a bit of a coefficient of a component."""
    missing = {(number, place) for number in layout.components for place in range(64)}
    for scan in layout.scans:
        if scan.low_bit == 0:
            missing -= {
                (number, place)
                for number, _, _ in scan.components
                for place in range(scan.first, scan.last + 1)
            }
    return bool(missing)


def open_jpeg_end(content: bytes, layout: JpegLayout) -> bytes:
    """Return a JPEG file of one scan without its end marker: a decoder then tells if it lacks data.

    With the marker, decoders fill the rest with grey in silence. Other files are returned as they are.
    """
    if layout.frame in _BASELINE and len(layout.scans) == 1:
        if layout.end is None:
            return content.rstrip(b"\xff") + _PADDING
        if layout.end == layout.scans[0].end:
            return content[: layout.end] + _PADDING
    return content


def has_webp_zeros(content: bytes, n_pixels: int) -> bool:
    """Tell whether a WebP file holds more zeros in a row than a picture of one colour would need.

    For pixels without change, encoders write a byte of zeros for 350 of them at most, and without loss for
    five of them.
    """
    at = 12
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        part = content[at + 8 : at + 8 + size]
        if name in _WEBP_PIXELS_PER_ZERO:
            n_zeros = max(_MIN_ZERO_TAIL, n_pixels // _WEBP_PIXELS_PER_ZERO[name])
            return n_zeros < len(part) and bytes(n_zeros) in part
        at += 8 + size + size % 2
    return False


def has_media_zero_tail(content: bytes) -> bool:
    """Tell whether the pixels of an AVIF or HEIC file, if they are its last part, end in zeros."""
    at, name = 0, b""
    while at + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        if size < 8:  # it reaches to the end, or has a size of 64 bits
            break
        at += size
    return name == b"mdat" and content.endswith(bytes(_MIN_ZERO_TAIL))


def has_broken_deflate(content: bytes, parts: Iterable[tuple[int, int]]) -> bool:
    """Tell whether a part of a TIFF file, by its place and size, is no whole stream of zlib."""
    for start, size in parts:
        stream = zlib.decompressobj()
        rest = content[start : start + size]
        try:
            while rest and not stream.eof:
                stream.decompress(rest, _STEP)
                rest = stream.unconsumed_tail
        except zlib.error:
            return True
        if not stream.eof:
            return True
    return False
