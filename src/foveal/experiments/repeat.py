"""One recipe with several seeds, in one folder: trained, taken up where it stopped, summarised."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal import progress
from foveal.comparison.seed_variance import Spread, VarianceComponents, summarize_spread, variance_components
from foveal.errors import RecipeError, RunError, UserError
from foveal.evaluation.metrics import format_percent
from foveal.evaluation.predict import load_predictions
from foveal.files.atomic import outside_faults, read_json, write_json
from foveal.files.typed_json import require
from foveal.recipe.recipe import Recipe
from foveal.runs.loggers import Loggers, check
from foveal.runs.run import Judged, Run
from foveal.runs.train import resume, train
from foveal.tables import text_table

SCHEMA = 1
FILE = "group.json"
"""What makes a folder a group: what its runs have in common."""
_SHAPE = {"schema": int, "asked": {"data": str}, "runs": int}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ in nothing but their seeds. It shows itself as a table and sentences."""

    path: Path
    runs: tuple[Run, ...]
    split: Judged
    """What they were judged on: the test split, or the validation split where there is none."""
    images: int
    accuracies: tuple[float, ...]
    accuracy: Spread
    right: NDArray[np.bool_] | None
    """(runs, images): who got which image right. None where each seed divides the images anew."""
    digests: tuple[str, ...]
    """Of those images' files, in that order."""

    @cached_property
    def sources(self) -> VarianceComponents | None:
        """Where the spread comes from; None for a single run, and where each seed divides the images anew."""
        return None if self.right is None else variance_components(self.right)

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON: the contract's `repeat --json`."""
        accuracy = asdict(self.accuracy)
        accuracy["interval"] = None if self.accuracy.interval is None else list(self.accuracy.interval)
        return {
            "schema": SCHEMA,
            "group": str(self.path),
            "split": self.split,
            "n": self.images,
            "runs": [
                {"run": str(run.path), "seed": run.folder.environment.seed, "accuracy": each}
                for run, each in zip(self.runs, self.accuracies, strict=True)
            ],
            "accuracy": accuracy,
            "sources": None if self.sources is None else asdict(self.sources),
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
        laid = text_table(["run", "seed", "accuracy", "seconds of training"], rows, right={1, 2, 3})
        return f"{laid}\n\n{self._sentence()}"

    __repr__ = __str__

    def _sentence(self) -> str:
        found = self.accuracy
        n, mean = f"{self.images:,} {self.split} images", f"{100 * found.mean:.2f} %"
        if found.deviation is None or found.interval is None:
            return f"One run: {mean} of {n}. More runs would say how much of that is chance."
        low, high = found.interval
        said = (
            f"{found.n} seeds, {n}: mean accuracy {mean}, standard deviation {100 * found.deviation:.2f} "
            f"points, 95 % interval for the mean over seeds {100 * low:.2f} % to {100 * high:.2f} % "
            f"(Student's t)."
        )
        if self.sources is None:
            return f"{said} Each seed divides the images anew, so chance in the test images is part of that."
        return (
            f"{said} A single run's accuracy would move by {100 * self.sources.seeds:.2f} points with "
            f"another seed, by {100 * self.sources.images:.2f} with other test images (standard deviations)."
        )


def repeat(
    data: str | os.PathLike[str],
    *,
    runs: int = 5,
    recipe: str | Path | Recipe | None = None,
    minutes: float | None = None,
    validation: str | None = None,
    group: str | None = None,
    settings: Iterable[str] = (),
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    log: str | Iterable[str] = (),
) -> Group:
    """Train one recipe with the seeds 0 to `runs` − 1, judge each on the test split, and summarise.

    The runs lie in `out` as `seed-0`, `seed-1` and so on. Called again with the same folder it goes on where
    it stopped, in the middle of a run too; with more `runs` it adds the missing ones. The other arguments are
    those of `train`.

    Raises:
        RunError: the folder holds something else, or runs of other data or settings.
        Whatever `train` and `resume` raise.
    """
    if runs < 1:
        raise RecipeError(f"{runs} runs are asked for; one is the least")
    changes = list(settings)
    asked = {
        "data": str(Path(data).resolve()),
        "recipe": recipe.to_json() if isinstance(recipe, Recipe) else None if recipe is None else str(recipe),
        "minutes": minutes,
        "validation": validation,
        "group": group,
        "settings": changes,
    }
    path = (
        Path(out) if out is not None else Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-repeat"
    )
    _begin(path, asked, runs)
    trained = []
    for seed in range(runs):
        place = path / f"seed-{seed}"
        progress.line(f"seed {seed}, {seed + 1} of {runs}: {place}")
        if place.exists():
            run = resume(place, cache=cache, log=log)
        else:
            try:
                run = train(
                    data,
                    recipe=recipe,
                    minutes=minutes,
                    validation=validation,
                    group=group,
                    seed=seed,
                    settings=changes,
                    out=place,
                    cache=cache,
                    tested=True,
                    log=log,
                )
            except UserError:
                if seed == 0:  # nothing was begun: the group's folder is not to stand in the way
                    (path / FILE).unlink()
                    path.rmdir()
                raise
        split = _judged_on(run)
        if run.evaluation(split) is None:
            run.evaluate(split)
            Loggers(check(log), run.folder).finish()
        trained.append(run)
    return _summarise(path, trained)


def load(path: str | os.PathLike[str]) -> Group:
    """Open a group that `repeat` finished.

    Raises:
        RunError: it is none, or not all of its runs are finished.
    """
    folder = Path(path)
    count = _read(folder)["runs"]
    runs = [Run(folder / f"seed-{seed}") for seed in range(count)]
    for run in runs:
        if run.folder.state not in ("trained", "evaluated"):
            raise RunError(f"{run.path} is not finished; go on with: foveal repeat … --out {folder}")
    return _summarise(folder, runs)


def _begin(path: Path, asked: Mapping[str, Any], runs: int) -> None:
    """Make the group's folder, or check that it is one of the same runs."""
    if path.exists() and not (path / FILE).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists already and is no group of runs; choose another --out")
    if (path / FILE).is_file():
        before = _read(path)
        for name, value in before["asked"].items():
            if asked.get(name) != value:
                raise RunError(
                    f"{path} holds runs with {name} {json.dumps(value)[:80]}, not "
                    f"{json.dumps(asked.get(name))[:80]}; choose another --out"
                )
        runs = max(runs, before["runs"])
    with outside_faults(path):
        path.mkdir(parents=True, exist_ok=True)
    write_json(path / FILE, {"schema": SCHEMA, "asked": dict(asked), "runs": runs})


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON
    value = read_json(path / FILE)
    try:
        require(value, _SHAPE, FILE)
    except RecipeError as error:
        raise RunError(f"{path} is no group of runs: {error}") from error
    return value


def _judged_on(run: Run) -> Judged:
    return "test" if run.has_test else "validation"


def _summarise(path: Path, runs: list[Run]) -> Group:
    split = _judged_on(runs[0])
    evaluations = []
    for run in runs:
        evaluation = run.evaluation(split)
        if evaluation is None:
            raise RunError(f"{run.path} was not judged on its {split} split; foveal evaluate {run.path}")
        evaluations.append(evaluation)
    accuracies = tuple(each.accuracy for each in evaluations)
    files = [run.folder.dataset.splits[split].files for run in runs]
    same = all(each == files[0] for each in files)
    rows = []
    for run, evaluation in zip(runs, evaluations, strict=True):
        found, labels = load_predictions(
            run.folder.predictions, split, n=evaluation.n, classes=len(evaluation.classes)
        )
        rows.append(found.argmax(axis=1) == labels)
    return Group(
        path=path,
        runs=tuple(runs),
        split=split,
        images=evaluations[0].n,
        accuracies=accuracies,
        accuracy=summarize_spread(accuracies),
        right=np.stack(rows) if same else None,
        digests=tuple(digest for _, digest in files[0]),
    )
