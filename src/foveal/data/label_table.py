"""A table of labels -> the listing that folders would give: which image has which label, split and group.

Nothing is guessed: what a table says in two ways is refused, with the line. What it names and cannot be used
is listed with its reason, as are the images beside the named ones that no row names.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from foveal import progress
from foveal.data.csv_table import NEEDED, read_csv
from foveal.data.junk import is_junk, is_named_as_image
from foveal.data.label_columns import ColumnChoice, choose_columns, get_cells, parse_columns
from foveal.data.layout import Layout
from foveal.data.options import DataOptions
from foveal.data.parquet import get_extension, iter_images, name_images, read_parquet
from foveal.data.scan import Listing, Record
from foveal.data.split_names import read_split_names
from foveal.data.table import MAX_NAMES_IN_MESSAGE, Table, list_some
from foveal.data.table_files import (
    AmbiguousFileError,
    FileFinder,
    find_common_folder,
    iter_files,
)
from foveal.errors import DataError
from foveal.files.atomic import outside_faults
from foveal.progress import printable

MAX_EXTRACTED_BYTES = 20_000_000_000
"""The largest size of all images from Parquet files in the cache. The least recently used are removed."""
MIN_ROWS_TO_JUDGE = 20
"""The number of rows from which on labels that are all different are refused."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What a row says of one image."""

    number: int
    """The index of the row in the table."""
    path: str
    """The relative path of the image's file."""
    label: str
    """The label."""
    split: str
    """The name of the split folder that the row stands for, or an empty text."""
    group: str
    """The group, or an empty text."""


def list_table(options: DataOptions, cache: Path) -> Listing:
    """List the images of a table of labels: a CSV, TSV or Parquet file.

    Args:
        options: The table, its columns, and the folder of the images, which by default is the table's own.
        cache: The folder to which images inside a Parquet file are extracted.

    Raises:
        DataError: The file is no such table, a column is missing or ambiguous, or rows contradict each other.
        MissingExtraError: The table is a Parquet file, and pyarrow is not installed.
    """
    assert isinstance(options.source, str | os.PathLike)
    path = Path(options.source)
    named = parse_columns(options.columns)
    if options.group is not None and named.setdefault("group", "none").casefold() != "none":
        raise DataError("--group and --columns group=… both say what groups are; leave one out")
    if not path.is_file():
        raise DataError(f"{path} is no ordinary file; {NEEDED}")
    table = _read(path)
    images = None if options.images is None else Path(options.images)
    if images is not None and not images.is_dir():
        raise DataError(f"--images {images} is no folder; name the folder that the table's paths belong to")
    common = _find_common_folder(table, named.get("path"))
    finder = _make_finder(path, images, common)
    columns = choose_columns(table, named, finder.has_file)
    if columns.path in table.images:
        if images is not None:
            raise DataError(f"--images has no effect: the images are inside {path}")
        table, finder = _extract(table, columns.path, cache)
    unusable: dict[str, str] = {}
    rows = _read_rows(table, columns, finder, unusable)
    listing = _build_listing(table, columns, finder.root, rows, unusable)
    _tell(listing, table, columns, n_rows=len(rows))
    return listing


def _read(path: Path) -> Table:
    with outside_faults(path), path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    return read_parquet(path) if is_parquet else read_csv(path)


def _find_common_folder(table: Table, column: str | None) -> str | None:
    """Return the folder that all absolute paths of a table lie in, or None where paths are relative."""
    for name in table.columns if column is None else (column,):
        if name in table.columns and (folder := find_common_folder(get_cells(table, name))) is not None:
            return folder
    return None


def _make_finder(path: Path, images: Path | None, common: str | None) -> FileFinder:
    root = images or path.parent
    if images is None and common is not None and Path(common).is_dir():
        root = Path(common)
    return FileFinder(root, table_folder=path.parent, prefix=common)


# ---- rows


def _read_rows(
    table: Table, columns: ColumnChoice, finder: FileFinder, unusable: dict[str, str]
) -> list[_Row]:
    """Return the rows whose files are there; the reasons of the others go to `unusable`.

    Raises:
        DataError: A cell is empty, a split is unknown, a path is ambiguous, or no file is there.
    """
    labels = _clean(table, columns.label, "label")
    splits = _read_splits(table, columns)
    groups = [""] * len(table.rows) if columns.group is None else _clean(table, columns.group, "group")
    rows: list[_Row] = []
    missing: list[str] = []
    problems: list[str] = []
    for number, cell in enumerate(get_cells(table, columns.path)):
        place = table.place(number)
        if not cell.strip():
            if columns.path in table.images:
                unusable[f"{place} of {table.path.name}"] = "the row has no image"
                continue
            problems.append(f"{place} has no path")
            continue
        try:
            path = finder.find(cell)
        except (AmbiguousFileError, DataError) as error:
            problems.append(f"{place} {error}")
            continue
        if path is None:
            missing.append(f"{printable(cell, 80)} ({place})")
            unusable[cell] = f"{table.path.name} names it in {place}, but it is not there"
            continue
        rows.append(
            _Row(number=number, path=path, label=labels[number], split=splits[number], group=groups[number])
        )
    if problems:
        raise table.refuse(_summarize("path", "cannot be read without a guess", problems))
    if not rows:
        raise table.refuse(
            f"names {len(missing):,} files, none of which is in {finder.root} ({list_some(missing, 3)}); "
            f"{_describe_images(finder.root, get_cells(table, columns.path))}"
        )
    return _merge_double_rows(table, rows)


def _describe_images(root: Path, cells: list[str]) -> str:
    """Say what images a folder holds, of which a table names none, and what may help."""
    first = min((path for path in iter_files(root) if is_named_as_image(path)), default=None)
    if first is None:
        return "there is no image at all; name the folder of the images with --images"
    stem = Path(first).stem
    if stem.startswith("0") and stem.isdecimal() and all(cell.strip().isdecimal() for cell in cells):
        return f"there is {first}, so the ids may have lost their zeros in a spreadsheet"
    return f"there is {printable(first, 80)}, for example; name the folder of the images with --images"


def _clean(table: Table, column: str, role: str) -> list[str]:
    """Return the cells of a column without spaces around them, in one Unicode form.

    Raises:
        DataError: Cells are empty; the message has their lines.
    """
    cells = [unicodedata.normalize("NFC", cell.strip()) for cell in get_cells(table, column)]
    if empty := [table.place(number) for number, cell in enumerate(cells) if not cell]:
        way_out = f", or leave the column out: --columns {role}=none" if role != "label" else ""
        raise table.refuse(
            f"has no {role} in {list_some(empty, 5)} (column {column!r}); "
            f"fill these cells or remove the rows{way_out}"
        )
    return cells


def _summarize(role: str, problem: str, places: list[str]) -> str:
    return f"has {len(places):,} rows whose {role} {problem}: {list_some(places, 3)}"


def _read_splits(table: Table, columns: ColumnChoice) -> list[str]:
    """Return the split folder that each row's split stands for.

    Raises:
        DataError: A value is no name of a split; the message lists all of them.
    """
    if columns.split is None:
        return [""] * len(table.rows)
    cells = _clean(table, columns.split, "split")
    name_of = read_split_names(sorted(set(cells)))
    unknown = Counter(cell for cell in cells if cell not in name_of)
    if unknown:
        first = {cell: table.place(cells.index(cell)) for cell in list(unknown)[:MAX_NAMES_IN_MESSAGE]}
        names = [
            f"{printable(cell, 40)!r} ({count:,} rows, first {first.get(cell, '')})"
            for cell, count in unknown.items()
        ]
        raise table.refuse(
            f"has values in the column {columns.split!r} that are no names of splits: {list_some(names)}; "
            f"write train, validation or test there, remove these rows, or divide anew: --columns split=none"
        )
    return [name_of[cell] for cell in cells]


def _merge_double_rows(table: Table, rows: list[_Row]) -> list[_Row]:
    """Return one row for each file, in the order of the files.

    Raises:
        DataError: Two rows of one file differ in label, split or group; the message has their lines.
    """
    first: dict[str, _Row] = {}
    contradictions: list[str] = []
    repeated: list[str] = []
    for row in rows:
        other = first.setdefault(row.path, row)
        if other is row:
            continue
        before, after = (other.label, other.split, other.group), (row.label, row.split, row.group)
        if before == after:
            repeated.append(table.place(row.number))
            continue
        difference = next((old, new) for old, new in zip(before, after, strict=True) if old != new)
        old, new = (printable(text, 40) or "nothing" for text in difference)
        contradictions.append(
            f"{printable(row.path, 80)} is {old} in {table.place(other.number)} "
            f"and {new} in {table.place(row.number)}"
        )
    if contradictions:
        raise table.refuse(
            f"contradicts itself about {len(contradictions):,} images: {list_some(contradictions, 3)}; "
            f"give each image one row"
        )
    if repeated:
        progress.warn(
            f"{table.path.name} names {len(repeated):,} images once more, with the same label "
            f"({list_some(repeated, 3)}); each counts once"
        )
    return sorted(first.values(), key=lambda row: row.path)


# ---- the listing


def _build_listing(
    table: Table, columns: ColumnChoice, root: Path, rows: list[_Row], unusable: dict[str, str]
) -> Listing:
    """Return the listing of the rows, checked as one of folders is."""
    _check_labels(table, columns, [row.label for row in rows])
    records = []
    for row in rows:
        try:
            status = os.stat(os.path.join(root, row.path))  # noqa: PTH116, PTH118 - a Path takes as long again
        except OSError as error:
            unusable[row.path] = f"cannot be read: {error.strerror}"
            continue
        records.append(
            Record(
                path=row.path,
                size=status.st_size,
                modified=status.st_mtime_ns,
                inode=status.st_ino,
                changed=status.st_ctime_ns,
                label=row.label,
                folder=row.split,
            )
        )
    if columns.path not in table.images:
        named = {row.path for row in rows}
        for path in _find_unnamed(root, named):
            unusable[path] = f"no row of {table.path.name} names it"
    return Listing(
        root=root,
        layout=_check_splits(table, records),
        records=tuple(records),
        classes=tuple(sorted({record.label for record in records})),
        strays=(),
        table=table.path,
        groups=None if columns.group is None else {row.path: row.group for row in rows},
        unusable=dict(sorted(unusable.items())),
    )


def _find_unnamed(root: Path, named: set[str]) -> list[str]:
    """Return the images that no row names: beside named ones, and below the folders that hold those."""
    folders = {path.partition("/")[0] for path in named if "/" in path}
    paths = list(iter_files(root, folders))
    if any("/" not in path for path in named):
        with outside_faults(root), os.scandir(root) as entries:
            paths += [entry.name for entry in entries if entry.is_file() and not is_junk(entry.name)]
    return sorted(path for path in paths if path not in named and is_named_as_image(path))


def _check_labels(table: Table, columns: ColumnChoice, labels: list[str]) -> None:
    """Refuse labels that are no classes, and warn of classes that look alike."""
    counts = Counter(labels)
    if len(counts) == 1:
        raise table.refuse(
            f"has one class only in the column {columns.label!r}, {printable(labels[0])}; "
            f"a classifier needs two or more"
        )
    if len(labels) >= MIN_ROWS_TO_JUDGE and len(counts) > 0.9 * len(labels):
        examples = list_some([printable(label, 30) for label in counts], 3)
        raise table.refuse(
            f"has {len(counts):,} different labels in {len(labels):,} rows (column {columns.label!r}, "
            f"such as {examples}); these are no classes: name another column with --columns label=…"
        )
    if several := _find_label_lists(counts):
        raise table.refuse(
            f"gives some images several labels at once (column {columns.label!r}, such as "
            f"{list_some([repr(printable(label, 60)) for label in several], 3)}); "
            f"Foveal gives each image one class: choose one"
        )
    alike: dict[str, list[str]] = {}
    for label in counts:
        alike.setdefault(_simplify(label), []).append(label)
    for names in alike.values():
        if len(names) > 1:
            shown = " and ".join(repr(printable(name, 60)) for name in sorted(names))
            progress.warn(
                f"the classes {shown} of {table.path.name} look alike, but count as {len(names)}; "
                f"write them the same way if they are one"
            )


def _find_label_lists(counts: Mapping[str, int]) -> list[str]:
    """Return the labels that list several other labels, such as "cat|dog"."""
    owners: dict[str, set[str]] = {}
    parts_of = {label: [part.strip() for part in re.split(r"[|;,]", label)] for label in counts}
    for label, parts in parts_of.items():
        for part in parts:
            owners.setdefault(part, set()).add(label)
    return [
        label
        for label, parts in parts_of.items()
        if len(set(parts)) > 1 and all(part and len(owners[part]) > 1 for part in parts)
    ]


def _simplify(label: str) -> str:
    """Return a label without case, spaces and punctuation, and a number without zeros that do not count."""
    if re.fullmatch(r"-?\d+\.0*", label):
        label = label.partition(".")[0]
    visible = "".join(character for character in label if unicodedata.category(character) != "Cf")
    return re.sub(r"[\s_-]+", "", visible.casefold()) or label


def _check_splits(table: Table, records: Sequence[Record]) -> Layout:
    """Return the layout that the splits of a table stand for.

    Raises:
        DataError: There is no training split, or a class is missing in a split.
    """
    classes_of: dict[str, set[str]] = {}
    for record in records:
        classes_of.setdefault(record.folder, set()).add(record.label)
    if set(classes_of) == {""}:
        return "flat"
    numbered = [name for name in classes_of if re.fullmatch(r"train\d+", name)]
    if not numbered and "train" not in classes_of:
        raise table.refuse(f"has the splits {', '.join(sorted(classes_of))} but no images that train")
    if numbered and set(classes_of) - set(numbered) - {"test"}:
        other = min(set(classes_of) - set(numbered) - {"test"})
        raise table.refuse(f"mixes {numbered[0]} and {other}; beside numbered splits only test may stand")
    for name, classes in classes_of.items():
        for label in sorted(set().union(*classes_of.values()) - classes):
            other = next(other for other in classes_of if label in classes_of[other])
            raise table.refuse(
                f"has the class {printable(label)} in {other} but not in {name}; "
                f"every split needs images of every class"
            )
    return "numbered" if numbered else "named"


def _tell(listing: Listing, table: Table, columns: ColumnChoice, *, n_rows: int) -> None:
    progress.line(f"{table.path}: {columns}; {n_rows:,} images of {len(listing.classes):,} classes")
    if listing.unusable:
        reasons = [f"{printable(path, 80)}: {reason}" for path, reason in listing.unusable.items()]
        progress.warn(f"{len(reasons):,} images of {table.path.name} are not used: {'; '.join(reasons[:3])}")


# ---- images inside a Parquet file


def _extract(table: Table, column: str, cache: Path) -> tuple[Table, FileFinder]:
    """Write the images of a column to files in the cache, once for each content of the table's file.

    Returns:
        The table with the files' names in the column, and what finds these files.
    """
    names = name_images(table, column)
    with outside_faults(table.path), table.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    folders = cache / "tables"
    folder = folders / f"{digest}-{hashlib.sha256(column.encode()).hexdigest()[:8]}"
    if not (folder / ".complete").is_file():
        with outside_faults(folders):
            folders.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=".building-", dir=folders))
        try:
            with outside_faults(folder):
                _write_images(table, column, names, building)
                with suppress(OSError):  # another process was first
                    building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        _evict(folders, keep=folder)
    with suppress(OSError):
        os.utime(folder)  # the time of the last use, for eviction
    stored = (folder / ".complete").read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    index = table.columns.index(column)
    rows = tuple(
        (*row[:index], name, *row[index + 1 :]) for row, name in zip(table.rows, stored, strict=True)
    )
    named = Table(
        path=table.path,
        columns=table.columns,
        rows=rows,
        lines=table.lines,
        unit=table.unit,
        images=table.images,
    )
    return named, FileFinder(folder, table_folder=folder)


def _write_images(table: Table, column: str, names: list[str] | None, folder: Path) -> None:
    """Write the images, and a file `.complete` that has the name of each row's image in a line."""
    digits = len(str(len(table.rows)))
    written = []
    with progress.bar(len(table.rows), "unpacking", "images") as bar:
        for number, content in enumerate(iter_images(table.path, column)):
            bar.advance()
            if content is None:
                written.append("")
                continue
            name = f"row-{number + 1:0{digits}d}.{get_extension(content)}" if names is None else names[number]
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written.append(name)
    (folder / ".complete").write_text("\n".join(written), encoding="utf-8", errors="surrogateescape")


def _evict(folders: Path, *, keep: Path) -> None:
    """Remove abandoned folders, and the least recently used ones until the rest fit into the cache."""
    finished: list[tuple[float, int, Path]] = []
    for folder in folders.iterdir():
        with suppress(OSError):  # another process is removing it
            last_use = folder.stat().st_mtime
            if not folder.name.startswith("."):
                size = sum((folder / path).stat().st_size for path in iter_files(folder))
                finished.append((last_use, size, folder))
            elif time.time() - last_use > 24 * 3600:
                shutil.rmtree(folder, ignore_errors=True)
    total = sum(size for _, size, _ in finished)
    for _, size, folder in sorted(finished):
        if total > MAX_EXTRACTED_BYTES and folder != keep:
            total -= size
            shutil.rmtree(folder, ignore_errors=True)
