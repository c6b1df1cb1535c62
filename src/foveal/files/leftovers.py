"""What is left of folders whose process was killed while it made them.

A folder that is being made has a hidden name and a small file that says who makes it. It gets its own name
when it is whole. So one whose maker is gone is of no use to anybody.
"""

import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from foveal.errors import RunError
from foveal.files.atomic import encode_line
from foveal.files.processes import describe_process, is_running
from foveal.files.run_records import Writer
from foveal.files.typed_file import read_file
from foveal.files.typed_json import to_json

MAKER = ".maker.json"
"""The file that says which process makes the folder. A folder with its own name has none."""
MAX_MAKER_BYTES = 10_000
"""The size in bytes that this file may have."""
ABANDONED_AFTER_SECONDS = 3600
"""The age at which a folder is abandoned that has nothing in it, not even the name of its maker."""
_UNFINISHED_NAME = re.compile(r"\..*\.[a-z0-9_]{8}", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Who makes a folder: `.maker.json`."""

    process: Writer
    """The process that makes it."""
    name: str
    """The name that the folder gets when it is whole."""


def sign_unfinished(folder: Path, name: str) -> None:
    """Write into an empty folder that this process makes it, and which name it will get."""
    maker = Maker(process=describe_process(), name=name)
    (folder / MAKER).write_bytes(encode_line(to_json(maker)))


def remove_leftovers(place: Path) -> None:
    """Remove the unfinished folders in `place` whose maker is gone. What cannot be removed stays."""
    with suppress(OSError):
        for folder in place.iterdir():
            with suppress(OSError):
                if _UNFINISHED_NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                    _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    try:
        maker = read_file(folder / MAKER, Maker, limit=MAX_MAKER_BYTES)
    except RunError:  # the maker was killed before it wrote this file, or will write it now
        names = {entry.name for entry in folder.iterdir()}
        if names <= {MAKER} and time.time() - folder.stat().st_mtime > ABANDONED_AFTER_SECONDS:
            (folder / MAKER).unlink(missing_ok=True)
            folder.rmdir()
        return
    is_unfinished = folder.name.startswith(f".{maker.name}.")  # else it has its name already, a strange one
    if is_unfinished and is_running(maker.process) is False:
        shutil.rmtree(folder, ignore_errors=True)
