"""The list of the runs in a folder, read from the small files of each run."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple, get_args, overload

from foveal.commands import show_command
from foveal.errors import FovealError, RecipeError, RunError
from foveal.files.events import FINISHED, State, Trained, state_after
from foveal.files.lock import read_writer
from foveal.files.processes import is_running
from foveal.files.run_folder import RunFolder
from foveal.files.typed_file import read_file
from foveal.progress import printable
from foveal.tables import html_table, text_table

SCHEMA: Final = 1
"""The version of the JSON of `foveal runs --json`."""
MAX_DEPTH: Final = 4
"""How many levels of folders are searched. The runs of a group lie two levels below `runs`."""
MAX_FILE_BYTES: Final = 64_000_000
"""The size in bytes of the largest file that is read for the list."""
RUN_FILES: Final = ("recipe.json", "environment.json", "events.jsonl", "history.jsonl", "evaluation.json")
"""The files of a run that are read for the list. `dataset.json` is too long: it names every image."""
RUN_MARKERS: Final = frozenset({"recipe.json", "events.jsonl", "history.jsonl"})
"""A folder that has one of these files is a run, or the rest of one."""

SortOrder = Literal["accuracy", "date", "seconds", "name"]
SORT_ORDERS: Final[tuple[str, ...]] = get_args(SortOrder)
"""The names of the orders in which a list can be sorted."""


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One run of a list. An attribute is None where the run does not have the value, or not yet.

    >>> newest = foveal.runs("runs")[0]
    >>> newest.state
    'evaluated'
    """

    path: Path
    """The run folder."""
    name: str
    """The path of the run below the listed folder, with slashes, exactly as the file system has it."""
    state: State | Literal["damaged"]
    """How far the run is. A run whose files cannot be read is damaged."""
    recipe: str | None = None
    """The name of the recipe."""
    seed: int | None = None
    """The seed of the run."""
    epochs: int | None = None
    """The number of finished epochs."""
    validation_accuracy: float | None = None
    """The validation accuracy of the weights that are kept. During training it is the best epoch's so far."""
    test_accuracy: float | None = None
    """The accuracy on the test split, once that was evaluated."""
    seconds: float | None = None
    """The duration of the training in seconds, once it is over."""
    date: datetime | None = None
    """The local time at which the run was created."""
    reason: str | None = None
    """What is wrong with the run."""

    def to_json(self) -> dict[str, Any]:
        """Return the run as plain JSON."""
        return {
            "run": str(self.path),
            "name": self.name,
            "state": self.state,
            "recipe": self.recipe,
            "seed": self.seed,
            "epochs": self.epochs,
            "validation_accuracy": self.validation_accuracy,
            "test_accuracy": self.test_accuracy,
            "seconds": self.seconds,
            "date": None if self.date is None else self.date.isoformat(timespec="seconds"),
            "reason": self.reason,
        }

    def format_cells(self) -> list[str]:
        """Return the cells of a table row, in the order of `COLUMNS`, safe to print on a terminal."""
        return [
            printable(self.name, 100),
            self.state,
            _format_percent(self.test_accuracy),
            _format_percent(self.validation_accuracy),
            "–" if self.epochs is None else f"{self.epochs:,}",
            "–" if self.seconds is None else f"{self.seconds:,.1f}",
            "–" if self.recipe is None else printable(self.recipe, 40),
            "–" if self.seed is None else str(self.seed),
            "–" if self.date is None else f"{self.date:%Y-%m-%d %H:%M}",
        ]


COLUMNS: Final = ("run", "state", "test", "validation", "epochs", "seconds", "recipe", "seed", "begun")
"""The names of the columns of the table."""
NUMBER_COLUMNS: Final = frozenset({2, 3, 4, 5, 7})
"""The indices of the columns that hold numbers."""


class Runs(Sequence[ListedRun]):
    """The runs of a folder, sorted. Printed, it is a table.

    >>> runs = foveal.runs("runs", sort="name")
    >>> runs[0].name
    'first'
    """

    def __init__(self, folder: Path, listed_runs: Sequence[ListedRun]) -> None:
        self.folder = folder
        self._runs = tuple(listed_runs)

    @overload
    def __getitem__(self, index: int) -> ListedRun: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ListedRun]: ...
    def __getitem__(self, index: int | slice) -> ListedRun | Sequence[ListedRun]:
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[ListedRun]:
        return iter(self._runs)

    def to_json(self) -> dict[str, Any]:
        """Return the list as plain JSON, as `foveal runs --json` prints it."""
        return {
            "schema": SCHEMA,
            "folder": str(self.folder),
            "runs": [run.to_json() for run in self._runs],
        }

    def __repr__(self) -> str:
        if not self._runs:
            return f"no runs below {printable(str(self.folder), 300)}"
        text = text_table(
            list(COLUMNS), [run.format_cells() for run in self._runs], right=set(NUMBER_COLUMNS)
        )
        notes = [
            f"{printable(run.name, 100)}: {printable(run.reason, 300)}"
            for run in self._runs
            if run.reason is not None
        ]
        return "\n".join([text, *([""] if notes else []), *notes])

    def _repr_html_(self) -> str:
        reasons = ["" if run.reason is None else printable(run.reason, 300) for run in self._runs]
        return html_table(COLUMNS, [run.format_cells() for run in self._runs], tooltips=reasons)


def runs(folder: str | os.PathLike[str] = "runs", *, sort: SortOrder = "date") -> Runs:
    """List the runs below a folder, also those inside groups that `repeat` made.

    A damaged run is listed with the reason. Of symbolic links, only those to runs are followed.

    >>> "first" in [run.name for run in foveal.runs("runs", sort="accuracy")]
    True

    Args:
        folder: The folder that is searched.
        sort: The order of the list. "date" puts the newest run first, "seconds" the quickest. "accuracy" puts
            the best on the test split first, then runs that have only a validation accuracy. Runs that lack
            the value come last.

    Raises:
        RunError: There is no such folder.
        RecipeError: The order is unknown.
    """
    if sort not in SORT_ORDERS:
        raise RecipeError(f"cannot sort by {sort!r}; choose {', '.join(SORT_ORDERS)}")
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{root} is no folder; foveal train DIR makes runs in the folder runs")
    return Runs(root, sorted(map(read_run, find_runs(root)), key=_SORT_KEYS[sort]))


class RunLocation(NamedTuple):
    """Where `find_runs` found a run."""

    path: Path
    """The run folder."""
    name: str
    """The path of the run below the searched folder, with slashes."""
    error: str | None = None
    """Why the folder cannot be opened, or None if it can."""


def find_runs(root: Path) -> Iterator[RunLocation]:
    """Find the runs below a folder, in the order of their names."""
    stack = [(root, "")]
    while stack:
        path, name = stack.pop()
        try:
            with os.scandir(path) as iterator:
                entries = sorted(iterator, key=lambda entry: entry.name)
        except OSError as error:
            yield RunLocation(path, name, f"{path} cannot be read: {error.strerror or error}")
            continue
        if RUN_MARKERS & {entry.name for entry in entries}:
            yield RunLocation(path, name or ".")
            continue
        depth = name.count("/") + (name != "")
        if depth < MAX_DEPTH:
            subfolders = [entry for entry in reversed(entries) if _is_searched(entry)]
            stack += [(Path(entry.path), f"{name}/{entry.name}".lstrip("/")) for entry in subfolders]


def _is_searched(entry: "os.DirEntry[str]") -> bool:
    """Whether runs are searched in an entry of a folder."""
    if entry.name.startswith("."):  # a run that is being created has a hidden name
        return False
    try:
        is_folder = entry.is_dir()
    except OSError:
        return False
    if is_folder and entry.is_symlink():  # a link to another folder than a run might lead in a circle
        return any((Path(entry.path) / marker).exists() for marker in RUN_MARKERS)
    return is_folder


def read_run(location: RunLocation) -> ListedRun:
    """Read what the list shows of a run. If its files are damaged, the reason says so; nothing is raised."""
    path, name, unreadable = location
    if unreadable is not None:
        return ListedRun(path=path, name=name, state="damaged", reason=unreadable)
    try:
        return _read_files(path, name)
    except (FovealError, OSError, ValueError, OverflowError) as error:
        return ListedRun(path=path, name=name, state="damaged", reason=" ".join(str(error).split()))


@dataclass(frozen=True, kw_only=True)
class _NamedRecipe:
    """The name of a recipe, all that the list says of it."""

    IGNORE_UNKNOWN: ClassVar[bool] = True
    name: str


def _read_files(path: Path, name: str) -> ListedRun:
    for file_name in RUN_FILES:
        file = path / file_name
        if file.is_file() and file.stat().st_size > MAX_FILE_BYTES:
            raise RunError(f"{file} is larger than {MAX_FILE_BYTES:,} bytes")
    folder = RunFolder(path)
    recipe = read_file(path / "recipe.json", _NamedRecipe)
    events, history = folder.events(), folder.history()
    state = state_after(events)
    seconds = [event.seconds for event in events if isinstance(event, Trained)]
    _, best_accuracy = min(
        (
            (record.validation_loss, record.validation_accuracy)
            for record in history
            if record.validation_loss is not None
        ),
        key=lambda pair: pair[0],
        default=(None, None),
    )
    scores = folder.scores
    return ListedRun(
        path=path,
        name=name,
        state=state,
        recipe=recipe.name,
        seed=folder.environment.seed,
        epochs=len(history),
        validation_accuracy=best_accuracy if scores.validation is None else scores.validation.accuracy,
        test_accuracy=None if scores.test is None else scores.test.accuracy,
        seconds=seconds[-1] if seconds and state in FINISHED else None,
        date=events[0].when.astimezone() if events else None,
        reason=_describe_lost_process(path) if state == "training" else None,
    )


def _describe_lost_process(path: Path) -> str | None:
    """Return a note if the process that trained a run has ended without saving its state, else None."""
    writer = read_writer(path)
    if writer is None:
        return None
    go_on = f"go on with: {show_command('resume', path)}"
    if writer.ended:
        return f"its process stopped before the end of training; {go_on}"
    return f"its process ended without a word; {go_on}" if is_running(writer) is False else None


def _format_percent(share: float | None) -> str:
    """Format a share as a percentage. A share below 1 is never shown as 100 %."""
    if share is None:
        return "–"
    text = f"{100 * share:.2f}"
    return "> 99.99 %" if text == "100.00" and share < 1 else f"{text} %"


def _by_date(run: ListedRun) -> tuple[Any, ...]:
    return (run.date is None, 0.0 if run.date is None else -run.date.timestamp(), run.name)


def _by_accuracy(run: ListedRun) -> tuple[Any, ...]:
    test, validation = run.test_accuracy, run.validation_accuracy
    return (test is None, -(test or 0), validation is None, -(validation or 0), run.name)


def _by_seconds(run: ListedRun) -> tuple[Any, ...]:
    return (run.seconds is None, run.seconds or 0, run.name)


def _by_name(run: ListedRun) -> tuple[Any, ...]:
    return (run.name,)


_SORT_KEYS: Final[dict[str, Callable[[ListedRun], tuple[Any, ...]]]] = {
    "accuracy": _by_accuracy,
    "date": _by_date,
    "seconds": _by_seconds,
    "name": _by_name,
}
