"""Before anything is decoded: of which size images are to be, and whether a sample has to do."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from foveal.data.arrays import Arrays
from foveal.data.batches import Batch
from foveal.data.dataset import get_default_cache
from foveal.data.pack import has_pack
from foveal.data.probe import probe_files
from foveal.data.scan import Listing
from foveal.planning.networks import NETWORK_SIZES, apply_network_size
from foveal.planning.step_time import MEASURED, measure_step_seconds
from foveal.recipe import builtin
from foveal.recipe.recipe import Image

SIZES = (16, 32, 48, 64, 96)
"""Heights and widths in pixels to choose from: the smallest that loses nothing, if time allows."""
SMALLEST = 32
"""Larger images are halved down to this, not further, where time is short."""
DECODING = 0.3
"""Of the budget, at most, for decoding; a sample is decoded where all would take longer."""
TRIAL = 250
"""Random images with which the machine is tried out before there are any of the data set."""
TRAINING = 0.75
"""Of what is left of the budget, at most, for training."""


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """What a listing's files are to become."""

    image: Image
    share: float | None
    """Of the files, drawn as a sample; None: all."""
    why: tuple[str, ...]


def choose_image_size(
    listing: Listing,
    image: Image,
    *,
    changed: Collection[str],
    seconds: float,
    left: float,
    cache: Path | None,
) -> ImagePlan:
    """Choose the size of images, and a sample where there are more than fit into the time that is left.

    Settings whose path is in `changed` are the user's and stay. `seconds` is the whole budget.
    """
    seen = probe_files(listing)
    if seen is None:  # nothing can be read: decoding all files will say so
        return ImagePlan(image=image, share=None, why=())
    why = []
    training = max(1, sum(record.folder != "test" for record in listing.records))
    if "image.size" not in changed:
        image = replace(image, size=_size(seen.side))
        why.append(
            f"images of {image.size} × {image.size} pixels: their longer side is {seen.side} at the median"
        )
    fitting = _images_that_fit(image, TRAINING * left)
    while fitting < training and "image.size" not in changed and image.size >= 2 * SMALLEST:
        image = replace(image, size=image.size // 2)
        why.append(f"halved to {image.size} pixels, as each image could not be seen once otherwise")
        fitting = _images_that_fit(image, TRAINING * left)
    decoded = DECODING * seconds * (os.cpu_count() or 1) / seen.seconds
    share = min(fitting / training, decoded / len(listing.records))
    if share >= 1 or has_pack(listing, image, cache or get_default_cache()):
        return ImagePlan(image=image, share=None, why=tuple(why))
    why.append(
        f"a sample of {share:.1%} of the files, alike in every class and split: "
        f"there is no time to decode all and to see each once"
    )
    return ImagePlan(image=image, share=share, why=tuple(why))


def choose_size_of_arrays(arrays: Arrays, image: Image, *, changed: Collection[str]) -> ImagePlan:
    """Choose the size of images that are in memory; there is nothing to decode, so all of them are taken."""
    if "image.size" in changed:
        return ImagePlan(image=image, share=None, why=())
    image = replace(image, size=_size(arrays.side))
    why = f"images of {image.size} × {image.size} pixels: their longer side is {arrays.side}"
    return ImagePlan(image=image, share=None, why=(why,))


def _size(side: int) -> int:
    return next((each for each in SIZES if each >= side), SIZES[-1])


def _images_that_fit(image: Image, seconds: float) -> float:
    """Estimate how many random images the narrowest network can be trained on in so many seconds."""
    recipe = apply_network_size(replace(builtin.budgeted(), image=image), NETWORK_SIZES[0], ())
    images = torch.randint(0, 256, (TRIAL, image.size, image.size, 3), dtype=torch.uint8)
    batch = Batch(images=images, labels=torch.zeros(TRIAL, dtype=torch.int64), seed=0)
    each = measure_step_seconds(recipe, iter([batch] * MEASURED), channels=3, size=image.size, classes=2)
    return max(0.0, seconds) / each * TRIAL
