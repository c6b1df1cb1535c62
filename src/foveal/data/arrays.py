"""Images that are in memory already -> a data set: no file is written, none is read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.decode import Decoding, bring
from foveal.data.pack import Pack
from foveal.data.split import Rows, Splits, split_off
from foveal.errors import DataError
from foveal.recipe.recipe import Image

PLACE = Path("arrays in memory")
"""Where such images lie, in messages and in what a run records."""


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Labelled images in memory. `foveal.train` takes them in a folder's place."""

    images: NDArray[np.uint8]
    """(N, H, W, C), C being 1 or 3."""
    labels: NDArray[np.int64]
    """(N,), the index of each image's class."""
    classes: tuple[str, ...]
    share: float = 0.1
    """Of the images, how many validate, unless a run asks that none do."""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] not in (1, 3):
            raise DataError(
                f"the images have the shape {self.images.shape}; it must be (N, height, width, channels) "
                f"with 1 or 3 channels"
            )
        if len(self.classes) < 2:
            raise DataError("there is one class only; a classifier needs two classes or more")

    @property
    def side(self) -> int:
        """The longer side of the images, in pixels."""
        return int(max(self.images.shape[1:3]))

    def pack(self, image: Image) -> Pack:
        """Bring the images to a recipe's size and channels; what has both already is not copied."""
        grey = bool((self.images == self.images[..., :1]).all())
        decoding = Decoding(
            size=image.size,
            channels=1 if image.channels == "grey" or (image.channels == "auto" and grey) else 3,
            fit=image.fit,
            background=image.background,
        )
        return Pack(
            pixels=bring(self.images, decoding),
            paths=tuple(f"X[{row}]" for row in range(len(self.images))),
            digests=tuple(_digest(each) for each in self.images),
            errors={},
            clipped=0,
            decoding=decoding,
            retry=False,
        )

    def split(
        self, digests: Sequence[str], *, validation: str | None, group: str | None, seed: int
    ) -> Splits:
        """Set a share of the images aside for validation, stratified, equal images on one side.

        Raises:
            DataError: too few images, or what is asked for needs folders.
        """
        if validation not in (None, "none") or group is not None:
            raise DataError("images in memory have neither split folders nor groups; leave both out")
        rows: Rows = np.arange(len(self.images), dtype=np.int64)
        nothing = rows[:0]
        if validation == "none":
            return Splits(
                train=(rows,), validation=nothing, test=nothing, rule="all train, nothing validates"
            )
        train, validating = split_off(rows, self.labels.tolist(), digests, share=self.share, seed=seed)
        rule = f"{self.share:.0%} validate, stratified"
        return Splits(train=(train,), validation=validating, test=nothing, rule=rule)


def _digest(image: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()
