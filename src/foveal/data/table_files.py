"""The files that the cells of a table name: relative and absolute paths, ids without an extension."""

import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from foveal.data.junk import is_junk, is_named_as_image
from foveal.errors import DataError
from foveal.progress import printable

_PLAIN_PATH = re.compile(r"(?:[\w-][\w. -]*/)*[\w-](?:[\w. -]*[\w-])?")
"""Relative paths that need no normalisation: no part begins with a full stop, and there is no backslash."""


class AmbiguousFileError(Exception):
    """A cell names several files. The message lists them."""


class FileFinder:
    """Finds the files below a folder that the cells of a table name.

    Args:
        root: The folder of the images.
        table_folder: The folder of the table, to which its paths may be relative too.
        prefix: The folder that all absolute paths of the table have in common, or None.
    """

    def __init__(self, root: Path, *, table_folder: Path, prefix: str | None = None) -> None:
        self.root = root
        self._absolute_root = os.path.abspath(root)  # noqa: PTH100 - links stay what they are
        self._table_folder = os.path.abspath(table_folder)  # noqa: PTH100
        self._prefix = prefix

    def has_file(self, cell: str) -> bool:
        """Tell whether a cell names one file."""
        try:
            return self.find(cell) is not None
        except (AmbiguousFileError, DataError):
            return False

    def find(self, cell: str) -> str | None:
        """Return the relative path of the file that a cell names, or None if there is none.

        Tried are the path as it is, with slashes in place of backslashes, and below the table's folder. Then
        follow names that differ in case or Unicode form, without an extension, and without folders.

        Raises:
            AmbiguousFileError: Several files are meant.
            DataError: The cell is a web address, or a path that leads out of the folder.
        """
        if _PLAIN_PATH.fullmatch(cell):  # the usual case, where no other spelling has to be tried
            if os.path.isfile(f"{self._absolute_root}/{cell}"):  # noqa: PTH113
                return cell
            if self._table_folder == self._absolute_root:
                return self._search(cell)
        if re.match(r"(?i)(https?|ftp|s3|gs)://", cell):
            raise DataError(f"names the web address {printable(cell, 80)}; download the images first")
        spellings = dict.fromkeys((cell, cell.strip(), cell.strip().replace("\\", "/")))
        inside = [path for each in spellings for path in self._list_places(each)]
        for path in dict.fromkeys(inside):
            if os.path.isfile(os.path.join(self.root, path)):  # noqa: PTH113, PTH118 - a Path takes as long again
                return path
        if not inside:
            raise DataError(
                f"names {printable(cell, 80)}, which does not lie in {self.root}; "
                f"name the folder of the images with --images"
            )
        return self._search(inside[-1])

    def _list_places(self, cell: str) -> Iterator[str]:
        """Yield the paths relative to the root that a cell may stand for."""
        if not cell or "\0" in cell:
            return
        if self._prefix is not None and cell.startswith(f"{self._prefix}/"):
            yield from self._relate(os.path.join(self._absolute_root, cell[len(self._prefix) + 1 :]))  # noqa: PTH118
        yield from self._relate(os.path.join(self._absolute_root, cell))  # noqa: PTH118
        yield from self._relate(os.path.join(self._table_folder, cell))  # noqa: PTH118

    def _relate(self, path: str) -> Iterator[str]:
        path = os.path.normpath(path)
        if path.startswith(os.path.join(self._absolute_root, "")):  # noqa: PTH118
            yield os.path.relpath(path, self._absolute_root).replace(os.sep, "/")

    def _search(self, path: str) -> str | None:
        """Return the only file whose path or name is meant by a path that is no file's, or None."""
        key = _make_key(path)
        for index, spell in zip(
            self._indices, _SPELLINGS if "/" not in path else _SPELLINGS[:2], strict=False
        ):
            matches = index.get(key, [])
            exact = [match for match in matches if spell(match) == path]
            if len(exact) == 1:
                return exact[0]
            if len(matches) > 1:
                names = ", ".join(printable(match, 80) for match in matches[:3])
                more = f" and {len(matches) - 3} more" if len(matches) > 3 else ""
                raise AmbiguousFileError(f"names {printable(path, 80)}, which may be {names}{more}")
            if matches:
                return matches[0]
        return None

    @cached_property
    def _indices(self) -> tuple[dict[str, list[str]], ...]:
        """The files below the root, by each way in which a table may spell their paths."""
        indices: tuple[dict[str, list[str]], ...] = ({}, {}, {}, {})
        for path in iter_files(self.root):
            is_image = is_named_as_image(path)
            for number, spell in enumerate(_SPELLINGS):
                if is_image or spell not in (_drop_suffix, _drop_both):
                    indices[number].setdefault(_make_key(spell(path)), []).append(path)
        return indices


def _keep(path: str) -> str:
    return path


def _drop_suffix(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122


def _drop_folders(path: str) -> str:
    return path.rpartition("/")[2]


def _drop_both(path: str) -> str:
    return _drop_suffix(_drop_folders(path))


_SPELLINGS = (_keep, _drop_suffix, _drop_folders, _drop_both)
"""How a table may spell the path of a file, in the order in which they are tried."""


def iter_files(root: Path, folders: Iterable[str] = ("",)) -> Iterator[str]:
    """Yield the relative paths of the visible files below some folders of a root, in no order.

    Links to folders are not followed.
    """
    pending = list(folders)
    while pending:
        folder = pending.pop()
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if is_junk(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(prefix + entry.name)
                    elif entry.is_file():
                        yield prefix + entry.name
        except OSError as error:
            raise DataError(f"cannot list {root / folder}: {error.strerror}") from error


def find_common_folder(cells: Iterable[str]) -> str | None:
    """Return the folder that all paths lie in, if all of them are absolute, or None."""
    folders = set()
    for cell in cells:
        path = cell.strip().replace("\\", "/")
        if re.match(r"/|[A-Za-z]:/", path) is None:
            return None
        folders.add(path.rpartition("/")[0])
    columns = zip(*(folder.split("/") for folder in folders), strict=False)
    common = itertools.takewhile(lambda names: len(set(names)) == 1, columns)
    return "/".join(names[0] for names in common) if folders else None


def _make_key(path: str) -> str:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
