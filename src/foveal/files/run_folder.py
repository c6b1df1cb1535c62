"""The run folder: which files it has, and in what state the run is."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from foveal.errors import RunError
from foveal.files.atomic import (
    DIGEST_KEY,
    append_jsonl,
    encode_line,
    outside_faults,
    read_json,
    read_json_with_digest,
    read_jsonl,
    sync_folder,
    write_bytes,
    write_json_with_digest,
)
from foveal.files.events import FINISHED, Created, Event, Planned, State, state_after
from foveal.files.leftovers import MAKER, remove_leftovers, sign_unfinished
from foveal.files.run_records import DatasetRecord, EnvironmentRecord, EpochRecord, Scores
from foveal.files.typed_file import read_file
from foveal.files.typed_json import read_value, to_json


class RunFolder:
    """A folder that holds one run. It knows names and formats, nothing of training.

    Args:
        path: The folder. It must have been made by `RunFolder.create`.

    Raises:
        RunError: The folder is no run.
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
        recipe: Mapping[str, object],
        dataset: DatasetRecord,
        environment: EnvironmentRecord,
        promises_test: bool = False,
        takes_free_name: bool = False,
        fill: Callable[["RunFolder"], object] = lambda _folder: None,
    ) -> "RunFolder":
        """Make the folder and write what is known before training. `fill` may write more.

        Everything is written under another name first, so a folder with the final name is always a whole run.
        What is left of such folders, where the process that made them was killed, is removed. With
        `takes_free_name`, a number is added to the name where another process was first.

        Raises:
            RunError: Something with this name exists, or the place cannot be written.
        """
        if not takes_free_name:
            _refuse_existing(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent)
            made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}; choose another --out") from error
        try:
            with outside_faults(path):
                sign_unfinished(made, path.name)
                made.chmod(0o755)  # mkdtemp makes it private; a run is an ordinary folder
                write_json_with_digest(made / "dataset.json", to_json(dataset), indent=None)
                write_json_with_digest(made / "environment.json", to_json(environment))
                write_json_with_digest(made / "recipe.json", recipe)
                (made / "history.jsonl").touch()
                (made / "checkpoints").mkdir()
                (made / "events.jsonl").touch()
                begun = cls(made)
                begun.add_event(Created(promises_test=promises_test))
                fill(begun)
                sync_folder(made)
                path = _give_name(made, path, takes_free_name=takes_free_name)
                (path / MAKER).unlink()
                sync_folder(path.parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)  # where it could not be finished
        return cls(path)

    def replace(self, *, dataset: DatasetRecord, environment: EnvironmentRecord) -> None:
        """Write anew what the run continues with."""
        write_json_with_digest(self.path / "dataset.json", to_json(dataset), indent=None)
        write_json_with_digest(self.path / "environment.json", to_json(environment))
        self.__dict__.pop("dataset", None)  # what was read before

    def replace_recipe(self, recipe: Mapping[str, object]) -> None:
        """Write the recipe anew, because the run goes on to another number of epochs."""
        write_json_with_digest(self.path / "recipe.json", recipe)

    def confirm_recipe(self, recipe: Mapping[str, object]) -> None:
        """Write the recipe with its digest where the file was edited, and the edited recipe is accepted."""
        path = self.path / "recipe.json"
        with suppress(RunError):
            read_json_with_digest(path)
            return
        write_json_with_digest(path, recipe)

    # ---- what a run is made of

    @property
    def recipe(self) -> Mapping[str, object]:
        """The resolved recipe as JSON, which `Recipe.from_json` reads.

        Raises:
            RunError: The file is no JSON object, or was edited or damaged.
        """
        return read_json_with_digest(self.path / "recipe.json")

    @property
    def recipe_as_edited(self) -> Mapping[str, object]:
        """The recipe as its file has it now. Only who compares it with that of a checkpoint may use it.

        Raises:
            RunError: The file is no JSON object.
        """
        path = self.path / "recipe.json"
        value = read_json(path)
        if not isinstance(value, dict):
            raise RunError(f"{path} is not as Foveal wrote it: it is no JSON object")
        value.pop(DIGEST_KEY, None)
        return value

    @cached_property
    def dataset(self) -> DatasetRecord:
        """Fingerprint, classes, splits and what was left out. The file is long and read once."""
        return read_file(self.path / "dataset.json", DatasetRecord)

    @property
    def environment(self) -> EnvironmentRecord:
        """Versions, hardware, threads, seed and where the data lay."""
        return read_file(self.path / "environment.json", EnvironmentRecord)

    @property
    def scores(self) -> Scores:
        """What was measured on the validation and the test split so far, in short."""
        if not self.evaluation.is_file():
            return Scores(validation=None, test=None)
        return read_file(self.path / "evaluation.json", Scores)

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
        return list(self._read_lines("history.jsonl", EpochRecord))

    def add_epoch(self, record: EpochRecord) -> None:
        """Append an epoch to the history and sync it to the disk."""
        append_jsonl(self.path / "history.jsonl", asdict(record))

    def cut_history(self, epochs: int) -> None:
        """Keep the first `epochs` lines of the history: those that the checkpoint to resume from knows."""
        lines = [encode_line(asdict(record)) for record in self.history()[:epochs]]
        write_bytes(self.path / "history.jsonl", b"".join(lines))

    def forget_validation(self) -> None:
        """Remove the validation figures of all epochs so far: they are of other images than those to come."""
        records = [replace(each, validation_loss=None, validation_accuracy=None) for each in self.history()]
        write_bytes(self.path / "history.jsonl", b"".join(encode_line(asdict(each)) for each in records))

    def events(self) -> list[Event]:
        """Read what happened to the run, oldest first."""
        return list(self._read_lines("events.jsonl", Event))

    def add_event(self, event: Event) -> None:
        """Record that something happened."""
        append_jsonl(self.path / "events.jsonl", to_json(event))

    @property
    def state(self) -> State:
        """Where the run is in its life, from its events."""
        return state_after(self.events())

    @property
    def finished(self) -> bool:
        """Whether training has ended."""
        return self.state in FINISHED

    @property
    def promises_test(self) -> bool:
        """Whether the command that began the run was to go on to the test and the report."""
        return any(
            event.promises_test if isinstance(event, Created) else event.includes_test
            for event in self.events()
            if isinstance(event, Created | Planned)
        )

    @property
    def lacks_promised_test(self) -> bool:
        """Whether a test or a report that was promised has not come to its end."""
        is_tested = self.state == "evaluated" or self.dataset.splits["test"].n == 0
        return self.promises_test and not (is_tested and self.report.is_file())

    def _read_lines(self, name: str, expected: Any) -> Iterator[Any]:  # noqa: ANN401 - a union of dataclasses
        path = self.path / name
        for number, row in enumerate(read_jsonl(path), start=1):
            try:
                yield read_value(row, expected, f"line {number}")
            except ValueError as error:
                raise RunError(f"{path} is not as Foveal wrote it: {error}") from error


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise RunError(f"{path} exists already; choose another --out, or remove it first")


def _give_name(made: Path, path: Path, *, takes_free_name: bool) -> Path:
    """Rename a finished folder and return its name; another process may have been first."""
    while True:
        free = find_free_name(path) if takes_free_name else path
        _refuse_existing(free)  # an empty folder would be replaced
        try:
            made.rename(free)
            return free
        except OSError:
            if takes_free_name and free.exists():
                continue
            _refuse_existing(free)
            raise


def default_run_path(name: str) -> Path:
    """Return the folder of a run that nobody named: runs/DATE-TIME-NAME, below the current folder.

    Where it exists, the first number behind it that makes it free is added.
    """
    return find_free_name(Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{name}")


def find_free_name(path: Path) -> Path:
    """Return `path`, or with the first number behind it that makes it free."""
    number = 1
    free = path
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
