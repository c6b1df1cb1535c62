"""The runs that `claims.py` writes about: read from their folders into lines, and from lines."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks import RESULTS
from benchmarks.measurement.journal import Journal, Line
from benchmarks.statistics import chance
from foveal.comparison.models import Contender, compare_models
from foveal.comparison.recipes import RecipeComparison, RecipeRuns, compare_recipes
from foveal.comparison.result import Comparison, Pair
from foveal.comparison.verdict import Verdict
from foveal.types import Bools, Ints

FILE = RESULTS / "statistics" / "claims.jsonl"
NOTEBOOK_LOG = RESULTS / "peers" / "notebook-log.json"
BEFORE, NOTEBOOK, AFTER, OURS = "model-s-01", "model-s-02", "model-s-03", "sprint"
"""The recipes: the steps before, in and after the notebook, and Foveal's own."""
_OPPOSITES: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}


def collect(paths: Sequence[Path]) -> list[Line]:
    """Return the line of the images and the lines of evaluated runs.

    Raises:
        SystemExit: A run is not evaluated, or was evaluated on other images.
    """
    from foveal import Run
    from foveal.evaluation.predict import load_predictions
    from foveal.models import registry

    images: list[Line] = []
    lines = []
    for path in paths:
        run = Run(path)
        dataset, environment = run.folder.dataset, run.folder.environment
        evaluation = run.evaluation("test")
        if evaluation is None:
            raise SystemExit(f"{path} is not evaluated: foveal evaluate {path}")
        logits, labels = load_predictions(
            run.folder.predictions, "test", n=evaluation.n, classes=len(dataset.classes)
        )
        digests = [digest for _, digest in dataset.splits["test"].files]
        images.append(
            {
                "classes": list(dataset.classes),
                "images": hashlib.sha256(" ".join(digests).encode()).hexdigest(),
                "labels": "".join(map(str, labels.tolist())),
            }
        )
        if images[-1] != images[0]:
            raise SystemExit(f"{path} was not judged on the images of {paths[0]}")
        lines.append(
            {
                "recipe": run.recipe.name,
                "seed": environment.seed,
                "rule": dataset.rule,
                "threads": environment.threads,
                "seconds": run.summary()["seconds"],
                "parameters": sum(registry.count_parameters(run.model)),
                "predicted": "".join(map(str, logits.argmax(axis=1).tolist())),
                "roc_auc": [scores.roc_auc for scores in evaluation.classes],
                "history": [
                    [epoch.loss, epoch.accuracy, epoch.validation_loss, epoch.validation_accuracy]
                    for epoch in run.history
                ],
            }
        )
    return [images[0], *lines]


@dataclass(frozen=True, kw_only=True)
class EvaluatedRun:
    """A run with its predictions."""

    line: Line
    """The line of the run in the file."""
    labels: Ints
    """The true class of each image, (N,)."""

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return str(self.line["recipe"])

    @property
    def name(self) -> str:
        """The recipe and the seed."""
        return f"{self.recipe}, seed {self.line['seed']}"

    @property
    def title(self) -> str:
        """The name in Markdown."""
        return format_title(self.name)

    @cached_property
    def predicted(self) -> Ints:
        """The predicted class of each image, (N,)."""
        return parse_digits(self.line["predicted"])

    @cached_property
    def correct(self) -> Bools:
        """Which images are classified correctly, (N,)."""
        correct: Bools = self.predicted == self.labels
        return correct

    @property
    def accuracy(self) -> float:
        """The test accuracy."""
        return float(self.correct.mean())


@dataclass(frozen=True, kw_only=True)
class ClaimData:
    """Everything that the page is made of."""

    classes: tuple[str, ...]
    """The names of the classes."""
    labels: Ints
    """The true class of each image, (N,)."""
    runs: tuple[EvaluatedRun, ...]
    """The runs with their predictions."""
    sprint_correct: Bools
    """Which run of `sprint` classifies which image correctly, (runs, images), over many seeds."""
    notebook_log: list[list[float]]
    """Loss, accuracy, validation loss and validation accuracy of every epoch of the notebook."""

    @classmethod
    def read(cls) -> "ClaimData":
        """Read the committed lines."""
        images, *lines = Journal(FILE).read_lines()
        sprint = Journal(chance.FILE).read_lines()
        if {line["images"] for line in sprint} != {images["images"]}:
            raise SystemExit("chance.jsonl and claims.jsonl are not of the same images")
        labels = parse_digits(images["labels"])
        return cls(
            classes=tuple(re.sub(r"^\d+_", "", name) for name in images["classes"]),
            labels=labels,
            runs=tuple(EvaluatedRun(line=line, labels=labels) for line in lines),
            sprint_correct=chance.unpack_correct(sprint, chance.RECIPE_SETTING),
            notebook_log=json.loads(NOTEBOOK_LOG.read_text("utf-8"))["epochs"],
        )

    def runs_of(self, recipe: str) -> list[EvaluatedRun]:
        """Return the runs of a recipe."""
        return [run for run in self.runs if run.recipe == recipe]

    @cached_property
    def comparison(self) -> Comparison:
        """The comparison of every two runs, as `foveal compare` makes it."""
        contenders = [
            Contender(
                name=run.name,
                y_pred=run.predicted,
                seconds=run.line["seconds"],
                parameters=run.line["parameters"],
                details={},
            )
            for run in self.runs
        ]
        return compare_models(contenders, self.labels, self.classes, split="test", recipes="")

    def pairs(self, first: str, second: str) -> list[Pair]:
        """Return the comparisons of a run of the first recipe with a run of the second."""
        return [
            pair
            for pair in self.comparison.pairs
            if pair.first.startswith(first + ",") and pair.second.startswith(second + ",")
        ]

    @cached_property
    def recipe_comparison(self) -> RecipeComparison:
        """The comparison of the notebook's recipe with `sprint` over seeds, as `foveal compare` makes it."""
        notebook = np.stack([run.correct for run in self.runs_of(NOTEBOOK)])
        groups = [
            RecipeRuns(name=NOTEBOOK, correct=notebook),
            RecipeRuns(name=OURS, correct=self.sprint_correct),
        ]
        return compare_recipes(groups, split="test")

    def confusion_matrix(self, run: EvaluatedRun) -> Ints:
        """Return a run's confusion matrix, (true, predicted)."""
        k = len(self.classes)
        return np.bincount(self.labels * k + run.predicted, minlength=k * k).reshape(k, k)


def format_title(name: str) -> str:
    """Return a run's name in Markdown."""
    recipe, comma, seed = name.partition(",")
    return f"`{recipe}`{comma}{seed}"


def parse_digits(text: str) -> Ints:
    """Return one number for each digit of a text."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) - ord("0")


def swap_pair(pair: Pair) -> Pair:
    """Return the comparison of the same two models with first and second exchanged."""
    return replace(
        pair,
        first=pair.second,
        second=pair.first,
        only_first=pair.only_second,
        only_second=pair.only_first,
        difference=-pair.difference,
        interval=(-pair.interval[1], -pair.interval[0]),
        verdict=_OPPOSITES.get(pair.verdict, pair.verdict),
    )
