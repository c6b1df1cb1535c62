"""A PNG decoder from the specification (W3C, third edition), in few lines: slow, and no Pillow.

It trusts its input: it is for whole files, against which Foveal's decoding is compared.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""A pixel's samples by colour type."""
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""Column, row, and the distances to the next of each, for the seven passes."""


@dataclass(frozen=True, kw_only=True)
class Png:
    """A picture as its file has it."""

    values: np.ndarray
    """float64 (H, W, 1 or 3), from 0 to `most`: grey, or red, green and blue; palettes are looked up."""
    alpha: np.ndarray
    """float64 (H, W), from 0 to 1."""
    most: int
    depth: int
    grey: bool


def read(content: bytes) -> Png:
    """Decode a whole PNG."""
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        chunks[name] = chunks.get(name, b"") + content[at + 8 : at + 8 + size]
        at += 12 + size
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    data = zlib.decompress(chunks[b"IDAT"])
    samples = np.zeros((height, width, SAMPLES[colour]), dtype=np.int64)
    for left, top, across, down in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[top::down, left::across]
        if part.size:
            used = _unpack(data, part, depth)
            data = data[used:]
    return _colours(samples, chunks, colour, depth)


def _unpack(data: bytes, part: np.ndarray, depth: int) -> int:
    """Undo the filters of a pass and fill it with samples; return the bytes that it took."""
    rows, columns, each = part.shape
    length = -(-columns * each * depth // 8)
    back = max(1, each * depth // 8)
    before = [0] * length
    for row in range(rows):
        start = row * (length + 1)
        kind, line = data[start], list(data[start + 1 : start + 1 + length])
        for index in range(length):
            left = line[index - back] if index >= back else 0
            up = before[index]
            corner = before[index - back] if index >= back else 0
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda each: abs(guess - each))
            line[index] = (line[index] + (0, left, up, (left + up) // 2, paeth)[kind]) % 256
        before = line
        bits = np.unpackbits(np.array(line, dtype=np.uint8)).reshape(-1)[: columns * each * depth]
        part[row] = (bits.reshape(columns, each, depth) @ (1 << np.arange(depth)[::-1])).reshape(
            columns, each
        )
    return rows * (length + 1)


def _colours(samples: np.ndarray, chunks: dict[bytes, bytes], colour: int, depth: int) -> Png:
    most = 2**depth - 1
    transparent = chunks.get(b"tRNS", b"")
    alpha = np.ones(samples.shape[:2])
    if colour == 3:
        palette = np.frombuffer(chunks[b"PLTE"], dtype=np.uint8).reshape(-1, 3)
        opacity = np.full(len(palette), 255)
        opacity[: len(transparent)] = list(transparent)
        index = samples[..., 0]
        return Png(
            values=palette[index].astype(float), alpha=opacity[index] / 255, most=255, depth=8, grey=False
        )
    if colour in (4, 6):
        alpha = samples[..., -1] / most
        samples = samples[..., :-1]
    elif transparent:
        key = np.array(struct.unpack(f">{len(transparent) // 2}H", transparent))
        alpha = np.where((samples == key).all(axis=-1), 0.0, 1.0)
    return Png(values=samples.astype(float), alpha=alpha, most=most, depth=depth, grey=colour in (0, 4))
