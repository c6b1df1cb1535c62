"""The folders of a data set -> class folders with their class and split: what a tree of folders means.

Where a tree could mean two things, it is refused with a question, and `Layout` options answer it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from foveal.data.folders import Contents, FolderReader, normalise
from foveal.data.junk import holds_runs
from foveal.data.layout_questions import (
    ask,
    hold_the_same,
    question_names,
    question_split_suffixes,
    question_splits,
    question_wrappers,
    refuse_mixture,
    refuse_one_folder,
    refuse_split_without_classes,
    refuse_uneven_classes,
    refuse_without_folders,
    show,
)
from foveal.data.split_names import fold_name, is_filler, is_ordinary, parse_split_name, read_split_names
from foveal.errors import DataError
from foveal.progress import printable

Layout = Literal["numbered", "named", "flat"]
"""Whether the splits are numbered training folders, splits with names, or not given."""
LayoutOption = Literal["classes", "splits", "subfolders"]
"""What a user can say of a tree: its first folders are classes, or are splits, or hold the classes."""
_WORDS_FOR_UNLABELLED = frozenset({"unknown", "unlabeled", "unlabelled", "all", "0", "none", "noclass"})


@dataclass(frozen=True, kw_only=True)
class ClassFolder:
    """A folder whose images have one class and are of one split."""

    path: Path
    """The folder."""
    label: str
    """The class."""
    split: str
    """The split, such as `train1` or `test`. It is empty in a flat layout."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a tree of folders means."""

    layout: Layout
    """The layout of splits and classes."""
    class_folders: tuple[ClassFolder, ...]
    """The folders of images, sorted by split and path."""
    strays: tuple[Path, ...] = ()
    """The files outside class folders."""
    notes: tuple[str, ...] = ()
    """What the user may want to know of how the tree was read, a sentence each."""
    warnings: tuple[str, ...] = ()
    """What may be read wrongly, a sentence each."""
    unlabelled: Path | None = None
    """The test folder, if its images lie in no class folders."""


def read_layout(root: Path, reader: FolderReader, chosen: LayoutOption | None = None) -> Reading:
    """Find out what a tree of folders means.

    Args:
        root: The data set's folder.
        reader: What lists the folders.
        chosen: What the user says the folders are, or None if it is to be found out.

    Raises:
        DataError: The tree has no class folders, or could mean two things.
    """
    if chosen is not None and chosen not in get_args(LayoutOption):
        raise DataError(f"unknown layout {chosen!r}; choose from {', '.join(get_args(LayoutOption))}")
    folders = _list_class_level(root, reader)
    top_files = [root / name for name in reader.read(root).file_names]
    if not folders:
        refuse_without_folders(root, reader)
    if chosen == "classes":
        reading = _read_flat(folders)
    elif chosen == "subfolders":
        reading = _read_subfolders(root, folders, reader)
    else:
        split_of = read_split_names([folder.name for folder in folders])
        with_classes = [f for f in folders if f.name in split_of and reader.read(f).names]
        if chosen == "splits" or with_classes:
            reading = _read_splits(root, folders, split_of, reader, asked=chosen is None)
        else:
            reading = _read_classes(root, folders, split_of, reader)
    if chosen is None:
        labels = sorted({folder.label for folder in reading.class_folders})
        question_names(root, labels, has_splits=reading.layout != "flat")
    strays = (*top_files, *reading.strays)
    notes = (*reading.notes, *_note_merged_names(reading.class_folders))
    return Reading(
        layout=reading.layout,
        class_folders=reading.class_folders,
        strays=strays,
        notes=notes,
        warnings=reading.warnings,
        unlabelled=reading.unlabelled,
    )


def _list_class_level(folder: Path, reader: FolderReader) -> list[Path]:
    """Return the folders in a folder, linked ones too, without Foveal's own runs."""
    folders = []
    for each in reader.follow_links(folder):
        if holds_runs(each):
            reader.pass_over(each)
        else:
            folders.append(each)
    return folders


def _read_flat(folders: Iterable[Path], warnings: Sequence[str] = ()) -> Reading:
    class_folders = tuple(
        ClassFolder(path=folder, label=normalise(folder.name), split="") for folder in folders
    )
    return Reading(layout="flat", class_folders=class_folders, warnings=tuple(warnings))


def _read_subfolders(root: Path, folders: list[Path], reader: FolderReader) -> Reading:
    """Read the folders in the first folders as classes. Those of one name are one class."""
    class_folders = tuple(
        ClassFolder(path=inner, label=normalise(inner.name), split="")
        for folder in folders
        for inner in _list_class_level(folder, reader)
    )
    if not class_folders:
        raise DataError(f"the folders in {root} hold no folders; leave --layout subfolders out")
    strays = tuple(folder / name for folder in folders for name in reader.read(folder).file_names)
    return Reading(layout="flat", class_folders=class_folders, strays=strays)


# ---- the first folders are splits


def _read_splits(
    root: Path, folders: list[Path], split_of: Mapping[str, str], reader: FolderReader, *, asked: bool
) -> Reading:
    """Read the first folders as splits, and the folders in them as classes."""
    others = _set_aside_folders_without_images(folders, split_of, reader)
    if others:
        refuse_mixture(root, folders, others, split_of, reader)
    splits = [folder for folder in folders if folder.name in split_of]
    classes_in = {folder: _list_class_level(folder, reader) for folder in splits}
    folder_of: dict[str, Path] = {}
    unlabelled = None
    for folder in splits:
        name = split_of[folder.name]
        if name == "test" and _is_unlabelled(folder, classes_in, reader):
            unlabelled = folder
        elif not classes_in[folder]:
            refuse_split_without_classes(folder, reader)
        elif name in folder_of:
            raise DataError(
                f"{root} has two folders for {name}: {printable(folder_of[name].name)} and "
                f"{printable(folder.name)}; keep one"
            )
        else:
            folder_of[name] = folder
    layout, ordered = _order_splits(root, folder_of)
    if asked:
        question_splits(root, ordered, classes_in, reader)
    return Reading(
        layout=layout,
        class_folders=tuple(
            ClassFolder(path=path, label=normalise(path.name), split=name)
            for name, folder in ordered.items()
            for path in classes_in[folder]
        ),
        strays=tuple(
            folder / name
            for folder in splits
            if folder != unlabelled
            for name in reader.read(folder).file_names
        ),
        notes=_note_split_names({folder.name: name for name, folder in ordered.items()}),
        unlabelled=unlabelled,
    )


def _set_aside_folders_without_images(
    folders: list[Path], split_of: Mapping[str, str], reader: FolderReader
) -> list[Path]:
    """Leave out folders beside splits that hold only files not named as images; return the other ones."""
    others = []
    for folder in folders:
        contents = reader.read(folder)
        if folder.name in split_of:
            continue
        if contents.names or contents.n_images or not contents.files:
            others.append(folder)
        else:
            reader.leave_out(folder, "is no split and holds no images")
    return others


def _is_unlabelled(folder: Path, classes_in: Mapping[Path, list[Path]], reader: FolderReader) -> bool:
    """Return whether a test folder holds images without classes: loose ones, or all in one folder."""
    inner = classes_in[folder]
    if not inner:
        return reader.read(folder).n_images > 0
    labels = {
        fold_name(each.name) for other, found in classes_in.items() if other != folder for each in found
    }
    name, contents = inner[0].name, reader.read(inner[0])
    if len(inner) > 1 or contents.names or not contents.n_images:
        return False
    says_nothing = (
        is_filler(name) or parse_split_name(name) is not None or fold_name(name) in _WORDS_FOR_UNLABELLED
    )
    return len(labels) > 1 and says_nothing and fold_name(name) not in labels


def _order_splits(root: Path, folder_of: Mapping[str, Path]) -> tuple[Layout, dict[str, Path]]:
    """Return the layout of split folders, and the folders in the order of their numbers."""
    numbers = {name: int(number) for name in folder_of if (number := name.removeprefix("train")).isdecimal()}
    if not numbers:
        if "train" not in folder_of:
            present = [folder.name for folder in folder_of.values()]
            beside = f" has {printable(present[0])} but" if present else " has"
            raise DataError(f"{root}{beside} no train folder; add {root / 'train'}")
        return "named", dict(folder_of)
    numbered = sorted(numbers, key=numbers.__getitem__)
    for name, folder in folder_of.items():
        if name not in numbers and name != "test":
            raise DataError(
                f"{root} mixes two layouts: {numbered[0]} and {printable(folder.name)}; beside numbered "
                f"training folders only test may stand, and one of them validates "
                f"(--validation {numbered[-1]})"
            )
    if len(set(numbers.values())) < len(numbers):
        raise DataError(f"{root} has two training folders of the same number; rename one")
    order = [*numbered, *(name for name in folder_of if name not in numbers)]
    return "numbered", {name: folder_of[name] for name in order}


# ---- the first folders are classes, or none of what is known


def _read_classes(
    root: Path, folders: list[Path], split_of: Mapping[str, str], reader: FolderReader
) -> Reading:
    """Read the first folders as classes, unless they seem to be something else."""
    contents = [reader.read(folder) for folder in folders]
    if len(split_of) == len(folders):
        refuse_split_without_classes(folders[0], reader)
    refuse_one_folder(root, folders, contents, reader)
    below = _read_splits_below_classes(root, folders, contents, reader)
    if below is not None:
        return below
    if hold_the_same(contents):
        ask(root, folders, contents)
    question_wrappers(root, folders, contents)
    question_split_suffixes(root, folders)
    warnings = [
        f"{printable(folder.name)} is read as a class, because it holds no folders; if it is a split, "
        f"give it class folders, or move it elsewhere"
        for folder in folders
        if folder.name in split_of
    ]
    return _read_flat(folders, warnings)


def _read_splits_below_classes(
    root: Path, folders: list[Path], contents: list[Contents], reader: FolderReader
) -> Reading | None:
    """Read `CLASS/train`, `CLASS/test` and so on. The result is None if no class holds folders of splits.

    Raises:
        DataError: Some classes are divided, others not, or not alike.
    """
    splits_in = [read_split_names(each.names) for each in contents]
    divided = [index for index, names in enumerate(splits_in) if _is_division(names)]
    if not divided:
        return None
    first = divided[0]
    for index, folder in enumerate(folders):
        is_whole = len(splits_in[index]) == len(contents[index].names)
        if sorted(splits_in[index].values()) != sorted(splits_in[first].values()) or not is_whole:
            refuse_uneven_classes(folders, contents, first, index)
        if contents[index].n_images:
            raise DataError(
                f"{printable(str(folder))} holds {show(sorted(splits_in[index]))} and images beside them; "
                f"move these images into one of its splits, or say --layout classes to mix them all"
            )
    inner = [
        (folder, path, splits_in[index][path.name])
        for index, folder in enumerate(folders)
        for path in reader.follow_links(folder)
    ]
    if hold_the_same([reader.read(path) for _, path, _ in inner]):
        ask(root, folders, contents)
    splits: dict[str, Path] = {}
    for _, path, name in inner:
        splits.setdefault(name, path)
    if len(splits) < len(splits_in[first]):
        raise DataError(
            f"{printable(str(folders[first]))} has two folders for one split: "
            f"{show(sorted(splits_in[first]))}; keep one"
        )
    layout, ordered = _order_splits(folders[first], splits)
    names = {path.name: name for _, path, name in inner}
    return Reading(
        layout=layout,
        class_folders=tuple(
            ClassFolder(path=path, label=normalise(folder.name), split=name)
            for wanted in ordered
            for folder, path, name in inner
            if name == wanted
        ),
        strays=tuple(
            folder / name for folder, each in zip(folders, contents, strict=True) for name in each.file_names
        ),
        notes=(
            f"the splits are the folders in the class folders: {show(sorted(names))}",
            *_note_split_names(names),
        ),
    )


def _is_division(split_of: Mapping[str, str]) -> bool:
    """Return whether folders in a class folder divide it: into two splits, or a part is set aside."""
    roles = {"train" if name.startswith("train") else name for name in split_of.values()}
    return len(roles) > 1 or bool(roles - {"train"})


# ---- what is told


def _note_split_names(split_of: Mapping[str, str]) -> tuple[str, ...]:
    """Say which folders are which splits, unless their names are the usual ones."""
    if all(is_ordinary(name) for name in split_of):
        return ()
    told = [f"{printable(name)} as {split}" for name, split in sorted(split_of.items())]
    return (f"folders read as splits: {', '.join(told)}",)


def _note_merged_names(class_folders: Sequence[ClassFolder]) -> tuple[str, ...]:
    """Say which classes have names that differ only in how Unicode writes them."""
    raw: dict[str, set[str]] = {}
    for folder in class_folders:
        raw.setdefault(folder.label, set()).update(
            name for name in (folder.path.name, folder.path.parent.name) if normalise(name) == folder.label
        )
    return tuple(
        f"folders of the class {printable(label)} write its name in two Unicode forms; they are one class"
        for label, names in sorted(raw.items())
        if len(names) > 1
    )
