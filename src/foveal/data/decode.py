"""Bytes -> uint8 pixels (S, S, C). No other module imports an image library.

Packing and prediction both decode here, so a model always gets images as it got them in training.
"""

import io
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from foveal.data.png import has_valid_checksums, read_plain_png
from foveal.errors import DataError, RecipeError
from foveal.files.typed_json import read
from foveal.recipe.recipe import ResizeMode
from foveal.types import Bools, Floats, Pixels

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
"""The formats of images that are read."""
MAX_FILE_BYTES = 100_000_000
"""The largest size of a file. A larger file is rejected before it is read."""
MAX_PIXELS = 25_000_000
"""The largest size of a picture. A larger one is rejected before decoding; one of this size takes 300 MB."""
MAX_BAND_PIXELS = 1_000_000
"""The number of pixels of a large picture that are processed at a time."""

_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
_EXIF_ORIENTATION = 0x0112
_TRANSPOSE_OF_ORIENTATION = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""The operation that makes an image of each EXIF orientation upright. Other images are upright already."""


class DecodeError(DataError):
    """A file cannot be used as an image. The message is the reason."""


class DeepImageError(DecodeError):
    """The image is deep greyscale, and no range is known that scales it to 8 bits.

    `low` and `high` are the lowest and the highest value of the image.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__("deep greyscale, but the model's data set had none, so no range is known for it")
        self.low, self.high = low, high


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """The settings that make pixels of image files. They are stored with every pack and every model."""

    size: int
    """The width and height of the pixels."""
    channels: int
    """The number of channels: 3 (RGB) or 1 (luminance)."""
    fit: ResizeMode
    """The way in which images that are not square become square."""
    background: str
    """The colour behind transparent pixels and around padded images."""
    deep_range: tuple[float, float] | None = None
    """The values of deep greyscale that become 0 and 255, or None if the data set has no deep greyscale."""

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

    def to_json(self) -> dict[str, object]:
        """Return the settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> "Decoding":
        """Read the result of `to_json`.

        Raises:
            RecipeError: A value does not fit. The message names it.
        """
        decoding = read(value, cls, "decoding")
        assert isinstance(decoding, cls)
        return decoding


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A decoded image."""

    pixels: Pixels
    """The pixels, uint8 (S, S, C)."""
    grey: bool
    """Whether all channels are equal."""
    clipped: int
    """The number of deep greyscale pixels outside the range."""


def decode(content: bytes, decoding: Decoding) -> Decoded:
    """Decode an image file to pixels, uint8 (S, S, C): upright, on an opaque background, resized.

    Raises:
        DeepImageError: It is deep greyscale, and `decoding` has no range for it.
        DecodeError: It is no image, a broken one, a too large one, or of a format that is not read.
    """
    if (image := _decode_plain_png(content)) is not None:
        return _convert_and_resize(image, decoding, clipped=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about broken metadata, not about pixels
            if content[:2] in (b"II", b"MM"):  # but the tags of a TIFF tell how and where its pixels are
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


def read_dimensions(content: bytes) -> tuple[int, int]:
    """Return an image file's width and height from its header. No pixel is decoded.

    Raises:
        DecodeError: It is no image of a format that is read.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as file:
            return file.size
    except Exception as error:  # as in `decode`
        raise DecodeError(f"cannot be read: {error or type(error).__name__}") from error


def _decode(content: bytes, decoding: Decoding) -> Decoded:
    """Decode any image file. All errors of decoders may come out."""
    if not content:
        raise DecodeError("the file is empty")
    with Image.open(io.BytesIO(content), formats=FORMATS) as file:
        if file.width * file.height > MAX_PIXELS:
            raise DecodeError(f"{file.width} × {file.height} pixels; at most {MAX_PIXELS:,} are read")
        file.load()  # the first frame
        if file.format == "PNG":
            if not has_valid_checksums(content):
                raise DecodeError("damaged: its checksum does not match")
            _scale_transparency(file, depth=content[24])
        image = _apply_orientation(file)
    clipped = 0
    if image.mode in _DEEP_MODES:
        image, clipped = _scale_deep(image, decoding)
    return _convert_and_resize(_flatten(image, decoding.background), decoding, clipped=clipped)


def _convert_and_resize(image: Image.Image, decoding: Decoding, *, clipped: int) -> Decoded:
    """Convert an upright, opaque image (mode L or RGB) to the recipe's channels and size."""
    mode = "L" if decoding.channels == 1 else "RGB"
    values = resize_image(image if image.mode == mode else image.convert(mode), decoding).tobytes()
    pixels = np.frombuffer(values, dtype=np.uint8).reshape(decoding.size, decoding.size, decoding.channels)
    grey = mode == "L" or values[0::3] == values[1::3] == values[2::3]
    return Decoded(pixels=pixels, grey=grey, clipped=clipped)


def _decode_plain_png(content: bytes) -> Image.Image | None:
    """Decode a plain PNG file. The result is None for every other file.

    For 32 × 32 pixels this takes half as long as `Image.open`, which gives the same pixels. No file is
    refused here: `Image.open` gets every unusual file, and finds the reasons of all refusals.
    """
    png = read_plain_png(content, max_pixels=MAX_PIXELS)
    if png is None:
        return None
    try:
        return Image.frombytes(png.mode, png.size, png.compressed, "zip", png.mode, 0)
    except ValueError:  # there are too few pixels, or none
        return None


def _scale_transparency(file: Image.Image, *, depth: int) -> None:
    """Scale a PNG's transparent colour to 8 bits. Pillow scales only the pixels."""
    match file.info.get("transparency"):
        case int(grey) if file.mode == "L":
            file.info["transparency"] = grey * 255 // (2**depth - 1)
        case tuple(colour) if depth == 16:
            file.info["transparency"] = tuple(value >> 8 for value in colour)


def _apply_orientation(file: Image.Image) -> Image.Image:
    """Return the image upright, by its EXIF orientation."""
    try:
        transpose = _TRANSPOSE_OF_ORIENTATION.get(file.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # the metadata are broken, but the pixels are whole
        return file
    return file if transpose is None else file.transpose(transpose)


def _iter_bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield bands of rows of an image, each with its first row. A small image is one band.

    Band by band, work that needs several copies of an image, or eight bytes a pixel, takes little memory.
    """
    rows = max(1, MAX_BAND_PIXELS // image.width)
    if image.height <= rows:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _scale_deep(image: Image.Image, decoding: Decoding) -> tuple[Image.Image, int]:
    """Scale deep greyscale to 8 bits by the data set's range. Return the number of pixels outside it, too."""
    if decoding.deep_range is None:
        raise DeepImageError(*_find_range(image))
    low, high = decoding.deep_range
    factor = 255 / (high - low) if high > low else 0.0
    grey, alpha = Image.new("L", image.size), Image.new("L", image.size, 255)
    clipped, transparent = 0, False
    for top, band in _iter_bands(image):
        values, opaque = _read_deep_values(band)
        scaled = np.clip(((values - low) * factor).round(), 0, 255).astype(np.uint8)
        grey.paste(Image.fromarray(scaled), (0, top))
        clipped += int((((values < low) | (values > high)) & opaque).sum())
        if not opaque.all():
            transparent = True
            alpha.paste(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)), (0, top))
    if transparent:
        grey.putalpha(alpha)
    return grey, clipped


def _find_range(image: Image.Image) -> tuple[float, float]:
    """Return the lowest and the highest value of deep greyscale: of its opaque pixels, if it has any."""
    all_bounds, opaque_bounds = [], []
    for _, band in _iter_bands(image):
        values, opaque = _read_deep_values(band)
        all_bounds += [values.min(), values.max()]
        if opaque.any():
            opaque_bounds += [values[opaque].min(), values[opaque].max()]
    bounds = opaque_bounds or all_bounds
    return float(min(bounds)), float(max(bounds))


def _read_deep_values(band: Image.Image) -> tuple[Floats, Bools]:
    """Return the values of deep greyscale, float64 (H, W), and whether each is opaque."""
    values = np.asarray(band).astype(np.float64)
    if not np.isfinite(values).all():
        raise DecodeError("has pixels that are not numbers")
    return values, values != band.info.get("transparency")


def _flatten(image: Image.Image, background: str) -> Image.Image:
    """Return the image in mode L or RGB, with the background behind transparent pixels."""
    if not image.has_transparency_data:
        return image.convert("L" if image.mode in ("L", "1") else "RGB")
    flat = Image.new("RGB", image.size)
    for top, band in _iter_bands(image):
        under = Image.new("RGBA", band.size, ImageColor.getrgb(background)[:3])
        flat.paste(Image.alpha_composite(under, band.convert("RGBA")).convert("RGB"), (0, top))
    return flat


def resize_image(image: Image.Image, decoding: Decoding) -> Image.Image:
    """Resize an image (mode L or RGB) to the recipe's square. No other function of Foveal resizes images.

    It is bilinear, and antialiased when shrinking: each result is an average over the area that it covers.
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


def resize_images(images: Pixels, decoding: Decoding) -> Pixels:
    """Convert and resize images in memory as image files are, from uint8 (N, H, W, C) to (N, S, S, C').

    C is 1 or 3. Images that have the resulting shape already are returned as they are.
    """
    shape = (len(images), decoding.size, decoding.size, decoding.channels)
    if images.shape == shape:
        return np.ascontiguousarray(images)
    resized = np.empty(shape, dtype=np.uint8)
    for index, pixels in enumerate(images):
        plane = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        resized[index] = _convert_and_resize(Image.fromarray(plane), decoding, clipped=0).pixels
    return resized


def encode_png(pixels: Pixels) -> bytes:
    """Encode uint8 pixels (H, W) or (H, W, 3) as PNG, without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=False)
    return file.getvalue()


def encode_webp(pixels: Pixels, *, lossless: bool) -> bytes:
    """Encode uint8 pixels (H, W, 3) as WebP for web pages. Each side is at most 16,383 pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="WEBP", lossless=lossless, quality=82, method=4)
    return file.getvalue()
