"""(data set, recipe, seed, epoch, position) -> batches. Nothing else decides what a batch holds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foveal.data.augment import Augment, apply_augmentation, draw_augmentation, shrink_images
from foveal.data.dataset import Dataset
from foveal.errors import DataError
from foveal.recipe.recipe import Recipe
from foveal.types import Ints, Pixels

# The purpose of each stream of random numbers. Streams of different purposes share no numbers.
_ORDER, _STEP, _AUGMENT, _FLIP = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The input of a training step."""

    images: Tensor
    """The images, uint8 (N, S, S, C)."""
    labels: Tensor
    """The labels, int64 (N,)."""
    seed: int
    """The seed of everything random within the step, such as dropout."""


def shuffle_into_batches(parts: Sequence[Ints], batch_size: int, *, seed: int, epoch: int) -> list[Ints]:
    """Cut the training indices into the batches of an epoch.

    Each part is shuffled and cut by itself, its last batch short. Then the batches of all parts are
    shuffled among each other. So the notebook's data sets, concatenated and shuffled batch by batch, give
    it 4 · ⌈10000 / 64⌉ = 628 steps. It shuffles images only within a window of 512 after the first
    epoch; here every epoch shuffles a part fully.
    """
    random = np.random.default_rng([seed, epoch, _ORDER])
    batches = []
    for part in parts:
        shuffled = random.permutation(part)
        batches += [shuffled[start : start + batch_size] for start in range(0, len(part), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


def count_steps_per_epoch(parts: Sequence[Ints], batch_size: int) -> int:
    """Count the batches that `shuffle_into_batches` makes."""
    return sum(-(-len(part) // batch_size) for part in parts)


def iter_training_batches(
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    epoch: int,
    position: int = 0,
    shrink: Callable[[int], int] = lambda _step: 1,
    augment: Augment | None = None,
) -> Iterator[Batch]:
    """Yield the batches of an epoch, from `position` on.

    Args:
        dataset: The images.
        recipe: The batch size, the augmentation and the mixing of training folders.
        seed: The seed of the run.
        epoch: The epoch, counted from 1.
        position: The number of batches to skip.
        shrink: Returns the factor by which the images of a step are made smaller. Steps are counted from 0
            over the whole run. It is called just before the step's batch is made.
        augment: A user's own augmentation, in place of the recipe's.

    Raises:
        DataError: A user's augmentation returned something else than images of the same shape.
    """
    parts = get_training_parts(dataset, recipe)
    order = shuffle_into_batches(parts, recipe.batch_size, seed=seed, epoch=epoch)
    pixels = dataset.pack.pixels
    first_flipped = None
    if recipe.augmentation.alternate:
        first_flipped = np.random.default_rng([seed, _FLIP]).random(len(pixels)) < 0.5
    earlier_steps = (epoch - 1) * len(order)
    for step in range(position, len(order)):
        indices = order[step]
        generator = np.random.default_rng([seed, epoch, _AUGMENT, step])
        factor = shrink(earlier_steps + step)
        if augment is None:
            draws = draw_augmentation(
                recipe.augmentation,
                len(indices),
                generator,
                first_flipped=None if first_flipped is None else first_flipped[indices],
                epoch=epoch,
            )
            images = apply_augmentation(pixels, indices, draws, shrink=factor)
        else:
            images = shrink_images(_augment_by_user(augment, pixels[indices], generator), factor)
        yield Batch(
            images=torch.from_numpy(np.ascontiguousarray(images)),
            labels=torch.from_numpy(dataset.labels[indices]),
            seed=int(np.random.SeedSequence([seed, epoch, _STEP, step]).generate_state(1)[0]),
        )


def get_training_parts(dataset: Dataset, recipe: Recipe) -> Sequence[Ints]:
    """Return the indices of the training images, in parts that batches do not mix."""
    parts = dataset.splits.train
    return [np.concatenate(parts)] if recipe.mixing == "images" else parts


def _augment_by_user(augment: Augment, images: Pixels, generator: np.random.Generator) -> Pixels:
    """Call a user's augmentation and check the images that it returns."""
    shape = images.shape
    images = np.asarray(augment(images, generator))
    if images.shape != shape or images.dtype != np.uint8:
        raise DataError(
            f"the augmentation returned {images.dtype} {images.shape}; "
            f"it must return uint8 {shape}, as it was given"
        )
    return images
