"""Which images a run uses, and how they are divided: one object for every verb that opens a data set."""

import os
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from foveal.data.arrays import Arrays
from foveal.data.label_columns import Columns
from foveal.data.layout import LayoutOption


@dataclass(frozen=True)
class DataOptions:
    """A data set and how it is divided.

    Every function that takes data also takes a plain folder, which is short for `DataOptions(folder)`.

    >>> foveal.DataOptions("cifar10", validation="train2").validation
    'train2'
    """

    source: str | os.PathLike[str] | Arrays
    """The folder of images, in one of the layouts of class folders; or a table of labels, which is a CSV, TSV
    or Parquet file; or images in memory."""
    _: KW_ONLY
    validation: str | None = None
    """The split that validates, such as "train2". "none" trains on all images."""
    group: str | None = None
    """A regular expression on relative paths. Images with the same match are never divided."""
    cache: str | os.PathLike[str] | None = None
    """The folder for decoded images. By default it is the user's cache folder."""
    verify: bool = False
    """Whether every file is read and compared with what was decoded. By default, only a sample is, and the
    files whose inodes or times have changed."""
    images: str | os.PathLike[str] | None = None
    """The folder that the paths in a table of labels belong to. By default it is the table's own folder."""
    layout: LayoutOption | None = None
    """What the folders are, where that is asked: "classes" if the first folders are classes, "splits" if they
    are splits, "subfolders" if the folders in them are classes."""
    columns: Columns | None = None
    """The columns of a table of labels, where their names do not tell: "path=file,label=species". "split" and
    "group" are named likewise; "none" stands for no column."""

    @classmethod
    def of(cls, data: "DataSource") -> "DataOptions":
        """Return the options as they are, or those that a plain folder or images in memory stand for."""
        return data if isinstance(data, DataOptions) else cls(data)

    @property
    def names_table(self) -> bool:
        """Whether the source is a file, which can only be a table of labels."""
        if isinstance(self.source, Arrays):
            return False
        source = Path(self.source)
        return source.exists() and not source.is_dir()

    @property
    def cache_folder(self) -> Path | None:
        """The folder for decoded images as an absolute path, or None for the user's cache folder."""
        return None if self.cache is None else Path(self.cache).resolve()

    @property
    def validation_split(self) -> str | None:
        """The name of the split that validates, in lower case as splits are named."""
        return self.validation and self.validation.lower()


DataSource = str | os.PathLike[str] | Arrays | DataOptions
"""What `train` and its relatives accept as data."""
