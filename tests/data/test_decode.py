import io
import struct
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from foveal.data import decode as module
from foveal.data import deep as deep_module
from foveal.data.decode import (
    FORMATS,
    Decoded,
    DecodeError,
    Decoding,
    DeepImageError,
    decode,
    encode_png,
)
from foveal.errors import DataError, RecipeError

Pixels = NDArray[np.uint8]
ORIENTATION = 0x0112


def decoding(size: int = 32, **changes: object) -> Decoding:
    plain = {"size": size, "channels": 3, "fit": "stretch", "background": "black"}
    return Decoding(**{**plain, **changes})  # type: ignore[arg-type]


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(content: bytes, size: int = 32, **changes: object) -> Pixels:
    return decode(content, decoding(size, **changes)).pixels


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(size: int = 32) -> Pixels:
    """Colours that a lossy format keeps within a few steps."""
    ramp = np.linspace(40, 200, size)
    return np.stack(np.broadcast_arrays(ramp, ramp[:, None], 128), axis=-1).astype(np.uint8)


def png(width: int, depth: int, kind: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """Write a PNG by hand: `rows` are raw scanlines of one row's height."""
    header = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(b"\0" + rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


# ---- formats


@given(arrays(np.uint8, (32, 32, 3)))
def test_a_png_of_the_right_size_comes_back_exactly(colours: Pixels) -> None:
    for fit in ("stretch", "crop", "pad"):
        assert np.array_equal(pixels(encode_png(colours), fit=fit), colours)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    colours = noise(32, 32, 3)
    assert np.array_equal(pixels(save(Image.fromarray(colours), kind)), colours)


def test_webp_without_loss_comes_back_exactly() -> None:
    colours = noise(32, 32, 3)
    assert np.array_equal(pixels(save(Image.fromarray(colours), "WEBP", lossless=True)), colours)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    colours = noise(32, 32, 3)
    assert np.array_equal(pixels(save(Image.fromarray(colours), "TIFF", compression=compression)), colours)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(kind: str) -> None:
    colours = smooth()
    found = pixels(save(Image.fromarray(colours), kind, quality=95)).astype(int)
    assert np.abs(found - colours).max() <= 6


def test_gif_of_few_colours_comes_back_exactly() -> None:
    colours = np.repeat(noise(4, 4, 3), 8, axis=0).repeat(8, axis=1)
    image = Image.fromarray(colours).quantize(16, dither=Image.Dither.NONE)
    assert np.array_equal(pixels(save(image, "GIF")), colours)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_many_frames_the_first_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = save(frames[0], kind, save_all=True, append_images=frames[1:], **options)

    assert np.unique(pixels(content).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_a_stereo_photograph_is_a_jpeg() -> None:
    """Phones write MPO: several JPEG pictures in one file."""
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    content = save(frames[0], "MPO", save_all=True, append_images=frames[1:])

    assert pixels(content)[0, 0].tolist() == [254, 0, 0]


def test_the_extension_plays_no_part() -> None:
    assert {"JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "HEIF"} == set(FORMATS)


# ---- modes


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_palettes_are_looked_up(kind: str) -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([255, 255, 255, 10, 20, 30])
    assert np.unique(pixels(save(image, kind)).reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_one_bit_images(kind: str) -> None:
    bits = noise(32, 32) < 128
    found = decode(save(Image.fromarray(bits), kind), decoding())
    assert found.grey
    assert np.array_equal(found.pixels, np.where(bits, 255, 0)[:, :, None].repeat(3, axis=2))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    cyan = pixels(save(Image.new("CMYK", (32, 32), (255, 0, 0, 0)), kind))[0, 0].astype(int)
    assert np.abs(cyan - [0, 255, 255]).max() <= 3


def test_grey_becomes_three_equal_channels() -> None:
    grey = noise(32, 32)
    found = decode(encode_png(grey), decoding())
    assert found.grey
    assert np.array_equal(found.pixels, grey[:, :, None].repeat(3, axis=2))


def test_a_colour_image_is_not_grey() -> None:
    one = np.full((32, 32, 3), 7, dtype=np.uint8)
    assert decode(encode_png(one), decoding()).grey
    one[31, 31, 2] = 8
    assert not decode(encode_png(one), decoding()).grey


def test_one_channel_is_the_luminance() -> None:
    colours = noise(32, 32, 3)
    luminance = (colours @ [299, 587, 114] / 1000).round()
    found = decode(encode_png(colours), decoding(channels=1))

    assert found.pixels.shape == (32, 32, 1)
    assert np.abs(found.pixels[:, :, 0] - luminance).max() <= 1


@given(arrays(np.uint8, (20, 12)), st.sampled_from(["stretch", "crop", "pad"]))
def test_grey_means_the_same_in_one_channel_as_in_three(grey: Pixels, fit: str) -> None:
    """So that a pack may keep one of three channels, and prediction decode one."""
    for image in (grey, grey[:, :, None].repeat(3, axis=2)):
        one = pixels(encode_png(image), 16, fit=fit, channels=1)
        assert np.array_equal(one.repeat(3, axis=2), pixels(encode_png(image), 16, fit=fit))


# ---- transparency


@pytest.mark.parametrize(("background", "colour"), [("black", 0), ("white", 255), ("#ffffff", 255)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_over_the_background(kind: str, background: str, colour: int) -> None:
    image = np.zeros((32, 32, 4), dtype=np.uint8)
    image[:, :, :3] = 100
    image[:, :16, 3] = 255
    image[:, 16:, 3] = 51  # a fifth
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = pixels(save(Image.fromarray(image), kind, **options), background=background)

    assert (found[:, :16] == 100).all()
    assert (found[:, 16:] == round(0.2 * 100 + 0.8 * colour)).all()


def test_alpha_over_a_colour() -> None:
    clear = Image.new("RGBA", (32, 32), (9, 9, 9, 0))
    found = decode(save(clear, "PNG"), decoding(background="rgb(10,20,30)"))
    assert found.pixels[0, 0].tolist() == [10, 20, 30]
    assert not found.grey


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_with_alpha_stays_grey_over_grey(kind: str) -> None:
    image = Image.merge("LA", (Image.new("L", (32, 32), 200), Image.new("L", (32, 32), 0)))
    assert decode(save(image, kind), decoding(background="white")).grey
    assert (pixels(save(image, kind), background="white") == 255).all()
    assert (pixels(save(image, kind)) == 0).all()


def test_a_transparent_palette_entry() -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([10, 10, 10, 90, 90, 90])
    image.paste(0, (0, 0, 16, 32))
    for kind in ("PNG", "GIF"):
        found = pixels(save(image, kind, transparency=1), background="white")
        assert (found[:, :16] == 10).all()
        assert (found[:, 16:] == 255).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_grey_of_any_depth(depth: int) -> None:
    """A PNG names its transparent grey at its own depth: 15 of 15 is white, not almost black."""
    most = 2**depth - 1
    row = 0 if depth == 1 else 1
    rows = bytes([0, most, row, most]) if depth == 8 else 0
    if depth < 8:
        packed = 0
        for value in (0, most, row, most):
            packed = packed << depth | value
        rows = (packed << (-4 * depth) % 8).to_bytes(-(-4 * depth // 8), "big")
    content = png(4, depth, 0, rows, (b"tRNS", struct.pack(">H", most)))

    found = pixels(content, 4, fit="pad", background="#404040")[1, :, 0].tolist()
    assert found == [0, 64, row * 255 // most, 64]


def test_a_transparent_colour_at_16_bits() -> None:
    row = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0x1234, 0x5678, 0xFFFF)
    content = png(2, 16, 2, row, (b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)))

    found = pixels(content, 8, background="white", deep_range=(0.0, 65535.0))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 7].tolist() == [0x12, 0x56, 0xFF]


def test_a_transparent_deep_grey_is_no_part_of_the_range() -> None:
    content = png(3, 16, 0, struct.pack(">3H", 1000, 65535, 3000), (b"tRNS", b"\xff\xff"))

    with pytest.raises(DeepImageError) as deep:
        decode(content, decoding(3))
    assert (deep.value.low, deep.value.high) == (1000, 3000)
    found = decode(content, decoding(3, fit="pad", background="#404040", deep_range=(1000.0, 3000.0)))
    assert found.clipped == 0
    assert found.pixels[1, :, 0].tolist() == [0, 64, 255]


# ---- deep greyscale


def deep_images() -> dict[str, bytes]:
    values = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 3 + 500
    return {
        "16-bit PNG": save(Image.fromarray(values), "PNG"),
        "16-bit TIFF": save(Image.fromarray(values), "TIFF"),
        "16-bit TIFF, big-endian": save(Image.fromarray(values.astype(">u2")), "TIFF"),
        "32-bit TIFF": save(Image.fromarray(values.astype(np.int32)), "TIFF"),
        "float TIFF": save(Image.fromarray(values.astype(np.float32)), "TIFF"),
    }


@pytest.mark.parametrize("kind", deep_images())
def test_deep_grey_is_scaled_by_the_range(kind: str) -> None:
    content = deep_images()[kind]
    with pytest.raises(DeepImageError, match="a deep image") as deep:
        decode(content, decoding())
    assert (deep.value.low, deep.value.high) == (500, 500 + 3 * 1023)

    found = decode(content, decoding(deep_range=(500.0, 3569.0)))
    assert found.grey
    assert found.clipped == 0
    assert np.array_equal(found.pixels[:, :, 1].ravel(), (np.arange(1024) * 255 / 1023).round())


@pytest.mark.parametrize("kind", deep_images())
def test_what_lies_outside_the_range_is_clipped_and_counted(kind: str) -> None:
    found = decode(deep_images()[kind], decoding(deep_range=(500.0 + 3 * 10, 500.0 + 3 * 1003)))
    assert found.clipped == 10 + 20
    assert (found.pixels.ravel()[: 3 * 10] == 0).all()
    assert (found.pixels.ravel()[3 * 1003 :] == 255).all()


def test_a_range_of_one_value_gives_black() -> None:
    flat = save(Image.fromarray(np.full((32, 32), 777, dtype=np.uint16)), "PNG")
    found = decode(flat, decoding(deep_range=(777.0, 777.0)))
    assert (found.pixels == 0).all()
    assert found.clipped == 0


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(odd: float) -> None:
    values = np.ones((32, 32), dtype=np.float32)
    values[3, 3] = odd
    with pytest.raises(DecodeError, match="has pixels that are not numbers"):
        decode(save(Image.fromarray(values), "TIFF"), decoding(deep_range=(0.0, 1.0)))


def test_eight_bits_are_untouched_by_the_range() -> None:
    grey = noise(32, 32)
    found = decode(encode_png(grey), decoding(deep_range=(0.0, 65535.0)))
    assert np.array_equal(found.pixels[:, :, 0], grey)


# ---- orientation

# How each orientation is stored, from the upright picture: what a camera held that way wrote.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_out_upright(orientation: int, kind: str) -> None:
    upright = noise(32, 32, 3)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    options = {"lossless": True} if kind == "WEBP" else {}
    content = save(stored, kind, exif=exif, **options)

    assert np.array_equal(pixels(content), upright)


@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_of_a_photograph_that_is_no_square(orientation: int) -> None:
    upright = smooth(32)[:, :16]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    content = save(stored, "JPEG", exif=exif, quality=95, subsampling=0)

    found = pixels(content, fit="pad")
    assert np.abs(found[:, 8:24].astype(int) - upright).max() <= 6
    assert (found[:, :8] == 0).all()
    assert (found[:, 24:] == 0).all()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_turns_nothing(orientation: int) -> None:
    upright = noise(32, 32, 3)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert np.array_equal(pixels(save(Image.fromarray(upright), "PNG", exif=exif)), upright)


def test_orientation_holds_for_transparent_and_deep_images() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    clear = noise(32, 32, 4)
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(clear)))
    assert np.array_equal(pixels(save(turned, "PNG", exif=exif)), pixels(encode_png(clear)))

    deep = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(deep)))
    found = pixels(save(turned, "PNG", exif=exif), deep_range=(0.0, 1023.0))
    assert np.array_equal(found[:, :, 0], (deep * (255 / 1023)).round())


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x09\0\0\xff\xff",
    ],
)
def test_broken_metadata_around_whole_pixels_are_no_reason_to_refuse(exif: bytes) -> None:
    colours = smooth()
    whole = save(Image.fromarray(colours), "JPEG", quality=95)
    broken = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + whole[2:]

    assert np.array_equal(pixels(broken), pixels(whole))
    row = bytes(range(24))
    assert np.array_equal(pixels(png(8, 8, 2, row, (b"eXIf", exif[6:]))), pixels(png(8, 8, 2, row)))


def test_photographs_of_every_orientation_show_the_same(hostile: Path) -> None:
    for name in ("Landscape", "Portrait"):
        upright = pixels((hostile / "exif" / f"{name}_1.jpg").read_bytes()).astype(float)
        for orientation in range(2, 9):
            found = pixels((hostile / "exif" / f"{name}_{orientation}.jpg").read_bytes())
            assert np.abs(found - upright).mean() < 4, f"{name}_{orientation}"
            assert np.abs(found[::-1] - upright).mean() > 20


# ---- fitting


def stripes(height: int, width: int) -> bytes:
    """Red, green, blue thirds: along the width if it is wide, else along the height."""
    image = np.repeat(np.eye(3, dtype=np.uint8) * 255, max(height, width) // 3, axis=0)  # (long side, 3)
    image = np.broadcast_to(image, (min(height, width), *image.shape))
    return encode_png(np.ascontiguousarray(image if width > height else image.swapaxes(0, 1)))


@pytest.mark.parametrize("tall", [False, True])
def test_stretching_keeps_everything(tall: bool) -> None:
    found = pixels(stripes(96, 32) if tall else stripes(32, 96), 32)
    found = found.swapaxes(0, 1) if tall else found
    assert [found[16, column].argmax() for column in (2, 16, 29)] == [0, 1, 2]


@pytest.mark.parametrize("tall", [False, True])
def test_cropping_keeps_the_middle(tall: bool) -> None:
    found = pixels(stripes(96, 32) if tall else stripes(32, 96), 32, fit="crop")
    assert (found == [0, 255, 0]).all()


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize(("background", "colour"), [("black", [0, 0, 0]), ("orange", [255, 165, 0])])
def test_padding_keeps_everything_on_the_background(tall: bool, background: str, colour: list[int]) -> None:
    found = pixels(stripes(96, 32) if tall else stripes(32, 96), 48, fit="pad", background=background)
    found = found.swapaxes(0, 1) if tall else found
    assert (found[:16] == colour).all()
    assert (found[32:] == colour).all()
    assert [found[24, column].argmax() for column in (2, 24, 45)] == [0, 1, 2]


def test_a_grey_image_is_padded_with_the_colour_of_the_background() -> None:
    found = pixels(encode_png(np.full((16, 32), 100, dtype=np.uint8)), 32, fit="pad", background="red")
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[16, 16].tolist() == [100, 100, 100]
    one = pixels(
        encode_png(np.full((16, 32), 100, dtype=np.uint8)), 32, fit="pad", background="red", channels=1
    )
    assert one[0, 0].tolist() == [76]


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(("height", "width"), [(1, 1000), (1000, 1), (1, 1), (3, 200)])
def test_extreme_shapes_are_images_too(height: int, width: int, fit: str) -> None:
    found = pixels(encode_png(np.full((height, width, 3), 200, dtype=np.uint8)), 32, fit=fit)
    assert found.max() == 200


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_shrinking_averages(fit: str) -> None:
    """A board of single black and white pixels turns grey: without antialiasing it would stay a board."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = pixels(encode_png(board), 32, fit=fit)[1:-1, 1:-1].astype(int)
    assert np.abs(found - 127.5).max() < 3


def test_decoding_twice_gives_the_same_and_leaves_the_input() -> None:
    content = save(Image.fromarray(noise(50, 70, 3)), "JPEG")
    before = bytes(content)
    assert np.array_equal(pixels(content), pixels(content))
    assert content == before


# ---- refused

WHOLE = encode_png(noise(32, 32, 3))
BAD = {
    "text": (
        b"this is no image\n",
        "no image in a known format: JPEG, PNG, BMP, GIF, WEBP, TIFF, AVIF, HEIF",
    ),
    "empty": (b"", "the file is empty"),
    "a header alone": (WHOLE[:8], "."),
    "a truncated PNG": (WHOLE[: len(WHOLE) // 2], "truncated|cannot be decoded"),
    "a truncated JPEG": (
        save(Image.fromarray(noise(64, 64, 3)), "JPEG")[:2000],
        "cannot be decoded: .*truncated",
    ),
    "a truncated GIF": (save(Image.fromarray(noise(64, 64)), "GIF")[:2000], "cannot be decoded"),
    "a truncated BMP": (
        save(Image.fromarray(noise(64, 64, 3)), "BMP")[:2000],
        "cannot be decoded: .*truncated",
    ),
    "a truncated TIFF": (save(Image.fromarray(noise(64, 64, 3)), "TIFF")[:2000], "cannot be decoded"),
    "a truncated WebP": (
        save(Image.fromarray(noise(64, 64, 3)), "WEBP")[:1000],
        "cannot be decoded|no image",
    ),
    "a damaged PNG": (WHOLE[:60] + b"\0\0\0\0" + WHOLE[64:], "cannot be decoded"),
    "a PNG whose checksum is wrong": (WHOLE[:-16] + b"\0\0\0\0" + WHOLE[-12:], "damaged: its checksum"),
    "too many pixels": (png(25_000_001, 8, 0, b""), "25000001 × 1 pixels; at most 25,000,000 are read"),
    "far too many pixels": (
        png(2**31 - 1, 8, 0, b""),
        r"2147483647 × 1 pixels; at most 25,000,000 are read \(--max-pixels\)",
    ),
    "a page of PostScript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "no image in",
    ),
    "a drawing": (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "no image in"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str) -> None:
    content, message = BAD[case]
    with pytest.raises(DecodeError, match=message) as refused:
        decode(content, decoding())
    assert isinstance(refused.value, DataError)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "TGA", "SGI", "JPEG2000", "EPS", "DDS"])
def test_other_formats_are_refused_although_the_library_knows_them(kind: str) -> None:
    with pytest.raises(DecodeError, match="no image in a known format"):
        decode(save(Image.fromarray(smooth()), kind), decoding())


def test_a_layered_photoshop_file_is_refused() -> None:
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 8, 8, 8, 3) + bytes(12) + bytes(2 + 8 * 8 * 3)
    assert Image.open(io.BytesIO(header)).format == "PSD"  # so the library would read it
    with pytest.raises(DecodeError, match="no image in a known format"):
        decode(header, decoding())


def test_the_limit_of_pixels_is_what_it_says() -> None:
    assert pixels(encode_png(noise(32, 32)), max_pixels=32 * 32).shape == (32, 32, 3)
    with pytest.raises(DecodeError, match=r"33 × 32 pixels; at most 1,024 are read \(--max-pixels\)"):
        decode(encode_png(noise(32, 33)), decoding(max_pixels=32 * 32))


def test_odd_tags_in_a_tiff() -> None:
    """A tag of too many entries is common; one that leads out of the file may be where the pixels lie."""
    tags = ImageFileDirectory_v2()
    tags[65000] = "of the microscope"
    colours = noise(32, 32, 3)
    content = bytearray(save(Image.fromarray(colours), "TIFF", tiffinfo=tags))
    place = int.from_bytes(content[4:8], "little")
    entries = {
        int.from_bytes(content[at : at + 2], "little"): at
        for at in range(place + 2, place + 2 + 12 * content[place], 12)
    }
    crowded = bytearray(content)
    crowded[entries[284] + 4] = 2  # the planar configuration, twice
    assert np.array_equal(pixels(bytes(crowded)), colours)

    torn = bytearray(content)
    torn[entries[65000] + 8 : entries[65000] + 12] = b"\xff\xff\xff\x7f"
    with pytest.raises(DecodeError, match="cannot be decoded"):
        decode(bytes(torn), decoding())


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"RIFF"]),
)
def test_nonsense_never_raises_anything_else(content: bytes, magic: bytes) -> None:
    try:
        found = decode(magic + content, decoding(deep_range=(0.0, 1.0)))
    except DecodeError:
        return
    assert isinstance(found, Decoded)


def test_the_png_suite(hostile: Path) -> None:
    files = sorted((hostile / "pngsuite").glob("*.png"))
    assert len(files) > 150
    accepted = set()
    for file in files:
        try:
            found = decode(file.read_bytes(), decoding(deep_range=(0.0, 65535.0)))
        except DecodeError:
            continue
        assert found.pixels.shape == (32, 32, 3)
        accepted.add(file.name)
    assert accepted == {file.name for file in files if not file.name.startswith("x")}


@pytest.mark.parametrize(
    "name", ["tbbn0g04", "tbwn0g16", "tbbn2c16", "tbgn2c16", "tbrn2c08", "tbyn3p08", "tp1n3p08"]
)
def test_the_png_suite_s_transparent_images(hostile: Path, name: str) -> None:
    """They show the same picture as tp1n3p08 on the background: a corner is transparent in each."""
    content = (hostile / "pngsuite" / f"{name}.png").read_bytes()
    found = pixels(content, background="#123456", deep_range=(0.0, 65535.0))
    assert found[0, 0].tolist() == [0x12, 0x34, 0x56]
    assert found[16, 16].tolist() != [0x12, 0x34, 0x56]


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpeg", "png", "webp", "tiff"])
def test_hostile_files_are_decoded_or_refused(hostile: Path, kind: str) -> None:
    refused = decoded = 0
    for file in sorted((hostile / kind).iterdir()):
        try:
            found = decode(file.read_bytes(), decoding(8, deep_range=(0.0, 1.0)))
        except DecodeError:
            refused += 1
        else:
            assert found.pixels.shape == (8, 8, 3)
            decoded += 1
    assert refused > 0
    assert decoded > 0


# ---- the short way for plain PNG files


def outcome(content: bytes, settings: Decoding) -> tuple[bytes, bool, int] | str:
    try:
        found = decode(content, settings)
    except DecodeError as error:
        return str(error)
    return found.pixels.tobytes(), found.grey, found.clipped


def the_long_way(content: bytes, settings: Decoding) -> tuple[bytes, bool, int] | str:
    with mock.patch.object(module, "_decode_plain_png", return_value=None):
        return outcome(content, settings)


def split_pixels(content: bytes, at: int) -> bytes:
    """Put the pixels of a PNG with one IDAT into two, cut after `at` bytes."""
    size = struct.unpack_from(">I", content, 33)[0]
    data = content[41 : 41 + size]
    parts = b"".join(
        struct.pack(">I", len(part)) + b"IDAT" + part + struct.pack(">I", zlib.crc32(b"IDAT" + part))
        for part in (data[:at], data[at:])
    )
    return content[:33] + parts + content[45 + size :]


@given(
    st.sampled_from([(16, 16), (16, 16, 3), (9, 21), (9, 21, 3)]).flatmap(
        lambda shape: arrays(np.uint8, shape)
    ),
    st.sampled_from([1, 3]),
    st.sampled_from(["stretch", "crop", "pad"]),
    st.integers(0, 40),
)
def test_the_short_way_gives_what_the_long_way_does(values: Pixels, channels: int, fit: str, at: int) -> None:
    settings = decoding(16, channels=channels, fit=fit, background="red")
    for content in (encode_png(values), split_pixels(encode_png(values), at)):
        assert module._decode_plain_png(content) is not None
        assert outcome(content, settings) == the_long_way(content, settings)


@given(st.data())
def test_damage_is_judged_by_the_long_way(data: st.DataObject) -> None:
    """One byte changed, or the end cut off: the result or the reason is that of the long way."""
    content = bytearray(encode_png(noise(8, 8, 3)))
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    settings = decoding(8)
    assert outcome(bytes(content), settings) == the_long_way(bytes(content), settings)


def test_damage_behind_whole_checksums_is_judged_by_the_long_way() -> None:
    row = bytes(range(24))
    for scanline in (row[:-1], row + b"!", b"", b"\0" * 1000):
        content = png(8, 8, 2, scanline)
        assert outcome(content, decoding(8)) == the_long_way(content, decoding(8))
    assert module._decode_plain_png(png(8, 8, 2, row[:-1])) is None
    assert module._decode_plain_png(png(8, 8, 2, row)) is not None


@pytest.mark.parametrize(
    "content",
    [
        png(
            8, 8, 2, bytes(24), (b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0")
        ),
        png(8, 8, 2, bytes(24), (b"tRNS", bytes(6))),
        png(8, 8, 2, bytes(24), (b"tEXt", b"Comment\0nothing")),
        png(8, 16, 2, bytes(48)),
        png(8, 8, 3, bytes(8), (b"PLTE", bytes(768))),
        png(8, 8, 6, bytes(32)),
        png(0, 8, 2, b""),
    ],
    ids=["orientation", "transparency", "text", "deep", "palette", "alpha", "no pixels"],
)
def test_what_is_not_plain_goes_the_long_way(content: bytes) -> None:
    assert module._decode_plain_png(content) is None


# ---- the settings


@given(
    st.builds(
        Decoding,
        size=st.integers(8, 512),
        channels=st.sampled_from([1, 3]),
        fit=st.sampled_from(["stretch", "crop", "pad"]),
        background=st.sampled_from(["black", "#12ab9f", "rgb(1,2,3)"]),
        deep_range=st.none() | st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    )
)
def test_json_keeps_everything(value: Decoding) -> None:
    assert Decoding.from_json(value.to_json()) == value


@pytest.mark.parametrize("background", ["no-colour", "", "#12", "rgb(1)"])
def test_an_unknown_background_is_refused(background: str) -> None:
    with pytest.raises(RecipeError, match=r"image.background is .*; name a colour such as white or #ffffff"):
        decoding(background=background)


@given(st.sampled_from([(5, 7), (5, 7, 3)]).flatmap(lambda shape: arrays(np.uint8, shape)))
def test_encode_png_loses_nothing(values: Pixels) -> None:
    with Image.open(io.BytesIO(encode_png(values))) as image:
        assert np.array_equal(np.asarray(image), values)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "F", "L"])
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_a_large_picture_band_by_band_is_the_same(
    monkeypatch: pytest.MonkeyPatch, mode: str, rows: int
) -> None:
    values = noise(16, 16, 4)
    match mode:
        case "RGBA":
            image = Image.fromarray(values)
        case "LA":
            image = Image.fromarray(values[..., :2].copy())
        case "P":
            image = Image.fromarray(values[..., 0].copy()).convert("P")
            image.info["transparency"] = bytes(range(256))
        case "I;16":
            image = Image.fromarray(values[..., 0].astype(np.uint16) * 256)
            image.info["transparency"] = int(values[3, 3, 0]) * 256
        case "F":
            image = Image.fromarray(values[..., 0].astype(np.float32))
        case _:
            image = Image.fromarray(values[..., 0].copy())
            image.info["transparency"] = int(values[3, 3, 0])
    file = io.BytesIO()
    kind = "TIFF" if mode == "F" else "PNG"
    image.save(
        file, format=kind, **({} if kind == "TIFF" else {"transparency": image.info.get("transparency")})
    )
    whole = outcome(file.getvalue(), decoding(16, background="red", deep_range=(100.0, 40000.0)))
    told = outcome(file.getvalue(), decoding(16))
    monkeypatch.setattr(deep_module, "MAX_BAND_PIXELS", 16 * rows)
    assert outcome(file.getvalue(), decoding(16, background="red", deep_range=(100.0, 40000.0))) == whole
    assert outcome(file.getvalue(), decoding(16)) == told
    if mode in ("I;16", "F"):
        with pytest.raises(DeepImageError) as caught:
            decode(file.getvalue(), decoding(16))
        monkeypatch.undo()
        with pytest.raises(DeepImageError) as expected:
            decode(file.getvalue(), decoding(16))
        assert (caught.value.low, caught.value.high) == (expected.value.low, expected.value.high)
