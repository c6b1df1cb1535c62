"""What a run ran on: recorded when it begins, compared when it is resumed."""

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from foveal import __version__
from foveal.engine.compiled import kernels


def describe(*, seed: int) -> dict[str, Any]:
    """Return versions, hardware, threads, seed and the command, as JSON values."""
    return {
        "foveal": __version__,
        "code": _code(),
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


COMPARED = {
    "foveal": "Foveal's version",
    "code": "Foveal's code",
    "torch": "torch's version",
    "numpy": "NumPy's version",
    "machine": "the machine's type",
    "instructions": "the processor's instruction set",
    "threads": "the number of threads",
    "kernels": "what Foveal's kernels are made of",
}
"""What decides on a run's bits, and what to call it."""


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in what two environments differ so that the same training would give other bits."""
    return [
        f"{what} was {then.get(key)} and is {now[key]}"
        for key, what in COMPARED.items()
        if then.get(key) != now[key]
    ]


def _code() -> str:
    """Digest the code that decides on a run's bits: all that is no verb and no page."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted([*package.rglob("*.py"), *package.rglob("*.c")]):
        name = file.relative_to(package).as_posix()
        if not name.startswith(("cli/", "evaluation/")):
            digest.update(f"{name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
