"""A data set as a run sees it: listed, decoded, divided."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs
from numpy.typing import NDArray

from foveal.data.arrays import ARRAYS_ROOT, Arrays
from foveal.data.options import DataOptions, DataSource
from foveal.data.pack import Pack, is_packed, open_pack, pack_arrays, require_images
from foveal.data.scan import Listing, sampled, scan
from foveal.data.split import Rows, Splits, check_options, split, split_arrays
from foveal.errors import DataError
from foveal.recipe.recipe import Image

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Decoded images with labels and splits."""

    root: Path
    pack: Pack
    labels: NDArray[np.int64]
    """(N,), the index of each row's class."""
    classes: tuple[str, ...]
    splits: Splits
    left_out: dict[str, str]
    """Relative path of every file that is not used, with the reason."""
    options: DataOptions
    """The options that the data set was opened with."""
    share: float | None
    """The share of the files that a sample uses, or None if all are used."""
    n_listed: int
    """The number of files in the folder, including those outside the sample."""

    def rows(self, name: SplitName) -> Rows:
        """Return a split's rows of the pack.

        Raises:
            DataError: the data set has no such images.
        """
        match name:
            case "train":
                rows = np.concatenate(self.splits.train)
            case "validation":
                rows = self.splits.validation
            case "test":
                rows = self.splits.test
        if len(rows) == 0:
            raise DataError(f"{self.root} has no {name} images under this division: {self.splits.rule}")
        return rows

    def class_counts(self, rows: Rows) -> list[int]:
        """Count the images of each class among rows."""
        counts: list[int] = np.bincount(self.labels[rows], minlength=len(self.classes)).tolist()
        return counts

    def to_json(self) -> dict[str, Any]:
        """Write fingerprint, classes, splits by path and digest, and what was left out: `dataset.json`."""
        parts = {
            "train": np.concatenate(self.splits.train),
            "validation": self.splits.validation,
            "test": self.splits.test,
        }
        paths, digests = self.pack.paths, self.pack.digests
        return {
            "schema": 1,
            "fingerprint": self.pack.fingerprint,
            "classes": list(self.classes),
            "rule": self.splits.rule,
            "decoding": self.pack.decoding.to_json(),
            "splits": {
                name: {
                    "n": len(rows),
                    "classes": self.class_counts(rows),
                    "files": [[paths[row], digests[row]] for row in rows.tolist()],
                }
                for name, rows in parts.items()
            },
            "sampled": None if len(paths) == self.n_listed else {"of": self.n_listed, "files": len(paths)},
            "left_out": [{"path": path, "reason": reason} for path, reason in self.left_out.items()],
        }


def default_cache() -> Path:
    """Return the user's cache folder of Foveal."""
    return platformdirs.user_cache_path("foveal")


def open_dataset(
    data: DataSource,
    image: Image,
    *,
    seed: int = 0,
    listing: Listing | None = None,
    share: float | None = None,
    known_cache: Path | None = None,
) -> Dataset:
    """List a folder, decode it or find its pack, and divide it; see `scan`, `open_pack` and `split`.

    Args:
        data: the folder or the images in memory, and how they are divided.
        image: the size, the channels and the resize mode of the decoded images.
        seed: the seed of random splits and of the sample.
        listing: the folder's files, if they are listed already.
        share: the share of the files to use, as a stratified sample. By default all are used.
        known_cache: a cache that may hold the pack already. Nothing is written there.

    Raises:
        DataError: the folder, its layout or an option is refused, or a class has no readable image.
        OutsideError: the cache cannot be written.
    """
    options = DataOptions.of(data)
    if isinstance(options.source, Arrays):
        return _open_arrays(options.source, image, options, seed=seed)
    whole = scan(options.source) if listing is None else listing
    check_options(whole, options)
    listing = whole if share is None else sampled(whole, share, seed=seed)
    cache = options.cache_folder
    if cache is None and known_cache is not None and is_packed(listing, image, known_cache):
        cache = known_cache
    pack = open_pack(listing, image, cache or default_cache())
    require_images(pack, listing)
    label_of = {name: label for label, name in enumerate(listing.classes)}
    left_out = dict.fromkeys(listing.strays, "lies in no class folder")
    left_out |= {pack.paths[index]: reason for index, reason in pack.errors.items()}
    return Dataset(
        root=listing.root,
        pack=pack,
        labels=np.array([label_of[record.label] for record in listing.records], dtype=np.int64),
        classes=listing.classes,
        splits=split(listing, pack, options, seed=seed),
        left_out=left_out,
        options=options,
        share=share,
        n_listed=len(whole.records),
    )


def _open_arrays(arrays: Arrays, image: Image, options: DataOptions, *, seed: int) -> Dataset:
    """Divide images in memory. A cache and a share have no meaning for them."""
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
