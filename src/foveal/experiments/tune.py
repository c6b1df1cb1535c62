"""The search for a recipe's best settings, within a time budget, judged by validation images alone."""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from foveal import progress
from foveal.errors import DivergenceError, Interrupted, RecipeError, RunError
from foveal.evaluation.metrics import format_percent
from foveal.experiments.sampler import lags, propose
from foveal.experiments.search_space import Dimension, space
from foveal.experiments.study import FILE, SCHEMA, Study, Trial, load, read
from foveal.files.atomic import outside_faults, write_json
from foveal.files.lock import LOCK, WRITER, only_writer
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import EpochRecord
from foveal.recipe import builtin
from foveal.recipe import overrides as changes
from foveal.recipe.overrides import differences
from foveal.recipe.recipe import Recipe
from foveal.runs.run import Run
from foveal.runs.train import DEFAULT_RECIPE, resume, train

DEFAULT_MINUTES = 10.0
"""The budget where neither it nor a number of trials is given."""
MARGIN = 1.05
"""How much longer than the longest so far a trial is expected to take."""
FINISHING, RESERVE = 2.0, 0.02
"""Seconds and share of the budget that are kept for choosing and testing the winner."""


def tune(
    data: str | os.PathLike[str],
    *,
    minutes: float | None = None,
    trials: int | None = None,
    recipe: str | Path | Recipe | None = None,
    over: Iterable[str] = (),
    settings: Iterable[str] = (),
    validation: str | None = None,
    group: str | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    spent: float = 0.0,
) -> Study:
    """Search a recipe's settings, and return the trials, the best of them, and how good it really is.

    Each trial is a run in the folder `out`; the first is the recipe as it stands. Trials are judged by the
    validation images alone, and those that lag behind are given up. At the end the test split, where there is
    one, is opened for the winner alone. Called again with the same folder it goes on, in the middle of a
    trial too, with as many minutes more.

    Args:
        data: as in `train`.
        minutes: the budget, from the call to the return; 10 if no number of trials is given either. A trial
            that is not expected to end in time is not begun; one is always trained.
        trials: how many there are to be, at most, those from before among them.
        recipe: as in `train`; by default model-s-02.
        over: what is searched, such as "learning_rate=1e-4..1e-2" or "batch_size=32,64,128"; by default
            learning rate, label smoothing, shifts, and dropout and l2 where the recipe has them.
        settings: changes to the recipe that all trials have.
        validation: as in `train`.
        group: as in `train`.
        seed: of every trial, and of the search.
        out: the study's folder; by default runs/DATE-TIME-tune.
        cache: as in `train`.
        spent: seconds of the budget that had passed before the call.

    Raises:
        RecipeError: what is searched is malformed or refused.
        RunError: the folder holds something else, or a study of other data, settings or seed; or no trial
            came to its end.
        Interrupted: Ctrl-C or SIGTERM; everything is saved, and the same call goes on.
        Whatever else `train` raises.
    """
    began = time.monotonic() - spent
    if minutes is None and trials is None:
        minutes = DEFAULT_MINUTES
    if minutes is not None and not 0 < minutes < float("inf"):
        raise RecipeError(f"the budget is {minutes:g} minutes; it must be above 0")
    if trials is not None and trials < 1:
        raise RecipeError(f"{trials} trials are asked for; one is the least")
    if validation is not None and validation.lower() == "none":
        raise RecipeError(
            "--validation none leaves nothing to judge trials by; name a split, or leave it out"
        )
    own, over = list(settings), list(over)
    base, changed = changes.change(builtin.load(recipe or DEFAULT_RECIPE), own)
    searched = space(base, over, changed)
    asked = {
        "data": str(Path(data).resolve()),
        "recipe": base.to_json(),
        "space": [str(each) for each in searched],
        "validation": validation and validation.lower(),
        "group": group,
        "seed": seed,
    }
    path = Path(out or Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-tune")
    _refuse_other(path, asked)
    with outside_faults(path):
        path.mkdir(parents=True, exist_ok=True)
    with only_writer(path):
        if not any(path.glob("trial-*")):
            again = ["foveal", "train", str(data), "--recipe", str(path / "trial-000" / "recipe.json")]
            if not isinstance(recipe, Recipe):
                again = [*again[:3], "--recipe", str(recipe or DEFAULT_RECIPE)]
                again += [word for setting in own for word in ("--set", setting)]
            again += ["--validation", validation] if validation else []
            again += ["--group", group] if group else []
            again += ["--seed", str(seed)] if seed else []
            write_json(path / FILE, {"schema": SCHEMA, "asked": asked, "again": again, "trials": []})
        _refuse_changed_data(path, cache)
        search = _Search(
            path=path,
            base=base,
            searched=searched,
            standing_first=not over,
            seed=seed,
            deadline=None if minutes is None else began + 60 * minutes,
            reserve=0.0 if minutes is None else FINISHING + RESERVE * 60 * minutes,
            options={"validation": validation, "group": group, "seed": seed, "cache": cache},
        )
        search.through(data, trials)
        found = load(path)
        if found.test is None and found.run.has_test:
            Run(found.winner.path, cache=cache).evaluate("test")
            found = load(path)
        return found


def _refuse_other(path: Path, asked: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else, or a study of something else."""
    if path.exists() and not (path / FILE).is_file():
        # What a process leaves that was killed at the very beginning does no harm.
        if not path.is_dir() or {each.name for each in path.iterdir()} - {LOCK, WRITER, f".{FILE}.part"}:
            raise RunError(f"{path} exists already and is no study; choose another --out")
    elif path.exists():
        before = read(path)["asked"]
        if not any(path.glob("trial-*")):
            return  # nothing was trained: the data were refused, say
        for name, value in asked.items():
            was, now = (json.dumps(each)[:200] for each in (before[name], value))
            changed = (
                differences(before[name], value) if name == "recipe" else [f"{name} was {was}, not {now}"]
            )
            if before[name] != value:
                raise RunError(f"{path} holds a study in which {changed[0]}; choose another --out")


def _refuse_changed_data(path: Path, cache: str | os.PathLike[str] | None) -> None:
    first = path / "trial-000"
    if first.exists():
        _, changed = Run(first, cache=cache).look_up_data()
        if changed:
            raise RunError(f"{path} holds a study of other data: {changed[0]}; choose another --out")


class _Search:
    """A study under way. All it knows of trials it reads from their folders."""

    def __init__(
        self,
        *,
        path: Path,
        base: Recipe,
        searched: tuple[Dimension, ...],
        standing_first: bool,
        seed: int,
        deadline: float | None,
        reserve: float,
        options: Mapping[str, Any],
    ) -> None:
        self._path = path
        self._base = base
        self._searched = searched
        self._first = standing_first
        self._seed = seed
        self._deadline = deadline
        self._reserve = reserve
        self._options = options

    def through(self, data: str | os.PathLike[str], most: int | None) -> None:
        """Finish what was begun, then begin trials while there is time, up to `most`."""
        while True:
            asked = read(self._path)
            done = [Trial.of(self._path, *each) for each in enumerate(asked["trials"])]
            waiting = [each for each in done if each.state == "under way"]
            if waiting:
                self._train(waiting[0], [each for each in done if each.state != "under way"], data)
                continue
            if (most is not None and len(done) >= most) or not self._in_time(done):
                return
            settings = propose(done, self._base, self._searched, seed=self._seed, standing_first=self._first)
            if settings is None:
                progress.line("no combination of these settings was found that was not tried before")
                return
            asked["trials"].append(settings)
            write_json(self._path / FILE, asked)

    def _train(self, trial: Trial, done: list[Trial], data: str | os.PathLike[str]) -> None:
        set_to = [f"{path}={value}" for path, value in trial.settings.items()]
        progress.line(f"trial {trial.number}: {', '.join(set_to) or 'the recipe as it stands'}")
        stop = self._stop(trial, done)
        try:
            with progress.quiet():
                if trial.path.exists():
                    self._resume(trial, stop)
                else:
                    train(
                        data,
                        recipe=self._base,
                        settings=set_to,
                        out=trial.path,
                        stop=stop,
                        **self._options,
                    )
        except DivergenceError as error:
            RunFolder(trial.path).add_event(GivenUp(why=str(error)))
        except Interrupted as interrupted:
            raise Interrupted(
                f"interrupted in trial {trial.number}, everything is saved; the same command with --out "
                f"{self._path} goes on",
                run=self._path,
                signal_number=interrupted.exit_code - 128,
            ) from interrupted
        after = Trial.of(self._path, trial.number, trial.settings)
        told: str = after.state
        if after.accuracy is not None:
            n = Run(after.path).folder.dataset.splits["validation"].n
            if not n:
                raise RecipeError("nothing validates in this data set, so trials cannot be judged")
            told += f", validation accuracy {format_percent(after.accuracy, n)}"
        progress.line(f"trial {trial.number}: {told}, {after.seconds:,.1f} s")

    def _resume(self, trial: Trial, stop: Callable[[EpochRecord], bool]) -> None:
        try:
            resume(trial.path, cache=self._options["cache"], stop=stop)
        except RunError as error:
            after = "once that is done, the same command goes on"
            raise RunError(f"{error} (foveal resume {trial.path}; {after})") from error

    def _in_time(self, done: list[Trial]) -> bool:
        """Whether one more trial is expected to end in time; one always runs."""
        if self._deadline is None or not done:
            return True
        whole = [each.seconds for each in done if each.state == "trained"]
        expected = MARGIN * max(whole or [each.seconds for each in done])
        return time.monotonic() + expected < self._deadline - self._reserve - self._testing(done)

    def _testing(self, done: list[Trial]) -> float:
        """Bound what the test split takes: an epoch shows each training image, which costs more."""
        run = RunFolder(done[0].path)
        train, test = (run.dataset.splits[split].n for split in ("train", "test"))
        epochs = [each.seconds for each in run.events() if isinstance(each, EpochEnded)]
        return max(epochs, default=0.0) * float(test / max(1, train))

    def _stop(self, trial: Trial, done: list[Trial]) -> Callable[[EpochRecord], bool]:
        """Make what is asked after each epoch: whether the trial lags behind, or its time is over."""
        seen = dict(trial.epochs)
        last = time.monotonic()
        comparable = not {"epochs", "steps"} & {each.path for each in self._searched}
        end = None
        if self._deadline is not None and any(each.state == "trained" for each in done):
            end = self._deadline - self._reserve - self._testing(done)

        def stop(record: EpochRecord) -> bool:
            nonlocal last
            now = time.monotonic()
            epoch, last = now - last, now
            why = None
            if record.validation_accuracy is not None:
                seen[record.epoch] = record.validation_accuracy
                reached = {each: value for each, value in seen.items() if each <= record.epoch}
                if comparable and lags(reached, done, self._base):
                    why = "lags"
            if end is not None and now + epoch > end:
                why = "time"
            if why is not None:
                RunFolder(trial.path).add_event(CutShort(epoch=record.epoch, why=why))
            return why is not None

        return stop
