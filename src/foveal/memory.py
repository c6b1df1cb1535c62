"""Memory: how much of it this process may still take, and whether an error tells of its end."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def available(root: Path = Path("/")) -> int | None:
    """Return the bytes that can be taken without swapping; None where the system does not tell.

    On Linux that is what the kernel estimates, or what the limits of a container leave if that is less.
    `root` is where proc and sys are found.
    """
    limits = [*_of_system(root), *_of_control_groups(root)]
    return max(0, min(limits)) if limits else None


def is_shortage(error: BaseException) -> bool:
    """Say whether an error means that memory was refused; torch raises a `RuntimeError` for that."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _of_system(root: Path) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_control_groups(root: Path) -> Iterator[int]:
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
            for group in {base, *(base / part for part in _with_parents(below))}:
                with suppress(OSError, ValueError):  # "max": without limit
                    most = int((group / limit).read_text(encoding="ascii"))
                    yield most - int((group / used).read_text(encoding="ascii")) + _reclaimable(group)


def _with_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = os.path.dirname(path)  # noqa: PTH120 - a path inside the hierarchy, not of a file


def _reclaimable(group: Path) -> int:
    """Return the bytes of a group that are copies of files, dropped as soon as memory is wanted."""
    for line in (group / "memory.stat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0
