"""Folders -> list of image records, and the layout of the folders. No file is opened."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from foveal.data.folders import Contents, FolderReader
from foveal.data.junk import is_named_as_image
from foveal.data.layout import ClassFolder, Layout, LayoutOption, Reading, read_layout
from foveal.errors import DataError
from foveal.progress import printable

MIN_FILES_IN_SAMPLE = 10
"""The number of files that a sample keeps of each class and split, if there are so many."""


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
    """The reason for every file or folder that is left out before decoding, by its relative path."""
    notes: tuple[str, ...] = ()
    """What the user may want to know of how the folders were read, a sentence each."""
    warnings: tuple[str, ...] = ()
    """What the user must know of classes that are left out or may be none, a sentence each."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """The number of hidden files and files of other programs, by the name that they or their folder have."""
    unlabelled: str = ""
    """The relative path of a test folder whose images have no classes, or an empty string."""
    n_unlabelled: int = 0
    """The number of images in the test folder without classes."""


def scan(root: str | os.PathLike[str], layout: LayoutOption | None = None) -> Listing:
    """List a data set of class folders: in split folders, above split folders, or without splits.

    Which folders are splits and which are classes is found out by `read_layout`. Hidden files and what
    programs leave are passed over and counted. Subfolders of class folders are searched too. Links to folders
    are followed where class folders or splits are expected, and nowhere else.

    Args:
        root: The data set's folder.
        layout: What the folders are, if the user says so.

    Raises:
        DataError: No such folder, no known layout or one that could mean two things, one class only, classes
            that differ between the splits.
    """
    root = Path(root)
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {problem}; name a folder that holds class folders of images")
    reader = FolderReader(root)
    reading = read_layout(root, reader, layout)
    records_in = [list(_iter_records(folder, reader)) for folder in reading.class_folders]
    kept, warnings = _leave_out_empty_classes(reading, records_in, reader)
    records = [record for index in kept for record in records_in[index]]
    _check_classes(root, reading, kept)
    n_unlabelled = _count_unlabelled(reading, reader)  # it passes over files too, which are told below
    return Listing(
        root=root,
        layout=reading.layout,
        records=tuple(sorted(records, key=attrgetter("path"))),
        classes=tuple(sorted({record.label for record in records})),
        strays=tuple(sorted({reader.get_relative_path(file) for file in reading.strays})),
        unusable=dict(sorted(reader.left_out.items())),
        notes=reading.notes,
        warnings=(*reading.warnings, *warnings),
        passed_over=dict(reader.passed_over),
        unlabelled="" if reading.unlabelled is None else reader.get_relative_path(reading.unlabelled),
        n_unlabelled=n_unlabelled,
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


def _leave_out_empty_classes(
    reading: Reading, records_in: Sequence[list[Record]], reader: FolderReader
) -> tuple[list[int], list[str]]:
    """Leave out the classes that have no file in any split.

    Returns:
        The indices of the class folders that stay, and a sentence for each class that does not.

    Raises:
        DataError: A class has files in another split, or fewer than two classes stay.
    """
    folders = reading.class_folders
    labels = {folder.label for folder, records in zip(folders, records_in, strict=True) if records}
    empty = [index for index, records in enumerate(records_in) if not records]
    for index in empty:
        is_lacking = folders[index].label in labels and not _has_twin(folders, records_in, index)
        if is_lacking or len(labels) < 2:
            raise DataError(_describe_empty_class(folders[index], reader))
    warnings = []
    for index in empty:
        reader.leave_out(folders[index].path, "is a class folder without images")
        if folders[index].label not in labels:
            place = printable(reader.get_relative_path(folders[index].path))
            warnings.append(f"the class folder {place} holds no image, so it is left out")
    return [index for index, records in enumerate(records_in) if records], warnings


def _has_twin(folders: Sequence[ClassFolder], records_in: Sequence[list[Record]], index: int) -> bool:
    """Return whether another folder holds images of the same class and split."""
    mine = folders[index]
    return any(
        records and (folder.label, folder.split) == (mine.label, mine.split)
        for folder, records in zip(folders, records_in, strict=True)
    )


def _describe_empty_class(folder: ClassFolder, reader: FolderReader) -> str:
    reason = reader.left_out.get(reader.get_relative_path(folder.path), "")
    if "listed" in reason:
        return f"cannot list {printable(str(folder.path))}: {reason.partition(': ')[2]}"
    return f"the class folder {printable(str(folder.path))} holds no image; add some or remove the folder"


def _check_classes(root: Path, reading: Reading, kept: Sequence[int]) -> None:
    """Refuse a data set with one class only, or with a class that a split lacks."""
    place_of: dict[str, dict[str, Path]] = {folder.split: {} for folder in reading.class_folders}
    for index in kept:
        folder = reading.class_folders[index]
        place_of[folder.split].setdefault(folder.label, folder.path)
    classes = sorted(set().union(*place_of.values()))
    if not classes:
        raise DataError(f"{root} holds no image in its class folders")
    for split, places in place_of.items():
        for label in classes:
            if label not in places:
                there = next(other[label] for other in place_of.values() if label in other)
                here = next(iter(places.values()), root)
                where, other = (
                    (there.parent, here.parent) if there.name == label else (there, f"the split {split}")
                )
                raise DataError(
                    f"the class {printable(label)} is in {printable(str(where))} but not in "
                    f"{printable(str(other))}; every split needs images of every class"
                )
    if len(classes) == 1:
        raise DataError(f"{root} has one class only, {printable(classes[0])}; a classifier needs two or more")


def _count_unlabelled(reading: Reading, reader: FolderReader) -> int:
    """Count the images of a test folder that have no classes."""
    if reading.unlabelled is None:
        return 0
    folder = ClassFolder(path=reading.unlabelled, label="", split="")
    return sum(is_named_as_image(record.path) for record in _iter_records(folder, reader))


def _iter_records(folder: ClassFolder, reader: FolderReader) -> Iterator[Record]:
    """Yield the files in and below a class folder that are not passed over."""
    pending = [folder.path]
    while pending:
        current = pending.pop()
        contents = reader.read(current) if reader.has_read(current) else _read_below(current, reader)
        pending += contents.folders
        for link in contents.links:
            reader.leave_out(link, "is a link to a folder inside a class folder, which is not followed")
        prefix = reader.get_relative_path(current)
        label, split = folder.label, folder.split
        for name, size, modified, inode, changed in contents.files:
            yield Record(f"{prefix}/{name}", size, modified, inode, changed, label, split)


def _read_below(folder: Path, reader: FolderReader) -> Contents:
    """List a subfolder of a class folder. One that cannot be listed is left out, and seems empty."""
    try:
        return reader.read_once(folder)
    except OSError as error:
        reader.leave_out(folder, f"cannot be listed: {error.strerror}")
        return Contents(folders=(), links=(), files=())
