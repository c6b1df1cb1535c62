"""The predictions of a model, and the files and classes that names of folders and patterns stand for."""

import codecs
import glob
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, overload

from foveal import progress
from foveal.data.folders import normalise
from foveal.data.junk import is_junk
from foveal.data.split_names import parse_split_name
from foveal.evaluation.intervals import wilson_interval
from foveal.evaluation.metrics import format_percent
from foveal.tables import html_table, text_table

MAX_HTML_ROWS: Final = 100
"""The number of predictions that a notebook shows. The text table shows all."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction of a model on one image.

    >>> shares = {"cat": 0.9, "dog": 0.1}
    >>> foveal.Prediction(path="a.png", label="cat", probability=0.9, probabilities=shares).label
    'cat'
    """

    path: str
    """The file's path, or `input[3]` for the fourth image where it has none."""
    label: str | None = None
    """The most probable class, or None if the file could not be read."""
    probability: float | None = None
    """The probability of that class."""
    probabilities: dict[str, float] | None = None
    """The probability of every class."""
    error: str | None = None
    """The reason if the file could not be read."""
    unsure: bool | None = None
    """Whether the probability is below the model's threshold. It is None if the model has none."""
    true_label: str | None = None
    """The class that the name of the image's folder tells, where a folder of such folders was given."""


class Predictions(Sequence[Prediction]):
    """Predictions in the order of the images. They show themselves as a table.

    >>> foveal.Predictions([foveal.Prediction(path="a.png", error="the file is empty")])
    file   class                          probability
    ─────  ─────────────────────────────  ───────────
    a.png  unreadable: the file is empty

    Args:
        predictions: The predictions.
        notes: Sentences about all of them, without a full stop, such as their accuracy.
    """

    def __init__(self, predictions: Iterable[Prediction], notes: Iterable[str] = ()) -> None:
        self._predictions = tuple(predictions)
        self.notes = tuple(notes)

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
        return "\n".join([self.table(), *([""] if self.notes else []), *self.notes])

    def _repr_html_(self) -> str:
        header, rows = self._make_rows(self._predictions[:MAX_HTML_ROWS])
        n_more = len(self) - MAX_HTML_ROWS
        notes = [*self.notes, f"and {n_more:,} more, which print() shows"] if n_more > 0 else self.notes
        return html_table(header, rows) + "".join(f"<p>{escape(note)}</p>" for note in notes)

    def table(self) -> str:
        """Return a table with a line for each image: path, class, whether any is unsure, probability."""
        header, rows = self._make_rows(self._predictions)
        return text_table(header, rows, right={len(header) - 1})

    def _make_rows(self, predictions: Sequence[Prediction]) -> tuple[list[str], list[list[str]]]:
        any_unsure = any(prediction.unsure for prediction in self._predictions)
        header = ["file", "class", *(["answer"] if any_unsure else []), "probability"]
        return header, [_format_row(prediction, with_answer=any_unsure) for prediction in predictions]


def _format_row(prediction: Prediction, *, with_answer: bool) -> list[str]:
    label, probability = prediction.label, prediction.probability
    answer = {True: "unsure", False: "sure", None: ""}[prediction.unsure]
    return [
        progress.printable(prediction.path),
        f"unreadable: {prediction.error}" if label is None else progress.printable(label),
        *([answer] if with_answer else []),
        "" if probability is None else f"{probability:.4f}",
    ]


def expand_pattern(name: str) -> list[str]:
    """Return the files and folders that a name stands for: itself, or the matches of a glob pattern, sorted.

    A name of an existing file is no pattern, and a pattern without a match stays as it is.
    """
    if os.path.lexists(name) or not glob.has_magic(name):
        return [name]
    return sorted(glob.glob(name, recursive=True)) or [name]  # noqa: PTH207 - Path.glob takes no absolute pattern


def iter_files_below(folder: str) -> Iterator[str]:
    """Yield the files in and below a folder, in order, but for hidden ones and what programs leave behind."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_junk(name))
        yield from (os.path.join(parent, name) for name in sorted(names) if not is_junk(name))  # noqa: PTH118


def read_list(content: bytes) -> list[str]:
    """Return the paths in a list, one a line, in UTF-8 or UTF-16. Blank lines are passed over.

    Paths may be divided by NUL characters in place of lines, as `find -print0` writes them.

    Raises:
        ValueError: It is an image, or no text.
    """
    if content.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")):
        raise ValueError("it is an image itself; name it without --list")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16")
    else:
        text = os.fsdecode(content.removeprefix(codecs.BOM_UTF8))
    paths = text.split("\0") if "\0" in text else [line.rstrip("\r") for line in text.split("\n")]
    return [path for path in paths if path.strip()]


# ---- images whose folders tell their class


def find_true_label(folders: Sequence[str], classes: Collection[str]) -> tuple[str | None, str | None]:
    """Return the class that the folders of an image name, or the name of a folder that is no class.

    Args:
        folders: The names of the folders from the given one down to the file.
        classes: The names of the model's classes.

    Returns:
        The class or None, and the first folder that is neither a class nor a split or None. A file in the
        given folder itself has neither, unless that folder has the name of a class.
    """
    known = {normalise(name): name for name in classes}
    given, *below = (normalise(name) for name in folders)
    if below and below[0] not in known and parse_split_name(below[0]) is not None:
        below = below[1:]
        if not below:
            return None, None
    if below and below[0] in known:
        return known[below[0]], None
    if given in known:
        return known[given], None
    return None, below[0] if below else None


def describe_accuracy(predictions: Sequence[Prediction]) -> str | None:
    """Say how many predictions agree with the images' folders. It is None if no folder names a class."""
    known = [each for each in predictions if each.true_label is not None and each.label is not None]
    if not known:
        return None
    n, n_correct = len(known), sum(each.label == each.true_label for each in known)
    low, high = wilson_interval(n_correct, n)
    return (
        f"accuracy {format_percent(n_correct / n, n)} (95 % interval {format_percent(low, n)} to "
        f"{format_percent(high, n)}): the folders are named as the model's classes, and {n_correct:,} of "
        f"{n:,} images were given the class of their folder"
    )
