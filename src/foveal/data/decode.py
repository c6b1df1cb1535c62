"""Bytes -> uint8 pixels (S, S, C). No other module imports an image library.

Packing and prediction both decode here, so a model always gets images as it got them in training.
"""

import importlib
import io
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from foveal.data.colour import convert_to_srgb, flatten
from foveal.data.decode_errors import DecodeError as DecodeError
from foveal.data.decode_errors import DeepImageError as DeepImageError
from foveal.data.deep import DeepImage, find_layout, open_deep, scale_deep
from foveal.data.png import has_valid_checksums, read_plain_png
from foveal.data.truncation import (
    find_jpeg_damage,
    has_broken_deflate,
    has_media_zero_tail,
    has_webp_zeros,
    open_jpeg_end,
    read_jpeg_layout,
)
from foveal.errors import RecipeError
from foveal.files.typed_json import read
from foveal.recipe.recipe import MAX_PIXELS, ResizeMode
from foveal.types import Pixels

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "HEIF")
"""The formats of images that are read. HEIF (HEIC) needs the package pillow-heif."""
MAX_FILE_BYTES = 100_000_000
"""The largest size of a file. A larger file is rejected before it is read."""
SECONDS_PER_FILE = 1.0
"""The processor time that the smallest file may take."""
SECONDS_PER_MEGAPIXEL = 0.1
"""The processor time that each million pixels of a picture adds."""
_DEEP = "deep"
SLOW_FORMATS = {"AVIF": 4, "HEIF": 4, _DEEP: 4}
"""How many times as long each million pixels may take: of formats of videos, and of deep images."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0*": "TIFF",
    b"MM\0+": "TIFF",
}
_VAGUE_COMPLAINTS = ("Corrupt EXIF data", "Truncated File Read", "decoder error", "create decoder object")
"""What Pillow says of files of which a part is missing. The tags of a TIFF file are no EXIF data."""
_EXIF_ORIENTATION = 0x0112
_TIFF_SAMPLES = 277
_TIFF_PLACES = ((273, 324), (279, 325))  # of strips and of tiles; their sizes
_TIFF_DEFLATE = ("tiff_adobe_deflate", "tiff_deflate")
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
    """The values of deep images that become 0 and 255, or None if the data set has no deep images."""
    max_pixels: int = MAX_PIXELS
    """The largest number of pixels of a picture. A larger one is rejected before it is decoded."""

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
    """The number of deep pixels outside the range."""
    notes: tuple[str, ...] = ()
    """What is to be noted of the file: kinds of `foveal.data.file_notes`."""


def decode(content: bytes, decoding: Decoding, *, allow: Callable[[float], None] | None = None) -> Decoded:
    """Decode an image file to pixels, uint8 (S, S, C): upright, on an opaque background, resized.

    Args:
        content: The bytes of the file.
        decoding: The settings that make pixels of bytes.
        allow: A function that gets the seconds which a large picture may take, before it is decoded.

    Raises:
        DeepImageError: It is a deep image, and `decoding` has no range for it.
        DecodeError: It is no image, a broken one, a too large one, or of a format that is not read.
    """
    if (image := _decode_plain_png(content, decoding.max_pixels)) is not None:
        return _convert_and_resize(image, decoding)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about broken metadata, not about pixels
            if content[:2] in (b"II", b"MM"):  # but the tags of a TIFF tell how and where its pixels are
                warnings.filterwarnings("error", category=UserWarning)
                warnings.filterwarnings("ignore", message="Metadata Warning")
            return _decode(content, decoding, allow)
    except DecodeError:
        raise
    except UnidentifiedImageError:
        raise DecodeError(_explain_unknown_format(content)) from None
    except MemoryError:
        raise DecodeError("takes more memory to decode than an image of its size should") from None
    except Exception as error:  # decoders raise a dozen different types on broken files
        raise DecodeError(f"cannot be decoded: {_explain_fault(content, error)}") from error


def read_dimensions(content: bytes) -> tuple[int, int]:
    """Return an image file's width and height from its header. No pixel is decoded.

    Raises:
        DecodeError: It is no image of a format that is read.
    """
    try:
        with _open(content) as file:
            return file.size
    except DecodeError:
        raise
    except Exception as error:  # as in `decode`
        raise DecodeError(f"cannot be read: {error or type(error).__name__}") from error


def _explain_unknown_format(content: bytes) -> str:
    """Return the reason for which no decoder takes a file."""
    match _name_format(content):
        case "TIFF":
            return (
                "a TIFF file of a kind that is not read (64-bit values, say), or with damaged tags; save it "
                "with 8 or 16 bits a value, or as 32-bit floats"
            )
        case "":
            return "no image in a known format: " + ", ".join(FORMATS)
        case name:
            return f"cannot be decoded: a {name} file with a damaged or incomplete header"


def _explain_fault(content: bytes, error: Exception) -> str:
    """Return what a decoder complains about, in words that fit the file."""
    text = str(error) or type(error).__name__
    if any(complaint in text for complaint in _VAGUE_COMPLAINTS):
        return f"the {_name_format(content)} file is cut off or damaged"
    return text


def _name_format(content: bytes) -> str:
    """Return the name of the format that a file begins as, or an empty text."""
    if content.startswith(b"RIFF"):
        return "WebP" if content[8:12] == b"WEBP" else ""
    return next((name for magic, name in _MAGIC.items() if content.startswith(magic)), "")


def _open(content: bytes) -> Image.Image:
    """Open an image file. Its size is whatever its header says."""
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
        _register_heif()
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # the data set's own limit is checked with its own words
    try:
        file = Image.open(io.BytesIO(content), formats=FORMATS if "HEIF" in Image.OPEN else FORMATS[:-1])
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return file


def _register_heif() -> None:
    """Let Pillow read HEIF files, if the package for that is installed."""
    if "HEIF" in Image.OPEN:
        return
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        raise DecodeError(
            "a HEIC picture, which needs one more package: pip install 'foveal[heic]'"
        ) from None
    heif.options.DECODE_THREADS = 1  # each worker has a core
    heif.register_heif_opener()


def _decode(content: bytes, decoding: Decoding, allow: Callable[[float], None] | None) -> Decoded:
    """Decode any image file. All errors of decoders may come out."""
    if not content:
        raise DecodeError("the file is empty")
    jpeg = read_jpeg_layout(content) if content.startswith(b"\xff\xd8") else None
    if jpeg is not None:
        if (damage := find_jpeg_damage(content, jpeg)) is not None:
            raise DecodeError(damage)
        content = open_jpeg_end(content, jpeg)
    with _open(content) as file:
        n_pixels = file.width * file.height
        if n_pixels > decoding.max_pixels:
            raise DecodeError(
                f"{file.width} × {file.height} pixels; at most {decoding.max_pixels:,} are read "
                "(--max-pixels)"
            )
        if allow is not None and n_pixels > 1_000_000:
            allow(compute_seconds(n_pixels, file.format if find_layout(file) is None else _DEEP))
        notes = _note_parts(file)
        deep = open_deep(file, open_again=lambda: _open(content))
        if deep is None:
            file.load()  # the first frame
        _check_loaded(file, content, deep)
        image = file._new(file.im)  # without the decoder, which may hold a frame or two
        exif_orientation = _read_orientation(file)
    del file
    clipped = 0
    if deep is not None:
        image, clipped = scale_deep(deep, decoding.deep_range)
        image.info["icc_profile"] = deep.image.info.get("icc_profile") if deep.layout == "colour" else None
        del deep
    image = _apply_orientation(image, exif_orientation)
    image, change = convert_to_srgb(image)
    flat, transparent = flatten(image, decoding.background)
    del image
    notes += [change] if change else []
    notes += ["transparent"] if transparent else []
    notes += ["outside"] if clipped else []
    return _convert_and_resize(flat, decoding, clipped=clipped, notes=tuple(notes))


def compute_seconds(n_pixels: int, file_format: str | None) -> float:
    """Return the processor time that a picture may take."""
    factor = SLOW_FORMATS.get(file_format or "", 1)
    return SECONDS_PER_FILE + SECONDS_PER_MEGAPIXEL * factor * n_pixels / 1e6


def _note_parts(file: Image.Image) -> list[str]:
    """Return notes on what of a file is not used. It is opened, and not loaded."""
    notes = []
    if file.format != "MPO" and getattr(file, "is_animated", False):  # cameras add previews to photographs
        notes.append("pages")
    if file.format == "TIFF":
        tags: Any = file.tag_v2  # type: ignore[attr-defined]
        n_samples = tags.get(_TIFF_SAMPLES, 1)
        if n_samples > len(file.getbands()) and n_samples > 3:
            notes.append("channels")
    return notes


def _check_loaded(file: Image.Image, content: bytes, deep: DeepImage | None) -> None:
    """Refuse a loaded file if something shows only now that it is damaged or cut off."""
    if file.format == "PNG":
        if not has_valid_checksums(content):
            raise DecodeError("damaged: its checksum does not match")
        if deep is None:
            _scale_transparency(file, depth=content[24])
    elif file.format == "TIFF" and file.info.get("compression") in _TIFF_DEFLATE:
        tags: Any = file.tag_v2  # type: ignore[attr-defined]
        offsets, sizes = (tags.get(strips, tags.get(tiles, ())) for strips, tiles in _TIFF_PLACES)
        if has_broken_deflate(content, zip(offsets, sizes, strict=False)):
            raise DecodeError("damaged: its checksum does not match")
    elif (file.format == "WEBP" and has_webp_zeros(content, file.width * file.height)) or (
        file.format in ("AVIF", "HEIF") and has_media_zero_tail(content)
    ):
        raise DecodeError("cut off: the rest of the file is filled with zeros")


def _convert_and_resize(
    image: Image.Image, decoding: Decoding, *, clipped: int = 0, notes: tuple[str, ...] = ()
) -> Decoded:
    """Convert an upright, opaque image (mode L or RGB) to the recipe's channels and size."""
    mode = "L" if decoding.channels == 1 else "RGB"
    values = resize_image(image if image.mode == mode else image.convert(mode), decoding).tobytes()
    pixels = np.frombuffer(values, dtype=np.uint8).reshape(decoding.size, decoding.size, decoding.channels)
    grey = mode == "L" or values[0::3] == values[1::3] == values[2::3]
    return Decoded(pixels=pixels, grey=grey, clipped=clipped, notes=notes)


def _decode_plain_png(content: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image | None:
    """Decode a plain PNG file. The result is None for every other file.

    For 32 × 32 pixels this takes half as long as `Image.open`, which gives the same pixels. No file is
    refused here: `Image.open` gets every unusual file, and finds the reasons of all refusals.
    """
    png = read_plain_png(content, max_pixels=max_pixels)
    if png is None:
        return None
    try:
        return Image.frombytes(png.mode, png.size, png.compressed, "zip", png.mode, 0)
    except ValueError:  # there are too few pixels, or none
        return None


def _scale_transparency(file: Image.Image, *, depth: int) -> None:
    """Scale a PNG's transparent colour to 8 bits. Pillow scales only the pixels."""
    grey = file.info.get("transparency")
    if isinstance(grey, int) and file.mode == "L":
        file.info["transparency"] = grey * 255 // (2**depth - 1)


def _read_orientation(file: Image.Image) -> int:
    try:
        orientation = file.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # the metadata are broken, but the pixels are whole
        return 1
    return orientation if isinstance(orientation, int) else 1


def _apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image upright, by its EXIF orientation."""
    transpose = _TRANSPOSE_OF_ORIENTATION.get(orientation)
    return image if transpose is None else image.transpose(transpose)


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
        resized[index] = _convert_and_resize(Image.fromarray(plane), decoding).pixels
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
