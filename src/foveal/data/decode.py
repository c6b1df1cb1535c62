"""Bytes -> uint8 pixels (S, S, C): the only module that imports an image library.

Packing, prediction and serving all decode here, so a model sees elsewhere what it saw when measured.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from foveal.errors import DataError, RecipeError
from foveal.files.typed_json import read
from foveal.recipe.recipe import ResizeMode

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
MAX_BYTES = 100_000_000
"""A larger file is rejected before it is read."""
MAX_PIXELS = 25_000_000
"""A larger picture is rejected before it is decoded: one of this size takes 300 MB."""
BAND = 1_000_000
"""Pixels of a large picture that are worked on at a time."""

_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
_ORIENTATION = 0x0112  # EXIF
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What brings an image of each orientation upright; all others are."""


class DecodeError(DataError):
    """A file cannot be used as an image; the message is the reason."""


class DeepImageError(DecodeError):
    """The image is deep greyscale, and no range is known yet that would scale it to 8 bits."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__("deep greyscale, but the model's data set had none, so no range is known for it")
        self.low, self.high = low, high


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How an image file becomes pixels. Stored with every pack and every model."""

    size: int
    channels: int
    """3 (RGB) or 1 (luminance)."""
    fit: ResizeMode
    background: str
    deep_range: tuple[float, float] | None = None
    """What deep greyscale becomes 0 and 255; None where the data set has no deep greyscale."""

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 512:
            raise RecipeError(f"image.size is {self.size}; it must be 512 pixels or less")
        if self.channels not in (1, 3):
            raise RecipeError(f"the images have {self.channels} channels; 1 or 3 can be used")
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise RecipeError(
                f"image.background is {self.background!r}; name a colour such as white or #ffffff"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Write as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> "Decoding":
        """Read what `to_json` wrote; a `RecipeError` names what does not fit."""
        decoding = read(value, cls, "decoding")
        assert isinstance(decoding, cls)
        return decoding


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A decoded image."""

    pixels: NDArray[np.uint8]
    """(S, S, C)."""
    grey: bool
    """Whether all its channels are equal."""
    clipped: int
    """How many of its pixels lay outside the range that scales deep greyscale."""


def decode(content: bytes, decoding: Decoding) -> Decoded:
    """Decode an image file, upright, on an opaque background, scaled to (S, S, C) uint8.

    Raises:
        DeepImageError: deep greyscale, and `decoding` knows no range for it.
        DecodeError: no image, a broken one, too large, or of a format that is not allowed.
    """
    if (image := _plain_png(content)) is not None:
        return _finish(image, decoding, clipped=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they tell of broken metadata around pixels that are whole
            if content[:2] in (b"II", b"MM"):  # but a TIFF's tags say how and where its pixels lie
                warnings.filterwarnings("error", category=UserWarning)
                warnings.filterwarnings("ignore", message="Metadata Warning")
            return _decode(content, decoding)
    except DecodeError:
        raise
    except UnidentifiedImageError:
        raise DecodeError("no image in a known format: " + ", ".join(FORMATS)) from None
    except MemoryError:
        raise DecodeError("takes more memory to decode than an image of its size should") from None
    except Image.DecompressionBombError:
        raise DecodeError(f"far too many pixels; at most {MAX_PIXELS:,} are read") from None
    except Exception as error:  # decoders raise a dozen different types on broken files
        raise DecodeError(f"cannot be decoded: {error or type(error).__name__}") from error


def dimensions(content: bytes) -> tuple[int, int]:
    """Return an image file's width and height as its header tells them; no pixel is decoded.

    Raises:
        DecodeError: no image of an allowed format.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as file:
            return file.size
    except Exception as error:  # as in `decode`
        raise DecodeError(f"cannot be read: {error or type(error).__name__}") from error


def _decode(content: bytes, decoding: Decoding) -> Decoded:
    if not content:
        raise DecodeError("the file is empty")
    with Image.open(io.BytesIO(content), formats=FORMATS) as file:
        if file.width * file.height > MAX_PIXELS:
            raise DecodeError(f"{file.width} × {file.height} pixels; at most {MAX_PIXELS:,} are read")
        file.load()  # the first frame
        if file.format == "PNG":
            _check_png(content)
            _scale_transparency(file, depth=content[24])
        image = _upright(file)
    clipped = 0
    if image.mode in _DEEP_MODES:
        image, clipped = _scale_deep(image, decoding)
    return _finish(_flatten(image, decoding.background), decoding, clipped=clipped)


def _finish(image: Image.Image, decoding: Decoding, *, clipped: int) -> Decoded:
    """Bring an upright, opaque image (mode L or RGB) to the recipe's channels and size."""
    mode = "L" if decoding.channels == 1 else "RGB"
    values = resize(image if image.mode == mode else image.convert(mode), decoding).tobytes()
    pixels = np.frombuffer(values, dtype=np.uint8).reshape(decoding.size, decoding.size, decoding.channels)
    grey = mode == "L" or values[0::3] == values[1::3] == values[2::3]
    return Decoded(pixels=pixels, grey=grey, clipped=clipped)


_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PLAIN_MODES = {b"\x08\x00\x00\x00\x00": "L", b"\x08\x02\x00\x00\x00": "RGB"}
"""By what a PNG's header says after width and height: 8 bits, this colour, no interlacing."""


def _plain_png(content: bytes) -> Image.Image | None:
    """Decode the plainest of PNG files; None for every other file, whole or broken.

    Plain is: 8 bits of grey or RGB, and no chunk beside the pixels, so no orientation, no transparency and
    no second frame. For 32 × 32 pixels that takes half as long as `Image.open`, which gives the same pixels.
    Whatever is odd in any way is left to that, so it alone refuses files and gives the reasons.
    """
    if not content.startswith(_PNG) or len(content) < 33:
        return None
    width, height = struct.unpack_from(">II", content, 16)
    mode = _PLAIN_MODES.get(content[24:29])
    if mode is None or not 0 < width * height <= MAX_PIXELS:
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
    try:
        return Image.frombytes(mode, (width, height), b"".join(parts), "zip", mode, 0)
    except ValueError:  # too few pixels, or none at all
        return None


def _check_png(content: bytes) -> None:
    """Compare the checksums of a PNG's pixels, which Pillow skips."""
    at, name = 8, b""
    while at + 12 <= len(content) and name != b"IEND":
        size, name = struct.unpack_from(">I4s", content, at)
        end = at + 8 + size
        if name == b"IDAT":
            checksum = zlib.crc32(memoryview(content)[at + 4 : end])
            if checksum.to_bytes(4, "big") != content[end : end + 4]:
                raise DecodeError("damaged: its checksum does not match")
        at = end + 4


def _scale_transparency(file: Image.Image, *, depth: int) -> None:
    """Bring a PNG's one transparent colour to 8 bits: Pillow does that to the pixels only."""
    match file.info.get("transparency"):
        case int(grey) if file.mode == "L":
            file.info["transparency"] = grey * 255 // (2**depth - 1)
        case tuple(colour) if depth == 16:
            file.info["transparency"] = tuple(each >> 8 for each in colour)


def _upright(file: Image.Image) -> Image.Image:
    """Apply the EXIF orientation."""
    try:
        turn = _TURNS.get(file.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata tell nothing; the pixels are whole
        return file
    return file if turn is None else file.transpose(turn)


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut a large image into bands of rows, each with the row it begins at; a small one is one band.

    What takes several copies of an image, or eight bytes a pixel, is done band by band.
    """
    rows = max(1, BAND // image.width)
    if image.height <= rows:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _scale_deep(image: Image.Image, decoding: Decoding) -> tuple[Image.Image, int]:
    """Scale deep greyscale to 8 bits by the data set's range; count what lies outside it."""
    if decoding.deep_range is None:
        raise DeepImageError(*_range_of(image))
    low, high = decoding.deep_range
    factor = 255 / (high - low) if high > low else 0.0
    grey, alpha = Image.new("L", image.size), Image.new("L", image.size, 255)
    clipped, transparent = 0, False
    for top, band in _bands(image):
        values, opaque = _deep_values(band)
        scaled = np.clip(((values - low) * factor).round(), 0, 255).astype(np.uint8)
        grey.paste(Image.fromarray(scaled), (0, top))
        clipped += int((((values < low) | (values > high)) & opaque).sum())
        if not opaque.all():
            transparent = True
            alpha.paste(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)), (0, top))
    if transparent:
        grey.putalpha(alpha)
    return grey, clipped


def _range_of(image: Image.Image) -> tuple[float, float]:
    """Return the lowest and the highest value of deep greyscale: of its opaque pixels, if it has any."""
    everything, opaque_ones = [], []
    for _, band in _bands(image):
        values, opaque = _deep_values(band)
        everything += [values.min(), values.max()]
        if opaque.any():
            opaque_ones += [values[opaque].min(), values[opaque].max()]
    seen = opaque_ones or everything
    return float(min(seen)), float(max(seen))


def _deep_values(band: Image.Image) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the values of deep greyscale (H, W), and which of them are opaque."""
    values = np.asarray(band).astype(np.float64)
    if not np.isfinite(values).all():
        raise DecodeError("has pixels that are not numbers")
    return values, values != band.info.get("transparency")


def _flatten(image: Image.Image, background: str) -> Image.Image:
    """Return L or RGB, with transparent pixels laid over the background."""
    if not image.has_transparency_data:
        return image.convert("L" if image.mode in ("L", "1") else "RGB")
    flat = Image.new("RGB", image.size)
    for top, band in _bands(image):
        under = Image.new("RGBA", band.size, ImageColor.getrgb(background)[:3])
        flat.paste(Image.alpha_composite(under, band.convert("RGBA")).convert("RGB"), (0, top))
    return flat


def resize(image: Image.Image, decoding: Decoding) -> Image.Image:
    """Bring an image (mode L or RGB) to the square of the recipe: the one resize function of Foveal.

    Bilinear, antialiased when shrinking: each result is an average over the area that it covers.
    """
    square = (decoding.size, decoding.size)
    if image.size == square:
        return image
    match decoding.fit:
        case "stretch":
            return image.resize(square, Resampling.BILINEAR)
        case "crop":
            return ImageOps.fit(image, square, Resampling.BILINEAR)
        case "pad":
            scale = decoding.size / max(image.size)
            width, height = (max(1, round(side * scale)) for side in image.size)
            padded = Image.new(image.mode, square, ImageColor.getcolor(decoding.background, image.mode))
            corner = ((decoding.size - width) // 2, (decoding.size - height) // 2)
            padded.paste(image.resize((width, height), Resampling.BILINEAR), corner)
            return padded


def bring(images: NDArray[np.uint8], decoding: Decoding) -> NDArray[np.uint8]:
    """Bring uint8 images in memory (N, H, W, C), C being 1 or 3, to (N, S, S, C') as files are brought to it.

    Images that have that shape already are returned as they are.
    """
    shape = (len(images), decoding.size, decoding.size, decoding.channels)
    if images.shape == shape:
        return np.ascontiguousarray(images)
    brought = np.empty(shape, dtype=np.uint8)
    for row, image in enumerate(images):
        plain = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)
        brought[row] = _finish(Image.fromarray(plain), decoding, clipped=0).pixels
    return brought


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 pixels (H, W) or (H, W, 3) as PNG, without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=False)
    return file.getvalue()


def encode_webp(pixels: NDArray[np.uint8], *, lossless: bool) -> bytes:
    """Encode uint8 pixels (H, W, 3) as WebP, each side at most 16,383: for pages, not for training."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="WEBP", lossless=lossless, quality=82, method=4)
    return file.getvalue()
