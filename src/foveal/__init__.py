"""Foveal: folders of labelled small images in; a measured classifier out.

>>> run = foveal.train("digits", recipe="digits", settings={"epochs": 2}, out="runs/quick")
>>> evaluation = run.evaluate("test")
>>> page = run.report()

Importing this module costs nothing: what needs torch is imported when it is first used.
"""

from typing import TYPE_CHECKING

from foveal.version import __version__

if TYPE_CHECKING:
    from foveal.board_page.server import board
    from foveal.comparison.recipes import RecipeComparison
    from foveal.comparison.result import Comparison
    from foveal.data.arrays import Arrays
    from foveal.data.named_datasets import get
    from foveal.data.options import DataOptions
    from foveal.deployment.bundle import predict
    from foveal.deployment.predictions import Prediction, Predictions
    from foveal.errors import (
        DataError,
        DivergenceError,
        FovealError,
        Interrupted,
        MissingExtraError,
        ModelError,
        OutsideError,
        RecipeError,
        RunError,
        UserError,
    )
    from foveal.evaluation.metrics import Evaluation
    from foveal.experiments.compare_runs import compare
    from foveal.experiments.estimator import FovealClassifier
    from foveal.experiments.repeat import Group, repeat
    from foveal.experiments.run_list import ListedRun, Runs, runs
    from foveal.experiments.study import Study
    from foveal.experiments.tune import tune
    from foveal.files.run_records import EpochRecord
    from foveal.recipe.budget import Budget
    from foveal.recipe.builtin import load_recipe
    from foveal.recipe.networks import Custom, ModelS, Sprint
    from foveal.recipe.optimizers import SGD, Adam, Muon, RMSprop
    from foveal.recipe.recipe import Augmentation, Image, Recipe
    from foveal.recipe.schedules import Anneal, EarlyStopping, LowResolution, Plateau
    from foveal.reporting.notebook import Picture
    from foveal.run.history import History
    from foveal.run.options import TrainOptions
    from foveal.run.preview import DataView, preview
    from foveal.run.resume import resume
    from foveal.run.run import Run, evaluate, report
    from foveal.run.train import train

__all__ = [  # noqa: RUF022 - in the order of `sorted`
    "Adam",
    "Anneal",
    "Arrays",
    "Augmentation",
    "Budget",
    "Comparison",
    "Custom",
    "DataError",
    "DataOptions",
    "DataView",
    "DivergenceError",
    "EarlyStopping",
    "EpochRecord",
    "Evaluation",
    "FovealClassifier",
    "FovealError",
    "Group",
    "History",
    "Image",
    "Interrupted",
    "ListedRun",
    "LowResolution",
    "MissingExtraError",
    "ModelError",
    "ModelS",
    "Muon",
    "OutsideError",
    "Picture",
    "Plateau",
    "Prediction",
    "Predictions",
    "RMSprop",
    "Recipe",
    "RecipeComparison",
    "RecipeError",
    "Run",
    "RunError",
    "Runs",
    "SGD",
    "Sprint",
    "Study",
    "TrainOptions",
    "UserError",
    "board",
    "compare",
    "evaluate",
    "get",
    "load_recipe",
    "predict",
    "preview",
    "repeat",
    "report",
    "resume",
    "runs",
    "train",
    "tune",
    "__version__",
]

_MODULE_OF = {
    "Adam": "foveal.recipe.optimizers",
    "Anneal": "foveal.recipe.schedules",
    "Arrays": "foveal.data.arrays",
    "Augmentation": "foveal.recipe.recipe",
    "Budget": "foveal.recipe.budget",
    "Comparison": "foveal.comparison.result",
    "Custom": "foveal.recipe.networks",
    "DataError": "foveal.errors",
    "DataOptions": "foveal.data.options",
    "DataView": "foveal.run.preview",
    "DivergenceError": "foveal.errors",
    "EarlyStopping": "foveal.recipe.schedules",
    "EpochRecord": "foveal.files.run_records",
    "Evaluation": "foveal.evaluation.metrics",
    "FovealClassifier": "foveal.experiments.estimator",
    "FovealError": "foveal.errors",
    "Group": "foveal.experiments.repeat",
    "History": "foveal.run.history",
    "Image": "foveal.recipe.recipe",
    "Interrupted": "foveal.errors",
    "ListedRun": "foveal.experiments.run_list",
    "LowResolution": "foveal.recipe.schedules",
    "MissingExtraError": "foveal.errors",
    "ModelError": "foveal.errors",
    "ModelS": "foveal.recipe.networks",
    "Muon": "foveal.recipe.optimizers",
    "OutsideError": "foveal.errors",
    "Picture": "foveal.reporting.notebook",
    "Plateau": "foveal.recipe.schedules",
    "Prediction": "foveal.deployment.predictions",
    "Predictions": "foveal.deployment.predictions",
    "RMSprop": "foveal.recipe.optimizers",
    "Recipe": "foveal.recipe.recipe",
    "RecipeComparison": "foveal.comparison.recipes",
    "RecipeError": "foveal.errors",
    "Run": "foveal.run.run",
    "RunError": "foveal.errors",
    "Runs": "foveal.experiments.run_list",
    "SGD": "foveal.recipe.optimizers",
    "Sprint": "foveal.recipe.networks",
    "Study": "foveal.experiments.study",
    "TrainOptions": "foveal.run.options",
    "UserError": "foveal.errors",
    "board": "foveal.board_page.server",
    "compare": "foveal.experiments.compare_runs",
    "evaluate": "foveal.run.run",
    "get": "foveal.data.named_datasets",
    "load_recipe": "foveal.recipe.builtin",
    "predict": "foveal.deployment.bundle",
    "preview": "foveal.run.preview",
    "repeat": "foveal.experiments.repeat",
    "report": "foveal.run.run",
    "resume": "foveal.run.resume",
    "runs": "foveal.experiments.run_list",
    "train": "foveal.run.train",
    "tune": "foveal.experiments.tune",
}
"""The module of each public name. The imports above tell the same to type checkers; a test compares them."""


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'foveal' has no attribute {name!r}")
    from importlib import import_module

    from foveal.errors import missing_extra

    try:
        return getattr(import_module(_MODULE_OF[name]), name)
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None


def __dir__() -> list[str]:
    return __all__
