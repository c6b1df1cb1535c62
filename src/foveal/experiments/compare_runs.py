"""Runs compared on the test images that they share."""

import os
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.comparison.models import Contender
from foveal.comparison.models import compare as compare_contenders
from foveal.comparison.recipes import RecipeComparison, RecipeRuns, compare_recipes
from foveal.comparison.result import Comparison
from foveal.data.decode import encode_png
from foveal.errors import DataError, RunError
from foveal.evaluation.calibration import softmax
from foveal.evaluation.predict import load_predictions
from foveal.experiments.repeat import FILE, Group, load
from foveal.files.atomic import write_bytes
from foveal.models import registry
from foveal.reporting.compare_page import gallery, render
from foveal.runs.run import Judged, Run

ONE_RUN_EACH = (
    "This says which of these models is better on images like these. Whether one recipe is better than "
    "another it does not say: each was trained once, and another seed would give another model, with other "
    "errors. Groups of runs do (foveal repeat)."
)


def compare(
    *runs: str | os.PathLike[str] | Run | Group, split: Judged = "test"
) -> Comparison | RecipeComparison:
    """Compare runs on a split, image by image, by their stored predictions; or groups of runs.

    Everything but the images and the classes may differ. Runs answer which model is better on images like
    these; groups, as `repeat` makes them, which recipe is, whatever the seed.

    Raises:
        RunError: less than two, runs beside groups, one that is not evaluated on the split, or other images
            or classes.
    """
    groups = [each for each in runs if isinstance(each, Group) or _is_group(each)]
    if not groups:
        return compare_runs(*(each for each in runs if not isinstance(each, Group)), split=split)
    if len(groups) < len(runs):
        raise RunError(
            "runs and groups of runs cannot be compared with each other; name groups only, or runs"
        )
    return compare_groups(*(each for each in groups if not isinstance(each, Run)))


def compare_groups(*groups: str | os.PathLike[str] | Group) -> RecipeComparison:
    """Compare the recipes of groups that `repeat` made; see `compare`."""
    opened = [each if isinstance(each, Group) else load(each) for each in groups]
    if len(opened) < 2:
        raise RunError("a comparison needs two groups of runs or more")
    first, sides = opened[0], []
    for group, name in zip(opened, _names([each.path for each in opened]), strict=True):
        if group.right is None or len(group.runs) < 2:
            raise RunError(f"{group.path} needs two runs or more that are judged on the same images")
        if sorted(group.digests) != sorted(first.digests) or group.split != first.split:
            raise RunError(f"{group.path} was not judged on the {first.split} images of {first.path}")
        order = np.argsort(np.array(group.digests), kind="stable")
        seconds = [each for run in group.runs if (each := run.summary()["seconds"]) is not None]
        sides.append(
            RecipeRuns(
                name=name,
                right=group.right[:, order],
                seconds=mean(seconds) if seconds else None,
                parameters=sum(registry.count_parameters(group.runs[0].model)),
            )
        )
    return compare_recipes(sides, split=first.split)


def write_page(
    found: Comparison | RecipeComparison,
    runs: Sequence[str | os.PathLike[str] | Run | Group],
    file: str | os.PathLike[str],
) -> Path:
    """Write what `compare` found for `runs` as one HTML page; return its path.

    It shows images that only one of two runs gets right, from the first run's data, if they still are there.

    Raises:
        OutsideError: the file cannot be written.
    """
    first, path = runs[0], Path(file)
    pictures: dict[str, bytes] = {}
    wanted = {each.path for side in gallery(found) for each in side}
    if wanted and not isinstance(first, Group):
        run = first if isinstance(first, Run) else Run(first)
        with suppress(DataError, RunError):  # the data are gone or have changed: the page says so
            pictures = _pictures(run, wanted)
    write_bytes(path, render(found, pictures).encode("utf-8", "backslashreplace"))
    return path


def _pictures(run: Run, wanted: Container[str]) -> dict[str, bytes]:
    """Return images of a run's data set by their paths, as PNG at the recipe's size."""
    pack = run.dataset.pack
    return {
        path: encode_png(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
        for path, pixels in zip(pack.paths, pack.pixels, strict=True)
        if path in wanted
    }


def _is_group(path: str | os.PathLike[str] | Run | Group) -> bool:
    return not isinstance(path, Run | Group) and (Path(path) / FILE).is_file()


def compare_runs(*runs: str | os.PathLike[str] | Run, split: Judged = "test") -> Comparison:
    """Compare single runs; see `compare`."""
    opened = [each if isinstance(each, Run) else Run(each) for each in runs]
    if len(opened) < 2:
        raise RunError("a comparison needs two runs or more")
    names = _names([run.path for run in opened])
    first = opened[0]
    classes = first.folder.dataset.classes
    expected = _sorted_images(first, split)
    contenders: list[Contender] = []
    for run, name in zip(opened, names, strict=True):
        if run.folder.dataset.classes != classes:
            raise RunError(f"{run.path} has other classes than {first.path}, so they cannot be compared")
        order, digests, labels = _sorted_images(run, split)
        if digests != expected[1] or not np.array_equal(labels, expected[2]):
            apart = len(set(digests) ^ set(expected[1]))
            raise RunError(
                f"{run.path} was not judged on the {split} images of {first.path}: {apart:,} images are in "
                f"one of them only; compare runs on the same {split} images"
            )
        evaluation = run.evaluation(split)
        assert evaluation is not None  # its images were read
        found, label_of = load_predictions(
            run.folder.predictions, split, n=evaluation.n, classes=len(classes)
        )
        contenders.append(
            Contender(
                name=name,
                predicted=found.argmax(axis=1)[order],
                of_truth=softmax(found)[np.arange(len(found)), label_of][order],
                seconds=run.summary()["seconds"],
                parameters=sum(registry.count_parameters(run.model)),
                about={"run": str(run.path), **_about(run)},
            )
        )
    files = first.folder.dataset.splits[split].files
    return compare_contenders(
        contenders,
        expected[2],
        classes,
        split=split,
        recipes=ONE_RUN_EACH,
        paths=[files[row][0] for row in expected[0].tolist()],
    )


def _about(run: Run) -> dict[str, Any]:
    return {
        "recipe": run.recipe.name,
        "seed": run.folder.environment.seed,
        "fingerprint": run.folder.dataset.fingerprint,
    }


def _names(paths: Sequence[Path]) -> list[str]:
    """Name runs by their folders, those of a group by both; where two are called alike, by their paths."""
    whole = [path.resolve() for path in paths]
    short = [f"{each.parent.name}/{each.name}" if _is_group(each.parent) else each.name for each in whole]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _sorted_images(run: Run, split: Judged) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64]]:
    """Return a run's images of a split in an order that does not depend on their names.

    Returned are their rows among its predictions, their digests, and their labels (N,).
    """
    evaluation = run.evaluation(split)
    if evaluation is None:
        raise RunError(
            f"{run.path} has not been evaluated; first: foveal evaluate {run.path} --split {split}"
        )
    files = run.folder.dataset.splits[split].files
    classes = run.folder.dataset.classes
    _, labels = load_predictions(run.folder.predictions, split, n=evaluation.n, classes=len(classes))
    if len(files) != len(labels):
        raise RunError(
            f"{run.path} has predictions for {len(labels):,} of {len(files):,} images; evaluate it again"
        )
    keys = [(digest, int(label)) for (_, digest), label in zip(files, labels, strict=True)]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    return order, [keys[row][0] for row in order], labels[order]
