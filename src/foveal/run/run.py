"""A run as its user holds it: history, evaluation, report and model, each from its file in the run folder."""

import os
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from foveal import progress
from foveal.commands import show_command
from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataSource
from foveal.deployment import bundle as bundles
from foveal.deployment.bundle import Bundle
from foveal.deployment.inputs import ImageInput
from foveal.deployment.predictions import Predictions
from foveal.errors import RunError
from foveal.evaluation import metrics
from foveal.evaluation.calibration import Thresholds, choose_thresholds, softmax
from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.predict import (
    average_logits,
    compute_logits,
    load_predictions,
    make_tta_views,
    save_predictions,
)
from foveal.files.atomic import outside_faults, read_json_with_digest, write_json_with_digest
from foveal.files.events import Evaluated, TestSplitOpened, Trained
from foveal.files.lock import only_writer
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import EvaluationSplit
from foveal.recipe.recipe import Recipe
from foveal.reporting import notebook, report_files
from foveal.reporting.notebook import Picture
from foveal.run.history import History
from foveal.run.moved_data import describe_other_classes, locate_data, make_training_command
from foveal.run.report import build_report
from foveal.run.training_checks import warn_if_useless
from foveal.types import Ints


class Run:
    """A run folder, opened.

    >>> run = foveal.Run("runs/first")
    >>> run.history.best.epoch in (1, 2)
    True

    Args:
        path: A folder that `train` made.
        model: An instance of your own network, if the run was trained with one.
        cache: The folder for decoded images. By default it is the one that the run names, if the images are
            still there.
        data: Where the images are now, if they were moved: the folder, or the table of labels. They are
            checked by their digests.
        verify: Whether every image file is read and compared with its digest. By default, only a sample is,
            and the files whose inodes or times have changed.
        dataset: The data set of the run, where it is open already.
        bundle: The model of the run, where it is loaded already.

    Raises:
        RunError: The folder is no run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        model: nn.Module | None = None,
        cache: str | os.PathLike[str] | None = None,
        data: DataSource | None = None,
        verify: bool = False,
        dataset: Dataset | None = None,
        bundle: Bundle | None = None,
    ) -> None:
        self.folder = RunFolder(path)
        self.own_model = model
        self._cache = cache
        self._moved_data = data
        self._verify = verify
        if dataset is not None:
            self.dataset = dataset
        if bundle is not None:
            self.bundle = bundle

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe. With the same data and seed it trains the same model again."""
        return Recipe.from_json(self.folder.recipe)

    @property
    def history(self) -> History:
        """What every epoch measured."""
        return History(self.folder.history())

    @cached_property
    def bundle(self) -> Bundle:
        """The trained model with everything needed to use it."""
        return bundles.load_bundle(self.path, model=self.own_model)

    @property
    def model(self) -> nn.Module:
        """The trained network. It maps images, uint8 (N, S, S, C), to logits, float32 (N, classes)."""
        return self.bundle.network

    @cached_property
    def dataset(self) -> Dataset:
        """The data that the run was trained on.

        Raises:
            DataError: The data are gone.
            RunError: The data have changed.
        """
        dataset, changes = self.look_up_data()
        if changes:
            raise RunError(f"{self.path} needs the data that it was trained on, but {changes[0]}")
        return dataset

    @property
    def data_moved(self) -> bool:
        """Whether the user has said where the images are now."""
        return self._moved_data is not None

    def look_up_data(self) -> tuple[Dataset, list[str]]:
        """Open the folder that the run was trained on, as it is now, and say in what it has changed.

        Raises:
            DataError: The folder is gone.
        """
        then, before = self.folder.environment, self.folder.dataset
        data = locate_data(self.path, then, self._moved_data)
        dataset = open_dataset(
            replace(data, cache=self._cache, verify=self._verify),
            self.recipe.image,
            seed=then.seed,
            known_cache=None if then.cache is None else Path(then.cache),
            share=then.share,
        )
        now_at = replace(then, data=str(dataset.place))
        if (difference := describe_other_classes(before.classes, dataset.classes)) is not None:
            raise RunError(
                f"{self.path} was trained on other classes than {data.source} has now: {difference}. "
                f"Class names and their order are never forced: name the folder with the classes of then by "
                f"--data DIR, or train anew: {make_training_command(self.path, now_at)}"
            )
        now = dataset.fingerprint
        if now != before.fingerprint:
            labels = "images or their labels" if then.table is not None else "images"
            return dataset, [
                f"the {labels} in {data.source} are not those: their fingerprint was "
                f"{before.fingerprint[:16]}… and is {now[:16]}…"
            ]
        if dataset.to_record().splits != before.splits:
            cause = "" if then.table is None else "its splits or groups changed, or "
            return dataset, [
                f"{data.source} would not be divided as it was: {cause}this version of Foveal or NumPy draws "
                f"other random numbers; use the versions named in environment.json"
            ]
        return dataset, []

    @property
    def has_test(self) -> bool:
        """Whether the data set has a test split. Its images are not opened for this."""
        return self.folder.dataset.splits["test"].n > 0

    def evaluate(self, split: EvaluationSplit = "test", *, views: bool = False) -> Evaluation:
        """Measure the model on a split and return the evaluation.

        The predictions are kept for each image in `predictions/`, the numbers in `evaluation.json`. Opening
        the test split is recorded in the run's events.

        >>> foveal.Run("runs/first").evaluate("test").n
        355

        Args:
            split: "test" or "validation".
            views: Whether test-time augmentation is measured too, as `Evaluation.views`: the logits averaged
                over six views of each image, or over three where training did not mirror. It takes as many
                times as long.

        Raises:
            DataError: There are no such images.
            RunError: The run is not finished, its data changed, or another process writes to it.
        """
        if split not in ("validation", "test"):
            raise RunError(f"cannot evaluate on {split!r}; choose validation or test")
        with only_writer(self.path):
            self._set_damaged_evaluation_aside(split)
            indices = self.dataset.get_indices(split)
            if split == "test":
                self.folder.add_event(TestSplitOpened(n=len(indices)))
            logits = compute_logits(self.model, self.dataset.pack.pixels, indices)
            return record_evaluation(self, split, logits, views=views)

    def _set_damaged_evaluation_aside(self, split: EvaluationSplit) -> None:
        """Rename a damaged `evaluation.json`, and measure again what evaluating a split needs of it."""
        path = self.folder.evaluation
        if not path.is_file():
            return
        try:
            read_json_with_digest(path)
        except RunError as error:
            progress.warn(f"{error}, or let it be: it is written anew, for the {split} images")
            with outside_faults(path):
                path.replace(path.with_suffix(".damaged"))
            if split == "test" and self.folder.dataset.splits["validation"].n:
                self.evaluate("validation")

    def evaluation(self, split: EvaluationSplit) -> Evaluation | None:
        """Return what `evaluate` measured before, or None if it has not."""
        path = self.folder.evaluation
        if not path.is_file():
            return None
        stored = read_json_with_digest(path)
        if split not in stored:
            raise RunError(f"{path} holds no evaluations; evaluate the run again")
        try:
            return None if stored[split] is None else Evaluation.from_json(stored[split])
        except RunError as error:
            command = show_command("evaluate", self.path, "--split", split)
            raise RunError(f"{self.path}: {error}: {command}") from error

    def load_predictions(self, evaluation: Evaluation) -> tuple[NDArray[np.float32], Ints]:
        """Read the logits (n, classes) and labels (n,) of an evaluation."""
        return load_predictions(
            self.folder.predictions, evaluation.split, n=evaluation.n, classes=len(evaluation.classes)
        )

    def report(self, *, neighbours: bool = True) -> Path:
        """Write the report of what was measured so far, with its pictures; return the page's path.

        Where the data are at hand, it shows the images that were classified wrongly. With `neighbours`, it
        also shows the training images most like them, which takes as long as evaluating 10,000 images.
        """
        with only_writer(self.path):
            return report_files.write_report(
                build_report(self, images=True, neighbours=neighbours), self.folder
            )

    # ---- pictures for a notebook: those of the report, of the split that it is about

    def learning_curves(self) -> Picture:
        """Draw loss and accuracy by epoch."""
        return notebook.render_learning_curves(build_report(self, curves=False))

    def confusion_matrix(self) -> Picture:
        """Draw how often each class was predicted as each class, on the test split once evaluated."""
        return notebook.render_confusion_matrix(build_report(self, curves=False))

    def roc_curves(self) -> Picture:
        """Draw the ROC curve of each class against the rest, on the test split once evaluated."""
        return notebook.render_roc_curves(build_report(self))

    def errors(self, most: int = 16) -> Picture | None:
        """Draw up to `most` wrongly classified images, the most confident first; None if all are correct.

        They are of the test split, once that is evaluated.
        """
        split: EvaluationSplit = "validation" if self.evaluation("test") is None else "test"
        evaluation = self.evaluation(split)
        if evaluation is None:
            raise RunError(f"{self.path} has not been evaluated; evaluate it first")
        logits, labels = self.load_predictions(evaluation)
        return notebook.render_errors(
            self.dataset.pack.pixels,
            self.dataset.get_indices(split),
            softmax(logits, self.bundle.temperature),
            labels,
            self.dataset.classes,
            limit=most,
        )

    @property
    def seconds(self) -> float | None:
        """How long training took since it was begun or last resumed. None before its end."""
        end = self._end
        return None if end is None else end.seconds

    @property
    def _end(self) -> Trained | None:
        ends = [event for event in self.folder.events() if isinstance(event, Trained)]
        return ends[-1] if ends else None

    def summary(self) -> dict[str, Any]:
        """Return the outcome in a few JSON values, as `train --json` prints it."""
        end, history = self._end, self.history
        return {
            "run": str(self.path),
            "recipe": self.recipe.name,
            "seed": self.folder.environment.seed,
            "epochs": len(history),
            "best_epoch": history.best.epoch if len(history) else None,
            "seconds": None if end is None else end.seconds,
            "stopped": "interrupted" if end is None else end.stopped,
            "validation": _summarize(self.evaluation("validation")),
            "test": _summarize(self.evaluation("test")),
        }

    def predict(self, *images: ImageInput) -> Predictions:
        """Classify files, folders, arrays, PIL images, bytes or lists of these; see `Bundle.predict`."""
        return self.bundle.predict(*images)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.folder.state})"

    def _repr_html_(self) -> str:
        rows = [("state", self.folder.state), ("recipe", self.recipe.name), ("folder", str(self.path))]
        if self.history:
            rows.append(("epochs", f"{len(self.history)}, the best {self.history.best.epoch}"))
        for split in ("validation", "test"):
            evaluation = self.evaluation(split)
            if evaluation is not None:
                rows.append((f"{split} accuracy", f"{evaluation.accuracy:.2%} of {evaluation.n:,} images"))
        body = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{body}</table>"


def record_evaluation(
    run: Run, split: EvaluationSplit, logits: NDArray[np.float32], *, views: bool = False
) -> Evaluation:
    """Evaluate logits (n, classes) of a run's model on a split; keep predictions and numbers."""
    dataset = run.dataset
    indices = dataset.get_indices(split)
    labels = dataset.labels[indices]
    save_predictions(
        run.folder.predictions,
        split,
        paths=[dataset.pack.paths[index] for index in indices.tolist()],
        labels=labels,
        logits=logits,
        classes=dataset.classes,
        temperature=run.bundle.temperature,
    )
    thresholds = _choose_thresholds(run) if split == "test" else None
    evaluation = metrics.evaluate(logits, labels, dataset.classes, split=split, thresholds=thresholds)
    if views:
        tta_views = make_tta_views(flip=run.recipe.augmentation.flip)
        average = average_logits(
            run.model, dataset.pack.pixels, indices, views=tta_views, first_logits=logits
        )
        with_views = metrics.evaluate(average, labels, dataset.classes, split=split)
        evaluation = evaluation.with_views(len(tta_views), with_views)
    report = build_report(run, curves=False, fresh=evaluation)
    write_json_with_digest(run.folder.evaluation, report_files.build_evaluation_json(report))
    if split == "test":
        run.folder.add_event(Evaluated(split=split, n=evaluation.n, accuracy=evaluation.accuracy))
    warn_if_useless(evaluation)
    return evaluation


def _choose_thresholds(run: Run) -> Thresholds | None:
    """Choose thresholds of confidence on the validation images; None where there are none."""
    evaluation, temperature = run.evaluation("validation"), run.bundle.temperature
    if evaluation is None or temperature is None:
        return None
    return choose_thresholds(*run.load_predictions(evaluation), temperature)


def evaluate(
    run: str | os.PathLike[str],
    split: EvaluationSplit = "test",
    *,
    views: bool = False,
    data: DataSource | None = None,
) -> Evaluation:
    """Measure a run's model on a split; see `Run.evaluate`. `data` is where the images are now, if moved.

    >>> foveal.evaluate("runs/first").split
    'test'
    """
    return Run(run, data=data).evaluate(split, views=views)


def report(run: str | os.PathLike[str], *, data: DataSource | None = None) -> Path:
    """Write the report of a run and return the path of its page; see `Run.report`.

    `data` is where the images are now, if they were moved.

    >>> foveal.report("runs/first").name
    'report.html'
    """
    return Run(run, data=data).report()


def _summarize(evaluation: Evaluation | None) -> dict[str, Any] | None:
    if evaluation is None:
        return None
    return {"n": evaluation.n, "loss": evaluation.loss, "accuracy": evaluation.accuracy}
