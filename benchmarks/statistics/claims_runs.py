"""The runs that `claims.py` speaks of: read from their folders into lines, and from lines."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import chance
import journal
import numpy as np
from numpy.typing import NDArray

from foveal.comparison.crossed_effects import Bools
from foveal.comparison.models import Contender, compare_models
from foveal.comparison.recipes import RecipeComparison, RecipeRuns, compare_recipes
from foveal.comparison.result import Comparison, Pair

LINES = journal.RESULTS / "claims.jsonl"
LOG = journal.RESULTS / "notebook-log.json"
BEFORE, NOTEBOOK, AFTER, OURS = "model-s-01", "model-s-02", "model-s-03", "sprint"


def collect(paths: Sequence[Path]) -> list[journal.Line]:
    """Return the lines of evaluated runs, the images' first.

    Raises:
        SystemExit: they were judged on different images.
    """
    from foveal import Run
    from foveal.evaluation.predict import load_predictions
    from foveal.models import registry

    images: list[journal.Line] = []
    lines = []
    for path in paths:
        run = Run(path)
        data, evaluation = run.folder.dataset, run.evaluation("test")
        if evaluation is None:
            raise SystemExit(f"{path} is not evaluated: foveal evaluate {path}")
        found, labels = load_predictions(
            run.folder.predictions, "test", n=evaluation.n, classes=len(data["classes"])
        )
        digests = [digest for _, digest in data["splits"]["test"]["files"]]
        images.append(
            {
                "classes": data["classes"],
                "images": hashlib.sha256(" ".join(digests).encode()).hexdigest(),
                "labels": "".join(map(str, labels.tolist())),
            }
        )
        if images[-1] != images[0]:
            raise SystemExit(f"{path} was not judged on the images of {paths[0]}")
        lines.append(
            {
                "recipe": run.recipe.name,
                "seed": run.folder.environment["seed"],
                "rule": data["rule"],
                "threads": run.folder.environment["threads"],
                "seconds": run.summary()["seconds"],
                "parameters": sum(registry.count_parameters(run.model)),
                "predicted": "".join(map(str, found.argmax(axis=1).tolist())),
                "roc_auc": [each.roc_auc for each in evaluation.classes],
                "history": [
                    [each.loss, each.accuracy, each.validation_loss, each.validation_accuracy]
                    for each in run.history
                ],
            }
        )
    return [images[0], *lines]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A run, as its line tells it."""

    line: journal.Line

    @property
    def name(self) -> str:
        """Recipe and seed."""
        return f"{self.line['recipe']}, seed {self.line['seed']}"

    @property
    def title(self) -> str:
        """Its name in Markdown."""
        return title(self.name)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """(N,), class indices."""
        return digits(self.line["predicted"])


@dataclass(frozen=True, kw_only=True)
class Runs:
    """All that the tables are made of."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    each: tuple[Judged, ...]
    seeds: Bools
    """Of `sprint`, (runs, images): who got which image right."""
    log: list[list[float]]
    """The notebook's: loss, accuracy, validation loss, validation accuracy of every epoch."""

    @classmethod
    def read(cls) -> "Runs":
        """Read the committed lines."""
        images, *lines = journal.Journal(LINES).lines()
        others = journal.Journal(journal.RESULTS / "chance.jsonl").lines()
        if {line["images"] for line in others} != {images["images"]}:
            raise SystemExit("chance.jsonl and claims.jsonl are not of the same images")
        return cls(
            classes=tuple(re.sub(r"^\d+_", "", name) for name in images["classes"]),
            labels=digits(images["labels"]),
            each=tuple(Judged(line=line) for line in lines),
            seeds=chance.outcomes(others, chance.AS_IT_IS),
            log=json.loads(LOG.read_text("utf-8"))["epochs"],
        )

    def of(self, recipe: str) -> list[Judged]:
        """Return the runs of a recipe."""
        return [each for each in self.each if each.line["recipe"] == recipe]

    @cached_property
    def comparison(self) -> Comparison:
        """Every two runs compared, as `foveal compare` does it."""
        contenders = [
            Contender(
                name=each.name,
                predicted=each.predicted,
                seconds=each.line["seconds"],
                parameters=each.line["parameters"],
                about={},
            )
            for each in self.each
        ]
        return compare_models(contenders, self.labels, self.classes, split="test", recipes="")

    def pairs(self, first: str, second: str) -> list[Pair]:
        """Return the comparisons of a run of the one recipe with one of the other."""
        return [
            pair
            for pair in self.comparison.pairs
            if pair.first.startswith(first + ",") and pair.second.startswith(second + ",")
        ]

    @cached_property
    def recipes(self) -> RecipeComparison:
        """The notebook's recipe and `sprint`, over seeds, as `foveal compare` does it."""
        ours = np.stack([each.predicted == self.labels for each in self.of(NOTEBOOK)])
        return compare_recipes(
            [RecipeRuns(name=NOTEBOOK, right=ours), RecipeRuns(name=OURS, right=self.seeds)], split="test"
        )

    def confusion(self, run: Judged) -> NDArray[np.int64]:
        """Return a run's confusion matrix, (true, predicted)."""
        k = len(self.classes)
        return np.bincount(self.labels * k + run.predicted, minlength=k * k).reshape(k, k)


def title(name: str) -> str:
    """Write a run's name in Markdown."""
    recipe, comma, seed = name.partition(",")
    return f"`{recipe}`{comma}{seed}"


def digits(text: str) -> NDArray[np.int64]:
    """Read a digit an image."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) - ord("0")


def backwards(pair: Pair) -> Pair:
    """Return the comparison of the same two the other way round."""
    turned: dict[str, Any] = {
        **vars(pair),
        "first": pair.second,
        "second": pair.first,
        "only_first": pair.only_second,
        "only_second": pair.only_first,
        "difference": -pair.difference,
        "interval": (-pair.interval[1], -pair.interval[0]),
        "verdict": {"better": "worse", "worse": "better"}.get(pair.verdict, pair.verdict),
    }
    return Pair(**turned)
