"""Folders -> list of image records, and the layout of the folders. No file is opened."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from foveal.errors import DataError
from foveal.progress import printable

Layout = Literal["numbered", "named", "flat"]

MIN_FILES_IN_SAMPLE = 10
"""The number of files that a sample keeps of each class and split, if there are so many."""

_NUMBERED = re.compile(r"train([0-9]+)")
_SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class Record(NamedTuple):
    """A file that should be an image. It is a tuple, because tuples are made fastest."""

    path: str
    """The path relative to the data set's folder, with forward slashes."""
    size: int
    """The number of bytes."""
    modified: int
    """The time when the content was changed last, in nanoseconds since 1970."""
    inode: int
    """The number that the file keeps when it is moved, or 0 if the system tells none."""
    changed: int
    """The time when the content, the name or the rights were changed last, in nanoseconds since 1970.

    On Windows it is the time when the file was made.
    """
    label: str
    """The class, which is the name of its folder."""
    folder: str
    """The split whose folder holds the file, such as `train1` or `test`. It is empty in a flat layout."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The content of a data set's folder."""

    root: Path
    """The data set's folder."""
    layout: Layout
    """The layout of the split folders and class folders."""
    records: tuple[Record, ...]
    """The files in class folders, sorted by path."""
    classes: tuple[str, ...]
    """The names of the classes, sorted by code point."""
    strays: tuple[str, ...]
    """The relative paths of the files outside class folders, sorted."""
    table: Path | None = None
    """The table that the labels come from, or None where folders have them."""
    groups: Mapping[str, str] | None = None
    """The group of each file by its relative path, where a table has a column of groups."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """The reason for every file that a table names or passes over and that cannot be used, by its path."""


def scan(root: str | os.PathLike[str]) -> Listing:
    """List a data set in one of the three layouts of class folders.

    `root/train1…trainN/CLASS` (with `root/test/CLASS`), `root/{train,val,test}/CLASS`, or `root/CLASS`.
    Split folders are recognised in upper and lower case. Hidden files and folders are ignored. Subfolders of
    class folders are searched too, but links to folders are not followed.

    Raises:
        DataError: No such folder, no known layout or two at once, an empty class, one class only, classes
            that differ between the splits.
    """
    root = Path(root)
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {problem}; name a folder that holds class folders of images")
    folders, strays = _list_folder(root)
    layout, splits = _recognise_layout(root, folders)
    records: list[Record] = []
    for name, folder in splits.items():
        class_folders, files = _list_folder(folder)
        strays += files
        for class_folder in class_folders:
            class_records = list(_iter_records(class_folder, root, label=class_folder.name, split=name))
            if not class_records:
                raise DataError(
                    f"the class folder {class_folder} holds no image; add some or remove the folder"
                )
            records += class_records
    _check_classes(root, splits, records)
    return Listing(
        root=root,
        layout=layout,
        records=tuple(sorted(records, key=attrgetter("path"))),
        classes=tuple(sorted({record.label for record in records})),
        # In a flat layout the root is listed twice.
        strays=tuple(sorted({file.relative_to(root).as_posix() for file in strays})),
    )


def draw_sample(listing: Listing, share: float, *, seed: int) -> Listing:
    """Draw a share of a listing's files at random, the same share of every class in every split.

    At least `MIN_FILES_IN_SAMPLE` files of each class and split stay, if there are so many.
    """
    random = np.random.default_rng(seed)
    strata: dict[tuple[str, str], list[int]] = {}
    for index, record in enumerate(listing.records):
        strata.setdefault((record.folder, record.label), []).append(index)
    drawn: list[int] = []
    for indices in strata.values():
        drawn += random.permutation(indices)[: max(MIN_FILES_IN_SAMPLE, round(share * len(indices)))].tolist()
    return replace(listing, records=tuple(listing.records[index] for index in sorted(drawn)))


def _recognise_layout(root: Path, folders: list[Path]) -> tuple[Layout, dict[str, Path]]:
    """Return the layout, and the folders that hold class folders by the name of their split."""
    # A class may be called "test": a folder is a split only if it holds folders itself.
    splits = [folder for folder in folders if _get_split_name(folder) and _list_folder(folder)[0]]
    without_classes = [folder for folder in folders if _get_split_name(folder) and folder not in splits]
    others = [folder for folder in folders if not _get_split_name(folder)]
    if not folders:
        raise DataError(
            f"{root} holds no class folders; each class needs a folder of its own with its images"
        )
    if not splits and others:
        return "flat", {"": root}
    if without_classes and not others:
        raise DataError(
            f"{without_classes[0]} holds no class folders; give each class a folder with its images there, "
            f"or move {without_classes[0].name} elsewhere"
        )
    if others:
        raise DataError(
            f"{root} mixes two layouts: {splits[0].name} is a split, {printable(others[0].name)} is none; "
            f"keep either splits or classes there"
        )
    folder_of: dict[str, Path] = {}
    for folder in splits:
        name = _get_split_name(folder)
        if name in folder_of:
            raise DataError(
                f"{root} has two folders for {name}: {folder_of[name].name} and {folder.name}; keep one"
            )
        folder_of[name] = folder
    return _order_splits(root, folder_of)


def _order_splits(root: Path, folder_of: dict[str, Path]) -> tuple[Layout, dict[str, Path]]:
    """Return the layout of split folders, and the folders in the order of their numbers."""
    numbers = {name: int(match[1]) for name in folder_of if (match := _NUMBERED.fullmatch(name))}
    if not numbers:
        if "train" not in folder_of:
            first = next(iter(folder_of.values()))
            raise DataError(f"{root} has {first.name} but no train folder; add {root / 'train'}")
        return "named", folder_of
    numbered = sorted(numbers, key=numbers.__getitem__)
    for name, folder in folder_of.items():
        if name not in numbers and name != "test":
            raise DataError(
                f"{root} mixes two layouts: {numbered[0]} and {folder.name}; beside numbered training "
                f"folders only test may stand, and one of them validates (--validation {numbered[-1]})"
            )
    if len(set(numbers.values())) < len(numbers):
        raise DataError(f"{root} has two training folders of the same number; rename one")
    order = [*numbered, *(name for name in folder_of if name not in numbers)]
    return "numbered", {name: folder_of[name] for name in order}


def _get_split_name(folder: Path) -> str:
    """Return the split that a folder's name stands for, in upper or lower case, or an empty string."""
    name = folder.name.lower()
    return name if _NUMBERED.fullmatch(name) else _SPLIT_NAMES.get(name, "")


def _check_classes(root: Path, splits: dict[str, Path], records: list[Record]) -> None:
    """Refuse a data set with one class only, or with a class that a split lacks."""
    classes_of: dict[str, set[str]] = {name: set() for name in splits}
    for record in records:
        classes_of[record.folder].add(record.label)
    classes = sorted(set().union(*classes_of.values()))
    for name, folder in splits.items():
        for label in classes:
            if label not in classes_of[name]:
                other = next(other for other in splits if label in classes_of[other])
                raise DataError(
                    f"the class {printable(label)} is in {splits[other]} but not in {folder}; "
                    f"every split needs images of every class"
                )
    if len(classes) == 1:
        raise DataError(f"{root} has one class only, {printable(classes[0])}; a classifier needs two or more")


def _list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the visible folders and files inside a folder, sorted by name."""
    folders: list[Path] = []
    files: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(folder / entry.name)
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}") from error
    return sorted(folders), sorted(files)


def _iter_records(folder: Path, root: Path, *, label: str, split: str) -> Iterator[Record]:
    """Yield the visible files in and below a class folder."""
    pending = [folder]
    while pending:
        current = pending.pop()
        prefix = current.relative_to(root).as_posix()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(current / name)
                        continue
                    leads_to_file = entry.is_file()
                    if (
                        leads_to_file or entry.is_symlink()
                    ):  # a broken link stays a record, so that its name is listed
                        status = entry.stat(follow_symlinks=leads_to_file)
                        yield Record(
                            f"{prefix}/{name}",
                            status.st_size,
                            status.st_mtime_ns,
                            status.st_ino,
                            status.st_ctime_ns,
                            label,
                            split,
                        )
        except OSError as error:
            raise DataError(f"cannot list {current}: {error.strerror}") from error
