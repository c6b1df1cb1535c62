"""A run as its user sees it: history, evaluation, report, model, each from its file in the run folder."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from foveal import progress
from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataOptions
from foveal.deployment import bundle as bundles
from foveal.deployment.bundle import Bundle, Predictions
from foveal.errors import DataError, RunError
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
from foveal.evaluation.roc import ClassCurves, compute_class_curves
from foveal.files.atomic import read_json, write_json
from foveal.files.lock import only_writer
from foveal.files.run_folder import RunFolder
from foveal.models import registry
from foveal.recipe.recipe import Recipe
from foveal.reporting import gallery as galleries
from foveal.reporting import notebook
from foveal.reporting import report_files as reports
from foveal.reporting.gallery import Gallery
from foveal.reporting.notebook import Picture
from foveal.reporting.report import Report
from foveal.runs.history import History
from foveal.tables import html_table

Judged = Literal["validation", "test"]


class Run:
    """A run folder, opened.

    Args:
        path: a folder that `train` made.
        model: an instance of the user's own network, if the run was trained with one.
        cache: where decoded images are kept; by default where the run says, if they are still there.

    Raises:
        RunError: the folder is no run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        model: nn.Module | None = None,
        cache: str | os.PathLike[str] | None = None,
        dataset: Dataset | None = None,
        bundle: Bundle | None = None,
    ) -> None:
        self.folder = RunFolder(path)
        self._own = model
        self._cache = None if cache is None else Path(cache)
        if dataset is not None:
            self.dataset = dataset  # spares looking up what is at hand
        if bundle is not None:
            self.bundle = bundle

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe: with the same data and seed it trains the same model again."""
        return Recipe.from_json(self.folder.recipe)

    @property
    def history(self) -> History:
        """What every epoch measured."""
        return History(self.folder.history())

    @cached_property
    def bundle(self) -> Bundle:
        """The trained model with everything needed to use it."""
        return bundles.load(self.path, model=self._own)

    @property
    def model(self) -> nn.Module:
        """The trained network: uint8 (N, S, S, C) -> logits (N, classes)."""
        return self.bundle.network

    @cached_property
    def dataset(self) -> Dataset:
        """The data that the run was trained on.

        Raises:
            DataError: it is gone.
            RunError: it has changed.
        """
        dataset, changed = self.look_up_data()
        if changed:
            raise RunError(f"{self.path} needs the data that it was trained on, but {changed[0]}")
        return dataset

    def look_up_data(self) -> tuple[Dataset, list[str]]:
        """Open the folder that the run was trained on, as it is now, and say in what it has changed.

        Raises:
            DataError: it is gone.
        """
        then = self.folder.environment
        before = self.folder.dataset
        options = DataOptions(
            then["data"], validation=then["validation"], group=then["group"], cache=self._cache
        )
        dataset = open_dataset(
            options,
            self.recipe.image,
            seed=then["seed"],
            share=then["share"],
            known_cache=None if then["cache"] is None else Path(then["cache"]),
        )
        now = dataset.pack.fingerprint
        if now != before["fingerprint"]:
            return dataset, [
                f"the images in {then['data']} are not those: their fingerprint was "
                f"{str(before['fingerprint'])[:16]}… and is {now[:16]}…"
            ]
        if dataset.to_json()["splits"] != before["splits"]:
            return dataset, [
                f"{then['data']} would not be divided as it was: this version of Foveal or NumPy draws other "
                f"random numbers; use the versions named in environment.json"
            ]
        return dataset, []

    @property
    def has_test(self) -> bool:
        """Whether the data set has a test split. Its images are not opened for this."""
        return bool(self.folder.dataset["splits"]["test"]["n"])

    def evaluate(
        self, split: Judged = "test", *, views: bool = False, found: NDArray[np.float32] | None = None
    ) -> Evaluation:
        """Measure the model on a split and return the evaluation.

        With `views` the same images are judged by test-time augmentation too, and its few figures put beside
        as `Evaluation.views`: the logits averaged over six views of each image, or over three where training
        did not mirror (see `views_to_average`). It takes as many times as long.

        `found` are the model's logits (N, classes) on that split, where they are known already.

        The predictions are kept per image in `predictions/`, the numbers in `evaluation.json`. Opening the
        test split is recorded among the run's events.

        Raises:
            DataError: there are no such images.
            RunError: the run is not finished, its data changed, or another process writes to it.
        """
        if split not in ("validation", "test"):
            raise RunError(f"cannot evaluate on {split!r}; choose validation or test")
        with only_writer(self.path):
            return self._evaluate(split, views=views, found=found)

    def _evaluate(self, split: Judged, *, views: bool, found: NDArray[np.float32] | None) -> Evaluation:
        network, dataset = self.model, self.dataset
        rows = dataset.rows(split)
        if split == "test":
            self.folder.event("test split opened", n=len(rows))
        if found is None:
            found = compute_logits(network, dataset.pack.pixels, rows)
        labels = dataset.labels[rows]
        save_predictions(
            self.folder.predictions,
            split,
            paths=[dataset.pack.paths[row] for row in rows.tolist()],
            labels=labels,
            logits=found,
            classes=dataset.classes,
            temperature=self.bundle.temperature,
        )
        thresholds = self._tuned() if split == "test" else None
        evaluation = metrics.evaluate(found, labels, dataset.classes, split=split, thresholds=thresholds)
        if views:
            seen = make_tta_views(mirrored=self.recipe.augmentation.flip)
            averaged = average_logits(network, dataset.pack.pixels, rows, views=seen, plain=found)
            judged = metrics.evaluate(averaged, labels, dataset.classes, split=split)
            evaluation = evaluation.with_views(len(seen), judged)
        gathered = self._gather(curved=False, fresh={split: evaluation})
        write_json(self.folder.evaluation, reports.evaluation_json(gathered))
        if split == "test":
            self.folder.event("evaluated", split=split, n=evaluation.n, accuracy=evaluation.accuracy)
        return evaluation

    def _tuned(self) -> Thresholds | None:
        """Choose thresholds and the like by the validation images; None where there are none."""
        judged, temperature = self.evaluation("validation"), self.bundle.temperature
        if judged is None or temperature is None:
            return None
        return choose_thresholds(*self._predictions(judged), temperature)

    def _predictions(self, judged: Evaluation) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Read the logits and labels of an evaluation."""
        return load_predictions(
            self.folder.predictions, judged.split, n=judged.n, classes=len(judged.classes)
        )

    def evaluation(self, split: Judged) -> Evaluation | None:
        """Return what `evaluate` measured before, or None if it has not."""
        if not self.folder.evaluation.is_file():
            return None
        whole = read_json(self.folder.evaluation)
        if not isinstance(whole, dict) or split not in whole:
            raise RunError(f"{self.folder.evaluation} holds no evaluations; evaluate the run again")
        try:
            return None if whole[split] is None else Evaluation.from_json(whole[split])
        except RunError as error:
            raise RunError(f"{self.path}: {error}: foveal evaluate {self.path} --split {split}") from error

    def report(self, *, neighbours: bool = True) -> Path:
        """Write the report of what was measured so far, with its pictures; return the page's path.

        Where the data are at hand it shows the images that were classified wrongly; with `neighbours` also
        the training images most like them, which takes as long as judging 10,000 images.
        """
        with only_writer(self.path):
            return reports.write(self._gather(pictured=True, neighbours=neighbours), self.folder)

    def _gallery(self, judged: Evaluation, found: NDArray[np.float32], *, neighbours: bool) -> Gallery | None:
        """Gather the errors of an evaluation with its logits; None where the data are gone or changed."""
        try:
            dataset = self.dataset
        except (DataError, RunError) as error:
            progress.warn(f"the report shows no images: {error}")
            return None
        images = galleries.Images(
            pixels=dataset.pack.pixels,
            labels=dataset.labels,
            paths=dataset.pack.paths,
            classes=dataset.classes,
        )
        return galleries.build(
            images,
            dataset.rows("validation" if judged.split == "validation" else "test"),
            softmax(found, self.bundle.temperature),
            network=self.model,
            training=dataset.rows("train") if neighbours else None,
        )

    # ---- pictures, for a notebook: those of the report, of the split that it judges

    def learning_curves(self) -> Picture:
        """Draw loss and accuracy by epoch."""
        return notebook.learning_curves(self._gather(curved=False))

    def confusion_matrix(self) -> Picture:
        """Draw how many images of each class were predicted as each class: of the test split, once judged."""
        return notebook.confusion_matrix(self._gather(curved=False))

    def roc_curves(self) -> Picture:
        """Draw the ROC curve of each class against the rest: of the test split, once judged."""
        return notebook.roc_curves(self._gather())

    def errors(self, most: int = 16) -> Picture | None:
        """Draw images that were predicted wrongly, the surest first; None if all of them were right.

        They are of the test split, once judged.
        """
        split: Judged = "validation" if self.evaluation("test") is None else "test"
        evaluation = self.evaluation(split)
        if evaluation is None:
            raise RunError(f"{self.path} has not been evaluated; evaluate it first")
        found, labels = self._predictions(evaluation)
        rows = self.dataset.rows(split)
        pixels, classes = self.dataset.pack.pixels, self.dataset.classes
        shares = softmax(found, self.bundle.temperature)
        return notebook.errors(pixels, rows, shares, labels, classes, most=most)

    def _gather(
        self,
        *,
        curved: bool = True,
        pictured: bool = False,
        neighbours: bool = False,
        fresh: Mapping[Judged, Evaluation] | None = None,
    ) -> Report:
        """Put together what a report tells, with or without curves, pictures of errors and their neighbours.

        `fresh` evaluations by split go before stored ones.
        """
        _ = self.recipe  # refused here if it is none: the page shows it as it is written
        fresh = fresh or {}
        validation = fresh.get("validation") or self.evaluation("validation")
        test = fresh.get("test") or self.evaluation("test")
        judged = test or validation
        curves: tuple[ClassCurves, ...] = ()
        gallery: Gallery | None = None
        if judged is not None and curved:
            found, labels = self._predictions(judged)
            curves = compute_class_curves(softmax(found), labels, [each.name for each in judged.classes])
            if pictured:
                gallery = self._gallery(judged, found, neighbours=neighbours)
        decoding = self.bundle.decoding
        layers = registry.layer_table(self.model, size=decoding.size, channels=decoding.channels)
        return Report.of_run(
            self.folder, validation=validation, test=test, curves=curves, layers=layers, gallery=gallery
        )

    def summary(self) -> dict[str, Any]:
        """Return the outcome in a few JSON values, as `train --json` prints it."""
        trained = [event for event in self.folder.events() if event["event"] == "trained"]
        history = self.history
        return {
            "run": str(self.path),
            "recipe": self.recipe.name,
            "seed": self.folder.environment["seed"],
            "epochs": len(history),
            "best_epoch": history.best.epoch if len(history) else None,
            "seconds": trained[-1]["seconds"] if trained else None,
            "stopped": trained[-1]["stopped"] if trained else "interrupted",
            "validation": _brief(self.evaluation("validation")),
            "test": _brief(self.evaluation("test")),
        }

    def predict(self, *files: str | os.PathLike[str]) -> Predictions:
        """Classify image files, folders and glob patterns; see `Bundle.predict`."""
        return self.bundle.predict(files)

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
        return html_table(None, rows)


def evaluate(run: str | os.PathLike[str], split: Judged = "test", *, views: bool = False) -> Evaluation:
    """Measure a run's model on a split; see `Run.evaluate`."""
    return Run(run).evaluate(split, views=views)


def report(run: str | os.PathLike[str]) -> Path:
    """Write the report of a run; see `Run.report`."""
    return Run(run).report()


def _brief(evaluation: Evaluation | None) -> dict[str, Any] | None:
    if evaluation is None:
        return None
    return {"n": evaluation.n, "loss": evaluation.loss, "accuracy": evaluation.accuracy}


def model_card(bundle: Bundle, folder: RunFolder) -> str:
    """Return the model's README, as Markdown."""
    best = History(folder.history()).best
    score = (
        ""
        if best.validation_accuracy is None
        else f" Validation accuracy there: {best.validation_accuracy:.2%}."
    )
    names = "\n".join(f"- `{progress.printable(name).replace('`', '′')}`" for name in bundle.classes)
    size, channels = bundle.decoding.size, bundle.decoding.channels
    return f"""# A Foveal model

Recipe `{bundle.recipe.name}`, weights of epoch {best.epoch}.{score}

- `model.safetensors`: the weights
- `config.json`: classes, preprocessing and the recipe, hence the network

It takes images of {size} × {size} pixels with {channels} channel(s) of 8 bits; Foveal brings any image file
to that form. Normalisation is inside the network.

```
foveal predict THIS_FOLDER image.png
```

Classes, in the order of the outputs:

{names}
"""
