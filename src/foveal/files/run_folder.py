"""The run folder: its files, how they are written, and what state it is in."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from foveal.errors import OutsideError, RecipeError, RunError
from foveal.files.typed_json import read, require

State = Literal["created", "training", "interrupted", "trained", "evaluated"]

# What the files of a run must have for whoever reads them, in the terms of `reading.require`. They may come
# from a stranger.
_ENVIRONMENT = {
    "foveal": str,
    "threads": int,
    "seed": int,
    "data": str,
    "validation": (str, None),
    "group": (str, None),
    "share": (float, None),
    "cache": (str, None),
    "own_augmentation": bool,
}
_SPLIT = {"n": int, "classes": [int], "files": [[str]]}
_DATASET = {
    "fingerprint": str,
    "classes": [str],
    "rule": str,
    "splits": {"train": _SPLIT, "validation": _SPLIT, "test": _SPLIT},
    "left_out": [{"path": str, "reason": str}],
}
_EVENTS: Mapping[str, Mapping[str, object]] = {
    "plan": {
        "seconds": float,
        "pace": {"low": float, "full": float, "share": float},
        "reserve": float,
        "judging": float,
        "most": int,
        "why": [str],
        "more": str,
        "tested": bool,
        "spent": float,
    },
    "budget": {"step": int, "steps": int, "slowdown": float},
    "went back": {"step": int, "to": int},
    "plateau": {"epoch": int, "learning_rate": float},
    "trained": {"stopped": str, "seconds": float, "steps": int},
}


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of `history.jsonl`: what an epoch measured. Losses are mean cross-entropies in nats.

    `loss` and `accuracy` are running means over the epoch's training batches, taken while the weights
    move and with dropout and augmentation on; the validation figures are taken once, at its end, with both
    off. So a training figure compares with other epochs' training figures, not with validation figures.
    """

    epoch: int
    """Counted from 1."""
    step: int
    """Optimizer steps since the run began."""
    learning_rate: float
    """The rate this epoch trained with."""
    loss: float
    accuracy: float
    validation_loss: float | None
    """None where nothing validates."""
    validation_accuracy: float | None


class RunFolder:
    """A folder that holds one run. It knows names and formats, nothing of training.

    Args:
        path: the folder; it must have been made by `RunFolder.create`.

    Raises:
        RunError: the folder is no run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / "recipe.json").is_file():
            missing = "does not exist" if not self.path.exists() else "is no run: it has no recipe.json"
            raise RunError(f"{self.path} {missing}; name a folder that `foveal train` made")

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        recipe: object,
        dataset: object,
        environment: object,
        fill: Callable[["RunFolder"], object] = lambda _folder: None,
    ) -> "RunFolder":
        """Make the folder and write what is known before training; `fill` may write more.

        All is written beside the final name first, so a folder with this name is always a whole run.

        Raises:
            RunError: something with this name exists, or the place cannot be written.
        """
        _refuse_existing(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}; choose another --out") from error
        try:
            with outside_faults(path):
                made.chmod(0o755)  # mkdtemp makes it private; a run is an ordinary folder
                write_json(made / "dataset.json", dataset, indent=None)
                write_json(made / "environment.json", environment)
                write_json(made / "recipe.json", recipe)
                (made / "history.jsonl").touch()
                (made / "checkpoints").mkdir()
                (made / "events.jsonl").touch()
                begun = cls(made)
                begun.event("created")
                fill(begun)
                _sync_folder(made)
                _give_name(made, path)
                _sync_folder(path.parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)  # where it could not be finished
        return cls(path)

    def replace(self, *, dataset: object, environment: object) -> None:
        """Write anew on what the run goes on from now on."""
        write_json(self.path / "dataset.json", dataset, indent=None)
        write_json(self.path / "environment.json", environment)
        self.__dict__.pop("dataset", None)  # what was read before

    # ---- what a run is made of

    @property
    def recipe(self) -> Any:  # noqa: ANN401 - JSON
        """The resolved recipe, as JSON."""
        return read_json(self.path / "recipe.json")

    @cached_property
    def dataset(self) -> Any:  # noqa: ANN401 - JSON
        """Fingerprint, classes, splits and what was left out, as JSON: long, never changed, so read once."""
        return _read_shaped(self.path / "dataset.json", _DATASET)

    @property
    def environment(self) -> Any:  # noqa: ANN401 - JSON
        """Versions, hardware, threads, seed and where the data lay, as JSON."""
        value = _read_shaped(self.path / "environment.json", _ENVIRONMENT)
        if not 0 <= value["seed"] < 2**63:
            raise RunError(f"{self.path / 'environment.json'} has the seed {value['seed']}, which no run has")
        return value

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The folder of the finished model."""
        return self.path / "model"

    @property
    def predictions(self) -> Path:
        """The folder of predictions per image."""
        return self.path / "predictions"

    @property
    def plots(self) -> Path:
        """The folder of pictures."""
        return self.path / "plots"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def evaluation(self) -> Path:
        """Every number of the report."""
        return self.path / "evaluation.json"

    # ---- history and events

    def history(self) -> list[EpochRecord]:
        """Read the epochs trained so far, in order."""
        file = self.path / "history.jsonl"
        records = []
        for number, row in enumerate(read_jsonl(file), start=1):
            try:
                record = read(row, EpochRecord, f"line {number}")
            except RecipeError as error:
                raise RunError(f"{file}, line {number}: not a line of Foveal's history; {error}") from error
            assert isinstance(record, EpochRecord)
            records.append(record)
        return records

    def add_epoch(self, record: EpochRecord) -> None:
        """Append an epoch to the history and sync it to the disk."""
        append_jsonl(self.path / "history.jsonl", asdict(record))

    def cut_history(self, epochs: int) -> None:
        """Keep the first `epochs` lines of the history: those that the checkpoint to go on from knows."""
        kept = self.history()[:epochs]
        text = "".join(json.dumps(asdict(record)) + "\n" for record in kept)
        write_bytes(self.path / "history.jsonl", text.encode())

    def events(self) -> list[dict[str, Any]]:
        """Read what happened to the run and when, oldest first."""
        events = list(read_jsonl(self.path / "events.jsonl"))
        for number, event in enumerate(events, start=1):
            where = f"line {number}"
            try:
                require(event, {"event": str, "time": str, **_EVENTS.get(str(event.get("event")), {})}, where)
                datetime.fromisoformat(event["time"])
            except ValueError as error:
                raise RunError(f"{self.path / 'events.jsonl'} is not as Foveal wrote it: {error}") from error
        return events

    def event(self, what: str, **details: object) -> None:
        """Record that something happened, with the time."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        append_jsonl(self.path / "events.jsonl", {"time": now, "event": what, **details})

    @property
    def state(self) -> State:
        """Where the run is in its life, from its events."""
        state: State = "created"
        for event in self.events():
            match event["event"]:
                case "created" | "training" | "interrupted" | "trained":
                    state = event["event"]
                case "evaluated":
                    state = "evaluated"
        return state


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise RunError(f"{path} exists already; choose another --out, or remove it first")


def _give_name(made: Path, path: Path) -> None:
    """Rename a finished folder; another process may have been first."""
    _refuse_existing(path)  # an empty folder would be replaced
    try:
        made.rename(path)
    except OSError:
        _refuse_existing(path)
        raise


# ---- files: whole or not at all


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it holds the old content or the new, never a part of either."""
    part = path.with_name(f".{path.name}.part")
    with outside_faults(path):
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):  # on a full disk above all: give back what was taken
                part.unlink()
            raise
        _sync_folder(path.parent)


def write_json(path: Path, value: object, *, indent: int | None = 2) -> None:
    """Write JSON atomically. NaN and infinities are refused: JSON has none."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8", "surrogateescape"))


def read_json(path: Path, *, limit: int | None = None) -> Any:  # noqa: ANN401 - JSON
    """Read a JSON file, of `limit` bytes at most.

    Raises:
        RunError: it is missing, too large, or no JSON.
    """
    try:
        if limit is not None and path.stat().st_size > limit:
            raise RunError(f"{path} is larger than {limit:,} bytes")
        return json.loads(_read(path).decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; is {path.parent} a whole run?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def append_jsonl(path: Path, row: Mapping[str, object]) -> None:
    """Append one JSON line and sync it to the disk; a line that a crash cut short before is removed."""
    content = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "surrogateescape")
    with outside_faults(path), path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Read JSON lines, leaving out a last line that a crash cut short."""
    try:
        lines = _read(path).decode("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    for number, text in enumerate(lines[:-1], start=1):  # what follows the last newline is a torn line
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}, line {number}: {error}") from error
        if not isinstance(row, dict):
            raise RunError(f"{path}, line {number}: not an object")
        yield row


def _read_shaped(path: Path, shape: Mapping[str, object]) -> Any:  # noqa: ANN401 - JSON
    value = read_json(path)
    try:
        require(value, dict(shape), path.stem)
    except RecipeError as error:
        raise RunError(f"{path} is not as Foveal wrote it: {error}") from error
    return value


def _read(path: Path) -> bytes:
    """Read an ordinary file: a pipe would be waited on forever, and a device might never end."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is no ordinary file")
    return path.read_bytes()


@contextmanager
def outside_faults(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses inside the block into one clear line."""
    try:
        yield
    except OSError as error:
        raise OutsideError(f"cannot write {path}: {error.strerror or error}") from error


def _sync_folder(path: Path) -> None:
    """Make a rename inside `path` survive a power cut (POSIX; elsewhere a folder cannot be opened)."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
