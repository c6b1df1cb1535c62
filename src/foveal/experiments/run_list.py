"""The runs of a folder, as a list: what each is, how far it is, and what came of it, from its small files."""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args, overload

from foveal.errors import FovealError, RecipeError, RunError
from foveal.files.run_folder import RunFolder, State, read_json
from foveal.files.typed_json import require
from foveal.progress import printable
from foveal.tables import html_table, text_table

SCHEMA: Final = 1
DEPTH: Final = 4
"""Folders in folders are searched so deep: runs of a group lie two below `runs`."""
LARGEST: Final = 64_000_000
"""Bytes of a file that is still read for the list."""
READ: Final = ("recipe.json", "environment.json", "events.jsonl", "history.jsonl", "evaluation.json")
"""What is read of a run. `dataset.json` is not: it names every image."""
MARKS: Final = frozenset({"recipe.json", "events.jsonl", "history.jsonl"})
"""A folder with one of these is a run, or what is left of one."""

Sort = Literal["accuracy", "date", "seconds", "name"]
ORDERS: Final[tuple[str, ...]] = get_args(Sort)


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """What a list says of a run. What it does not have, or not yet, is None."""

    path: Path
    name: str
    """Its path below the folder that was listed, with slashes, as the file system has it."""
    state: State | Literal["damaged"]
    recipe: str | None = None
    seed: int | None = None
    epochs: int | None = None
    """Finished so far."""
    validation_accuracy: float | None = None
    """Of the weights that are kept: the best epoch's, while it trains the best one's so far."""
    test_accuracy: float | None = None
    seconds: float | None = None
    """Of training, once it is over."""
    date: datetime | None = None
    """When it was begun, in local time."""
    reason: str | None = None
    """What is wrong with it."""

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON."""
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

    def cells(self) -> list[str]:
        """Write it as the cells of a row, in the order of `HEADER`, harmless on a terminal."""
        return [
            printable(self.name, 100),
            self.state,
            _percent(self.test_accuracy),
            _percent(self.validation_accuracy),
            "–" if self.epochs is None else f"{self.epochs:,}",
            "–" if self.seconds is None else f"{self.seconds:,.1f}",
            "–" if self.recipe is None else printable(self.recipe, 40),
            "–" if self.seed is None else str(self.seed),
            "–" if self.date is None else f"{self.date:%Y-%m-%d %H:%M}",
        ]


HEADER: Final = ("run", "state", "test", "validation", "epochs", "seconds", "recipe", "seed", "begun")
RIGHT: Final = frozenset({2, 3, 4, 5, 7})
"""Columns of numbers."""


class Runs(Sequence[ListedRun]):
    """The runs of a folder, sorted. It shows itself as a table."""

    def __init__(self, folder: Path, listed: Sequence[ListedRun]) -> None:
        self.folder = folder
        self._listed = tuple(listed)

    @overload
    def __getitem__(self, index: int) -> ListedRun: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ListedRun]: ...
    def __getitem__(self, index: int | slice) -> ListedRun | Sequence[ListedRun]:
        return self._listed[index]

    def __len__(self) -> int:
        return len(self._listed)

    def __iter__(self) -> Iterator[ListedRun]:
        return iter(self._listed)

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON: the contract's `runs --json`."""
        return {
            "schema": SCHEMA,
            "folder": str(self.folder),
            "runs": [each.to_json() for each in self._listed],
        }

    def __repr__(self) -> str:
        if not self._listed:
            return f"no runs below {printable(str(self.folder), 300)}"
        laid = text_table(list(HEADER), [each.cells() for each in self._listed], right=set(RIGHT))
        notes = [
            f"{printable(each.name, 100)}: {printable(each.reason, 300)}"
            for each in self._listed
            if each.reason is not None
        ]
        return "\n".join([laid, *([""] if notes else []), *notes])

    def _repr_html_(self) -> str:
        reasons = ["" if run.reason is None else printable(run.reason, 300) for run in self._listed]
        return html_table(HEADER, [run.cells() for run in self._listed], tooltips=reasons)


def runs(folder: str | os.PathLike[str] = "runs", *, sort: Sort = "date") -> Runs:
    """List the runs below a folder, also those inside groups that `repeat` made.

    Sorted are they by date (the newest first), accuracy (on the test split; then those that have only been
    validated), seconds (the quickest first) or name; what lacks the figure comes last. A damaged run is
    listed with the reason. Symbolic links are followed to runs, but not searched for more.

    Raises:
        RunError: there is no such folder.
        RecipeError: an unknown order.
    """
    if sort not in ORDERS:
        raise RecipeError(f"cannot sort by {sort!r}; choose {', '.join(ORDERS)}")
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{root} is no folder; foveal train DIR makes runs in the folder runs")
    return Runs(root, sorted(map(look, find(root)), key=_KEYS[sort]))


def find(root: Path) -> Iterator[tuple[Path, str, str | None]]:
    """Find the runs below a folder, in the order of their names.

    Given are of each its path, its path below `root`, and why it cannot even be opened, or None.
    """
    waiting = [(root, "")]
    while waiting:
        path, name = waiting.pop()
        try:
            with os.scandir(path) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield path, name, f"{path} cannot be read: {error.strerror or error}"
            continue
        if MARKS & {entry.name for entry in inside}:
            yield path, name or ".", None
            continue
        if name.count("/") + (name != "") >= DEPTH:
            continue
        for entry in reversed(inside):
            if entry.name.startswith(".") or not _is_folder(entry):  # a run being made has a hidden name
                continue
            below = Path(entry.path)
            if entry.is_symlink() and not any((below / mark).exists() for mark in MARKS):
                continue  # it might lead in a circle
            waiting.append((below, f"{name}/{entry.name}".lstrip("/")))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def look(found: tuple[Path, str, str | None]) -> ListedRun:
    """Read what the list says of a run that `find` found; whatever is wrong with it is its reason."""
    path, name, unreadable = found
    if unreadable is not None:
        return ListedRun(path=path, name=name, state="damaged", reason=unreadable)
    try:
        return _read(path, name)
    except (FovealError, OSError, ValueError, OverflowError) as error:
        return ListedRun(path=path, name=name, state="damaged", reason=" ".join(str(error).split()))


def _read(path: Path, name: str) -> ListedRun:
    for each in READ:
        file = path / each
        if file.is_file() and file.stat().st_size > LARGEST:
            raise RunError(f"{file} is larger than {LARGEST:,} bytes")
    folder = RunFolder(path)
    recipe = folder.recipe
    require(recipe, {"name": str}, "recipe.json")
    events, history = folder.events(), folder.history()
    state = folder.state
    seconds = [event["seconds"] for event in events if event["event"] == "trained"]
    best = min(
        (
            (each.validation_loss, each.validation_accuracy)
            for each in history
            if each.validation_loss is not None
        ),
        key=lambda pair: pair[0],
        default=(None, None),
    )
    validation, test = _judged(folder.evaluation)
    return ListedRun(
        path=path,
        name=name,
        state=state,
        recipe=recipe["name"],
        seed=folder.environment["seed"],
        epochs=len(history),
        validation_accuracy=best[1] if validation is None else validation,
        test_accuracy=test,
        seconds=seconds[-1] if seconds and state in ("trained", "evaluated") else None,
        date=_local(events[0]["time"]) if events else None,
        reason=_gone(path) if state == "training" else None,
    )


def _judged(file: Path) -> tuple[float | None, float | None]:
    """Read the accuracies on the validation and the test split, as far as they were measured."""
    if not file.is_file():
        return None, None
    whole = read_json(file)
    found: list[float | None] = []
    for split in ("validation", "test"):
        require(whole, {split: (dict, None)}, file.name)
        if whole[split] is not None:
            require(whole[split], {"accuracy": float}, f"{file.name}: {split}")
        found.append(None if whole[split] is None else float(whole[split]["accuracy"]))
    return found[0], found[1]


def _gone(path: Path) -> str | None:
    """Say that the process that trained a run has ended without a word, where that can be seen."""
    file = path / ".writer.json"
    if os.name != "posix" or not file.is_file():  # elsewhere to ask for a process may end it
        return None
    who = read_json(file, limit=10_000)
    require(who, {"pid": int, "host": str}, file.name)
    if who["host"] != platform.node() or not 0 < who["pid"] < 2**31:
        return None
    try:
        os.kill(who["pid"], 0)  # asks only whether it is there
    except ProcessLookupError:
        return f"its process ended without a word; go on with: foveal resume {path}"
    except OSError:
        pass  # it is somebody else's
    return None


def _local(time: str) -> datetime:
    found = datetime.fromisoformat(time)
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone()


def _percent(share: float | None) -> str:
    """Write a share; what is not exactly 1 is never written as 100 %."""
    if share is None:
        return "–"
    shown = f"{100 * share:.2f}"
    return "> 99.99 %" if shown == "100.00" and share < 1 else f"{shown} %"


def _by_date(run: ListedRun) -> tuple[Any, ...]:
    return (run.date is None, 0.0 if run.date is None else -run.date.timestamp(), run.name)


def _by_accuracy(run: ListedRun) -> tuple[Any, ...]:
    test, validation = run.test_accuracy, run.validation_accuracy
    return (test is None, -(test or 0), validation is None, -(validation or 0), run.name)


def _by_seconds(run: ListedRun) -> tuple[Any, ...]:
    return (run.seconds is None, run.seconds or 0, run.name)


def _by_name(run: ListedRun) -> tuple[Any, ...]:
    return (run.name,)


_KEYS: Final[dict[str, Callable[[ListedRun], tuple[Any, ...]]]] = {
    "accuracy": _by_accuracy,
    "date": _by_date,
    "seconds": _by_seconds,
    "name": _by_name,
}
