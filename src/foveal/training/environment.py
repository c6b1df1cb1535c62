"""The software and hardware of a run: recorded when it begins, and compared when it is resumed."""

import hashlib
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from foveal.engine.compiled import load_library
from foveal.files.run_records import EnvironmentRecord
from foveal.version import __version__

FIELDS_THAT_DECIDE_BITS = {
    "foveal": "Foveal's version",
    "code": "Foveal's code",
    "torch": "torch's version",
    "numpy": "NumPy's version",
    "machine": "the machine's type",
    "instructions": "the processor's instruction set",
    "threads": "the number of threads",
    "kernels": "what Foveal's kernels are made of",
}
"""The fields of an environment that decide on the bits of a model, with their names in messages."""
_PACKAGES_WITHOUT_EFFECT = ("board_page/", "cli/", "comparison/", "evaluation/", "reporting/")
"""The packages whose code changes no bit of a trained model."""


def describe_environment(
    *,
    seed: int,
    data: str,
    validation: str | None,
    group: str | None,
    share: float | None,
    cache: str | None,
    own_augmentation: bool,
) -> EnvironmentRecord:
    """Return the record of this machine, this software and the options of a run."""
    return EnvironmentRecord(
        foveal=__version__,
        code=_digest_code(),
        python=platform.python_version(),
        torch=version("torch"),
        numpy=version("numpy"),
        pillow=version("pillow"),
        platform=platform.platform(),
        machine=platform.machine(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        kernels=_describe_kernels(),
        seed=seed,
        command=(Path(sys.argv[0]).name, *sys.argv[1:]),
        data=data,
        validation=validation,
        group=group,
        share=share,
        cache=cache,
        own_augmentation=own_augmentation,
    )


def describe_environment_now(then: EnvironmentRecord) -> EnvironmentRecord:
    """Return the environment of a run as it would be recorded if the run began now, on this machine."""
    return describe_environment(
        seed=then.seed,
        data=then.data,
        validation=then.validation,
        group=then.group,
        share=then.share,
        cache=then.cache,
        own_augmentation=then.own_augmentation,
    )


def describe_environment_changes(then: EnvironmentRecord, now: EnvironmentRecord) -> list[str]:
    """Return a phrase for each difference between two environments that can change the bits of a model."""
    return [
        f"{name} was {getattr(then, field)} and is {getattr(now, field)}"
        for field, name in FIELDS_THAT_DECIDE_BITS.items()
        if getattr(then, field) != getattr(now, field)
    ]


def _describe_kernels() -> str:
    used = load_library()
    return used.description if used.library is not None else f"none: {used.description}"


def _digest_code() -> str:
    """Return a digest of the code that decides on the bits of a model."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(path for suffix in ("py", "c", "h") for path in package.rglob(f"*.{suffix}")):
        name = file.relative_to(package).as_posix()
        if not name.startswith(_PACKAGES_WITHOUT_EFFECT):
            digest.update(f"{name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
