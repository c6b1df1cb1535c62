"""Reads the chunks of PNG files: the compressed pixels of plain files, and the checksums of all."""

import struct
import zlib
from typing import NamedTuple

_SIGNATURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PLAIN_MODES = {b"\x08\x00\x00\x00\x00": "L", b"\x08\x02\x00\x00\x00": "RGB"}
"""The mode by the five bytes after width and height: 8 bits, this colour type, no interlacing."""


class PlainPng(NamedTuple):
    """The content of a plain PNG file."""

    mode: str
    """The mode: "L" (grey) or "RGB"."""
    size: tuple[int, int]
    """The width and the height."""
    compressed: bytes
    """The pixels as PNG compresses them."""


def read_plain_png(content: bytes, *, max_pixels: int) -> PlainPng | None:
    """Read the simplest kind of PNG file. The result is None for every other file, whole or broken.

    A plain file has 8 bits of grey or RGB, and no chunk besides the pixels. So it has no orientation, no
    transparency and no second frame. Its checksums are correct.
    """
    if not content.startswith(_SIGNATURE) or len(content) < 33:
        return None
    width, height = struct.unpack_from(">II", content, 16)
    mode = _PLAIN_MODES.get(content[24:29])
    if mode is None or not 0 < width * height <= max_pixels:
        return None
    parts, at, name = [], 8, b"IHDR"
    while name != b"IEND":
        if at + 12 > len(content):
            return None
        size, name = struct.unpack_from(">I4s", content, at)
        end = at + 8 + size
        if name not in (b"IHDR" if at == 8 else b"IDAT", b"IEND"):
            return None
        if zlib.crc32(content[at + 4 : end]).to_bytes(4, "big") != content[end : end + 4]:
            return None
        if name == b"IDAT":
            parts.append(content[at + 8 : end])
        at = end + 4
    return PlainPng(mode, (width, height), b"".join(parts))


def has_valid_checksums(content: bytes) -> bool:
    """Tell whether the checksums of a PNG file's pixels are correct. Pillow does not check them."""
    at, name = 8, b""
    while at + 12 <= len(content) and name != b"IEND":
        size, name = struct.unpack_from(">I4s", content, at)
        end = at + 8 + size
        if name == b"IDAT":
            checksum = zlib.crc32(memoryview(content)[at + 4 : end])
            if checksum.to_bytes(4, "big") != content[end : end + 4]:
                return False
        at = end + 4
    return True
