"""Deep images, with more than 8 bits a value: greyscale and colour, whole numbers and floats, to 8 bits.

Pillow gives greyscale as it is, but only the high bytes of 16-bit colour. Their low bytes are read by
decoding such a file again as if its bytes were in the other order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from foveal.data.decode_errors import DecodeError, DeepImageError
from foveal.data.deep_range import sketch_values
from foveal.types import Bools, Floats, Pixels

MAX_BAND_PIXELS = 1_000_000
"""The number of pixels of a large picture that are processed at a time."""
MAX_SKETCHED_PIXELS = 1_000_000
"""About the number of pixels, evenly spread, that a large picture's range is found from."""

_GREY_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
_TIFF_BITS, _TIFF_SAMPLE_FORMAT, _TIFF_PLANES = 258, 339, 284
_OTHER_BYTES = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B",
    "RGBX;16L": "RGBX;16B",
    "RGBX;16B": "RGBX;16L",
    "RGBX;16N": "RGBX;16B",
}
"""How 16-bit colour is read, and how its other bytes are. `N` is the order of the machine: little-endian."""
_GREY_AND_ALPHA = "LA;16B"

Layout = Literal["grey", "unsigned 32", "signed 8", "colour", "grey and alpha"]
"""How the values of a deep image lie in Pillow's images."""


@dataclass(frozen=True, kw_only=True)
class DeepImage:
    """A decoded deep image."""

    layout: Layout
    """How its values lie in the images below."""
    image: Image.Image
    """The values of greyscale, the high bytes of colour, or all four bytes of grey with alpha (as RGBA)."""
    low_bytes: Image.Image | None = None
    """The low bytes of colour."""

    def iter_bands(self) -> Iterator[tuple[int, Floats | Pixels, Pixels | None]]:
        """Yield bands: the first row, the values (H, W) or (H, W, 3), the opacity uint8 (H, W) or None."""
        for top, band in iter_bands(self.image):
            values, opacity = self._read(top, band)
            if not np.isfinite(values).all():
                raise DecodeError("has pixels that are not numbers")
            yield top, values, opacity

    def _read(self, top: int, band: Image.Image) -> tuple[Any, Pixels | None]:
        match self.layout:
            case "colour":
                assert self.low_bytes is not None
                low = self.low_bytes.crop((0, top, band.width, top + band.height))
                high = np.asarray(band)
                values = (high[..., :3].astype(np.uint16) << 8) | np.asarray(low)[..., :3]
                transparent = self.image.info.get("transparency")
                if isinstance(transparent, tuple):
                    return values, _to_opacity((values != np.array(transparent, np.uint16)).any(axis=-1))
                return values, high[..., 3] if high.shape[-1] == 4 else None
            case "grey and alpha":
                parts = np.asarray(band).astype(np.uint16)  # (H, W, 4): the bytes as they lie in the file
                return (parts[..., 0] << 8) | parts[..., 1], parts[..., 2].astype(np.uint8)
            case "unsigned 32":
                values = np.asarray(band).view(np.uint32)
            case "signed 8":
                values = np.asarray(band).view(np.int8)
            case "grey":
                values = np.asarray(band)
        values = values.astype(np.float64)
        transparent = self.image.info.get("transparency")
        return values, None if transparent is None else _to_opacity(values != transparent)


def open_deep(file: Image.Image, *, open_again: Callable[[], Image.Image]) -> DeepImage | None:
    """Load a file, opened but not loaded, if it is a deep image. The result is None for every other image.

    Args:
        file: The opened file.
        open_again: A function that opens the file once more.
    """
    layout = find_layout(file)
    if layout is None:
        return None
    if layout == "colour":
        other = open_again()
        _change_raw_mode(other, _OTHER_BYTES)
        file.load()
        return DeepImage(layout=layout, image=file, low_bytes=other)
    if layout == "grey and alpha":
        _change_raw_mode(file, {_GREY_AND_ALPHA: "RGBA"})
    file.load()
    return DeepImage(layout=layout, image=file)


def find_layout(file: Image.Image) -> Layout | None:
    """Return how the values of an opened file lie in Pillow's images, or None if it is not deep."""
    if file.format == "TIFF":
        tags: Any = file.tag_v2  # type: ignore[attr-defined]
        bits, kind = tags.get(_TIFF_BITS, (1,)), tags.get(_TIFF_SAMPLE_FORMAT, (1,))
        if file.mode == "L" and kind == (2,) and bits == (8,):
            return "signed 8"
        if file.mode == "I" and kind == (1,) and bits == (32,):
            return "unsigned 32"
        if bits[0] == 16 and tags.get(_TIFF_PLANES) == 2 and file.mode not in _GREY_MODES:
            raise DecodeError(
                "a TIFF with 16-bit colours in separate planes, which is not read; save it interleaved"
            )
    if file.mode in _GREY_MODES:
        return "grey"
    raw_modes = {_get_raw_mode(tile) for tile in file.tile}  # type: ignore[attr-defined]
    if raw_modes and raw_modes <= _OTHER_BYTES.keys():
        return "colour"
    return "grey and alpha" if raw_modes == {_GREY_AND_ALPHA} else None


def _get_raw_mode(tile: Any) -> object:  # noqa: ANN401 - one of Pillow's tiles
    return tile.args if isinstance(tile.args, str) else tile.args[0] if tile.args else None


def _change_raw_mode(file: Image.Image, changes: dict[str, str]) -> None:
    """Let a file that is not loaded be read with other raw modes."""

    def change(args: Any) -> Any:  # noqa: ANN401 - the arguments of one of Pillow's decoders
        return changes[args] if isinstance(args, str) else (changes[args[0]], *args[1:])

    opened: Any = file
    opened.tile = [tile._replace(args=change(tile.args)) for tile in opened.tile]
    file.load()


def iter_bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield bands of rows of an image, each with its first row. A small image is one band.

    Band by band, work that needs several copies of an image, or eight bytes a pixel, takes little memory.
    """
    rows = max(1, MAX_BAND_PIXELS // image.width)
    if image.height <= rows:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def scale_deep(deep: DeepImage, deep_range: tuple[float, float] | None) -> tuple[Image.Image, int]:
    """Scale a deep image to 8 bits by the data set's range. Values outside become 0 or 255.

    Returns:
        The image (L or RGB, with alpha if pixels are transparent), and the number of visible pixels outside.

    Raises:
        DeepImageError: There is no range.
        DecodeError: A pixel is no number.
    """
    if deep_range is None:
        raise DeepImageError(_sketch(deep))
    low, high = deep_range
    scaled: Image.Image | None = None
    alpha: Image.Image | None = None
    clipped = 0
    for top, values, opacity in deep.iter_bands():
        pixels, outside = _scale(values, low, high)
        if scaled is None:
            scaled = Image.new("RGB" if pixels.ndim == 3 else "L", deep.image.size)
        scaled.paste(Image.fromarray(pixels), (0, top))
        if opacity is not None:
            outside &= opacity > 0
            if alpha is None:
                alpha = Image.new("L", deep.image.size, 255)
            alpha.paste(Image.fromarray(opacity), (0, top))
        clipped += int(outside.sum())
    assert scaled is not None
    if alpha is not None and alpha.getextrema() != (255, 255):
        scaled.putalpha(alpha)
    return scaled, clipped


def _scale(values: Any, low: float, high: float) -> tuple[Pixels, Bools]:  # noqa: ANN401 - of several types
    """Return values as uint8, and whether a pixel (H, W) has a value outside the range."""
    factor = 255 / (high - low) if high > low else 0.0
    if values.dtype == np.uint16:  # a table of all values is faster
        every = np.arange(65536, dtype=np.float64)
        pixels = np.clip(((every - low) * factor).round(), 0, 255).astype(np.uint8)[values]
    else:
        pixels = np.clip(((values - low) * factor).round(), 0, 255).astype(np.uint8)
    outside = (values < low) | (values > high)
    return pixels, outside.any(axis=-1) if outside.ndim == 3 else outside


def _sketch(deep: DeepImage) -> tuple[float, ...]:
    """Return the sketch of an image's opaque values, or of all its values if none is opaque."""
    step = max(1, round((deep.image.width * deep.image.height / MAX_SKETCHED_PIXELS) ** 0.5))
    bounds: dict[bool, list[float]] = {True: [], False: []}
    parts: dict[bool, list[Any]] = {True: [], False: []}
    for _, values, opacity in deep.iter_bands():
        visible = values if opacity is None else values[opacity > 0]
        thin = values[::step, ::step]
        thin_visible = thin if opacity is None else thin[opacity[::step, ::step] > 0]
        for opaque, each, some in ((True, visible, thin_visible), (False, values, thin)):
            if each.size:
                bounds[opaque] += [float(each.min()), float(each.max())]
                parts[opaque].append(some.ravel())
    opaque = sum(part.size for part in parts[True]) > 0
    return (min(bounds[opaque]), max(bounds[opaque]), *sketch_values(np.concatenate(parts[opaque]))[2:])


def _to_opacity(opaque: Bools) -> Pixels:
    return np.where(opaque, np.uint8(255), np.uint8(0))
