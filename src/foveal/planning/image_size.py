"""The size of images, and whether a sample of them has to suffice: decided before anything is decoded."""

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
from foveal.planning.step_time import MAX_MEASURED_STEPS, measure_step_seconds
from foveal.recipe import builtin
from foveal.recipe.recipe import Image

IMAGE_SIZES = (16, 32, 48, 64, 96)
"""The sizes in pixels to choose from. The smallest that loses nothing is chosen, if time allows."""
MIN_HALVED_SIZE = 32
"""The smallest size in pixels that images are halved to when time is short."""
MAX_DECODING_SHARE = 0.3
"""The largest share of the budget for decoding. If all files take longer, a sample is decoded."""
MAX_TRAINING_SHARE = 0.75
"""The largest share of the remaining budget for training."""
TRIAL_BATCH_SIZE = 250
"""The number of random images in a batch that measures the machine before any image is decoded."""


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """The size of images, and how many of them are used."""

    image: Image
    """The size and the channels of the images."""
    share: float | None
    """The share of the files that is drawn as a sample, or None if all are used."""
    reasons: tuple[str, ...]
    """The reasons, as sentences without a full stop."""


def choose_image_size(
    listing: Listing,
    image: Image,
    *,
    changed: Collection[str],
    budget_seconds: float,
    seconds_left: float,
    cache: Path | None,
) -> ImagePlan:
    """Choose the size of images, and a sample if the time does not suffice for all of them.

    Args:
        listing: The files of the data set.
        image: What the choice starts from.
        changed: The paths of the user's settings, which stay as they are.
        budget_seconds: The whole budget.
        seconds_left: The part of the budget that is left.
        cache: The folder for decoded images, or None for the default.
    """
    probe = probe_files(listing)
    if probe is None:  # no file can be read, which is reported when all files are decoded
        return ImagePlan(image=image, share=None, reasons=())
    reasons = []
    n_training = max(1, sum(record.folder != "test" for record in listing.records))
    if "image.size" not in changed:
        image = replace(image, size=_choose_size(probe.side))
        reasons.append(
            f"images of {image.size} × {image.size} pixels: their longer side is {probe.side} at the median"
        )
    n_fitting = _count_images_that_fit(image, MAX_TRAINING_SHARE * seconds_left)
    while n_fitting < n_training and "image.size" not in changed and image.size >= 2 * MIN_HALVED_SIZE:
        image = replace(image, size=image.size // 2)
        reasons.append(f"halved to {image.size} pixels, as each image could not be seen once otherwise")
        n_fitting = _count_images_that_fit(image, MAX_TRAINING_SHARE * seconds_left)
    n_decodable = MAX_DECODING_SHARE * budget_seconds * (os.cpu_count() or 1) / probe.seconds
    share = min(n_fitting / n_training, n_decodable / len(listing.records))
    if share >= 1 or has_pack(listing, image, cache or get_default_cache()):
        return ImagePlan(image=image, share=None, reasons=tuple(reasons))
    reasons.append(
        f"a sample of {share:.1%} of the files, alike in every class and split: "
        f"there is no time to decode all and to see each once"
    )
    return ImagePlan(image=image, share=share, reasons=tuple(reasons))


def choose_size_of_arrays(arrays: Arrays, image: Image, *, changed: Collection[str]) -> ImagePlan:
    """Choose the size of images in memory. They need no decoding, so all of them are used."""
    if "image.size" in changed:
        return ImagePlan(image=image, share=None, reasons=())
    image = replace(image, size=_choose_size(arrays.side))
    reason = f"images of {image.size} × {image.size} pixels: their longer side is {arrays.side}"
    return ImagePlan(image=image, share=None, reasons=(reason,))


def _choose_size(side: int) -> int:
    return next((size for size in IMAGE_SIZES if size >= side), IMAGE_SIZES[-1])


def _count_images_that_fit(image: Image, seconds: float) -> float:
    """Estimate on how many random images the narrowest network can be trained in so many seconds."""
    recipe = apply_network_size(replace(builtin.budgeted(), image=image), NETWORK_SIZES[0], ())
    pixels = torch.randint(0, 256, (TRIAL_BATCH_SIZE, image.size, image.size, 3), dtype=torch.uint8)
    batch = Batch(images=pixels, labels=torch.zeros(TRIAL_BATCH_SIZE, dtype=torch.int64), seed=0)
    batches = iter([batch] * MAX_MEASURED_STEPS)
    step_seconds = measure_step_seconds(recipe, batches, channels=3, size=image.size, classes=2)
    return max(0.0, seconds) / step_seconds * TRIAL_BATCH_SIZE
