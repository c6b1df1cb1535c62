"""A data set that is listed, decoded and divided."""

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import platformdirs

from foveal.data.arrays import ARRAYS_ROOT, Arrays
from foveal.data.duplicates import find_equal_files
from foveal.data.label_table import list_table
from foveal.data.options import DataOptions, DataSource
from foveal.data.pack import Pack, has_pack, open_pack, pack_arrays, require_images
from foveal.data.scan import Listing, draw_sample, scan
from foveal.data.split import Splits, check_options, leave_out_small_classes, split, split_arrays
from foveal.errors import DataError
from foveal.files.run_records import DatasetRecord, EqualFiles, LeftOut, SampleRecord, SplitRecord
from foveal.recipe.recipe import Image
from foveal.types import Ints

SplitName = Literal["train", "validation", "test"]
"""The names of the splits."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Decoded images with labels and splits."""

    root: Path
    """The data set's folder."""
    pack: Pack
    """The decoded images."""
    labels: Ints
    """The index of each image's class, int64 (N,)."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the labels."""
    splits: Splits
    """The indices of the images of each split."""
    left_out: dict[str, str]
    """The reason for every file that is not used, by its relative path."""
    options: DataOptions
    """The options that the data set was opened with."""
    share: float | None
    """The share of the files that a sample uses, or None if all are used."""
    n_listed: int
    """The number of files in the folder, including those outside the sample."""
    table: Path | None = None
    """The table that the labels come from, or None where folders have them."""
    listing: Listing | None = None
    """The files as they were listed, with what was noticed then. It is None for images in memory."""

    @property
    def place(self) -> Path:
        """The absolute path of the folder of images, or of the table of their labels."""
        return (self.table or self.root).resolve()

    @cached_property
    def fingerprint(self) -> str:
        """The digest of all images and labels, as hexadecimal digits.

        Where folders have the labels, they are part of the paths. Those of a table are added to the digest.
        """
        if self.table is None:
            return self.pack.fingerprint
        digest = hashlib.sha256(f"{self.pack.fingerprint}\n".encode())
        for index in self.pack.decoded_indices:
            label = self.classes[self.labels[index]]
            digest.update(f"{self.pack.paths[index]}\0{label}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def get_indices(self, name: SplitName) -> Ints:
        """Return the indices of a split's images, int64 (M,).

        Raises:
            DataError: The split has no images.
        """
        match name:
            case "train":
                indices = np.concatenate(self.splits.train)
            case "validation":
                indices = self.splits.validation
            case "test":
                indices = self.splits.test
        if len(indices) == 0:
            raise DataError(f"{self.root} has no {name} images under this division: {self.splits.rule}")
        return indices

    def count_classes(self, indices: Ints) -> list[int]:
        """Count the images of each class among some images."""
        counts: list[int] = np.bincount(self.labels[indices], minlength=len(self.classes)).tolist()
        return counts

    def to_record(self) -> DatasetRecord:
        """Return the content of `dataset.json`: classes, the files of each split, and the files left out."""
        indices_of = self._indices_of_splits
        paths, digests = self.pack.paths, self.pack.digests
        n_files = len(paths)
        return DatasetRecord(
            fingerprint=self.fingerprint,
            classes=self.classes,
            rule=self.splits.rule,
            decoding=self.pack.decoding.to_json(),
            splits={
                name: SplitRecord(
                    n=len(indices),
                    classes=tuple(self.count_classes(indices)),
                    files=tuple((paths[index], digests[index]) for index in indices.tolist()),
                )
                for name, indices in indices_of.items()
            },
            sampled=None if n_files == self.n_listed else SampleRecord(of=self.n_listed, files=n_files),
            left_out=tuple(LeftOut(path=path, reason=reason) for path, reason in self.left_out.items()),
            equal_files=self.equal_files,
        )

    @property
    def _indices_of_splits(self) -> dict[str, Ints]:
        return {
            "train": np.concatenate(self.splits.train),
            "validation": self.splits.validation,
            "test": self.splits.test,
        }

    @cached_property
    def equal_files(self) -> tuple[EqualFiles, ...]:
        """The files that hold the same bytes although they belong to different classes or splits."""
        return find_equal_files(self.pack.paths, self.pack.digests, self.labels, self._indices_of_splits)


def get_default_cache() -> Path:
    """Return Foveal's folder in the user's cache folder."""
    return platformdirs.user_cache_path("foveal")


def list_source(options: DataOptions) -> Listing:
    """List the files of a folder of class folders, or those that a table of labels names.

    Raises:
        DataError: The folder or the table is refused, or an option has no effect.
    """
    assert not isinstance(options.source, Arrays)
    if options.names_table and options.layout is not None:
        raise DataError(f"--layout is for folders, but {options.source} is a table of labels; leave it out")
    if options.names_table:
        return list_table(options, options.cache_folder or get_default_cache())
    for flag, value in (("--images", options.images), ("--columns", options.columns)):
        if value is not None and Path(options.source).exists():
            problem = f"{flag} belongs to a table of labels, but {options.source} is none"
            raise DataError(f"{problem}; leave it out")
    return scan(options.source, options.layout)


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Let nothing look for reference cycles inside the block.

    While a data set is opened, a tuple is made for every file, and none is part of a cycle. For 60,000 files
    the search among them would take a fifth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_pause_garbage_collection()
def open_dataset(
    data: DataSource,
    image: Image,
    *,
    seed: int = 0,
    listing: Listing | None = None,
    share: float | None = None,
    known_cache: Path | None = None,
) -> Dataset:
    """Open a data set: list its folder, decode it or find its pack in the cache, and divide it.

    Args:
        data: The folder or the images in memory, and how they are divided.
        image: The size, the channels and the resize mode of the decoded images.
        seed: The seed of random splits and of the sample.
        listing: The folder's files, if they are listed already.
        share: The share of the files to use, as a stratified sample. By default all are used.
        known_cache: A cache that may hold the pack already. Nothing is written there, unless the pack is
            damaged or its files have changed.

    Raises:
        DataError: The folder, its layout or an option is refused, or a class has no readable image.
        OutsideError: The cache cannot be written.
    """
    options = DataOptions.of(data)
    if isinstance(options.source, Arrays):
        return _open_arrays(options.source, image, options, seed=seed)
    whole = list_source(options) if listing is None else listing
    check_options(whole, options)
    listing = whole if share is None else draw_sample(whole, share, seed=seed)
    cache = options.cache_folder
    if cache is None and known_cache is not None and has_pack(listing, image, known_cache):
        cache = known_cache
    cache = cache or get_default_cache()
    files = listing
    pack = open_pack(files, image, cache, verify=options.verify, is_tested_later=True)
    listing, pack, splits = _divide(files, pack, options, seed=seed)
    if pack.is_damaged():
        listing, pack, splits = _divide(files, open_pack(files, image, cache), options, seed=seed)
    label_of = {name: label for label, name in enumerate(listing.classes)}
    left_out = dict.fromkeys(listing.strays, "lies in no class folder")
    left_out |= listing.unusable
    left_out |= {pack.paths[index]: reason for index, reason in pack.errors.items()}
    return Dataset(
        root=listing.root,
        pack=pack,
        # Files of classes that are left out are in no split, so their labels are never used.
        labels=np.array([label_of.get(record.label, 0) for record in listing.records], dtype=np.int64),
        classes=listing.classes,
        splits=splits,
        left_out=left_out,
        options=options,
        share=share,
        n_listed=len(whole.records),
        table=listing.table,
        listing=listing,
    )


def _divide(listing: Listing, pack: Pack, options: DataOptions, *, seed: int) -> tuple[Listing, Pack, Splits]:
    """Divide decoded files. It returns them without the classes that are too small, too."""
    listing, pack = leave_out_small_classes(listing, pack, options)
    require_images(pack, listing)
    return listing, pack, split(listing, pack, options, seed=seed)


def _open_arrays(arrays: Arrays, image: Image, options: DataOptions, *, seed: int) -> Dataset:
    """Divide images in memory. They need no cache, and no sample is drawn from them."""
    pack = pack_arrays(arrays, image)
    return Dataset(
        root=ARRAYS_ROOT,
        pack=pack,
        labels=arrays.labels,
        classes=arrays.classes,
        splits=split_arrays(arrays, pack, options, seed=seed),
        left_out={},
        options=options,
        share=None,
        n_listed=len(arrays.labels),
    )
