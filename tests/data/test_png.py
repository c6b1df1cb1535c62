"""Plain PNG files are recognised, and damage is found. What becomes of them is in test_decode.py."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.decode import encode_png
from foveal.data.png import has_valid_checksums, read_plain_png

MANY = 1_000_000


def noise(*shape: int) -> bytes:
    return encode_png(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize(("shape", "mode", "channels"), [((7, 9), "L", 1), ((7, 9, 3), "RGB", 3)])
def test_a_plain_file_is_read(shape: tuple[int, ...], mode: str, channels: int) -> None:
    png = read_plain_png(noise(*shape), max_pixels=MANY)
    assert png is not None
    assert (png.mode, png.size) == (mode, (9, 7))
    assert len(zlib.decompress(png.compressed)) == 7 * (1 + 9 * channels)


def test_other_files_are_not() -> None:
    assert read_plain_png(b"", max_pixels=MANY) is None
    assert read_plain_png(noise(8, 8, 4), max_pixels=MANY) is None  # with transparency
    assert read_plain_png(noise(8, 8), max_pixels=63) is None
    assert read_plain_png(noise(8, 8), max_pixels=64) is not None


@given(st.data())
def test_one_changed_byte_or_a_missing_end_is_found(data: st.DataObject) -> None:
    content = bytearray(noise(8, 8, 3))
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    assert read_plain_png(bytes(content), max_pixels=MANY) is None


def test_the_checksums_of_pixels_are_compared() -> None:
    content = bytearray(noise(8, 8, 3))
    assert has_valid_checksums(bytes(content))
    content[-1] ^= 1  # the end's checksum covers no pixels
    assert has_valid_checksums(bytes(content))
    content[content.index(b"IDAT") + 20] ^= 1
    assert not has_valid_checksums(bytes(content))
