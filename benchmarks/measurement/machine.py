"""The machine that a measurement runs on.

This module needs nothing but the standard library, because it also runs in the environments of TensorFlow.
"""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import CHECKOUT

if TYPE_CHECKING:
    from foveal.files.run_records import EnvironmentRecord

PREFIXES = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "MALLOC_", "TF_", "TORCH", "ONEDNN_", "LD_PRELOAD")
"""The prefixes of environment variables that may change what is measured."""


def describe_hardware() -> dict[str, Any]:
    """Return the processor's name, the number of usable cores, the memory in bytes and the system."""
    processor = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        for line in cpu_info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processor": processor, "cores": cores, "memory_bytes": memory, "system": platform.system()}


def load_average() -> float | None:
    """Return how many processes wanted a core over the last minute, or None if the system cannot tell.

    Timings from a machine that is shared are not reliable.
    """
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def peak_memory() -> int | None:
    """Return the most memory that this process has held, in bytes, or None if the system cannot tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def timing_variables() -> dict[str, str]:
    """Return the environment variables that may change what is measured."""
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}


def describe_versions() -> dict[str, str | None]:
    """Return the versions of Foveal and its libraries, and Foveal's commit if git knows it."""
    from foveal import __version__

    commit = None
    if git := shutil.which("git"):
        command = [git, "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    packages = {name: version(name) for name in ("torch", "numpy", "pillow")}
    return {"foveal": __version__, "commit": commit, "python": platform.python_version(), **packages}


def describe_environment(environment: "EnvironmentRecord") -> dict[str, Any]:
    """Return the hardware and the versions that a run was trained with."""
    return {
        "hardware": {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": environment.threads,
        },
        "versions": {
            name: getattr(environment, name) for name in ("foveal", "python", "torch", "numpy", "pillow")
        },
    }
