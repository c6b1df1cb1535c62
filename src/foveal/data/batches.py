"""(data set, seed, epoch, position) -> batches. Every batch is a function of these four alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foveal.data.augment import Augment
from foveal.data.dataset import Dataset
from foveal.data.split import Rows
from foveal.errors import DataError

# What a stream of random numbers is for: streams of different purposes share no numbers.
_ORDER, _STEP, _AUGMENT = 0, 1, 2


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
    dataset: Dataset, *, batch_size: int, augment: Augment | None, seed: int, epoch: int, position: int = 0
) -> Iterator[Batch]:
    """Yield an epoch's batches, from `position` on.

    Raises:
        DataError: a user's augmentation returned something else than images of the same shape.
    """
    order = epoch_order(dataset.splits.train, batch_size, seed=seed, epoch=epoch)
    for index in range(position, len(order)):
        rows = order[index]
        images = dataset.pack.pixels[rows]
        if augment is not None:
            shape = images.shape
            images = np.asarray(augment(images, np.random.default_rng([seed, epoch, _AUGMENT, index])))
            if images.shape != shape or images.dtype != np.uint8:
                raise DataError(
                    f"the augmentation returned {images.dtype} {images.shape}; "
                    f"it must return uint8 {shape}, as it was given"
                )
        yield Batch(
            images=torch.from_numpy(np.ascontiguousarray(images)),
            labels=torch.from_numpy(dataset.labels[rows]),
            seed=int(np.random.SeedSequence([seed, epoch, _STEP, index]).generate_state(1)[0]),
        )
