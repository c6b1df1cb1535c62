"""Trees of folders that could mean two things, or nothing. Each is refused with what was seen."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from foveal.data.folders import Contents, FolderReader
from foveal.data.split_names import fold_name, is_filler, parse_split_name, read_split_names
from foveal.errors import DataError
from foveal.progress import printable

MAX_NAMES_SHOWN = 3
"""The number of names that a message shows of a list."""

_TABLES = (".csv", ".tsv", ".parquet")
_ANNOTATIONS = frozenset({"labels", "annotations", "masks", "mask", "segmentation", "bboxes"})


def question_splits(
    root: Path, ordered: Mapping[str, Path], classes_in: Mapping[Path, list[Path]], reader: FolderReader
) -> None:
    """Refuse splits whose folders seem to be no classes."""
    for folder in ordered.values():
        inner = classes_in[folder]
        contents = [reader.read(each) for each in inner]
        if len(inner) == 1 and contents[0].names and not contents[0].n_images:
            raise DataError(
                f"{printable(str(folder))} holds one folder only, {printable(inner[0].name)}; move the class "
                f"folders in it one level up, into {printable(str(folder))}"
            )
        names = read_split_names([each.name for each in inner])
        if len(set(names.values())) > 1 and len(names) == len(inner):
            raise DataError(
                f"{printable(str(folder))} is a split and holds splits, {show(sorted(names))}; "
                f"keep one level of splits in {root}"
            )
        for each, held in zip(inner, contents, strict=True):
            if held.names and each.name in read_split_names([each.name]):
                raise DataError(
                    f"{printable(str(folder))} is a split and holds {printable(each.name)}, which is the "
                    f"name of a split and holds folders; if it is a class, say --layout splits, else move it"
                )
        if hold_the_same(contents):
            raise DataError(
                f"the folders in {printable(str(folder))} all hold the same folders: "
                f"{show_tree(inner, contents)}; if {printable(inner[0].name)} is a class, say "
                f"--layout splits, else move the class folders one level up"
            )


def question_wrappers(root: Path, folders: list[Path], contents: list[Contents]) -> None:
    """Refuse a first folder whose name says nothing, such as `images`, and that holds several folders."""
    for folder, held in zip(folders, contents, strict=True):
        if is_filler(folder.name) and len(held.names) > 1 and not held.n_images:
            raise DataError(
                f"{printable(str(folder))} holds {show(sorted(held.names))}, which look like classes or "
                f"splits; name {printable(str(folder))} instead of {root}, or say --layout classes if "
                f"{printable(folder.name)} is a class"
            )


def hold_the_same(contents: Sequence[Contents]) -> bool:
    """Return whether most folders hold folders, and mostly the same ones, so that they can hardly be classes.

    One folder that says nothing, such as `images`, does not count.
    """
    names = [{fold_name(name).strip() for name in each.names} for each in contents if each.names]
    if len(names) < 2 or 2 * len(names) < len(contents):
        return False
    union, common = set.union(*names), set.intersection(*names)
    if len(union) == 1 and is_filler(next(iter(union))):
        return False
    return bool(common) and 2 * len(common) >= len(union)


def question_split_suffixes(root: Path, folders: list[Path]) -> None:
    """Refuse classes such as `cat_train`, `cat_test`, `dog_train` and `dog_test`."""
    roles_of: dict[tuple[str, ...], dict[str, str]] = {}
    for folder in folders:
        words = parse_split_name(folder.name)
        if words is not None and words.rest:
            roles_of.setdefault(words.rest, {})[words.role] = folder.name
    for names in roles_of.values():
        if len(names) > 1:
            one, other, *_ = sorted(names.values())
            raise DataError(
                f"{root} holds {printable(one)} and {printable(other)}, which seem to be one class in two "
                f"splits; make folders such as train/CLASS and test/CLASS, or say --layout classes if they "
                f"are classes"
            )


def question_names(root: Path, labels: Sequence[str], *, has_splits: bool) -> None:
    """Refuse class names that differ only in case or spaces, and folders of annotations."""
    seen: dict[str, str] = {}
    for label in labels:
        key = fold_class_name(label)
        other = seen.setdefault(key, label)
        # Single letters are classes of their own, as in sets of handwriting.
        if other != label and (len(key) > 1 or label.strip() != label or other.strip() != other):
            answer = "" if has_splits else ", or say --layout classes if they are two classes"
            raise DataError(
                f"the classes {printable(repr(other))} and {printable(repr(label))} in {root} differ only in "
                f"case, spaces or how they are joined; give them one name{answer}"
            )
    words = {fold_name(label) for label in seen.values()}
    if words & _ANNOTATIONS and all(word in _ANNOTATIONS or is_filler(word) for word in words):
        raise DataError(
            f"the folders {show(sorted(seen.values()))} in {root} look like images with annotations, as for "
            f"detection or segmentation; a classifier needs a folder for each class"
        )


def fold_class_name(name: str) -> str:
    """Return a class's name without what is hard to see: case, spaces, `_` for `-`, marks without width."""
    seen = "".join(each for each in unicodedata.normalize("NFKC", name) if unicodedata.category(each) != "Cf")
    return re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", seen.casefold()).strip()


def ask(root: Path, folders: Sequence[Path], contents: Sequence[Contents]) -> NoReturn:
    """Ask which folders are classes."""
    raise DataError(
        f"the folders in {root} hold the same folders, so it is unclear what is a class: "
        f"{show_tree(folders, contents)}; rename splits to train, val and test, or say --layout classes "
        f"(the first folders are classes) or --layout subfolders (the folders in them are)"
    )


def refuse_mixture(
    root: Path,
    folders: list[Path],
    others: list[Path],
    split_of: Mapping[str, str],
    reader: FolderReader,
) -> NoReturn:
    """Refuse splits beside folders that are none."""
    contents = [reader.read(folder) for folder in folders]
    splits = [folder for folder in folders if folder.name in split_of]
    if not splits:
        raise DataError(
            f"no folder in {root} has the name of a split: {show([folder.name for folder in others])}; "
            f"rename them to train, val and test"
        )
    if all(each.names for each in contents) and hold_the_same(contents):
        ask(root, folders, contents)
    raise DataError(
        f"{root} mixes two layouts: {printable(splits[0].name)} is a split, {printable(others[0].name)} is "
        f"none; keep either splits or classes there, or say --layout classes if all are classes"
    )


def refuse_split_without_classes(folder: Path, reader: FolderReader) -> NoReturn:
    """Refuse a split whose images have no classes."""
    raise DataError(
        f"{printable(str(folder))} holds no class folders; give each class a folder with its images there, "
        f"or move {printable(folder.name)} elsewhere{_advise_tables(reader)}"
    )


def _advise_tables(reader: FolderReader) -> str:
    """Return advice to use a table of labels, where one lies in the data set's folder, or an empty string."""
    tables = [name for name in sorted(reader.read(reader.root).file_names) if name.lower().endswith(_TABLES)]
    if not tables:
        return ""
    return (
        f"; if {printable(tables[0])} has the labels, name {printable(str(reader.root / tables[0]))} instead"
    )


def refuse_uneven_classes(folders: list[Path], contents: list[Contents], one: int, other: int) -> NoReturn:
    """Refuse classes of which one is divided into splits, and another not or not alike."""
    held = show(sorted(contents[other].names)) if contents[other].names else "no folders"
    if one == other:  # it is the splits' own company that does not fit
        raise DataError(
            f"{printable(str(folders[one]))} holds splits and other folders: {held}; move the others "
            f"elsewhere, or say --layout classes to mix them all"
        )
    raise DataError(
        f"{printable(str(folders[one]))} is divided into {show(sorted(contents[one].names))}, but "
        f"{printable(folders[other].name)} holds {held}; divide every class alike, "
        f"or say --layout classes to mix them all"
    )


def refuse_one_folder(
    root: Path, folders: list[Path], contents: list[Contents], reader: FolderReader
) -> None:
    """Refuse a folder that wraps the data set, and name the one to use instead."""
    if len(folders) > 1:
        return
    inner, deeper = folders[0], contents[0]
    while len(deeper.names) == 1 and not deeper.n_images and deeper.folders:
        inner = deeper.folders[0]
        deeper = reader.read(inner)
    if len(deeper.names) > 1 and not deeper.n_images:
        raise DataError(
            f"{root} holds one folder only, and {printable(str(inner))} in it holds {show(deeper.names)}; "
            f"name {printable(str(inner))} instead"
        )


def refuse_without_folders(root: Path, reader: FolderReader) -> NoReturn:
    """Refuse a folder without folders; name the one above if this is one class of several."""
    n_images = reader.read(root).n_images
    n_passed_over = sum(reader.passed_over.values())
    problem = f"{root} holds no class folders"
    problem += f", only {n_images:,} images" if n_images else ""
    problem += f" ({n_passed_over:,} hidden files or files of other programs)" if n_passed_over else ""
    if (other := _describe_other_files(reader.read(root))) is not None:
        raise DataError(f"{problem}, but {other}")
    above = root.resolve().parent
    if n_images and _has_siblings(root.resolve()):
        beside = parse_split_name(above.name) and len(read_split_names(_list_names(above.parent))) > 1
        place = above.parent if beside else above
        raise DataError(f"{problem}; if it is one class of several, name {printable(str(place))} instead")
    raise DataError(
        f"{problem}; each class needs a folder of its own with its images{_advise_tables(reader)}"
    )


def _describe_other_files(contents: Contents) -> str | None:
    """Say what a folder holds in place of class folders: tables of labels, or archives."""
    names = sorted(contents.file_names)
    tables = [name for name in names if name.lower().endswith((".csv", ".tsv", ".parquet"))]
    if len(tables) > 1:
        return f"the tables {show(tables)}; name the one that has the labels"
    if tables:
        return f"the table {printable(tables[0])}; if it has the labels, name it in the folder's place"
    endings = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
    archives = [name for name in names if name.lower().endswith(endings)]
    return f"the archive {printable(archives[0])}; unpack it first" if archives else None


def _has_siblings(folder: Path) -> bool:
    """Return whether another folder in the same place holds images."""
    reader = FolderReader(folder.parent)
    try:
        siblings = reader.read(folder.parent).folders
    except DataError:
        return False
    return any(reader.read(each).n_images for each in siblings if each != folder)


def _list_names(folder: Path) -> list[str]:
    try:
        return FolderReader(folder).read(folder).names
    except DataError:
        return []


def show(names: Sequence[str]) -> str:
    """Return a few names of a list, and how many more there are."""
    shown = ", ".join(printable(name, 40) for name in names[:MAX_NAMES_SHOWN])
    more = len(names) - MAX_NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def show_tree(folders: Sequence[Path], contents: Sequence[Contents]) -> str:
    """Return a few folders with a few of the folders in them, on one line."""
    shown = []
    for folder, each in list(zip(folders, contents, strict=True))[:MAX_NAMES_SHOWN]:
        inner = [printable(name, 30) for name in sorted(each.names)]
        more = ["…"] if len(inner) > MAX_NAMES_SHOWN else []
        shown.append(f"{printable(folder.name, 40)}/{{{', '.join([*inner[:MAX_NAMES_SHOWN], *more])}}}")
    return ", ".join(shown) + (", …" if len(folders) > MAX_NAMES_SHOWN else "")
