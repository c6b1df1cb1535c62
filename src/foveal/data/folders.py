"""The folders of a data set, each listed once. What is passed over is counted, what is left out is named."""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from foveal.data.junk import count_files, describe_junk, is_junk, is_named_as_image, is_old_recycle_bin
from foveal.errors import DataError
from foveal.progress import printable

FileStatus = tuple[str, int, int, int, int]
"""The name of a file, its size, the times of its last changes and its inode, in the order of `Record`."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a folder holds, without what is passed over."""

    folders: tuple[Path, ...]
    """The folders, sorted by name."""
    links: tuple[Path, ...]
    """The links to folders, sorted by name."""
    files: tuple[FileStatus, ...]
    """The files and the broken links, in the order of the disk."""

    @property
    def names(self) -> list[str]:
        """The names of the folders and of the links to folders."""
        return [folder.name for folder in (*self.folders, *self.links)]

    @property
    def file_names(self) -> list[str]:
        """The names of the files."""
        return [name for name, *_ in self.files]

    @property
    def n_images(self) -> int:
        """The number of files that are named as images are."""
        return sum(map(is_named_as_image, self.file_names))


class FolderReader:
    """Lists the folders of a data set and remembers what it did not use.

    Args:
        root: The data set's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.passed_over: Counter[str] = Counter()
        """The number of files passed over, by the name of the file or folder."""
        self.left_out: dict[str, str] = {}
        """The reason for each file or folder that is left out, by its relative path."""
        self._contents: dict[Path, Contents] = {}
        self._linked: dict[str, Path] = {}

    def get_relative_path(self, path: Path) -> str:
        """Return a path relative to the data set's folder, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def read(self, folder: Path) -> Contents:
        """List a folder near the root. It is read once, however often it is asked for.

        A folder that cannot be listed seems empty and is left out, unless it is the root.

        Raises:
            DataError: The data set's folder cannot be listed.
        """
        if folder not in self._contents:
            try:
                self._contents[folder] = self.read_once(folder)
            except OSError as error:
                if folder == self.root:
                    raise DataError(f"cannot list {folder}: {error.strerror}") from error
                self.leave_out(folder, f"cannot be listed: {error.strerror}")
                self._contents[folder] = Contents(folders=(), links=(), files=())
        return self._contents[folder]

    def has_read(self, folder: Path) -> bool:
        """Return whether a folder was listed before by `read`, so that it need not be listed again."""
        return folder in self._contents

    def read_once(self, folder: Path) -> Contents:
        """List a folder that nobody will ask for again.

        Raises:
            OSError: The folder cannot be listed.
        """
        folders: list[Path] = []
        links: list[Path] = []
        files: list[FileStatus] = []
        with os.scandir(folder) as entries:
            for entry in entries:  # it is written out, because a data set may have a million files
                name = entry.name
                if is_junk(name):
                    self._pass_over(entry, folder)
                    continue
                try:
                    if entry.is_file():
                        status = entry.stat()
                        files.append(
                            (name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
                        )
                        continue
                except OSError:  # a link to itself, or a file that went away meanwhile
                    pass
                self._sort_other(entry, folder, folders, links, files)
        return Contents(folders=tuple(sorted(folders)), links=tuple(sorted(links)), files=tuple(files))

    def follow_links(self, folder: Path) -> list[Path]:
        """Return the folders in a folder, with the linked ones that may be followed, sorted by name.

        A link into the data set itself is left out: its images would count twice, or without end.

        Raises:
            DataError: Two links lead to the same folder.
        """
        contents = self.read(folder)
        if not contents.links:
            return list(contents.folders)
        return sorted([*contents.folders, *(link for link in contents.links if self._may_follow(link))])

    def leave_out(self, path: Path, reason: str) -> None:
        """Remember that a file or folder is not used, and why."""
        self.left_out.setdefault(self.get_relative_path(path), reason)

    def pass_over(self, folder: Path) -> None:
        """Count the files of a folder that is no part of the data set."""
        self.passed_over[folder.name] += count_files(folder)

    def _may_follow(self, link: Path) -> bool:
        target = os.path.realpath(link)
        if self._linked.setdefault(target, link) != link:
            raise DataError(
                f"{printable(str(self._linked[target]))} and {printable(str(link))} are links to the same "
                f"folder; its images cannot count twice, so remove one of the links"
            )
        if f"{self._real_root}{os.sep}".startswith(f"{target}{os.sep}".replace(os.sep * 2, os.sep)):
            self.leave_out(link, "is a link to a folder that holds this data set")
            return False
        if target.startswith(f"{self._real_root}{os.sep}"):
            inner = os.path.relpath(target, self._real_root)
            if not any(is_junk(part) for part in Path(inner).parts):
                self.leave_out(link, f"is a link to {inner}, which belongs to this data set already")
                return False
        return True

    @cached_property
    def _real_root(self) -> str:
        return os.path.realpath(self.root)

    def _sort_other(
        self,
        entry: "os.DirEntry[str]",
        folder: Path,
        folders: list[Path],
        links: list[Path],
        files: list[FileStatus],
    ) -> None:
        """Sort what is no plain file: a folder, a link, or neither."""
        path = folder / entry.name
        is_link = entry.is_symlink()
        try:
            is_folder, is_broken = path.is_dir(), is_link and not path.exists()
        except OSError:  # nobody may look where the link leads, or no place can have such a name
            if not is_link:
                raise
            is_folder, is_broken = False, True
        if is_folder and not is_link and is_old_recycle_bin(path):
            self.pass_over(path)
        elif is_folder:
            (links if is_link else folders).append(path)
        elif is_broken:  # it stays, so that its name is listed
            status = entry.stat(follow_symlinks=False)
            files.append((entry.name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns))
        else:
            self.leave_out(path, "is neither a file nor a folder")

    def _pass_over(self, entry: "os.DirEntry[str]", folder: Path) -> None:
        is_folder = entry.is_dir(follow_symlinks=False)
        self.passed_over[describe_junk(entry.name)] += count_files(folder / entry.name) if is_folder else 1


def normalise(name: str) -> str:
    """Return a class's name in one Unicode form, in which two spellings of a letter are the same."""
    return unicodedata.normalize("NFC", name)
