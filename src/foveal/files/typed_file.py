"""A JSON file as a frozen dataclass, or one line that says what is wrong with it."""

from pathlib import Path
from typing import TypeVar

from foveal.errors import RunError
from foveal.files.atomic import read_json_with_digest
from foveal.files.typed_json import read

T = TypeVar("T")


def read_file(path: Path, expected: type[T], *, limit: int | None = None) -> T:
    """Read a JSON file with its digest, of `limit` bytes at most, as a dataclass; see `typed_json.read`.

    Raises:
        RunError: The file is missing, too large, no JSON, or not as Foveal writes it.
    """
    value = read_json_with_digest(path, limit=limit)
    try:
        return read(value, expected, path.stem)
    except ValueError as error:
        raise RunError(f"{path} is not as Foveal wrote it: {error}") from error
