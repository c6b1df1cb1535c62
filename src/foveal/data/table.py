"""A table of texts, whichever file it was read from: a header, rows, and the place of each row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from foveal.errors import DataError

MAX_NAMES_IN_MESSAGE = 12
"""The number of columns, values or rows that a message shows."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a table as texts. A missing value is an empty text."""

    path: Path
    """The file."""
    columns: tuple[str, ...]
    """The names of the columns, as they stand in the file."""
    rows: tuple[tuple[str, ...], ...]
    """The cells of each row, one for each column."""
    lines: tuple[int, ...]
    """The number of each row's line in a text file, or of the row itself, from 1."""
    unit: Literal["line", "row"]
    """What `lines` counts."""
    images: Mapping[str, int] = field(default_factory=dict)
    """How many rows hold an image's bytes, for each column that has such bytes."""

    def place(self, row: int) -> str:
        """Return the place of a row in words, such as "line 7"."""
        return f"{self.unit} {self.lines[row]}"

    def refuse(self, problem: str) -> DataError:
        """Return the error that refuses the table, or a part of it."""
        return DataError(f"{self.path} {problem}")


def list_some(names: list[str], limit: int = MAX_NAMES_IN_MESSAGE) -> str:
    """Return names for a message, the first of many."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more:,} more" if more > 0 else "")
