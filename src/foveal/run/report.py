"""A run's files put together as what its report tells."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from foveal import progress
from foveal.data.dataset import Dataset
from foveal.deployment.bundle import Bundle
from foveal.errors import DataError, RunError
from foveal.evaluation.calibration import softmax
from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.roc import ClassCurves, compute_class_curves
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import EvaluationSplit
from foveal.models import registry
from foveal.recipe.recipe import Recipe
from foveal.reporting import gallery as galleries
from foveal.reporting.gallery import Gallery
from foveal.reporting.report import Report
from foveal.types import Ints


class ReportedRun(Protocol):
    """What a report needs of a run: `foveal.Run` has it."""

    folder: RunFolder
    """The run folder."""

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""

    @property
    def bundle(self) -> Bundle:
        """The trained model."""

    @property
    def model(self) -> nn.Module:
        """The trained network."""

    @property
    def dataset(self) -> Dataset:
        """The data that the run was trained on."""

    def evaluation(self, split: EvaluationSplit) -> Evaluation | None:
        """Return what was measured on a split, or None."""

    def load_predictions(self, evaluation: Evaluation) -> tuple[NDArray[np.float32], Ints]:
        """Read the logits (n, classes) and labels (n,) of an evaluation."""


def build_report(
    run: ReportedRun,
    *,
    curves: bool = True,
    images: bool = False,
    neighbours: bool = False,
    fresh: Evaluation | None = None,
) -> Report:
    """Return what the report of a run tells.

    Args:
        run: The run. It must be trained.
        curves: Whether ROC and precision-recall curves are computed.
        images: Whether the images that were classified wrongly are put in.
        neighbours: Whether the training images most like them are put in.
        fresh: An evaluation that takes the place of the stored one of its split.
    """
    _ = run.recipe  # refused here if it is none: the page shows it as it is written
    validation = _pick(run, "validation", fresh)
    test = _pick(run, "test", fresh)
    evaluation = test or validation
    class_curves: tuple[ClassCurves, ...] = ()
    gallery: Gallery | None = None
    if evaluation is not None and curves:
        logits, labels = run.load_predictions(evaluation)
        names = [scores.name for scores in evaluation.classes]
        class_curves = compute_class_curves(softmax(logits), labels, names)
        if images:
            gallery = _build_gallery(run, evaluation, neighbours=neighbours)
    decoding = run.bundle.decoding
    layers = registry.list_layers(run.model, size=decoding.size, channels=decoding.channels)
    return Report.from_run(
        run.folder, validation=validation, test=test, curves=class_curves, layers=layers, gallery=gallery
    )


def _pick(run: ReportedRun, split: EvaluationSplit, fresh: Evaluation | None) -> Evaluation | None:
    return fresh if fresh is not None and fresh.split == split else run.evaluation(split)


def _build_gallery(run: ReportedRun, evaluation: Evaluation, *, neighbours: bool) -> Gallery | None:
    """Return the images that were classified wrongly; None where the data are gone or changed."""
    try:
        dataset = run.dataset
    except (DataError, RunError) as error:
        progress.warn(f"the report shows no images: {error}")
        return None
    images = galleries.ImageSet(
        pixels=dataset.pack.pixels,
        labels=dataset.labels,
        paths=dataset.pack.paths,
        classes=dataset.classes,
    )
    logits, _ = run.load_predictions(evaluation)
    return galleries.build_gallery(
        images,
        dataset.get_indices("validation" if evaluation.split == "validation" else "test"),
        softmax(logits, run.bundle.temperature),
        network=run.model,
        training=dataset.get_indices("train") if neighbours else None,
    )
