"""(data set, seed, epoch, position) -> batches. Every batch is a function of these four alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foveal.data.augment import Augment, Images, apply, draw, shrunk
from foveal.data.dataset import Dataset
from foveal.data.split import Rows
from foveal.errors import DataError
from foveal.recipe.recipe import Recipe

# What a stream of random numbers is for: streams of different purposes share no numbers.
_ORDER, _STEP, _AUGMENT, _FLIP = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a training step takes."""

    images: Tensor
    """uint8 (N, S, S, C)."""
    labels: Tensor
    """int64 (N,)."""
    seed: int
    """For everything random within the step, such as dropout."""


def epoch_order(parts: Sequence[Rows], batch_size: int, *, seed: int, epoch: int) -> list[Rows]:
    """Cut training rows into the batches of an epoch.

    Each part is shuffled and cut by itself, its last batch short; then the batches of all parts are
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


def steps_per_epoch(parts: Sequence[Rows], batch_size: int) -> int:
    """Count the batches that `epoch_order` makes."""
    return sum(-(-len(part) // batch_size) for part in parts)


def training_batches(
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    epoch: int,
    position: int = 0,
    shrink: Callable[[int], int] = lambda _step: 1,
    augment: Augment | None = None,
) -> Iterator[Batch]:
    """Yield an epoch's batches, from `position` on.

    `shrink` says by which factor the images of a step are made smaller; steps are counted from 0 over the
    whole run. It is asked when the step's turn has come. `augment` is a user's own augmentation, in place of
    the recipe's.

    Raises:
        DataError: a user's augmentation returned something else than images of the same shape.
    """
    parts = training_parts(dataset, recipe)
    order = epoch_order(parts, recipe.batch_size, seed=seed, epoch=epoch)
    pixels = dataset.pack.pixels
    first_mirrored = None
    if recipe.augmentation.alternate:
        first_mirrored = np.random.default_rng([seed, _FLIP]).random(len(pixels)) < 0.5
    done = (epoch - 1) * len(order)
    for index in range(position, len(order)):
        rows = order[index]
        generator = np.random.default_rng([seed, epoch, _AUGMENT, index])
        factor = shrink(done + index)
        if augment is None:
            mirrored = None if first_mirrored is None else first_mirrored[rows]
            draws = draw(recipe.augmentation, len(rows), generator, first_mirrored=mirrored, epoch=epoch)
            images = apply(pixels, rows, draws, shrink=factor)
        else:
            images = shrunk(_by_user(augment, pixels[rows], generator), factor)
        yield Batch(
            images=torch.from_numpy(np.ascontiguousarray(images)),
            labels=torch.from_numpy(dataset.labels[rows]),
            seed=int(np.random.SeedSequence([seed, epoch, _STEP, index]).generate_state(1)[0]),
        )


def training_parts(dataset: Dataset, recipe: Recipe) -> Sequence[Rows]:
    """Return the rows that train, in parts that batches do not mix."""
    parts = dataset.splits.train
    return [np.concatenate(parts)] if recipe.mixing == "images" else parts


def _by_user(augment: Augment, images: Images, generator: np.random.Generator) -> Images:
    shape = images.shape
    images = np.asarray(augment(images, generator))
    if images.shape != shape or images.dtype != np.uint8:
        raise DataError(
            f"the augmentation returned {images.dtype} {images.shape}; "
            f"it must return uint8 {shape}, as it was given"
        )
    return images
