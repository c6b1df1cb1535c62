"""Folders -> list of image records. Nothing is opened: a listing, and what it says of the layout."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from foveal.errors import DataError
from foveal.progress import printable

Layout = Literal["numbered", "named", "flat"]

LEAST = 10
"""Files of a class in a split that a sample keeps at least."""

_NUMBERED = re.compile(r"train([0-9]+)")
_NAMED = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class Record(NamedTuple):
    """One file that should be an image. A tuple: there is one a file, and tuples are made fastest."""

    path: str
    """Relative to the data set's folder, with forward slashes."""
    size: int
    """Bytes."""
    modified: int
    """Nanoseconds since the epoch."""
    label: str
    """The class: the name of its folder."""
    folder: str
    """`train1`, `train`, `validation` or `test`; empty in a flat layout."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a data set's folder holds."""

    root: Path
    layout: Layout
    records: tuple[Record, ...]
    """Sorted by path."""
    classes: tuple[str, ...]
    """Sorted by code point."""
    strays: tuple[str, ...]
    """Files that lie outside any class folder."""


def scan(root: str | os.PathLike[str]) -> Listing:
    """List a data set in one of the three layouts of class folders.

    `root/train1…trainN/CLASS` (with `root/test/CLASS`), `root/{train,val,test}/CLASS`, or `root/CLASS`.
    Split folders are recognised in upper and lower case. Hidden files and folders are passed over; within
    a class folder, subfolders are searched too, but links to folders are not followed.

    Raises:
        DataError: no such folder, no known layout or two at once, an empty class, one class only, classes
            that differ between the splits.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}; name a folder that holds class folders of images")
    folders, strays = _children(root)
    layout, splits = _layout(root, folders)
    records: list[Record] = []
    for name, folder in splits.items():
        classes, files = _children(folder)
        strays += files
        for each in classes:
            found = list(_files(each, root, label=each.name, split=name))
            if not found:
                raise DataError(f"the class folder {each} holds no image; add some or remove the folder")
            records += found
    _check_classes(root, splits, records)
    return Listing(
        root=root,
        layout=layout,
        records=tuple(sorted(records, key=attrgetter("path"))),
        classes=tuple(sorted({record.label for record in records})),
        # In a flat layout the root is looked through twice.
        strays=tuple(sorted({file.relative_to(root).as_posix() for file in strays})),
    )


def sampled(listing: Listing, share: float, *, seed: int) -> Listing:
    """Keep a share of a listing's files, drawn from `seed`, alike in every class of every split.

    Of each such class at least `LEAST` files stay, where it has so many.
    """
    random = np.random.default_rng(seed)
    members: dict[tuple[str, str], list[int]] = {}
    for row, record in enumerate(listing.records):
        members.setdefault((record.folder, record.label), []).append(row)
    kept: list[int] = []
    for rows in members.values():
        kept += random.permutation(rows)[: max(LEAST, round(share * len(rows)))].tolist()
    return replace(listing, records=tuple(listing.records[row] for row in sorted(kept)))


def _layout(root: Path, folders: list[Path]) -> tuple[Layout, dict[str, Path]]:
    """Recognise the layout; return it with the folders that hold class folders, by split name."""
    # A class may be called "test": a folder is a split only if it holds folders itself.
    splits = [each for each in folders if _split_name(each) and _children(each)[0]]
    loose = [each for each in folders if _split_name(each) and each not in splits]
    others = [each for each in folders if not _split_name(each)]
    if not folders:
        raise DataError(
            f"{root} holds no class folders; each class needs a folder of its own with its images"
        )
    if not splits and others:
        return "flat", {"": root}
    if loose and not others:
        raise DataError(
            f"{loose[0]} holds no class folders; give each class a folder with its images there, "
            f"or move {loose[0].name} elsewhere"
        )
    if others:
        raise DataError(
            f"{root} mixes two layouts: {splits[0].name} is a split, {printable(others[0].name)} is none; "
            f"keep either splits or classes there"
        )
    named: dict[str, Path] = {}
    for each in splits:
        name = _split_name(each)
        if name in named:
            raise DataError(
                f"{root} has two folders for {name}: {named[name].name} and {each.name}; keep one"
            )
        named[name] = each
    numbers = {name: int(match[1]) for name in named if (match := _NUMBERED.fullmatch(name))}
    if not numbers:
        if "train" not in named:
            raise DataError(f"{root} has {splits[0].name} but no train folder; add {root / 'train'}")
        return "named", named
    numbered = sorted(numbers, key=numbers.__getitem__)
    for name, each in named.items():
        if name not in numbers and name != "test":
            raise DataError(
                f"{root} mixes two layouts: {numbered[0]} and {each.name}; beside numbered training "
                f"folders only test may stand, and one of them validates (--validation {numbered[-1]})"
            )
    if len(set(numbers.values())) < len(numbers):
        raise DataError(f"{root} has two training folders of the same number; rename one")
    order = [*numbered, *(name for name in named if name not in numbers)]
    return "numbered", {name: named[name] for name in order}


def _split_name(folder: Path) -> str:
    """Return the name of the split that a folder is called after, upper or lower case; empty if none."""
    name = folder.name.lower()
    return name if _NUMBERED.fullmatch(name) else _NAMED.get(name, "")


def _check_classes(root: Path, splits: dict[str, Path], records: list[Record]) -> None:
    found: dict[str, set[str]] = {name: set() for name in splits}
    for record in records:
        found[record.folder].add(record.label)
    every = sorted(set().union(*found.values()))
    for name, folder in splits.items():
        for label in every:
            if label not in found[name]:
                has = next(other for other in splits if label in found[other])
                raise DataError(
                    f"the class {printable(label)} is in {splits[has]} but not in {folder}; "
                    f"every split needs images of every class"
                )
    if len(every) == 1:
        raise DataError(f"{root} has one class only, {printable(every[0])}; a classifier needs two or more")


def _children(folder: Path) -> tuple[list[Path], list[Path]]:
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


def _files(folder: Path, root: Path, *, label: str, split: str) -> Iterator[Record]:
    """List the visible files in and below a class folder."""
    pending = [folder]
    while pending:
        place = pending.pop()
        prefix = place.relative_to(root).as_posix()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(place / name)
                        continue
                    leads_to_file = entry.is_file()
                    if leads_to_file or entry.is_symlink():  # a link to nowhere is rejected by name
                        status = entry.stat(follow_symlinks=leads_to_file)
                        yield Record(f"{prefix}/{name}", status.st_size, status.st_mtime_ns, label, split)
        except OSError as error:
            raise DataError(f"cannot list {place}: {error.strerror}") from error
