"""Settings of the command's own process, made before torch is imported. A library must not make them."""

import ctypes
import os
import sys
import threading
import time
from pathlib import Path

_IMPORTED_AT = time.monotonic()
SPIN_COUNT = "5000"
"""How often OpenMP's threads look for work before they sleep. By default they keep a core busy for some
milliseconds, and where another process takes one, the thread with work waits for the thread without."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def prepare_process() -> None:
    """Prepare the command's process for training, before torch is imported."""
    _keep_freed_memory()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    # The first time, a compiler works for a second or two, beside torch's import and the decoding of images.
    threading.Thread(target=_load_kernels, daemon=True).start()


def _load_kernels() -> None:
    from foveal.engine.compiled import load_library

    load_library()


def process_age() -> float:
    """Return for how many seconds this process has been running: a budget counts from its start.

    Only Linux tells. Elsewhere it is the time since Foveal was imported.
    """
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        fields = stat.rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.monotonic() - _IMPORTED_AT


def _keep_freed_memory() -> None:
    """Ask the C library to keep freed memory: giving it back after each step costs time to fetch it anew.

    Only glibc can be asked.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        largest = 2**31 - 1
        mallopt(_M_MMAP_THRESHOLD, largest)
        mallopt(_M_TRIM_THRESHOLD, largest)
