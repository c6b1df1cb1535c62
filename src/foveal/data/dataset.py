"""A data set as a run sees it: listed, decoded, divided."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs
from numpy.typing import NDArray

from foveal.data.arrays import PLACE, Arrays
from foveal.data.pack import Pack, is_packed, open_pack, require_images
from foveal.data.scan import Listing, sampled, scan
from foveal.data.split import Rows, Splits, check_options, split
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
    options: dict[str, Any]
    """What `open_dataset` was asked for: validation, group and share."""
    listed: int
    """Files of the folder, of which a sample may be all that is used."""

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
            "sampled": None if len(paths) == self.listed else {"of": self.listed, "files": len(paths)},
            "left_out": [{"path": path, "reason": reason} for path, reason in self.left_out.items()],
        }


def default_cache() -> Path:
    """Return the user's cache folder of Foveal."""
    return platformdirs.user_cache_path("foveal")


def open_dataset(
    root: str | os.PathLike[str] | Listing | Arrays,
    image: Image,
    *,
    validation: str | None = None,
    group: str | None = None,
    seed: int = 0,
    cache: Path | None = None,
    known: Path | None = None,
    share: float | None = None,
) -> Dataset:
    """List a folder, decode it or find its pack, and divide it; see `scan`, `open_pack` and `split`.

    With a `share` a sample of so many of its files, stratified, takes the place of them all. `known` is a
    cache that a file names: the pack is taken from there if it has it, but nothing is written there. Images
    in memory are only divided: cache and share have no meaning for them.
    """
    if isinstance(root, Arrays):
        pack = root.pack(image)
        return Dataset(
            root=PLACE,
            pack=pack,
            labels=root.labels,
            classes=root.classes,
            splits=root.split(pack.digests, validation=validation, group=group, seed=seed),
            left_out={},
            options={"validation": validation, "group": group, "share": None},
            listed=len(root.labels),
        )
    whole = root if isinstance(root, Listing) else scan(root)
    check_options(whole, validation=validation, group=group)
    listing = whole if share is None else sampled(whole, share, seed=seed)
    if cache is None and known is not None and is_packed(listing, image, known):
        cache = known
    pack = open_pack(listing, image, cache or default_cache())
    require_images(pack, listing)
    index = {name: number for number, name in enumerate(listing.classes)}
    left_out = dict.fromkeys(listing.strays, "lies in no class folder")
    left_out |= {pack.paths[row]: reason for row, reason in pack.errors.items()}
    return Dataset(
        root=listing.root,
        pack=pack,
        labels=np.array([index[record.label] for record in listing.records], dtype=np.int64),
        classes=listing.classes,
        splits=split(listing, pack, validation=validation, group=group, seed=seed),
        left_out=left_out,
        options={"validation": validation, "group": group, "share": share},
        listed=len(whole.records),
    )
