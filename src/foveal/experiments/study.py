"""A study: trials of one recipe with other settings, each a run folder, and how good the best of them is."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foveal import progress
from foveal.comparison.winner_bias import Selection, select_best
from foveal.errors import RecipeError, RunError
from foveal.evaluation.calibration import softmax
from foveal.evaluation.metrics import Evaluation, format_percent
from foveal.evaluation.predict import load_predictions
from foveal.experiments.search_space import value_of
from foveal.files.atomic import read_json
from foveal.files.events import CutShort, EpochEnded, Event, GivenUp, Resumed, TestSplitOpened, Trained
from foveal.files.run_folder import RunFolder
from foveal.files.typed_json import require
from foveal.recipe.recipe import Recipe
from foveal.runs.run import Run
from foveal.tables import text_table

SCHEMA = 1
FILE = "study.json"
"""What makes a folder a study: what was asked for, and each trial's settings before it begins."""
_SHAPE = {
    "schema": int,
    "asked": {
        "data": str,
        "recipe": dict,
        "space": [str],
        "validation": (str, None),
        "group": (str, None),
        "seed": int,
    },
    "again": [str],
}
State = Literal["trained", "pruned", "out of time", "diverged", "under way"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of a study."""

    number: int
    path: Path
    settings: Mapping[str, str]
    """What it differs in from the recipe, as `--set` takes it."""
    state: State
    """`pruned`: given up for being worse than others were; `out of time`: cut short by the budget."""
    epochs: Mapping[int, float]
    """The validation accuracy after each epoch that was validated."""
    accuracy: float | None
    """On the validation images, of the epoch that was kept; None without a model."""
    seconds: float

    @classmethod
    def of(cls, study: Path, number: int, settings: Mapping[str, str]) -> "Trial":
        """Read how a trial stands from its run folder, if it has one yet."""
        path = study / f"trial-{number:03}"
        if not path.exists():
            return cls(
                number=number,
                path=path,
                settings=settings,
                state="under way",
                epochs={},
                accuracy=None,
                seconds=0.0,
            )
        folder = RunFolder(path)
        events, history = folder.events(), folder.history()
        judged = None
        if folder.state in ("trained", "evaluated"):
            judged = Run(path).evaluation("validation")
        return cls(
            number=number,
            path=path,
            settings=settings,
            state=_state(events, len(history), judged),
            epochs={
                each.epoch: each.validation_accuracy
                for each in history
                if each.validation_accuracy is not None
            },
            accuracy=None if judged is None else judged.accuracy,
            seconds=_seconds(events),
        )


def _state(events: list[Event], epochs: int, judged: Evaluation | None) -> State:
    if judged is not None:
        # An event counts if the run ended there: one from before a kill may have been overtaken.
        cut = [each for each in events if isinstance(each, CutShort) and each.epoch == epochs]
        if not cut:
            return "trained"
        return "out of time" if cut[-1].why == "time" else "pruned"
    return "diverged" if any(isinstance(each, GivenUp) for each in events) else "under way"


def _seconds(events: list[Event]) -> float:
    """Return what a trial took; of one that was interrupted, its epochs only."""
    ends = [each for each in events if isinstance(each, Trained)]
    if not ends or any(isinstance(each, Resumed) for each in events):
        return sum({each.epoch: each.seconds for each in events if isinstance(each, EpochEnded)}.values())
    return max(0.0, (ends[0].when - events[0].when).total_seconds())


@dataclass(frozen=True, kw_only=True)
class Study:
    """Trials, the best of them, and how good it is. It shows itself as a table and sentences."""

    path: Path
    recipe: Recipe
    searched: tuple[str, ...]
    """The settings that trials differ in."""
    trials: tuple[Trial, ...]
    winner: Trial
    selection: Selection
    """The winner on the validation images: as measured, and corrected for having been chosen by them."""
    test: Evaluation | None
    """The winner on the test images; None where there are none, or they were not opened yet."""
    openings: int
    """How often the test split was opened, all trials together."""
    command: str
    """What trains the winner again."""

    @property
    def run(self) -> Run:
        """The winner's run."""
        return Run(self.winner.path)

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON: the contract's `tune --json`."""
        chosen, test = self.selection, self.test
        return {
            "schema": SCHEMA,
            "study": str(self.path),
            "trials": [
                {
                    "trial": each.number,
                    "run": str(each.path),
                    "settings": dict(each.settings),
                    "state": each.state,
                    "epochs": max(each.epochs, default=0),
                    "accuracy": each.accuracy,
                    "seconds": each.seconds,
                }
                for each in self.trials
            ],
            "winner": {
                "trial": self.winner.number,
                "run": str(self.winner.path),
                "settings": dict(self.winner.settings),
                "command": self.command,
            },
            "validation": {
                "n": chosen.images,
                "chosen_from": chosen.models,
                "accuracy": chosen.accuracy,
                "inflation": chosen.inflation,
                "corrected": chosen.corrected,
                "corrected_interval": list(chosen.interval),
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
        n = self.selection.images
        rows = []
        for each in self.trials:
            values = [each.settings.get(path, str(value_of(self.recipe, path))) for path in self.searched]
            mark = " ←" if each is self.winner else ""
            shown = [progress.printable(value, 30) for value in values]
            accuracy = "–" if each.accuracy is None else format_percent(each.accuracy, n)
            rows.append([str(each.number), *shown, each.state, accuracy, f"{each.seconds:,.1f}{mark}"])
        header = ["trial", *(_short(path, self.searched) for path in self.searched)]
        laid = text_table([*header, "state", "validation accuracy", "seconds"], rows)
        return "\n\n".join([laid, self._sentences(), f"train it again: {self.command}"])

    __repr__ = __str__

    def _sentences(self) -> str:
        chosen, test, n = self.selection, self.test, self.selection.images
        low, high = (format_percent(end, n) for end in chosen.interval)
        said = f"Trial {self.winner.number} won with {format_percent(chosen.accuracy, n)} of {n:,} validation images"
        if chosen.models == 1:
            said += "; no other came to its end, so nothing was chosen. "
        else:
            said += (
                f", the best of {chosen.models} trials that came to their end. Chosen by these images, it "
                f"looks better on them than it is, by about {100 * chosen.inflation:.1f} points: corrected, "
                f"{format_percent(chosen.corrected, n)} (95 % interval {low} to {high}). "
            )
        if test is None:
            return said + "No test split was opened: the validation figures are all there is."
        low, high = (format_percent(end, test.n) for end in test.accuracy_interval)
        said += (
            f"The estimate that nothing was chosen by: {format_percent(test.accuracy, test.n)} of {test.n:,} test "
            f"images (95 % interval {low} to {high})."
        )
        if self.openings > 1:
            said += (
                f" The test split was opened {self.openings} times in this study, each time for the winner "
                f"so far; whoever goes on because of what it said makes it a validation split."
            )
        return said


def load(path: Path) -> Study:
    """Open a study of which at least one trial came to its end.

    Raises:
        RunError: it is none, no trial did, or its trials are not of one data set.
    """
    whole = read(path)
    trials = [Trial.of(path, number, settings) for number, settings in enumerate(whole["trials"])]
    finished = [each for each in trials if each.state == "trained"]
    if not finished:
        raise RunError(f"no trial in {path} came to its end; the same command with more time goes on")
    right, losses, images = [], [], None
    for each in finished:
        run = Run(each.path)
        files = run.folder.dataset.splits["validation"].files
        evaluation = run.evaluation("validation")
        assert evaluation is not None  # it is trained
        if files != (images := images or files):
            raise RunError(f"{each.path} was validated on other images than {finished[0].path}")
        found, labels = load_predictions(
            run.folder.predictions, "validation", n=evaluation.n, classes=len(evaluation.classes)
        )
        right.append(found.argmax(axis=1) == labels)
        shares = softmax(found)[np.arange(len(labels)), labels]
        losses.append(-np.log(np.maximum(shares, np.finfo(np.float64).tiny)))
    selection = select_best(np.stack(right), np.stack(losses), seed=whole["asked"]["seed"])
    winner = finished[selection.best]
    try:
        recipe = Recipe.from_json(whole["asked"]["recipe"])
    except RecipeError as error:
        raise RunError(f"{path / FILE} is not as Foveal wrote it: {error}") from error
    events = [event for each in trials if each.path.exists() for event in RunFolder(each.path).events()]
    return Study(
        path=path,
        recipe=recipe,
        searched=tuple(each.partition("=")[0] for each in whole["asked"]["space"]),
        trials=tuple(trials),
        winner=winner,
        selection=selection,
        test=Run(winner.path).evaluation("test"),
        openings=sum(isinstance(event, TestSplitOpened) for event in events),
        command=_command(whole, winner),
    )


def read(path: Path) -> Any:  # noqa: ANN401 - JSON
    """Read a study's own file.

    Raises:
        RunError: it is missing or damaged.
    """
    whole = read_json(path / FILE)
    try:
        require(whole, {**_SHAPE, "trials": list}, FILE)
        for number, settings in enumerate(whole["trials"]):
            require(settings, dict, f"trials[{number}]")
            require(list(settings.values()), [str], f"trials[{number}]")
    except RecipeError as error:
        raise RunError(f"{path / FILE} is not as Foveal wrote it: {error}") from error
    return whole


def _command(whole: Mapping[str, Any], winner: Trial) -> str:
    words = [*whole["again"]]
    for path, value in winner.settings.items():
        words += ["--set", f"{path}={value}"]
    return progress.printable(shlex.join(words), 2000)


def _short(path: str, paths: tuple[str, ...]) -> str:
    """Name a setting by its last part, where no other is called so."""
    last = path.rsplit(".", 1)[-1]
    return last if sum(each.rsplit(".", 1)[-1] == last for each in paths) == 1 else path
