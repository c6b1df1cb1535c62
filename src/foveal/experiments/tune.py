"""The search for a recipe's best settings within a time budget, decided by validation images alone."""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from foveal import progress
from foveal.commands import show_command
from foveal.data.label_columns import parse_columns
from foveal.data.options import DataOptions, DataSource
from foveal.errors import DivergenceError, Interrupted, RecipeError, RunError
from foveal.evaluation.metrics import format_percent
from foveal.experiments.repeat import resolve_source
from foveal.experiments.sampler import lags_behind, propose_settings
from foveal.experiments.search_space import Dimension, parse_search_space
from foveal.experiments.study import (
    SCHEMA,
    STUDY_FILE,
    Study,
    StudyRecord,
    StudyRequest,
    Trial,
    load_study,
    read_trial,
)
from foveal.files.atomic import outside_faults, write_json_with_digest
from foveal.files.events import CutShort, EpochEnded, GivenUp
from foveal.files.lock import LOCK, WRITER, WRITER_PART, only_writer
from foveal.files.run_folder import RunFolder, default_run_path
from foveal.files.run_records import EpochRecord
from foveal.files.typed_file import read_file
from foveal.files.typed_json import plain, to_json
from foveal.recipe import builtin
from foveal.recipe.budget import Budget
from foveal.recipe.overrides import Settings, apply_settings, describe_changes, parse_settings
from foveal.recipe.recipe import Recipe
from foveal.run.moved_data import record_table
from foveal.run.options import TrainOptions
from foveal.run.resume import resume
from foveal.run.run import Run
from foveal.run.train import DEFAULT_RECIPE, train

DEFAULT_BUDGET = Budget(seconds=600)
"""The budget where neither a budget nor a number of trials is given."""
TRIAL_TIME_MARGIN = 1.05
"""A trial is expected to take this many times as long as the longest so far."""
RESERVED_SECONDS = 2.0
"""The seconds of the budget that are reserved for choosing and testing the winner."""
RESERVED_SHARE = 0.02
"""The share of the budget that is reserved for the same, in addition."""


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """The arguments of `tune`, as it takes them."""

    data: DataSource
    """The images."""
    budget: str | Budget | None = None
    """The time that the search may take."""
    trials: int | None = None
    """The maximum number of trials."""
    recipe: str | Path | Recipe | None = None
    """The recipe whose settings are searched."""
    over: Iterable[str] = ()
    """The dimensions of the search space."""
    settings: Settings = ()
    """The settings that all trials have."""
    seed: int = 0
    """The seed of the search and of every trial."""
    out: str | os.PathLike[str] | None = None
    """The folder of the study."""


def tune(
    data: DataSource,
    *,
    budget: str | Budget | None = None,
    trials: int | None = None,
    recipe: str | Path | Recipe | None = None,
    over: Iterable[str] = (),
    settings: Settings = (),
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
) -> Study:
    """Search a recipe's settings. Return the trials, the best of them, and how good it really is.

    Each trial is a run in the folder `out`; the first has the recipe's own settings. Trials are compared by
    the validation images alone, and those that lag behind are stopped early. At the end the test split, if
    there is one, is opened for the winner alone. Called again with the same folder, the search continues with
    the same budget once more, also in the middle of a trial.

    >>> study = foveal.tune("digits", trials=2, recipe="digits", settings={"epochs": 1}, out="runs/study")
    >>> len(study.trials)
    2

    Args:
        data: The folder of images, or `DataOptions`.
        budget: The time from the call to the return, such as "30s", "5m" or "1h". It is ten minutes if no
            number of trials is given either. A trial that is not expected to end in time is not begun, but
            one is always trained.
        trials: The maximum number of trials, including those of earlier calls.
        recipe: As in `train`. By default it is model-s-02.
        over: What is searched, such as "learning_rate=1e-4..1e-2" or "batch_size=32,64,128". By default it
            is the learning rate, label smoothing, shifts, and dropout and l2 where the recipe has them.
        settings: The settings that all trials have, as in `train`.
        seed: The seed of every trial and of the search.
        out: The folder of the study. By default it is runs/DATE-TIME-tune.

    Raises:
        RecipeError: The search space is malformed or refused.
        RunError: The folder holds something else, or a study with other data, settings or seed. Or no trial
            has finished.
        DataError: The images are in memory. Their runs could not be resumed.
        UserError: What `train` and `resume` raise.
        Interrupted: Ctrl-C or SIGTERM came. Everything is saved, and the same call continues.
    """
    return search(
        TuneRequest(
            data=data,
            budget=budget,
            trials=trials,
            recipe=recipe,
            over=over,
            settings=settings,
            seed=seed,
            out=out,
        )
    )


def search(request: TuneRequest, *, seconds_spent: float = 0.0) -> Study:
    """Do what `tune` does, for Foveal's own command too.

    `seconds_spent` is the part of the budget that had passed before the call.
    """
    start = time.monotonic() - seconds_spent
    options, study_request, command = _check_request(request, start)
    path, cache = options.path, options.data.cache
    _refuse_other_study(path, study_request)
    with outside_faults(path):
        path.mkdir(parents=True, exist_ok=True)
    with only_writer(path):
        if not any(path.glob("trial-*")):
            record = StudyRecord(schema=SCHEMA, asked=study_request, again=command, trials=())
            write_json_with_digest(path / STUDY_FILE, to_json(record))
        _refuse_changed_data(path, cache)
        _Search(options).run()
        study = load_study(path)
        if study.test is None and study.run.has_test:
            Run(study.winner.path, cache=cache).evaluate("test")
            study = load_study(path)
        return study


@dataclass(frozen=True, kw_only=True)
class _SearchOptions:
    path: Path
    """The folder of the study."""
    data: DataOptions
    """The images."""
    recipe: Recipe
    """The recipe, with the settings that all trials have."""
    dimensions: tuple[Dimension, ...]
    """The search space."""
    own_values_first: bool
    """Whether the first trial always has the recipe's own values."""
    seed: int
    """The seed of the search and of every trial."""
    max_trials: int | None
    """The maximum number of trials, if there is one."""
    deadline: float | None
    """When the winner must be chosen, on the clock of `time.monotonic`, if there is a budget."""


def _check_request(
    request: TuneRequest, start: float
) -> tuple[_SearchOptions, StudyRequest, tuple[str, ...]]:
    """Check a request. Return the options of the search, what is recorded, and the command of a training."""
    budget = None if request.budget is None else Budget.parse(request.budget)
    if budget is None and request.trials is None:
        budget = DEFAULT_BUDGET
    if request.trials is not None and request.trials < 1:
        raise RecipeError(f"{request.trials} trials are asked for; one is the least")
    data = DataOptions.of(request.data)
    if data.validation_split == "none":
        raise RecipeError(
            "--validation none leaves nothing to judge trials by; name a split, or leave it out"
        )
    settings, over = parse_settings(request.settings), list(request.over)
    recipe, changed = apply_settings(builtin.load_recipe(request.recipe or DEFAULT_RECIPE), settings)
    dimensions = parse_search_space(recipe, over, changed)
    path = Path(request.out) if request.out is not None else default_run_path("tune")
    options = _SearchOptions(
        path=path,
        data=data,
        recipe=recipe,
        dimensions=dimensions,
        own_values_first=not over,
        seed=request.seed,
        max_trials=request.trials,
        deadline=None
        if budget is None
        else start + budget.seconds - RESERVED_SECONDS - RESERVED_SHARE * budget.seconds,
    )
    study_request = StudyRequest(
        data=resolve_source(data),
        recipe=recipe.to_json(),
        space=tuple(map(str, dimensions)),
        validation=data.validation_split,
        group=data.group,
        table=record_table(data),
        seed=request.seed,
    )
    return options, study_request, _make_command(request, data, path, settings)


def _make_command(
    request: TuneRequest, data: DataOptions, path: Path, settings: Sequence[str]
) -> tuple[str, ...]:
    """Return the words of the command that trains the recipe, without the settings of a trial."""
    if isinstance(request.recipe, Recipe):
        recipe = [str(path / "trial-000" / "recipe.json")]
    else:
        recipe = [str(request.recipe or DEFAULT_RECIPE)]
        recipe += [word for setting in settings for word in ("--set", setting)]
    words = ["foveal", "train", str(data.source), "--recipe", *recipe]
    words += ["--validation", data.validation] if data.validation else []
    words += ["--group", data.group] if data.group else []
    words += ["--images", str(data.images)] if data.images is not None else []
    words += [f"--columns={role}={name}" for role, name in parse_columns(data.columns).items()]
    words += ["--seed", str(request.seed)] if request.seed else []
    return tuple(words)


def _refuse_other_study(path: Path, request: StudyRequest) -> None:
    """Refuse a folder that holds something else, or a study with another request."""
    file = path / STUDY_FILE
    if path.exists() and not file.is_file():
        # A process that was killed at the very beginning leaves files that do no harm.
        harmless = {LOCK, WRITER, WRITER_PART, f".{STUDY_FILE}.part"}
        if not path.is_dir() or {entry.name for entry in path.iterdir()} - harmless:
            raise RunError(f"{path} exists already and is no study; choose another --out")
    elif path.exists():
        before = read_file(file, StudyRecord).asked
        if not any(path.glob("trial-*")):
            return  # nothing was trained, for example because the data were refused
        for field in fields(request):
            old, new = (plain(getattr(side, field.name)) for side in (before, request))
            if old != new:
                change = f"{field.name} was {json.dumps(old)[:200]}, not {json.dumps(new)[:200]}"
                if field.name == "recipe":
                    change = describe_changes(old, new)[0]
                raise RunError(f"{path} holds a study in which {change}; choose another --out")


def _refuse_changed_data(path: Path, cache: str | os.PathLike[str] | None) -> None:
    first = path / "trial-000"
    if first.exists():
        _, changes = Run(first, cache=cache).look_up_data()
        if changes:
            raise RunError(f"{path} holds a study of other data: {changes[0]}; choose another --out")


class _Search:
    """A search in progress. The state of the trials is always read from their folders."""

    def __init__(self, options: _SearchOptions) -> None:
        self._options = options

    def run(self) -> None:
        """Finish the trial that was begun, then train new trials while there is time."""
        options = self._options
        file = options.path / STUDY_FILE
        while True:
            record = read_file(file, StudyRecord)
            trials = [read_trial(options.path, *pair) for pair in enumerate(record.trials)]
            ended = [trial for trial in trials if trial.state != "under way"]
            if len(ended) < len(trials):
                self._train_trial(next(trial for trial in trials if trial.state == "under way"), ended)
                continue
            if options.max_trials is not None and len(ended) >= options.max_trials:
                return
            if not self._has_time(ended):
                return
            settings = propose_settings(
                ended,
                options.recipe,
                options.dimensions,
                seed=options.seed,
                own_values_first=options.own_values_first,
            )
            if settings is None:
                progress.line("no combination of these settings was found that was not tried before")
                return
            write_json_with_digest(file, to_json(replace(record, trials=(*record.trials, settings))))

    def _train_trial(self, trial: Trial, ended: Sequence[Trial]) -> None:
        settings = [f"{path}={value}" for path, value in trial.settings.items()]
        progress.line(f"trial {trial.number}: {', '.join(settings) or 'the recipe as it stands'}")
        try:
            with progress.quiet():
                self._train_or_resume(trial, settings, self._make_stop(trial, ended))
        except DivergenceError as error:
            RunFolder(trial.path).add_event(GivenUp(why=str(error)))
        except Interrupted as interrupted:
            path = self._options.path
            raise Interrupted(
                f"interrupted in trial {trial.number}, everything is saved; the same command with --out "
                f"{path} goes on",
                run=path,
                signal_number=interrupted.exit_code - 128,
            ) from interrupted
        trial = read_trial(self._options.path, trial.number, trial.settings)
        outcome: str = trial.state
        if trial.accuracy is not None:
            n = RunFolder(trial.path).dataset.splits["validation"].n
            if not n:
                raise RecipeError("nothing validates in this data set, so trials cannot be judged")
            outcome += f", validation accuracy {format_percent(trial.accuracy, n)}"
        progress.line(f"trial {trial.number}: {outcome}, {trial.seconds:,.1f} s")

    def _train_or_resume(
        self, trial: Trial, settings: Sequence[str], stop: Callable[[EpochRecord], bool]
    ) -> None:
        options, train_options = self._options, TrainOptions(stop=stop)
        if not trial.path.exists():
            train(
                options.data,
                recipe=options.recipe,
                settings=settings,
                seed=options.seed,
                out=trial.path,
                options=train_options,
            )
            return
        try:
            resume(trial.path, cache=options.data.cache, options=train_options)
        except RunError as error:
            raise RunError(
                f"{error} ({show_command('resume', trial.path)}; once that is done, the same command goes on)"
            ) from error

    def _has_time(self, ended: Sequence[Trial]) -> bool:
        """Whether another trial is expected to end in time. The first trial is always trained."""
        if self._options.deadline is None or not ended:
            return True
        seconds = [trial.seconds for trial in ended if trial.state == "trained"]
        expected = TRIAL_TIME_MARGIN * max(seconds or [trial.seconds for trial in ended])
        return time.monotonic() + expected < self._options.deadline - _bound_test_seconds(ended[0])

    def _make_stop(self, trial: Trial, ended: Sequence[Trial]) -> Callable[[EpochRecord], bool]:
        """Make the function that is called after each epoch and decides whether the trial stops there."""
        options = self._options
        accuracies = dict(trial.validation_accuracies)
        # Trials of different lengths are not comparable epoch by epoch.
        comparable = not {"epochs", "steps"} & {dimension.path for dimension in options.dimensions}
        deadline = None
        if options.deadline is not None and any(other.state == "trained" for other in ended):
            deadline = options.deadline - _bound_test_seconds(ended[0])
        last_time = time.monotonic()

        def stop(record: EpochRecord) -> bool:
            nonlocal last_time
            now = time.monotonic()
            epoch_seconds, last_time = now - last_time, now
            reason: Literal["lags", "time"] | None = None
            if record.validation_accuracy is not None:
                accuracies[record.epoch] = record.validation_accuracy
                so_far = {epoch: value for epoch, value in accuracies.items() if epoch <= record.epoch}
                if comparable and lags_behind(so_far, ended, options.recipe):
                    reason = "lags"
            if deadline is not None and now + epoch_seconds > deadline:
                reason = "time"
            if reason is not None:
                RunFolder(trial.path).add_event(CutShort(epoch=record.epoch, why=reason))
            return reason is not None

        return stop


def _bound_test_seconds(trial: Trial) -> float:
    """Return an upper bound of the seconds that the test takes.

    An epoch trains on each training image, which takes longer than classifying a test image.
    """
    folder = RunFolder(trial.path)
    n_train, n_test = (folder.dataset.splits[split].n for split in ("train", "test"))
    epoch_seconds = [event.seconds for event in folder.events() if isinstance(event, EpochEnded)]
    return max(epoch_seconds, default=0.0) * float(n_test / max(1, n_train))
