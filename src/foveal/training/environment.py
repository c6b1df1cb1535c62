"""What a run ran on: recorded when it begins, compared when it is resumed."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from foveal import __version__
from foveal.engine.compiled import kernels
from foveal.errors import RunError


def describe(*, seed: int) -> dict[str, Any]:
    """Return versions, hardware, threads, seed and the command, as JSON values."""
    return {
        "foveal": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numpy", "pillow")},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "kernels": _kernels(),
        "seed": seed,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _kernels() -> str:
    found = kernels()
    return found.about if found.loaded is not None else f"none: {found.about}"


def refuse_differences(run: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with a run where the result would not be that of an uninterrupted one.

    Raises:
        RunError: naming what differs.
    """
    compared = {
        "foveal": "Foveal's version",
        "torch": "torch's version",
        "numpy": "NumPy's version",
        "machine": "the machine's type",
        "instructions": "the processor's instruction set",
        "threads": "the number of threads",
        "kernels": "what Foveal's kernels are made of",
    }
    for key, what in compared.items():
        if then[key] != now[key]:
            raise RunError(f"{run} cannot be resumed: {what} was {then[key]} and is {now[key]}")
