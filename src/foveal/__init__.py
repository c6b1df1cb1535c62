"""Foveal: folders of labelled small images in; a measured classifier out.

    import foveal

    run = foveal.train("data", recipe="model-s-02", validation="train2")
    run.history
    run.evaluate("test")
    run.report()

Importing this module costs nothing: what needs torch is imported when it is first used.
"""

from typing import TYPE_CHECKING

from foveal.version import __version__

if TYPE_CHECKING:
    from foveal.board.server import board
    from foveal.data.named_datasets import get
    from foveal.deployment.bundle import predict
    from foveal.experiments.compare_runs import compare
    from foveal.experiments.estimator import FovealClassifier
    from foveal.experiments.repeat import repeat
    from foveal.experiments.run_list import runs
    from foveal.experiments.tune import tune
    from foveal.runs.preview import look
    from foveal.runs.run import Run, evaluate, report
    from foveal.runs.train import resume, train

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
    "Run": "foveal.runs.run",
    "board": "foveal.board.server",
    "compare": "foveal.experiments.compare_runs",
    "evaluate": "foveal.runs.run",
    "get": "foveal.data.named_datasets",
    "look": "foveal.runs.preview",
    "predict": "foveal.deployment.bundle",
    "repeat": "foveal.experiments.repeat",
    "report": "foveal.runs.run",
    "resume": "foveal.runs.train",
    "runs": "foveal.experiments.run_list",
    "train": "foveal.runs.train",
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
