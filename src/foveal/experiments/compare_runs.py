"""The comparison of runs, or of groups of runs, on the images that they share."""

import os
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from foveal.commands import show_command
from foveal.comparison.models import Contender, compare_models
from foveal.comparison.recipes import RecipeComparison, RecipeRuns, compare_recipes
from foveal.comparison.result import Comparison
from foveal.data.decode import encode_png
from foveal.errors import DataError, RunError
from foveal.evaluation.calibration import softmax
from foveal.experiments.repeat import GROUP_FILE, Group, load_group
from foveal.files.atomic import write_bytes
from foveal.files.run_records import EvaluationSplit
from foveal.models import registry
from foveal.reporting.compare_page import render_comparison, select_gallery_images
from foveal.run.run import Run
from foveal.types import Ints, Logits

NOTE_ON_RECIPES = (
    "This says which of these models is better on images like these. Whether one recipe is better than "
    "another it does not say: each was trained once, and another seed would give another model, with other "
    "errors. Groups of runs do (foveal repeat)."
)
"""What a comparison of single runs says about their recipes."""


def compare(
    *runs: str | os.PathLike[str] | Run | Group, split: EvaluationSplit = "test"
) -> Comparison | RecipeComparison:
    """Compare runs image by image, by their stored predictions on a split; or compare groups of runs.

    Runs must share the images and the classes; everything else may differ. Comparing runs answers which model
    is better on images like these. Comparing groups that `repeat` made answers which recipe is better,
    whatever the seed.

    >>> comparison = foveal.compare("runs/first", "runs/second")
    >>> len(comparison.contenders)
    2

    Args:
        runs: Two or more runs, or two or more groups, opened or by their folders.
        split: The split on which runs are compared. Groups are compared on the split they were evaluated on.

    Raises:
        RunError: There are fewer than two runs, runs and groups are mixed, a run was not evaluated on the
            split, or the images or classes differ.
    """
    groups = [run for run in runs if isinstance(run, Group) or _is_group(run)]
    if not groups:
        return compare_runs(*(run for run in runs if not isinstance(run, Group)), split=split)
    if len(groups) < len(runs):
        raise RunError(
            "runs and groups of runs cannot be compared with each other; name groups only, or runs"
        )
    return compare_groups(*(group for group in groups if not isinstance(group, Run)))


def compare_groups(*groups: str | os.PathLike[str] | Group) -> RecipeComparison:
    """Compare the recipes of groups that `repeat` made; see `compare`."""
    opened = [group if isinstance(group, Group) else load_group(group) for group in groups]
    if len(opened) < 2:
        raise RunError("a comparison needs two groups of runs or more")
    first, recipes = opened[0], []
    for group, name in zip(opened, _choose_names([group.path for group in opened]), strict=True):
        if group.correct is None or len(group.runs) < 2:
            raise RunError(f"{group.path} needs two runs or more that are judged on the same images")
        if sorted(group.digests) != sorted(first.digests) or group.split != first.split:
            raise RunError(f"{group.path} was not judged on the {first.split} images of {first.path}")
        order = np.argsort(np.array(group.digests), kind="stable")
        summaries = [run.summary() for run in group.runs]
        seconds = [summary["seconds"] for summary in summaries if summary["seconds"] is not None]
        recipes.append(
            RecipeRuns(
                name=name,
                correct=group.correct[:, order],
                seconds=mean(seconds) if seconds else None,
                parameters=sum(registry.count_parameters(group.runs[0].model)),
            )
        )
    return compare_recipes(recipes, split=first.split)


def write_page(
    comparison: Comparison | RecipeComparison,
    runs: Sequence[str | os.PathLike[str] | Run | Group],
    file: str | os.PathLike[str],
) -> Path:
    """Write a comparison as one HTML page, and return its path.

    The page shows images that only one of two runs classifies correctly, if the data of the first run are
    still there.

    Args:
        comparison: What `compare` returned.
        runs: The runs or groups that were compared.
        file: The path of the page.

    Raises:
        OutsideError: The file cannot be written.
    """
    first, path = runs[0], Path(file)
    pictures: dict[str, bytes] = {}
    image_paths = {image.path for side in select_gallery_images(comparison) for image in side}
    if image_paths and not isinstance(first, Group):
        run = first if isinstance(first, Run) else Run(first)
        with suppress(DataError, RunError):  # the data are gone or have changed: the page says so
            pictures = _encode_images(run, image_paths)
    write_bytes(path, render_comparison(comparison, pictures).encode("utf-8", "backslashreplace"))
    return path


def _encode_images(run: Run, paths: Container[str]) -> dict[str, bytes]:
    """Return images of a run's data set by their paths, as PNG in the size that the recipe uses."""
    pack = run.dataset.pack
    return {
        path: encode_png(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
        for path, pixels in zip(pack.paths, pack.pixels, strict=True)
        if path in paths
    }


def _is_group(path: str | os.PathLike[str] | Run | Group) -> bool:
    return not isinstance(path, Run | Group) and (Path(path) / GROUP_FILE).is_file()


def compare_runs(*runs: str | os.PathLike[str] | Run, split: EvaluationSplit = "test") -> Comparison:
    """Compare single runs; see `compare`."""
    opened = [run if isinstance(run, Run) else Run(run) for run in runs]
    if len(opened) < 2:
        raise RunError("a comparison needs two runs or more")
    first = opened[0]
    classes = first.folder.dataset.classes
    expected = _load_predictions(first, split)
    contenders: list[Contender] = []
    for run, name in zip(opened, _choose_names([run.path for run in opened]), strict=True):
        if run.folder.dataset.classes != classes:
            raise RunError(f"{run.path} has other classes than {first.path}, so they cannot be compared")
        predictions = _load_predictions(run, split)
        if predictions.digests != expected.digests or not np.array_equal(predictions.labels, expected.labels):
            n_different = len(set(predictions.digests) ^ set(expected.digests))
            raise RunError(
                f"{run.path} was not judged on the {split} images of {first.path}: {n_different:,} images "
                f"are in one of them only; compare runs on the same {split} images"
            )
        true_probabilities = softmax(predictions.logits)[np.arange(len(expected.labels)), expected.labels]
        contenders.append(
            Contender(
                name=name,
                y_pred=predictions.logits.argmax(axis=1),
                true_class_probability=true_probabilities,
                seconds=run.summary()["seconds"],
                parameters=sum(registry.count_parameters(run.model)),
                details=_describe(run),
            )
        )
    return compare_models(
        contenders, expected.labels, classes, split=split, recipes=NOTE_ON_RECIPES, paths=expected.paths
    )


def _describe(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "recipe": run.recipe.name,
        "seed": run.folder.environment.seed,
        "fingerprint": run.folder.dataset.fingerprint,
    }


def _choose_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by their folders, and runs of a group with the group's folder before.

    If two of these names are equal, the paths are the names.
    """
    resolved = [path.resolve() for path in paths]
    names = [f"{path.parent.name}/{path.name}" if _is_group(path.parent) else path.name for path in resolved]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


@dataclass(frozen=True, kw_only=True)
class _Predictions:
    """A run's predictions, sorted by image digest and label. The order does not depend on file names."""

    paths: list[str]
    """The relative path of each image."""
    digests: list[str]
    """The digest of each image."""
    labels: Ints
    """The class of each image (N,)."""
    logits: Logits
    """The logits of each image (N, classes)."""


def _load_predictions(run: Run, split: EvaluationSplit) -> _Predictions:
    evaluation = run.evaluation(split)
    if evaluation is None:
        command = show_command("evaluate", run.path, "--split", split)
        raise RunError(f"{run.path} has not been evaluated; first: {command}")
    files = run.folder.dataset.splits[split].files
    logits, labels = run.load_predictions(evaluation)
    if len(files) != len(labels):
        raise RunError(
            f"{run.path} has predictions for {len(labels):,} of {len(files):,} images; evaluate it again"
        )
    keys = [(digest, int(label)) for (_, digest), label in zip(files, labels, strict=True)]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    return _Predictions(
        paths=[files[index][0] for index in order],
        digests=[files[index][1] for index in order],
        labels=labels[order],
        logits=logits[order],
    )
