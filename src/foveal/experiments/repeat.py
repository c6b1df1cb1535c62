"""One recipe trained with several seeds, in one folder: trained, resumed where it stopped, summarized."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from foveal import progress
from foveal.commands import quote_word, show_command
from foveal.comparison.seed_variance import Spread, VarianceComponents, summarize_spread, variance_components
from foveal.data.arrays import Arrays
from foveal.data.options import DataOptions, DataSource
from foveal.errors import DataError, RecipeError, RunError, UserError
from foveal.evaluation.metrics import format_percent
from foveal.files.atomic import outside_faults, write_json_with_digest
from foveal.files.run_folder import default_run_path
from foveal.files.run_records import EvaluationSplit, TableRecord
from foveal.files.typed_file import read_file
from foveal.files.typed_json import plain, to_json
from foveal.recipe.budget import Budget
from foveal.recipe.overrides import Settings, parse_settings
from foveal.recipe.recipe import Recipe
from foveal.run.loggers import Loggers, check_loggers
from foveal.run.moved_data import record_table
from foveal.run.options import TrainOptions, TrainRequest
from foveal.run.resume import resume
from foveal.run.run import Run
from foveal.run.train import start_run
from foveal.tables import text_table
from foveal.types import Bools

SCHEMA = 1
"""The version of `group.json` and of the JSON of `foveal repeat --json`."""
GROUP_FILE = "group.json"
"""The file that makes a folder a group."""


@dataclass(frozen=True, kw_only=True)
class GroupRequest:
    """What the runs of a group have in common. Another request for the same folder is refused."""

    data: str
    """The absolute path of the folder of images."""
    recipe: object = None
    """The name or file of the recipe, or the recipe as JSON. It is None where a budget decides."""
    minutes: float | None = None
    """The budget of each run in minutes."""
    validation: str | None = None
    """The split that validates, if the user named one."""
    group: str | None = None
    """The regular expression that keeps groups together."""
    settings: tuple[str, ...] = ()
    """The settings that differ from the recipe's, as `key=value`."""
    table: TableRecord | None = None
    """How the table of labels is read, or None where folders have the labels."""


@dataclass(frozen=True, kw_only=True)
class GroupRecord:
    """What `group.json` holds."""

    schema: int
    """The version of the file."""
    asked: GroupRequest
    """What the runs have in common."""
    runs: int
    """The number of runs."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ only in their seeds. Printed, it is a table and sentences.

    >>> group = foveal.repeat("digits", runs=2, recipe="digits", settings={"epochs": 1}, out="runs/two")
    >>> group.accuracy.n
    2
    """

    path: Path
    """The folder of the group."""
    runs: tuple[Run, ...]
    """The runs, in the order of their seeds."""
    split: EvaluationSplit
    """The split that they were evaluated on: test, or validation if there are no test images."""
    images: int
    """The number of images of that split."""
    accuracies: tuple[float, ...]
    """The accuracy of each run."""
    accuracy: Spread
    """The mean accuracy, its standard deviation and its interval."""
    correct: Bools | None
    """Which run classified which image correctly (runs, images). It is None if the runs have other images."""
    digests: tuple[str, ...]
    """The digests of the image files, in the same order."""

    @cached_property
    def variance_components(self) -> VarianceComponents | None:
        """How much seeds and images contribute to the spread. It is None for one run, or for other images."""
        return None if self.correct is None else variance_components(self.correct)

    def to_json(self) -> dict[str, Any]:
        """Return the group as plain JSON, as `foveal repeat --json` prints it."""
        accuracy = asdict(self.accuracy)
        accuracy["interval"] = None if self.accuracy.interval is None else list(self.accuracy.interval)
        return {
            "schema": SCHEMA,
            "group": str(self.path),
            "split": self.split,
            "n": self.images,
            "runs": [
                {"run": str(run.path), "seed": run.folder.environment.seed, "accuracy": accuracy_of_run}
                for run, accuracy_of_run in zip(self.runs, self.accuracies, strict=True)
            ],
            "accuracy": accuracy,
            "sources": None if self.variance_components is None else asdict(self.variance_components),
        }

    def __str__(self) -> str:
        rows = [
            [
                progress.printable(run.path.name, 60),
                str(run.folder.environment.seed),
                format_percent(accuracy, self.images),
                f"{run.summary()['seconds']:,.1f}",
            ]
            for run, accuracy in zip(self.runs, self.accuracies, strict=True)
        ]
        table = text_table(["run", "seed", "accuracy", "seconds of training"], rows, right={1, 2, 3})
        return f"{table}\n\n{self._describe()}"

    __repr__ = __str__

    def _describe(self) -> str:
        spread, components = self.accuracy, self.variance_components
        images, mean = f"{self.images:,} {self.split} images", f"{100 * spread.mean:.2f} %"
        if spread.deviation is None or spread.interval is None:
            return f"One run: {mean} of {images}. More runs would say how much of that is chance."
        low, high = spread.interval
        text = (
            f"{spread.n} seeds, {images}: mean accuracy {mean}, standard deviation "
            f"{100 * spread.deviation:.2f} points, 95 % interval for the mean over seeds "
            f"{100 * low:.2f} % to {100 * high:.2f} % (Student's t)."
        )
        if components is None:
            return f"{text} Each seed divides the images anew, so chance in the test images is part of that."
        return (
            f"{text} A single run's accuracy would move by {100 * components.seeds:.2f} points with "
            f"another seed, by {100 * components.images:.2f} with other test images (standard deviations)."
        )


def repeat(
    data: DataSource,
    *,
    runs: int = 5,
    recipe: str | Path | Recipe | None = None,
    budget: str | Budget | None = None,
    settings: Settings = (),
    out: str | os.PathLike[str] | None = None,
    log: str | Iterable[str] = (),
) -> Group:
    """Train one recipe with the seeds 0 to `runs` − 1, evaluate each run on the test split, and summarize.

    Called again with the same folder it continues where it stopped, also in the middle of a run. With a
    larger number of runs it adds the missing ones.

    >>> group = foveal.repeat("digits", runs=2, recipe="digits", settings={"epochs": 1}, out="runs/two")
    >>> len(group.runs)
    2

    Args:
        data: The folder of images, or `DataOptions`.
        runs: The number of runs.
        recipe: As in `train`.
        budget: The budget of each run, as in `train`.
        settings: As in `train`.
        out: The folder of the group. By default it is runs/DATE-TIME-repeat. Its runs are `seed-0`, `seed-1`
            and so on.
        log: The loggers of all runs, as in `TrainOptions`.

    Raises:
        RunError: The folder holds something else, or runs of other data or settings.
        DataError: The images are in memory. Their runs could not be resumed.
        UserError: What `train` and `resume` raise.
        Interrupted: Ctrl-C or SIGTERM came. Everything is saved, and the same call continues.
    """
    if runs < 1:
        raise RecipeError(f"{runs} runs are asked for; one is the least")
    options = DataOptions.of(data)
    request = TrainRequest(
        data=options,
        recipe=recipe,
        budget=None if budget is None else Budget.parse(budget),
        settings=parse_settings(settings),
        options=TrainOptions(log=check_loggers(log)),
        includes_test=True,
    )
    path = Path(out) if out is not None else default_run_path("repeat")
    _create_group(path, _describe_request(request), runs)
    trained_runs = []
    for seed in range(runs):
        run_path = path / f"seed-{seed}"
        progress.line(f"seed {seed}, {seed + 1} of {runs}: {run_path}")
        trained_runs.append(_train_and_evaluate(replace(request, seed=seed, out=run_path)))
    return _summarize(path, trained_runs)


def _train_and_evaluate(request: TrainRequest) -> Run:
    """Train a run of a group, or resume it, and evaluate it."""
    assert request.out is not None
    path = Path(request.out)
    if path.exists():
        run = resume(path, cache=request.data.cache, options=request.options)
    else:
        try:
            run = start_run(request)
        except UserError:
            if request.seed == 0:  # nothing was begun: do not leave the group's folder in the way
                (path.parent / GROUP_FILE).unlink()
                path.parent.rmdir()
            raise
    split = _choose_split(run)
    if run.evaluation(split) is None:
        run.evaluate(split)
        Loggers(check_loggers(request.options.log), run.folder).finish()
    return run


def load_group(path: str | os.PathLike[str]) -> Group:
    """Open a group that `repeat` finished.

    Raises:
        RunError: The folder is no group, or not all of its runs are finished.
    """
    folder = Path(path)
    count = read_file(folder / GROUP_FILE, GroupRecord).runs
    runs = [Run(folder / f"seed-{seed}") for seed in range(count)]
    for run in runs:
        if not run.folder.finished:
            go_on = f"foveal repeat … --out={quote_word(folder)}"
            raise RunError(f"{run.path} is not finished; go on with: {go_on}")
    return _summarize(folder, runs)


def resolve_source(data: DataOptions) -> str:
    """Return the absolute path of the folder of images.

    Raises:
        DataError: The images are in memory.
    """
    if isinstance(data.source, Arrays):
        raise DataError("runs on images in memory cannot be resumed; name a folder of images instead")
    return str(Path(data.source).resolve())


def _describe_request(request: TrainRequest) -> GroupRequest:
    recipe = request.recipe
    return GroupRequest(
        data=resolve_source(request.data),
        recipe=recipe.to_json() if isinstance(recipe, Recipe) else None if recipe is None else str(recipe),
        minutes=None if request.budget is None else request.budget.seconds / 60,
        validation=request.data.validation,
        group=request.data.group,
        settings=tuple(parse_settings(request.settings)),
        table=record_table(request.data),
    )


def _create_group(path: Path, request: GroupRequest, runs: int) -> None:
    """Create the folder of a group, or check that it is a group with the same request."""
    file = path / GROUP_FILE
    if file.is_file():
        before = read_file(file, GroupRecord)
        for field in fields(request):
            old, new = (plain(getattr(side, field.name)) for side in (before.asked, request))
            if old != new:
                raise RunError(
                    f"{path} holds runs with {field.name} {json.dumps(old)[:80]}, not "
                    f"{json.dumps(new)[:80]}; choose another --out"
                )
        runs = max(runs, before.runs)
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists already and is no group of runs; choose another --out")
    with outside_faults(path):
        path.mkdir(parents=True, exist_ok=True)
    write_json_with_digest(file, to_json(GroupRecord(schema=SCHEMA, asked=request, runs=runs)))


def _choose_split(run: Run) -> EvaluationSplit:
    return "test" if run.has_test else "validation"


def _summarize(path: Path, runs: Sequence[Run]) -> Group:
    split = _choose_split(runs[0])
    evaluations, correct, labels_of = [], [], []
    for run in runs:
        evaluation = run.evaluation(split)
        if evaluation is None:
            command = show_command("evaluate", run.path, "--split", split)
            raise RunError(f"{run.path} was not judged on its {split} split; {command}")
        evaluations.append(evaluation)
        logits, labels = run.load_predictions(evaluation)
        correct.append(logits.argmax(axis=1) == labels)
        labels_of.append(labels)
    accuracies = tuple(evaluation.accuracy for evaluation in evaluations)
    files = [run.folder.dataset.splits[split].files for run in runs]
    same_images = all(other == files[0] for other in files) and all(
        np.array_equal(other, labels_of[0]) for other in labels_of
    )
    return Group(
        path=path,
        runs=tuple(runs),
        split=split,
        images=evaluations[0].n,
        accuracies=accuracies,
        accuracy=summarize_spread(accuracies),
        correct=np.stack(correct) if same_images else None,
        digests=tuple(digest for _, digest in files[0]),
    )
