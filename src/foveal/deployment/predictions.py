"""The predictions of a model on files, and the files that names, folders and patterns stand for."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from foveal import progress
from foveal.tables import text_table


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction of a model on one file.

    >>> shares = {"cat": 0.9, "dog": 0.1}
    >>> foveal.Prediction(path="a.png", label="cat", probability=0.9, probabilities=shares).label
    'cat'
    """

    path: str
    """The file's path."""
    label: str | None = None
    """The most probable class, or None if the file could not be read."""
    probability: float | None = None
    """The probability of that class."""
    probabilities: dict[str, float] | None = None
    """The probability of every class."""
    error: str | None = None
    """The reason if the file could not be read."""


class Predictions(Sequence[Prediction]):
    """Predictions in the order of the files. They show themselves as a table.

    >>> foveal.Predictions([foveal.Prediction(path="a.png", error="the file is empty")])
    file   class                          probability
    ─────  ─────────────────────────────  ───────────
    a.png  unreadable: the file is empty
    """

    def __init__(self, predictions: Iterable[Prediction]) -> None:
        self._predictions = tuple(predictions)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Prediction]: ...

    def __getitem__(self, index: int | slice) -> Prediction | Sequence[Prediction]:
        return self._predictions[index]

    def __len__(self) -> int:
        return len(self._predictions)

    @property
    def unreadable(self) -> list[Prediction]:
        """The predictions whose file could not be read."""
        return [prediction for prediction in self._predictions if prediction.error is not None]

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """Return a table with a line for each file: path, class and probability."""
        return text_table(["file", "class", "probability"], [*map(_format_row, self._predictions)], right={2})


def _format_row(prediction: Prediction) -> list[str]:
    label, probability = prediction.label, prediction.probability
    return [
        progress.printable(prediction.path),
        f"unreadable: {prediction.error}" if label is None else progress.printable(label),
        "" if probability is None else f"{probability:.4f}",
    ]


def expand_patterns(files: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Yield the files that names, folders and glob patterns stand for. A name without a match stays."""
    for file in files:
        name = os.fspath(file)
        if Path(name).is_dir():
            yield from _iter_files_below(name)
        elif not Path(name).exists() and glob.has_magic(name):
            matches = glob.glob(name, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
            for match in sorted(matches) or [name]:
                yield from _iter_files_below(match) if Path(match).is_dir() else [match]
        else:
            yield name


def _iter_files_below(folder: str) -> Iterator[str]:
    """Yield the visible files in and below a folder, in order."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(parent, name) for name in sorted(names) if not name.startswith("."))  # noqa: PTH118
