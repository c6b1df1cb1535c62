"""A study: trials of one recipe with different settings, each in a run folder, and the best of them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foveal import progress
from foveal.comparison.winner_bias import Selection, select_best
from foveal.errors import RecipeError, RunError
from foveal.evaluation.calibration import softmax
from foveal.evaluation.metrics import Evaluation, format_percent
from foveal.experiments.search_space import get_setting
from foveal.files.events import CutShort, EpochEnded, Event, GivenUp, Resumed, TestSplitOpened, Trained
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import TableRecord
from foveal.files.typed_file import read_file
from foveal.recipe.recipe import Recipe
from foveal.run.run import Run
from foveal.tables import text_table

SCHEMA = 1
"""The version of `study.json` and of the JSON of `foveal tune --json`."""
STUDY_FILE = "study.json"
"""The file that makes a folder a study."""


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What a study was asked for. Another request for the same folder is refused."""

    data: str
    """The absolute path of the folder of images."""
    recipe: Mapping[str, object]
    """The recipe as JSON, with the settings that all trials have."""
    space: tuple[str, ...]
    """The dimensions of the search space, as `--over` takes them."""
    validation: str | None
    """The split that validates, if the user named one."""
    group: str | None
    """The regular expression that keeps groups together."""
    seed: int
    """The seed of the search and of every trial."""
    table: TableRecord | None = None
    """How the table of labels is read, or None where folders have the labels."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What `study.json` holds. The settings of a trial are written before it begins."""

    schema: int
    """The version of the file."""
    asked: StudyRequest
    """What the study was asked for."""
    again: tuple[str, ...]
    """The words of the command that trains the recipe, without the settings of a trial."""
    trials: tuple[Mapping[str, str], ...]
    """The settings of each trial, by their paths."""


TrialState = Literal["trained", "pruned", "out of time", "diverged", "under way"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of a study."""

    number: int
    """The number of the trial, from 0."""
    path: Path
    """The run folder."""
    settings: Mapping[str, str]
    """The searched settings by their paths, as `--set` takes them."""
    state: TrialState
    """A trial is "pruned" if it lagged behind the others, and "out of time" if the budget ended it."""
    validation_accuracies: Mapping[int, float]
    """The validation accuracies by epoch."""
    accuracy: float | None
    """The validation accuracy of the best epoch. It is None where there is no trained model."""
    seconds: float
    """The duration in seconds."""


def read_trial(study: Path, number: int, settings: Mapping[str, str]) -> Trial:
    """Read the state of a trial from its run folder, which need not exist yet."""
    path = study / f"trial-{number:03}"
    if not path.exists():
        return Trial(
            number=number,
            path=path,
            settings=settings,
            state="under way",
            validation_accuracies={},
            accuracy=None,
            seconds=0.0,
        )
    folder = RunFolder(path)
    events, history = folder.events(), folder.history()
    evaluation = Run(path).evaluation("validation") if folder.finished else None
    return Trial(
        number=number,
        path=path,
        settings=settings,
        state=_find_state(events, len(history), evaluation),
        validation_accuracies={
            record.epoch: record.validation_accuracy
            for record in history
            if record.validation_accuracy is not None
        },
        accuracy=None if evaluation is None else evaluation.accuracy,
        seconds=_measure_seconds(events),
    )


def _find_state(events: Sequence[Event], epochs: int, evaluation: Evaluation | None) -> TrialState:
    if evaluation is None:
        return "diverged" if any(isinstance(event, GivenUp) for event in events) else "under way"
    # Only an event of the last epoch counts: after a kill, training may have gone past an earlier one.
    stops = [event for event in events if isinstance(event, CutShort) and event.epoch == epochs]
    if not stops:
        return "trained"
    return "out of time" if stops[-1].why == "time" else "pruned"


def _measure_seconds(events: Sequence[Event]) -> float:
    """Return the duration of a trial. If it was interrupted, only its epochs count."""
    ends = [event for event in events if isinstance(event, Trained)]
    if not ends or any(isinstance(event, Resumed) for event in events):
        seconds_by_epoch = {event.epoch: event.seconds for event in events if isinstance(event, EpochEnded)}
        return sum(seconds_by_epoch.values())
    return max(0.0, (ends[0].when - events[0].when).total_seconds())


@dataclass(frozen=True, kw_only=True)
class Study:
    """The trials of a search, the best of them, and how good it is. Printed, it is a table and sentences.

    >>> study = foveal.tune("digits", trials=2, recipe="digits", settings={"epochs": 1}, out="runs/study")
    >>> study.winner in study.trials
    True
    """

    path: Path
    """The folder of the study."""
    recipe: Recipe
    """The recipe whose settings were searched."""
    searched: tuple[str, ...]
    """The paths of the searched settings."""
    trials: tuple[Trial, ...]
    """All trials, in their order."""
    winner: Trial
    """The trial with the best validation accuracy."""
    selection: Selection
    """The winner's validation accuracy as measured, and corrected for the choice of the best trial."""
    test: Evaluation | None
    """The winner on the test images. It is None if there are none, or they were not opened yet."""
    openings: int
    """How often the test split was opened, all trials together."""
    command: str
    """The command that trains the winner again."""

    @property
    def run(self) -> Run:
        """The winner's run."""
        return Run(self.winner.path)

    def to_json(self) -> dict[str, Any]:
        """Return the study as plain JSON, as `foveal tune --json` prints it."""
        selection, test = self.selection, self.test
        return {
            "schema": SCHEMA,
            "study": str(self.path),
            "trials": [
                {
                    "trial": trial.number,
                    "run": str(trial.path),
                    "settings": dict(trial.settings),
                    "state": trial.state,
                    "epochs": max(trial.validation_accuracies, default=0),
                    "accuracy": trial.accuracy,
                    "seconds": trial.seconds,
                }
                for trial in self.trials
            ],
            "winner": {
                "trial": self.winner.number,
                "run": str(self.winner.path),
                "settings": dict(self.winner.settings),
                "command": self.command,
            },
            "validation": {
                "n": selection.images,
                "chosen_from": selection.models,
                "accuracy": selection.accuracy,
                "inflation": selection.inflation,
                "corrected": selection.corrected,
                "corrected_interval": list(selection.interval),
            },
            "test": None
            if test is None
            else {
                "n": test.n,
                "accuracy": test.accuracy,
                "accuracy_interval": list(test.accuracy_interval),
                "openings": self.openings,
            },
        }

    def __str__(self) -> str:
        rows = []
        for trial in self.trials:
            values = [trial.settings.get(path, str(get_setting(self.recipe, path))) for path in self.searched]
            accuracy = (
                "–" if trial.accuracy is None else format_percent(trial.accuracy, self.selection.images)
            )
            mark = " ←" if trial is self.winner else ""
            cells = [progress.printable(value, 30) for value in values]
            rows.append([str(trial.number), *cells, trial.state, accuracy, f"{trial.seconds:,.1f}{mark}"])
        names = [_shorten(path, self.searched) for path in self.searched]
        table = text_table(["trial", *names, "state", "validation accuracy", "seconds"], rows)
        text = f"{self._describe_selection()} {self._describe_test()}"
        return "\n\n".join([table, text, f"train it again: {self.command}"])

    __repr__ = __str__

    def _describe_selection(self) -> str:
        selection, n = self.selection, self.selection.images
        accuracy = format_percent(selection.accuracy, n)
        text = f"Trial {self.winner.number} won with {accuracy} of {n:,} validation images"
        if selection.models == 1:
            return text + "; no other came to its end, so nothing was chosen."
        low, high = (format_percent(end, n) for end in selection.interval)
        return text + (
            f", the best of {selection.models} trials that came to their end. Chosen by these images, it "
            f"looks better on them than it is, by about {100 * selection.inflation:.1f} points: corrected, "
            f"{format_percent(selection.corrected, n)} (95 % interval {low} to {high})."
        )

    def _describe_test(self) -> str:
        test = self.test
        if test is None:
            return "No test split was opened: the validation figures are all there is."
        low, high = (format_percent(end, test.n) for end in test.accuracy_interval)
        text = (
            f"The estimate that nothing was chosen by: {format_percent(test.accuracy, test.n)} of "
            f"{test.n:,} test images (95 % interval {low} to {high})."
        )
        if self.openings > 1:
            text += (
                f" The test split was opened {self.openings} times in this study, each time for the winner "
                f"so far; whoever goes on because of what it said makes it a validation split."
            )
        return text


def load_study(path: Path) -> Study:
    """Open a study in which at least one trial has finished.

    Raises:
        RunError: The folder is no study, no trial has finished, or trials were validated on different images.
    """
    record = read_file(path / STUDY_FILE, StudyRecord)
    trials = [read_trial(path, number, settings) for number, settings in enumerate(record.trials)]
    finished = [trial for trial in trials if trial.state == "trained"]
    if not finished:
        raise RunError(f"no trial in {path} came to its end; the same command with more time goes on")
    selection = _select_winner(finished, record.asked.seed)
    winner = finished[selection.best]
    try:
        recipe = Recipe.from_json(record.asked.recipe)
    except RecipeError as error:
        raise RunError(f"{path / STUDY_FILE} is not as Foveal wrote it: {error}") from error
    folders = [RunFolder(trial.path) for trial in trials if trial.path.exists()]
    return Study(
        path=path,
        recipe=recipe,
        searched=tuple(dimension.partition("=")[0] for dimension in record.asked.space),
        trials=tuple(trials),
        winner=winner,
        selection=selection,
        test=Run(winner.path).evaluation("test"),
        openings=sum(isinstance(event, TestSplitOpened) for folder in folders for event in folder.events()),
        command=_format_command(record, winner),
    )


def _select_winner(trials: Sequence[Trial], seed: int) -> Selection:
    """Choose the best of the finished trials by their validation predictions."""
    correct, losses = [], []
    expected_files = Run(trials[0].path).folder.dataset.splits["validation"].files
    for trial in trials:
        run = Run(trial.path)
        if run.folder.dataset.splits["validation"].files != expected_files:
            raise RunError(f"{trial.path} was validated on other images than {trials[0].path}")
        evaluation = run.evaluation("validation")
        assert evaluation is not None  # the trial is trained
        logits, labels = run.load_predictions(evaluation)
        correct.append(logits.argmax(axis=1) == labels)
        true_probabilities = softmax(logits)[np.arange(len(labels)), labels]
        losses.append(-np.log(np.maximum(true_probabilities, np.finfo(np.float64).tiny)))
    return select_best(np.stack(correct), np.stack(losses), seed=seed)


def _format_command(record: StudyRecord, winner: Trial) -> str:
    words = [*record.again]
    for path, value in winner.settings.items():
        words += ["--set", f"{path}={value}"]
    return progress.printable(shlex.join(words), 2000)


def _shorten(path: str, paths: tuple[str, ...]) -> str:
    """Return the last part of a setting's path if no other path has the same last part, else the path."""
    name = path.rsplit(".", 1)[-1]
    return name if sum(other.rsplit(".", 1)[-1] == name for other in paths) == 1 else path
