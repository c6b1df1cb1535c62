"""What image files may hold, a case a kind: each is used as stated, or left out with a reason that fits."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from foveal.data.dataset import open_dataset
from foveal.data.decode import Decoded, DecodeError, Decoding, DeepImageError, compute_seconds, decode
from foveal.data.deep_range import FULL_RANGE, fills_sixteen_bits, find_dim_images, find_range, sketch_values
from foveal.data.file_notes import KINDS, describe_notes
from foveal.data.options import DataOptions
from foveal.recipe.recipe import Image as ImageSettings

Array = np.ndarray
ADOBE_RGB_LIKE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))


def save(image: Image.Image | Array, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def settings(**changes: object) -> Decoding:
    plain = {"size": 16, "channels": 3, "fit": "stretch", "background": "black"}
    return Decoding(**{**plain, **changes})  # type: ignore[arg-type]


def read(content: bytes, **changes: object) -> Decoded:
    return decode(content, settings(**changes))


def refusal(content: bytes, **changes: object) -> str:
    with pytest.raises(DecodeError) as refused:
        read(content, **changes)
    return str(refused.value)


def sketch(content: bytes) -> tuple[float, ...]:
    with pytest.raises(DeepImageError) as deep:
        read(content)
    return deep.value.sketch


def noise(*shape: int, seed: int = 0, top: int = 256) -> Array:
    return np.random.default_rng(seed).integers(0, top, shape)


def png(values: Array, kind: int, *extra: tuple[bytes, bytes]) -> bytes:
    """Write a PNG of 16 bits: grey (0), colour (2), grey with alpha (4) or colour with alpha (6)."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def tiff(
    values: Array,
    *,
    order: str = "<",
    sample_format: int = 1,
    extra: dict[int, tuple[int, ...]] | None = None,
    deflate: bool = False,
) -> bytes:
    """Write a TIFF of any type of values (H, W) or (H, W, C), by hand."""
    height, width, n = *values.shape[:2], values.shape[2] if values.ndim == 3 else 1
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if deflate else data
    tags = {
        256: (width,),
        257: (height,),
        258: (values.dtype.itemsize * 8,) * n,
        259: (8 if deflate else 1,),
        262: (2 if n >= 3 else 1,),
        273: (8,),
        277: (n,),
        278: (height,),
        279: (len(data),),
        339: (sample_format,) * n,
        **(extra or {}),
    }
    start = 8 + len(data)
    body, further = b"", b""
    place = start + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        at = packed if len(numbers) == 1 else struct.pack(order + "I", place + len(further))
        further += b"" if len(numbers) == 1 else packed
        body += struct.pack(order + "HHI", tag, 4, len(numbers)) + at
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return (
        magic
        + struct.pack(order + "I", start)
        + data
        + struct.pack(order + "H", len(tags))
        + body
        + bytes(4)
        + further
    )


def profile(primaries: tuple[tuple[float, float], ...] = ADOBE_RGB_LIKE, gamma: float = 2.2) -> bytes:
    """Make a small colour profile of RGB by matrix and gamma."""
    white = np.array([0.9642, 1.0, 0.8249])
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    columns = xyz * np.linalg.solve(xyz, white)

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def of_xyz(values: Array) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(79)
    parts = {b"desc": text, b"cprt": b"text\0\0\0\0made\0", b"wtpt": of_xyz(white)}
    parts |= {name: of_xyz(columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    parts |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data = b"", b""
    start = 128 + 4 + 12 * len(parts)
    for name, part in parts.items():
        table += name + struct.pack(">II", start + len(data), len(part))
        data += part + bytes(-len(part) % 4)
    size = start + len(data)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(map(number, white)) + bytes(48)
    return header[:128].ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + data


def folders(root: Path, contents: dict[str, bytes]) -> Path:
    """Write files as data set of two classes, with twelve plain images in each."""
    for label in "ab":
        (root / label).mkdir(parents=True)
        for number in range(12):
            values = noise(16, 16, 3, seed=number + 50 * ord(label)).astype(np.uint8)
            (root / label / f"plain{number}.png").write_bytes(save(values))
    for name, content in contents.items():
        (root / name).write_bytes(content)
    return root


# ---- deep images

FULL = noise(16, 16, 3, top=65536)
FULL[0, 0], FULL[0, 1] = 0, 65535


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF", "deflated TIFF"])
def test_sixteen_bit_colour_of_the_full_range_looks_as_before(kind: str) -> None:
    content = {
        "PNG": png(FULL, 2),
        "TIFF": tiff(FULL.astype(np.uint16)),
        "big-endian TIFF": tiff(FULL.astype(np.uint16), order=">"),
        "deflated TIFF": tiff(FULL.astype(np.uint16), deflate=True),
    }[kind]
    assert find_range([sketch(content)]) == FULL_RANGE
    found = read(content, deep_range=FULL_RANGE)
    assert np.abs(found.pixels.astype(int) - (FULL >> 8)).max() <= 1
    assert found.clipped == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF", "deflated TIFF"])
def test_twelve_bits_in_sixteen_bit_colour_keep_all_their_bits(kind: str) -> None:
    values = noise(16, 16, 3, top=4096)
    values[0, 0], values[0, 1] = 0, 4095
    content = {
        "PNG": png(values, 2),
        "TIFF": tiff(values.astype(np.uint16)),
        "big-endian TIFF": tiff(values.astype(np.uint16), order=">"),
        "deflated TIFF": tiff(values.astype(np.uint16), deflate=True),
    }[kind]
    deep_range = find_range([sketch(content)])
    assert deep_range == (0, 4095)
    assert np.array_equal(read(content, deep_range=deep_range).pixels, np.round(values * 255 / 4095))


def test_twelve_bits_in_grey_with_alpha_keep_all_their_bits() -> None:
    grey = noise(16, 16, top=4096)
    grey[0, 0], grey[0, 1] = 0, 4095
    content = png(np.dstack([grey, np.full_like(grey, 65535)]), 4)
    found = read(content, deep_range=find_range([sketch(content)]))
    assert np.array_equal(found.pixels[..., 1], np.round(grey * 255 / 4095))
    assert found.notes == ()  # nothing is transparent


def test_colour_with_alpha_of_sixteen_bits_lies_over_the_background() -> None:
    values = np.full((16, 16, 4), 4000)
    values[8:, :, 3] = 0
    values[:8, :, 3] = 65535
    found = read(png(values, 6), deep_range=(0.0, 4000.0), background="#102030")
    assert found.pixels[0, 0].tolist() == [255, 255, 255]
    assert found.pixels[15, 0].tolist() == [16, 32, 48]
    assert found.notes == ("transparent",)


def test_transparent_pixels_decide_nothing_about_the_range() -> None:
    values = np.full((16, 16, 2), 65535)
    values[..., 0] = noise(16, 16, top=4096)
    values[3, 3] = 60000, 0
    assert sketch(png(values, 4))[1] < 4096


def test_unsigned_32_bits_never_wrap() -> None:
    values = np.linspace(0, 2**32 - 1, 256).astype(np.uint32).reshape(16, 16)
    content = tiff(values)
    assert sketch(content)[:2] == (0, 2**32 - 1)
    found = read(content, deep_range=find_range([sketch(content)]))
    assert np.abs(found.pixels[..., 0].ravel().astype(int) - np.arange(256)).max() <= 1


def test_signed_8_bits_never_wrap() -> None:
    values = np.arange(-128, 128).astype(np.int8).reshape(16, 16)
    content = tiff(values, sample_format=2)
    assert sketch(content)[:2] == (-128, 127)
    found = read(content, deep_range=find_range([sketch(content)]))
    assert np.array_equal(found.pixels[..., 0].ravel(), np.arange(256))


def test_signed_16_bits_never_wrap() -> None:
    values = np.linspace(-32768, 32767, 256).astype(np.int16).reshape(16, 16)
    content = tiff(values, sample_format=2)
    assert sketch(content)[:2] == (-32768, 32767)
    ramp = read(content, deep_range=(-32768.0, 32767.0)).pixels[..., 0].ravel().astype(int)
    assert (np.diff(ramp) >= 0).all()


def test_values_outside_the_range_are_limited_and_counted() -> None:
    values = np.arange(256).reshape(16, 16) * 10
    found = read(png(values, 0), deep_range=(500.0, 2000.0))
    assert found.pixels[0, 0, 0] == 0
    assert found.pixels[-1, -1, 0] == 255
    assert found.clipped == int(((values < 500) | (values > 2000)).sum())
    assert found.notes == ("outside",)


@pytest.mark.parametrize("n_hot", [1, 40])
def test_hot_pixels_do_not_darken_a_set_of_twelve_bits(n_hot: int) -> None:
    """One hot pixel in one image, or one in every image."""
    sketches = []
    for number in range(40):
        values = noise(16, 16, seed=number, top=4096)
        if number < n_hot:
            values[5, 5] = 65535
        sketches.append(sketch(png(values, 0)))
    low, high = find_range(sketches)
    assert low < 100
    assert 3900 < high <= 4095


def test_dead_pixels_do_not_brighten_a_set() -> None:
    values = 20000 + noise(64, 64, top=4000)
    values[5, 5] = 0
    assert 19900 < find_range([sketch(png(values, 0))])[0] <= 20100


def test_small_bright_objects_stay_in_the_range() -> None:
    values = noise(64, 64, top=100)
    values[10:14, 10:14] = 3000  # four in a thousand
    assert find_range([sketch(png(values, 0))])[1] == 3000


def test_a_set_of_two_values_has_both_in_its_range() -> None:
    values = np.zeros((64, 64), dtype=int)
    values[3, 3:5] = 900
    assert find_range([sketch(png(values, 0))]) == (0, 900)


def test_float_images_of_two_scales_are_named() -> None:
    draw = np.random.default_rng(0)
    small = [sketch(save(draw.random((16, 16)).astype(np.float32), "TIFF")) for _ in range(5)]
    large = [sketch(save((draw.random((16, 16)) * 65535).astype(np.float32), "TIFF")) for _ in range(5)]
    sketches = dict(enumerate(small + large))
    assert find_dim_images(sketches, find_range(sketches.values())) == [0, 1, 2, 3, 4]


def test_twelve_bits_beside_sixteen_are_named() -> None:
    contents = [png(noise(16, 16, seed=s, top=4096 if s < 3 else 65536), 0) for s in range(8)]
    sketches = dict(enumerate(map(sketch, contents)))
    assert find_dim_images(sketches, find_range(sketches.values())) == [0, 1, 2]


def test_images_of_one_scale_are_not_named() -> None:
    sketches = {
        s: sketch(png(noise(16, 16, seed=s, top=4096), 2 if s % 2 else 0))
        if s % 2 == 0
        else sketch(png(noise(16, 16, 3, seed=s, top=4096), 2))
        for s in range(6)
    }
    assert find_dim_images(sketches, find_range(sketches.values())) == []


def test_a_set_of_one_value_is_black_and_nothing_is_named() -> None:
    one = sketch(png(np.full((16, 16), 777), 0))
    assert find_range([one]) == (777, 777)
    assert find_dim_images({0: one}, (777.0, 777.0)) == []


def test_an_ordinary_picture_of_sixteen_bits_needs_no_other_images() -> None:
    assert fills_sixteen_bits(sketch(png(FULL, 2)))
    assert not fills_sixteen_bits(sketch(png(noise(16, 16, top=4096), 0)))


def test_a_sketch_leaves_the_outermost_values_out() -> None:
    values = sketch_values(np.arange(2000.0))
    assert values[:2] == (0, 1999)
    assert values[2] == 2
    assert values[-1] == 1997


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(odd: float) -> None:
    values = np.ones((16, 16), dtype=np.float32)
    values[0, 0] = odd
    assert refusal(save(values, "TIFF")) == "has pixels that are not numbers"


# ---- formats that are not read, with the right reason


@pytest.mark.parametrize("dtype", [np.float64, np.uint64])
def test_a_tiff_of_64_bits_is_called_a_tiff(dtype: type) -> None:
    reason = refusal(tiff(np.ones((16, 16), dtype=dtype), sample_format=3 if dtype is np.float64 else 1))
    assert "a TIFF file of a kind that is not read (64-bit values, say)" in reason
    assert "32-bit floats" in reason


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", None])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_tiff_is_no_matter_of_exif(compression: str | None, share: float) -> None:
    content = save(noise(32, 32, 3).astype(np.uint8), "TIFF", compression=compression)
    reason = refusal(content[: int(len(content) * share)])
    assert "EXIF" not in reason
    assert "cut off" in reason or "truncated" in reason


def test_a_header_without_a_picture_is_called_by_its_format() -> None:
    assert "JPEG file" in refusal(b"\xff\xd8\xff\xe0\0\x10JFIF\0")
    assert "GIF file" in refusal(b"GIF89a")
    assert "WebP file" in refusal(b"RIFF\x10\0\0\0WEBPVP8 ")


def test_a_heic_picture_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    content = b"\0\0\0\x18ftypheic" + bytes(100)
    assert refusal(content) == "a HEIC picture, which needs one more package: pip install 'foveal[heic]'"


def two_colours() -> Image.Image:
    values = np.full((32, 64, 3), (200, 40, 40), np.uint8)
    values[:, :32] = 30, 30, 220
    return Image.fromarray(values)


def test_heic_is_read_upright() -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    straight = read(save(two_colours(), "HEIF", quality=95)).pixels.astype(int)
    turned = read(save(two_colours(), "HEIF", quality=95, exif=exif.tobytes())).pixels.astype(int)
    assert np.abs(straight[8, 2] - (30, 30, 220)).max() < 12
    assert np.abs(turned - np.rot90(straight, -1)).max() < 30


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_avif_is_read_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    straight = read(save(two_colours(), "AVIF", quality=95)).pixels.astype(int)
    found = read(save(two_colours(), "AVIF", quality=95, exif=exif.tobytes())).pixels.astype(int)
    turns = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    assert np.abs(found - np.rot90(straight, turns)).max() < 30


# ---- pages, channels, profiles, transparency


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_of_several_pages_the_first_is_used_and_noted(kind: str) -> None:
    pages = [Image.new("L", (16, 16), value).convert("RGB") for value in (40, 200, 120)]
    options = {"lossless": True} if kind == "WEBP" else {}
    found = read(save(pages[0], kind, save_all=True, append_images=pages[1:], **options))
    assert np.abs(found.pixels.astype(int) - 40).max() <= 2
    assert found.notes == ("pages",)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_one_page_is_not_noted(kind: str) -> None:
    assert read(save(noise(16, 16).astype(np.uint8), kind)).notes == ()


@pytest.mark.parametrize("n_channels", [5, 6])
def test_further_channels_are_dropped_and_noted(n_channels: int) -> None:
    values = noise(16, 16, n_channels).astype(np.uint8)
    found = read(tiff(values, extra={338: (0,) * (n_channels - 3)}))
    assert np.array_equal(found.pixels, values[..., :3])
    assert found.notes == ("channels",)


def test_a_colour_profile_is_converted_to_srgb() -> None:
    colours = np.full((16, 16, 3), (60, 200, 60), np.uint8)
    found = read(save(colours, icc_profile=profile()))
    assert found.notes == ("profile",)
    assert found.pixels[0, 0, 1] > 200  # this green is stronger than sRGB's of the same numbers
    assert found.pixels[0, 0, 0] < 60


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP"])
def test_profiles_are_found_in_every_format(kind: str) -> None:
    colours = np.full((16, 16, 3), (60, 200, 60), np.uint8)
    assert "profile" in read(save(colours, kind, icc_profile=profile())).notes


def test_an_srgb_profile_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colours = noise(16, 16, 3).astype(np.uint8)
    found = read(save(colours, icc_profile=srgb))
    assert np.array_equal(found.pixels, colours)
    assert found.notes == ()


def test_grey_stays_grey_under_a_colour_profile() -> None:
    found = read(save(noise(16, 16).astype(np.uint8), icc_profile=profile()))
    assert found.grey


@pytest.mark.parametrize("broken", [b"no profile", profile()[:200], bytes(500)])
def test_a_broken_profile_is_ignored_and_noted(broken: bytes) -> None:
    colours = noise(16, 16, 3).astype(np.uint8)
    found = read(save(colours, icc_profile=broken))
    assert np.array_equal(found.pixels, colours)
    assert found.notes == ("broken profile",)


def test_alpha_keeps_its_place_under_a_profile() -> None:
    colours = np.full((16, 16, 4), (60, 200, 60, 255), np.uint8)
    colours[8:, :, 3] = 0
    found = read(save(colours, icc_profile=profile()), background="white")
    assert set(found.notes) == {"profile", "transparent"}
    assert found.pixels[15, 0].tolist() == [255, 255, 255]


def test_each_kind_of_note_has_a_sentence_with_the_first_names() -> None:
    paths = [f"a/{number}.tif" for number in range(5)]
    for kind in KINDS:
        (sentence,) = describe_notes(paths, dict.fromkeys(range(5), (kind,)))
        assert sentence.startswith("5 files have ")
        assert sentence.endswith("(a/0.tif, a/1.tif, a/2.tif …)")
    assert describe_notes(paths, {3: ("pages",)}) == (
        "1 file has several pages or frames: the first is used (a/3.tif)",
    )


# ---- pictures of which a part is missing


def photograph(size: int = 96) -> Image.Image:
    draw = np.random.default_rng(3)
    values = np.cumsum(np.cumsum(draw.normal(size=(size, size, 3)), axis=0), axis=1)
    values = (values - values.min()) / np.ptp(values) * 255 + draw.normal(0, 6, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


DAMAGE = {
    "cut": lambda content, at: content[:at],
    "cut, then zeros": lambda content, at: content[:at] + bytes(len(content) - at),
    "cut, then an end marker": lambda content, at: content[:at] + b"\xff\xd9",
    "a hole of zeros": lambda content, at: content[:at] + bytes(60) + content[at + 60 :],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("quality", [60, 75, 95])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_damaged_jpeg_is_noticed(damage: str, quality: int, share: float) -> None:
    content = save(photograph(), "JPEG", quality=quality)
    read(content)
    refusal(DAMAGE[damage](content, int(len(content) * share)))


@pytest.mark.parametrize("damage", ["cut", "cut, then zeros", "cut, then an end marker"])
def test_a_progressive_jpeg_that_lacks_scans_is_noticed(damage: str) -> None:
    content = save(photograph(), "JPEG", quality=85, progressive=True)
    read(content)
    refusal(DAMAGE[damage](content, len(content) // 2))


def test_a_missing_restart_interval_is_noticed() -> None:
    content = save(photograph(), "JPEG", quality=85, restart_marker_blocks=2)
    read(content)
    first, second = content.find(b"\xff\xd3"), content.find(b"\xff\xd5")
    assert refusal(content[:first] + content[second:]) == "damaged: a part of it is missing"


def test_a_jpeg_of_one_scan_without_its_end_marker_is_whole() -> None:
    content = save(photograph(), "JPEG")
    assert np.array_equal(read(content[:-2]).pixels, read(content).pixels)


def test_bytes_behind_a_picture_are_no_damage() -> None:
    content = save(photograph(), "JPEG")
    for tail in (bytes(5000), b"a trailer of the camera"):
        assert np.array_equal(read(content + tail).pixels, read(content).pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("colour", ["white", "black", "#336699"])
def test_pictures_of_one_colour_are_no_damage(kind: str, colour: str) -> None:
    """Their codes may be zeros for long."""
    for options in ({}, {"quality": 100}, {"optimize": True}, {"progressive": True}):
        read(save(Image.new("RGB", (400, 300), colour), kind, **(options if kind == "JPEG" else {})))


@pytest.mark.parametrize("quality", [50, 80, 95])
def test_a_webp_filled_with_zeros_is_noticed(quality: int) -> None:
    content = save(photograph(), "WEBP", quality=quality)
    half = len(content) // 2
    assert refusal(content[:half] + bytes(len(content) - half)).startswith("cut off")


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "PNG"])
@pytest.mark.parametrize("damage", ["cut", "cut, then zeros"])
def test_other_formats_notice_a_missing_half(kind: str, damage: str) -> None:
    content = save(photograph(), kind)
    refusal(DAMAGE[damage](content, len(content) // 2))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiffs_notice_zeros(compression: str) -> None:
    content = save(photograph(), "TIFF", compression=compression)
    with Image.open(io.BytesIO(content)) as file:
        start, size = file.tag_v2[273][-1], file.tag_v2[279][-1]
    half = start + size // 2
    refusal(content[:half] + bytes(start + size - half) + content[start + size :])


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_a_cut_file_of_plain_pixels_is_noticed(kind: str) -> None:
    content = save(photograph(), kind)
    refusal(content[: len(content) * 2 // 3])


# ---- limits


def test_the_limit_of_pixels_is_a_setting_that_its_refusal_names(tmp_path: Path) -> None:
    root = folders(tmp_path / "data", {"a/large.png": save(noise(40, 40).astype(np.uint8))})
    image = ImageSettings(size=8, max_pixels=1000)
    dataset = open_dataset(DataOptions(root, cache=tmp_path / "cache"), image)
    assert dataset.left_out == {"a/large.png": "40 × 40 pixels; at most 1,000 are read (--max-pixels)"}
    assert dataset.pack.decoding.max_pixels == 1000
    whole = open_dataset(DataOptions(root, cache=tmp_path / "cache"), ImageSettings(size=8))
    assert whole.left_out == {}


def test_the_time_that_a_picture_may_take_grows_with_it() -> None:
    assert compute_seconds(0, "PNG") == 1
    assert compute_seconds(25_000_000, "PNG") == 3.5
    assert compute_seconds(25_000_000, "HEIF") == 11
    allowed: list[float] = []
    content = save(Image.new("L", (2000, 1000)).convert("RGBA"))
    decode(content, settings(), allow=allowed.append)
    assert allowed == [compute_seconds(2_000_000, "PNG")]


# ---- the whole way


@pytest.mark.skipif(os.name != "posix", reason="locales are POSIX")
def test_names_are_the_same_in_an_ascii_locale(tmp_path: Path) -> None:
    folder = tmp_path / "Läufe"
    folder.mkdir()
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    finished = subprocess.run(
        [sys.executable, "-m", "foveal", "runs", str(folder), "--json"],
        env={**os.environ, **ascii_locale},
        capture_output=True,
        check=True,
    )
    assert json.loads(finished.stdout)["folder"] == str(folder)


def test_a_set_of_many_kinds_is_told_of(tmp_path: Path) -> None:
    pages = [Image.new("L", (16, 16), value) for value in (40, 200)]
    root = folders(
        tmp_path / "data",
        {
            "a/pages.tif": save(pages[0], "TIFF", save_all=True, append_images=pages[1:]),
            "a/profile.png": save(noise(16, 16, 3).astype(np.uint8), icc_profile=profile()),
            "b/deep.png": png(noise(16, 16, 3, top=65536), 2),
            "b/twelve.png": png(noise(16, 16, top=4096), 0),
            "b/half.jpg": DAMAGE["cut, then an end marker"](save(photograph(), "JPEG"), 900),
        },
    )
    dataset = open_dataset(DataOptions(root, cache=tmp_path / "cache"), ImageSettings(size=8))
    assert list(dataset.left_out) == ["b/half.jpg"]
    assert dataset.pack.decoding.deep_range == FULL_RANGE
    told = describe_notes(dataset.pack.paths, dataset.pack.notes)
    assert [sentence.rpartition("(")[2] for sentence in told] == [
        "a/pages.tif)",
        "a/profile.png)",
        "b/twelve.png)",
    ]
    again = open_dataset(DataOptions(root, cache=tmp_path / "cache"), ImageSettings(size=8))
    assert describe_notes(again.pack.paths, again.pack.notes) == told
