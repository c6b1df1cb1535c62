"""How much memory this process may still take, and whether an error means that it ran out."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the bytes that can be taken without swapping; None where the system does not tell.

    On Linux it is the kernel's estimate, or what the limits of a container leave, if that is less. `root` is
    the folder that holds proc and sys.
    """
    limits = [*_read_system(root), *_read_control_groups(root)]
    return max(0, min(limits)) if limits else None


def is_shortage(error: BaseException) -> bool:
    """Return whether an error means that memory was refused. Torch raises a `RuntimeError` for that."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _read_system(root: Path) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _read_control_groups(root: Path) -> Iterator[int]:
    """Yield what each control group above this process leaves: of version 2, or of version 1."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if controllers == "":
                base, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
            elif "memory" in controllers.split(","):
                base, limit = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
                used = "memory.usage_in_bytes"
            else:
                continue
            below = path.strip("/")
            # Inside a container the path may be the host's, which is not there; the base is the group then.
            for group in {base, *(base / part for part in _iter_parents(below))}:
                with suppress(OSError, ValueError):  # "max": without limit
                    limit_bytes = int((group / limit).read_text(encoding="ascii"))
                    yield limit_bytes - int((group / used).read_text(encoding="ascii")) + _reclaimable(group)


def _iter_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = os.path.dirname(path)  # noqa: PTH120 - a path inside the hierarchy, not of a file


def _reclaimable(group: Path) -> int:
    """Return the bytes of a group that hold copies of files. They are dropped when memory is needed."""
    for line in (group / "memory.stat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0
