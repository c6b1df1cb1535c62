"""Foveal: folders of labelled small images in; a measured classifier out.

    import foveal

    run = foveal.train("data", recipe="model-s-02", validation="train2")
    run.history
    run.evaluate("test")
    run.report()

Importing this module costs nothing: what needs torch is imported when it is first used.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from foveal.data.sources import get
    from foveal.dataview import look
    from foveal.deployment.bundle import predict
    from foveal.experiments.board import board
    from foveal.experiments.comparison import compare
    from foveal.experiments.estimator import FovealClassifier
    from foveal.experiments.repeat import repeat
    from foveal.experiments.runs import runs
    from foveal.experiments.tune import tune
    from foveal.fit import resume, train
    from foveal.results import Run, evaluate, report

__all__ = [
    "FovealClassifier",
    "Run",
    "__version__",
    "board",
    "compare",
    "evaluate",
    "get",
    "look",
    "predict",
    "repeat",
    "report",
    "resume",
    "runs",
    "train",
    "tune",
]

_HOMES = {
    "FovealClassifier": "foveal.experiments.estimator",
    "Run": "foveal.results",
    "board": "foveal.experiments.board",
    "compare": "foveal.experiments.comparison",
    "evaluate": "foveal.results",
    "get": "foveal.data.sources",
    "look": "foveal.dataview",
    "predict": "foveal.deployment.bundle",
    "repeat": "foveal.experiments.repeat",
    "report": "foveal.results",
    "resume": "foveal.fit",
    "runs": "foveal.experiments.runs",
    "train": "foveal.fit",
    "tune": "foveal.experiments.tune",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'foveal' has no attribute {name!r}")
    from importlib import import_module

    from foveal.errors import missing_extra

    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None


def __dir__() -> list[str]:
    return __all__
