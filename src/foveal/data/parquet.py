"""Parquet files -> tables of texts, and the images inside such files. It needs the package pyarrow."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from foveal.data.table import Table
from foveal.errors import DataError, MissingExtraError

_ROWS_PER_BATCH = 256  # images are read in such pieces
_MAX_NAME_BYTES = 200  # of an extracted file's name, where 255 are possible
_EXTENSIONS = (
    (b"\x89PNG", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"RIFF", "webp"),
    (b"BM", "bmp"),
    (b"II*\x00", "tif"),
    (b"MM\x00*", "tif"),
)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def read_parquet(path: Path) -> Table:
    """Read all columns of a Parquet file but its images' bytes.

    Whole numbers, truth values and categories become texts. The names of the hub's class labels take their
    numbers' place. A missing value becomes an empty text. The cell of an image inside the file is its path
    as it is stored there, or empty.

    Raises:
        DataError: The file is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    with _open(path) as file:
        schema = file.schema_arrow
        class_names = _read_class_names(schema)
        columns, cells, images = [], [], {}
        for field in schema:
            if (kind := _find_image_kind(field.type)) is not None:
                inner, n_images = _read_image_column(file, field.name, kind)
                columns.append(field.name)
                cells.append(inner)
                if n_images:
                    images[field.name] = n_images
            elif _is_readable(field.type):
                values = file.read(columns=[field.name]).column(field.name).to_pylist()
                columns.append(field.name)
                cells.append([_to_text(value, class_names.get(field.name)) for value in values])
    n_rows = len(cells[0]) if cells else 0
    if n_rows == 0:
        raise DataError(f"{path} has no rows of texts or numbers")
    return Table(
        path=path,
        columns=tuple(columns),
        rows=tuple(zip(*cells, strict=True)),
        lines=tuple(range(1, n_rows + 1)),
        unit="row",
        images=images,
    )


def iter_images(path: Path, column: str) -> Iterator[bytes | None]:
    """Yield the bytes of the image in each row, or None where there are none."""
    with _open(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH, columns=[column]):
            for value in batch.column(0).to_pylist():
                yield value.get("bytes") if isinstance(value, dict) else value


def name_images(table: Table, column: str) -> list[str] | None:
    """Return the file names of a column's images as they are stored, or None if these cannot be files' names.

    Such names are relative, all different and below one folder; no name is a folder of another.
    """
    index = table.columns.index(column)
    names = [row[index] for row in table.rows]
    folders = {parent.as_posix().casefold() for name in names for parent in PurePosixPath(name).parents}
    distinct = {name.casefold() for name in names}
    if len(distinct) < len(names) or distinct & folders or not all(map(_is_plain_name, names)):
        return None
    return names


def get_extension(content: bytes) -> str:
    """Return the usual extension of an image's file, from its first bytes."""
    return next((extension for magic, extension in _EXTENSIONS if content.startswith(magic)), "img")


def _is_plain_name(name: str) -> bool:
    parts = name.split("/")
    return (
        bool(name)
        and re.search(r'[\x00-\x1f\x7f\\:*?"<>|]', name) is None
        and len(name.encode("utf-8", "surrogateescape")) <= _MAX_NAME_BYTES
        and all(part and not part.startswith(".") and not _RESERVED.fullmatch(part) for part in parts)
    )


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a Parquet file for the block."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as Parquet: {problem}; is the file whole?") from error


def _find_image_kind(kind: Any) -> Any:  # noqa: ANN401 - a type of pyarrow
    """Return the type of a column that may hold images' bytes: binary, or the hub's {bytes, path}."""
    from pyarrow import types

    if types.is_struct(kind):
        return kind if kind.get_field_index("bytes") >= 0 else None
    return kind if types.is_binary(kind) or types.is_large_binary(kind) else None


def _read_image_column(file: Any, name: str, kind: Any) -> tuple[list[str], int]:  # noqa: ANN401 - pyarrow's
    """Return the path that is stored with each image of a column, and how many have bytes."""
    from pyarrow import types

    paths: list[str] = []
    n_images = 0
    for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH, columns=[name]):
        column = batch.column(0)
        if types.is_struct(kind):
            n_images += len(column) - column.field("bytes").null_count
            has_paths = kind.get_field_index("path") >= 0
            stored = column.field("path").to_pylist() if has_paths else [None] * len(column)
            paths += [text if isinstance(text, str) else "" for text in stored]
        else:
            n_images += len(column) - column.null_count
            paths += [""] * len(column)
    return paths, n_images


def _is_readable(kind: Any) -> bool:  # noqa: ANN401 - a type of pyarrow
    """Tell whether a column holds single texts, numbers, truth values or times."""
    from pyarrow import types

    return not types.is_nested(kind) and not types.is_binary(kind)


def _read_class_names(schema: Any) -> dict[str, list[str]]:  # noqa: ANN401 - a schema of pyarrow
    """Return the names of the classes that the hub stores for columns of numbers."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and isinstance(feature.get("names"), list)
        }
    except (LookupError, ValueError, TypeError, AttributeError):
        return {}


def _to_text(value: object, class_names: list[str] | None) -> str:
    """Return a value as a text. A missing value is empty; a number that is whole has no point."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if class_names is not None and isinstance(value, int):
        return class_names[value] if 0 <= value < len(class_names) else ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
