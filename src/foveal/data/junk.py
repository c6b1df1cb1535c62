"""Names of files and folders that programs leave behind, which are no images of a data set."""

import os
from pathlib import Path

MAX_COUNTED_FILES = 10_000
"""The number of files in a passed-over folder after which counting ends."""

_IMAGE_ENDINGS = """
    apng avif bmp dib gif heic heif hif j2k jfif jp2 jpe jpeg jpg jxl pbm pgm png pnm ppm tga tif tiff webp
"""
IMAGE_SUFFIXES = frozenset(f".{ending}" for ending in _IMAGE_ENDINGS.split())
"""The endings of names by which a person takes a file for an image. Files without them are tried too."""

_WORDS = """
    @eadir @__thumb @recycle @recently-snapshot @sharebin @tmp #recycle #snapshot __macosx $recycle.bin
    lost+found lost.dir found.000 found.001 __pycache__ node_modules mlruns wandb
    lightning_logs thumbs.db thumbs.db:encryptable ehthumbs.db ehthumbs_vista.db desktop.ini folder.htt
    picasa.ini zbthumbnail.info pspbrwse.jbf ws_ftp.log
"""
JUNK_NAMES = frozenset(
    [
        *_WORDS.split(),
        "system volume information",
        "network trash folder",
        "temporary items",
        "desktop db",
        "desktop df",
        "icon\r",
    ]
)
"""The names of files and folders that programs leave, in lower case."""
JUNK_SUFFIXES = (":Zone.Identifier", ":encryptable", "@SynoResource", "@SynoEAStream")
"""The ends of the names of files in which systems keep something about the file whose name stands before."""
JUNK_PREFIXES = (".", "~$", "~lock")
"""The beginnings of the names of hidden files, and of those that programs make while a file is open."""
_RUN_FILES = ("recipe.json", "dataset.json", "environment.json")


def is_junk(name: str) -> bool:
    """Return whether a file or folder is hidden, or left behind by a program.

    >>> is_junk("Thumbs.db"), is_junk("._cat.png"), is_junk("cat.png")
    (True, True, False)
    """
    return name.startswith(JUNK_PREFIXES) or name.endswith(JUNK_SUFFIXES) or name.lower() in JUNK_NAMES


def describe_junk(name: str) -> str:
    """Return the name under which files like this one are counted."""
    for prefix in ("._", "~$"):
        if name.startswith(prefix):
            return f"{prefix}…"
    return next((f"…{suffix}" for suffix in JUNK_SUFFIXES if name.endswith(suffix)), name)


def is_old_recycle_bin(folder: Path) -> bool:
    """Return whether a folder is a recycle bin of an old Windows. A class may be called "recycled"."""
    if folder.name not in ("RECYCLER", "RECYCLED"):
        return False
    try:
        names = os.listdir(folder)  # noqa: PTH208 - only the names are needed
    except OSError:
        return False
    return any(name.startswith("S-1-") or name.upper() in ("INFO", "INFO2", "DESKTOP.INI") for name in names)


def count_files(folder: Path) -> int:
    """Count the files in and below a folder, up to `MAX_COUNTED_FILES`."""
    n_files = 0
    for _, _, files in os.walk(folder):
        n_files += len(files)
        if n_files >= MAX_COUNTED_FILES:
            return MAX_COUNTED_FILES
    return n_files


def holds_runs(folder: Path, *, depth: int = 2) -> bool:
    """Return whether a folder is a run of Foveal's, or holds nothing but runs and groups of runs."""
    if all((folder / name).is_file() for name in _RUN_FILES):
        return True
    if depth == 0:
        return False
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_named_as_image(entry.name):  # what a class folder holds: it need not be listed further
                    return False
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    folders.append(entry.name)
    except OSError:
        return False
    return bool(folders) and all(holds_runs(folder / name, depth=depth - 1) for name in folders)


def is_named_as_image(name: str) -> bool:
    """Return whether a file's name ends as the names of images do."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES
