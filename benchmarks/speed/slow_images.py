"""Pictures that are made to decode slowly, 21 kinds of them, in a set of 300 files.

    python -m benchmarks.speed.slow_images DIR

Each kind is written once and put among ordinary pictures, in DIR. Measured are each slow file alone, in a
worker of its own; listing, decoding and packing the whole set into an empty cache; and opening the set again,
which has to cost as little as without the slow files. Writes `benchmarks/results/speed/slow_images.json`.
Three minutes.
"""

import io
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measurement.command_line import create_parser
from benchmarks.measurement.record import Record, summarise
from foveal import DataOptions
from foveal.data.dataset import open_dataset
from foveal.data.decode import Decoding
from foveal.data.workers import decode_files
from foveal.recipe.recipe import Image as ImageSettings

N_FILES = 300
SIDE = 5000
"""The width and height of a picture of 25 million pixels, the most that are read."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class _SilentBar:
    """A bar that shows nothing."""

    def advance(self, n: int = 1) -> None:
        """Do nothing."""

    def show(self, **figures: str) -> None:
        """Do nothing."""


def main() -> None:
    """Write the files, measure, and print."""
    parser = create_parser(__doc__)
    parser.add_argument("data", type=Path, metavar="DIR", help="a new folder for the files")
    parser.add_argument("--quick", action="store_true", help="a short look: prints, and writes nothing")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the result's file")
    args = parser.parse_args()
    result = Record("slow_images", parser, args)
    folder: Path = args.data
    folder.mkdir(parents=True)
    slow = write_slow_images(folder / "slow")
    alone = {kind: measure_file(file, folder / "pixels") for kind, file in slow.items()}
    for kind, line in alone.items():
        print(f"{kind}: {line['seconds']:.2f} s, {line['outcome']}", flush=True)
    result.write(alone=alone)
    write_set(folder / "with", slow)
    write_set(folder / "without", {})
    seconds: dict[str, list[float]] = {}
    for number in range(1 if args.quick else 3):
        for case in ("with", "without"):
            cache = folder / f"cache-{case}-{number}"
            for turn in ("packing", "opening again"):
                by_clock, used = measure_set(folder / case, cache)
                seconds.setdefault(f"{turn}, {case} slow files", []).append(by_clock)
                seconds.setdefault(f"{turn}, {case} slow files, of processors", []).append(used)
    result.finish({f"{case}: seconds": summarise(values) for case, values in seconds.items()})
    limit = 30 + len(slow)
    print(f"{len(slow)} slow files; at most {limit} s were wanted for packing")
    sys.exit(0 if max(seconds["packing, with slow files"]) <= limit else 1)


def measure_set(root: Path, cache: Path) -> tuple[float, float]:
    """Open a data set, which packs it if the cache has no pack.

    Returns:
        The seconds by the clock, and the processor time of all processes.
    """
    start, start_used = time.perf_counter(), sum(os.times()[:4])
    open_dataset(DataOptions(root, cache=cache), ImageSettings(size=32))
    return time.perf_counter() - start, sum(os.times()[:4]) - start_used


def measure_file(file: Path, pixels: Path) -> dict[str, object]:
    """Decode a file in a worker of its own, and return the seconds and what became of it."""
    decoding = Decoding(size=32, channels=3, fit="stretch", background="black", deep_range=(0.0, 65535.0))
    pixels.write_bytes(bytes(32 * 32 * 3))
    start = time.perf_counter()
    outcomes = decode_files(
        file.parent, [(0, file.name)], decoding=decoding, pixels=pixels, n_images=1, bar=_SilentBar()
    )
    return {
        "seconds": time.perf_counter() - start,
        "bytes": file.stat().st_size,
        "outcome": outcomes[0].error or "used",
        "tried again": outcomes[0].retry,
    }


def write_set(root: Path, slow: dict[str, Path]) -> None:
    """Write two classes of ordinary pictures and the slow ones, 300 files together with them."""
    draw = np.random.default_rng(0)
    for number in range(N_FILES - len(slow)):
        folder = root / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    for number, file in enumerate(slow.values()):
        (root / "ab"[number % 2] / file.name).write_bytes(file.read_bytes())


def write_slow_images(folder: Path) -> dict[str, Path]:
    """Write a file of each kind into a folder, and return them by their kinds."""
    folder.mkdir()
    files = {}
    for number, (kind, make) in enumerate(KINDS.items()):
        files[kind] = folder / f"slow{number:02d}.jpg"
        files[kind].write_bytes(make())
    return files


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a file of a format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_noise(mode: str, side: int) -> Image.Image:
    """Return an image of noise."""
    shape = (side, side, len(mode)) if len(mode) > 1 else (side, side)
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8), mode=None)


def make_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def make_png(header: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of some chunks."""
    return _SIGNATURE + b"".join(make_chunk(*chunk) for chunk in ((b"IHDR", header), *chunks, (b"IEND", b"")))


def make_deep_png(kind: int, n_channels: int) -> bytes:
    """Return a PNG file of 16 bits and 25 million pixels."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0)
    row = bytes(range(250)) * (SIDE * n_channels * 2 // 250)
    return make_png(header, (b"IDAT", zlib.compress((b"\4" + row) * SIDE, 1)))  # 4: each byte is predicted


def make_scans(n_scans: int) -> bytes:
    """Return a progressive JPEG file whose last scan comes many times over."""
    content = save(make_noise("L", 2000), "JPEG", quality=30, progressive=True)
    last = content.rfind(b"\xff\xda")
    return content[:last] + content[last:-2] * n_scans + b"\xff\xd9"


def make_flat_scans(n_scans: int) -> bytes:
    """Return a progressive JPEG file of one colour and 25 million pixels, with its last scan many times."""
    content = save(Image.new("L", (SIDE, SIDE), 90), "JPEG", progressive=True)
    last = content.rfind(b"\xff\xda")
    return content[:last] + content[last:-2] * n_scans + b"\xff\xd9"


def make_many_chunks() -> bytes:
    """Return a PNG file whose pixels lie in chunks of one byte, with as many texts beside them."""
    header = struct.pack(">IIBBBBB", 300, 300, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(301 * 901), 0)
    texts = [(b"tEXt", b"k\0" + bytes([65 + number % 26])) for number in range(200_000)]
    return make_png(header, *texts, *((b"IDAT", pixels[at : at + 1]) for at in range(len(pixels))))


def make_text_bombs() -> bytes:
    """Return a PNG file with texts that grow a thousandfold when they are read."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    bomb = (b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9))
    return make_png(header, *[bomb] * 500, (b"IDAT", zlib.compress((b"\0" + bytes(24)) * 8)))


def make_tiff(tags: dict[int, tuple[int, int, int]], data: bytes, *, n_pages: int = 1) -> bytes:
    """Return a TIFF file of tags (type, count, value) with data at byte 8, with its page many times over."""
    pages = b""
    size = 2 + 12 * len(tags) + 4
    for number in range(n_pages):
        after = 8 + len(data) + size * (number + 1) if number + 1 < n_pages else 0
        entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
        pages += struct.pack("<H", len(tags)) + entries + struct.pack("<I", after)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + pages


def describe_tiff(width: int, height: int, size: int) -> dict[int, tuple[int, int, int]]:
    """Return the tags of a TIFF file of one strip of plain grey."""
    return {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
        278: (4, 1, height),
        279: (4, 1, size),
    }


def make_many_strips() -> bytes:
    """Return a TIFF file of a million strips of one row, compressed."""
    n_strips = 1_000_000
    strip = zlib.compress(bytes(16))
    places = 8 + len(strip)
    data = strip + struct.pack("<I", 8) * n_strips + struct.pack("<I", len(strip)) * n_strips
    tags = describe_tiff(16, n_strips, 0)
    tags |= {259: (3, 1, 8), 278: (4, 1, 1), 273: (4, n_strips, places)}
    return make_tiff(tags | {279: (4, n_strips, places + 4 * n_strips)}, data)


def make_many_tags() -> bytes:
    """Return a TIFF file of 60,000 tags, each of which names a megabyte of numbers."""
    tags = describe_tiff(16, 16, 256)
    for tag in range(1000, 61000):
        tags.setdefault(tag, (1, 1_000_000, 8))
    return make_tiff(tags, bytes(1_000_256))


def make_many_pages() -> bytes:
    """Return a TIFF file of 100,000 pages."""
    return make_tiff(describe_tiff(16, 16, 256), bytes(256), n_pages=100_000)


def make_animation(kind: str, n_frames: int) -> bytes:
    """Return an animated file of many frames."""
    frames = [Image.new("L", (16, 16), number % 256).convert("RGB") for number in range(n_frames)]
    options = {"lossless": True} if kind == "WEBP" else {}
    return save(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def make_run_lengths() -> bytes:
    """Return a BMP file of 25 million pixels in runs of one pixel."""
    data = (b"\1\5" * SIDE + b"\0\0") * SIDE
    header = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + bytes(1024) + data


def make_large_profile() -> bytes:
    """Return a picture of 25 million pixels with a colour profile of CMYK that has to be applied."""
    return save(Image.new("CMYK", (SIDE, SIDE), (10, 20, 30, 0)), "JPEG", quality=95)


KINDS: dict[str, Callable[[], bytes]] = {
    "JPEG, progressive, 100 scans of noise": lambda: make_scans(100),
    "JPEG, progressive, 25 MP, 3,000 scans of one colour": lambda: make_flat_scans(3000),
    "JPEG, 12 MP of noise": lambda: save(make_noise("RGB", 3500), "JPEG", quality=95),
    "JPEG, 25 MP of CMYK": make_large_profile,
    "PNG, 25 MP with alpha, best compression": lambda: save(
        Image.new("RGBA", (SIDE, SIDE), (9, 9, 9, 99)), "PNG"
    ),
    "PNG, 25 MP of 16-bit colour with alpha": lambda: make_deep_png(6, 4),
    "PNG, 25 MP of 16-bit grey with alpha": lambda: make_deep_png(4, 2),
    "PNG, chunks of one byte": make_many_chunks,
    "PNG, texts that grow": make_text_bombs,
    "PNG, 2,000 frames": lambda: make_animation("PNG", 2000),
    "GIF, 5,000 frames": lambda: make_animation("GIF", 5000),
    "GIF, 25 MP": lambda: save(Image.new("P", (SIDE, SIDE), 3), "GIF"),
    "WebP, 2,000 frames": lambda: make_animation("WEBP", 2000),
    "WebP, 25 MP without loss": lambda: save(
        make_noise("RGBA", 2500).resize((SIDE, SIDE), 0), "WEBP", lossless=True, method=0, quality=0
    ),
    "TIFF, 25 MP of LZW at a ratio of thousands": lambda: save(
        Image.new("RGBA", (SIDE, SIDE)), "TIFF", compression="tiff_lzw"
    ),
    "TIFF, 25 MP of floats, deflated": lambda: save(
        Image.new("F", (SIDE, SIDE), 0.5), "TIFF", compression="tiff_adobe_deflate"
    ),
    "TIFF, a million strips": make_many_strips,
    "TIFF, 60,000 tags": make_many_tags,
    "TIFF, 100,000 pages": make_many_pages,
    "BMP, 25 MP in runs of one pixel": make_run_lengths,
    "AVIF, 9 MP": lambda: save(make_noise("RGB", 1500).resize((3000, 3000)), "AVIF", speed=10, quality=90),
}
"""The kinds of slow files."""


if __name__ == "__main__":
    main()
