"""The folders of packs in the cache: made, named when they are whole, and removed again."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from foveal.errors import RunError
from foveal.files.atomic import encode_line, outside_faults
from foveal.files.processes import describe_process, is_running
from foveal.files.run_records import Writer
from foveal.files.typed_file import read_file
from foveal.files.typed_json import to_json

MAX_CACHE_BYTES = 20_000_000_000
"""The largest size of all packs together. The least recently used packs are removed first."""
ABANDONED_AFTER_SECONDS = 7 * 24 * 3600
"""The age after which an unfinished pack is removed if nobody can know whether its process still runs."""
MAX_MAKER_BYTES = 10_000
"""The size in bytes of the file that says who makes a pack."""
MAKER = "maker.json"
"""The file in a workplace that says which process it belongs to."""
_PREFIX = ".building-"
_MAX_RENAMES = 5


@contextmanager
def workplace(packs: Path) -> Iterator[Path]:
    """Make an empty folder for a new pack for the length of the block.

    It lies in one that says which process it belongs to.

    Raises:
        OutsideError: The cache cannot be written.
    """
    with outside_faults(packs):
        packs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=packs))
    try:
        with outside_faults(folder):
            (folder / MAKER).write_bytes(encode_line(to_json(describe_process())))
            (folder / "pack").mkdir()
        yield folder / "pack"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(packs: Path) -> None:
    """Remove the workplaces whose process was killed."""
    with suppress(OSError):
        for folder in packs.glob(f"{_PREFIX}*"):
            with suppress(OSError):  # another process is removing it
                if _is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    running: bool | None = None
    with suppress(RunError):  # the maker was killed before it wrote this file, or will write it now
        running = is_running(read_file(folder / MAKER, Writer, limit=MAX_MAKER_BYTES))
    if running is None:
        return time.time() - folder.stat().st_mtime > ABANDONED_AFTER_SECONDS
    return not running


def give_name(new: Path, folder: Path) -> None:
    """Move a finished pack from a workplace to its name. A pack that has the name is moved to the workplace.

    Raises:
        OutsideError: The disk refuses it.
    """
    for attempt in range(_MAX_RENAMES):
        with suppress(OSError):
            new.rename(folder)
            return
        with suppress(OSError):  # another process has just removed it, or put another one there
            folder.rename(new.with_name(f"old-{attempt}"))
    with outside_faults(folder):
        new.rename(folder)


def evict(packs: Path, *, keep: Path) -> None:
    """Remove the least recently used packs until the rest fit into the cache."""
    finished: list[tuple[float, int, Path]] = []
    with outside_faults(packs):
        for folder in packs.iterdir():
            with suppress(OSError):  # another process is removing it
                if not folder.name.startswith("."):
                    size = (folder / "pixels").stat().st_size
                    finished.append((folder.stat().st_mtime, size, folder))
    total = sum(size for _, size, _ in finished)
    for _, size, folder in sorted(finished):
        if total > MAX_CACHE_BYTES and folder != keep:
            total -= size
            shutil.rmtree(folder, ignore_errors=True)


def mark_as_used(folder: Path) -> None:
    """Note the time of a pack's last use, for eviction. A cache that cannot be written serves as well."""
    with suppress(OSError):
        os.utime(folder)
