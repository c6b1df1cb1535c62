"""What can be classified: files, folders, patterns, arrays, PIL images, bytes, open files, lists of any.

What is not certain to be an image as the model knows them is refused, with the way to convert it. No values
are scaled by guess: a network answers on wrongly scaled pixels too, and almost every answer is wrong.
"""

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveal.data.decode import MAX_FILE_BYTES
from foveal.deployment.predictions import expand_pattern, iter_files_below
from foveal.errors import DataError
from foveal.types import Pixels

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""The modes of PIL images that PNG keeps as they are. TIFF keeps the others."""


class PILImage(Protocol):
    """An image of Pillow, which need not be imported here."""

    mode: str

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:  # noqa: ANN401
        """Write the image into a file."""


ImageInput: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | PILImage
    | NDArray[Any]
    | Iterable[Any]
)
"""What can be classified: a path, a folder, a pattern, an encoded image, an open file, a PIL image, a uint8
array (H, W), (H, W, C) or (N, H, W, C) with 1 or 3 channels, or any iterable of these."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image to classify. Exactly one of `path`, `content`, `pixels` and `error` is there."""

    name: str
    """The name in the predictions: the path, or `input[3]` for the fourth image where it has no path."""
    path: str | None = None
    """The path of a file."""
    content: bytes | None = None
    """The bytes of an image file."""
    pixels: Pixels | None = None
    """The pixels, uint8 (1, H, W, C)."""
    error: str | None = None
    """The reason if there is nothing to decode."""
    folders: tuple[str, ...] | None = None
    """The names of the folders from the given one down to the file. It is None where no folder was given."""


def collect_items(images: ImageInput, *, patterns: bool = True) -> list[Item]:
    """Return the images that files, folders, patterns, arrays, bytes, or lists of these stand for.

    Args:
        images: What to classify.
        patterns: Whether names of no file are tried as patterns.

    Raises:
        DataError: Something is no image, or is an array of another type, shape or scale than pixels.
    """
    items: list[Item] = []
    _Collector(items, patterns=patterns).add(images)
    return items


class _Collector:
    """Adds the images of nested inputs to a list."""

    def __init__(self, items: list[Item], *, patterns: bool) -> None:
        self._items = items
        self._patterns = patterns

    def add(self, value: Any) -> None:  # noqa: ANN401 - it is what users bring
        """Add whatever a value stands for."""
        if isinstance(value, Item):
            self._items.append(value)
        elif isinstance(value, str | os.PathLike):
            self._add_path(os.fspath(value))
        elif isinstance(value, bytes | bytearray | memoryview):
            self._items.append(Item(name=self._name, content=bytes(value)))
        elif _is_pil_image(value):
            self._add_pil_image(value)
        elif hasattr(value, "read"):
            self._add_open_file(value)
        elif hasattr(value, "__array__"):
            self._add_array(value)
        elif isinstance(value, Mapping | Set):
            kind = type(value).__name__
            raise DataError(f"{self._name} is a {kind}, which has no fixed order of images; give a list")
        elif isinstance(value, Iterable):
            for element in value:
                self.add(element)
        else:
            raise DataError(
                f"{self._name} is of the type {type(value).__name__}, which is no image; give paths, "
                f"folders, uint8 arrays, PIL images, bytes, open files, or lists of these"
            )

    @property
    def _name(self) -> str:
        return f"input[{len(self._items)}]"

    def _add_path(self, path: str | bytes) -> None:
        name = os.fsdecode(path)
        for match in expand_pattern(name) if self._patterns else [name]:
            if not Path(match).is_dir():
                self._items.append(Item(name=match, path=match))
                continue
            folder = Path(match)
            for file in iter_files_below(match):
                below = Path(file).relative_to(folder).parent.parts
                self._items.append(Item(name=file, path=file, folders=(folder.resolve().name, *below)))

    def _add_pil_image(self, image: Any) -> None:  # noqa: ANN401 - Pillow need not be imported
        name = self._name
        with suppress(AttributeError, TypeError):
            name = os.fspath(image.filename) or name
        file = io.BytesIO()
        try:
            options: dict[str, Any] = {"format": "TIFF"}
            if image.mode in _PNG_MODES:
                options = {"format": "PNG", "compress_level": 1}
            with suppress(Exception):  # broken metadata: the image is taken as it is
                options["exif"] = image.getexif().tobytes()
            image.save(file, **options)
        except Exception as error:  # decoders raise a dozen different types on broken files
            reason = f"this PIL image of mode {image.mode} cannot be used: {error}; try image.convert('RGB')"
            self._items.append(Item(name=name, error=reason))
        else:
            self._items.append(Item(name=name, content=file.getvalue()))

    def _add_open_file(self, file: Any) -> None:  # noqa: ANN401 - whatever has a method `read`
        name = getattr(file, "name", None)
        name = name if isinstance(name, str) else self._name
        try:
            content = file.read(MAX_FILE_BYTES + 1)
            at_end = not content and file.tell() > 0
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self._items.append(Item(name=name, error=f"cannot be read: {error}"))
            return
        if isinstance(content, str):
            raise DataError(f"{name} is open as text; open it as bytes: open(path, 'rb')")
        if at_end:
            self._items.append(
                Item(name=name, error="the file was read to its end before; file.seek(0) rewinds it")
            )
        else:
            self._items.append(Item(name=name, content=bytes(content or b"")))

    def _add_array(self, value: Any) -> None:  # noqa: ANN401 - whatever becomes an array
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:  # such as a tensor on another device
            raise DataError(f"{self._name} cannot become a NumPy array: {error}") from error
        if array.dtype.kind in "UO" and array.ndim == 1:  # paths, say
            for element in array.tolist():
                self.add(element)
            return
        for pixels in as_pixels(array, self._name):
            self._items.append(Item(name=self._name, pixels=pixels[np.newaxis]))


def _is_pil_image(value: object) -> bool:
    return any((kind.__module__, kind.__name__) == ("PIL.Image", "Image") for kind in type(value).__mro__)


# ---- arrays


def as_pixels(array: NDArray[Any], name: str) -> Iterator[Pixels]:
    """Yield the images (H, W, C) of an array of pixels (H, W), (H, W, C) or (N, H, W, C).

    Raises:
        DataError: Its type, shape or scale is not that of pixels. The message says how to convert it.
    """
    _check_type(array, name)
    _check_shape(array.shape, name)
    if array.size and array.max() == 1:
        raise DataError(
            f"{name} has no value above 1, which is all but black; if 1 is to be white: x * np.uint8(255)"
        )
    if array.ndim == 2:
        array = array[..., np.newaxis]
    yield from array if array.ndim == 4 else [array]


def _check_type(array: NDArray[Any], name: str) -> None:
    """Refuse arrays of another type than uint8."""
    if array.dtype == np.uint8:
        return
    text = f"{name} is an array of {array.dtype}; pixels are uint8 from 0 to 255"
    if array.dtype.kind not in "biuf" or not array.size:
        raise DataError(f"{text}; give such an array, or the path of a file")
    low, high = float(array.min()), float(array.max())
    raise DataError(
        f"{text}, these values go from {low:g} to {high:g}; {_suggest_conversion(array.dtype, low, high)}"
    )


def _suggest_conversion(dtype: np.dtype[Any], low: float, high: float) -> str:
    """Say how values between two bounds may become pixels."""
    if dtype.kind == "b":
        return "if true is white: x.astype(np.uint8) * 255"
    if not np.isfinite([low, high]).all():
        return "they must all be numbers"
    if dtype.kind == "f" and low >= 0 and high <= 1:
        return "if 1 is white: (x * 255).round().astype(np.uint8)"
    if dtype.kind == "f" and low >= -1 and high <= 1:
        return "if -1 is black and 1 is white: ((x + 1) * 127.5).round().astype(np.uint8)"
    if low >= 0 and high <= 255:
        return "if 255 is white: x.round().astype(np.uint8)"
    if dtype == np.uint16:
        return "if it is deep greyscale (H, W) as in training: PIL.Image.fromarray(x), which the model scales"
    return "scale them to 0 to 255 as the images of the training were, then .round().astype(np.uint8)"


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    """Refuse arrays of another shape than images have."""
    text = (
        f"{name} has the shape {shape}; images are (height, width), (height, width, channels) or (N, height, "
    )
    text += "width, channels), with 1 or 3 channels"
    if len(shape) not in (2, 3, 4):
        raise DataError(text)
    if 0 in shape[-3 if len(shape) > 2 else 0 :]:
        raise DataError(f"{text}, and none of it is empty")
    if len(shape) == 2 or shape[-1] in (1, 3):
        return
    if shape[-1] == 4:
        raise DataError(
            f"{text}; without the fourth: x[..., :3]; if it is transparency: PIL.Image.fromarray(x) for each"
        )
    if shape[-3] in (1, 3):
        raise DataError(f"{text}, which come last: np.moveaxis(x, {len(shape) - 3}, -1)")
    if len(shape) == 3:
        raise DataError(f"{text}; if these are {shape[0]} grey images: x[..., np.newaxis]")
    raise DataError(text)
