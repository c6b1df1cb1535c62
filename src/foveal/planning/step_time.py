"""How long a recipe's steps take on this machine, measured for a moment."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise

import torch

from foveal.data.batches import Batch, iter_training_batches, get_training_parts
from foveal.data.dataset import Dataset
from foveal.evaluation.predict import compute_logits
from foveal.models import registry
from foveal.recipe.recipe import Recipe
from foveal.training import optimizers
from foveal.training.epoch import TrainingState, run_epoch

MEASURED = 8
"""Steps that are measured of each kind,"""
MEASURING = 0.4
"""or fewer, but three, when they take more than so many seconds."""
CLASSIFIED = 250
"""Images that are classified to measure it."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What was measured of a recipe: seconds."""

    low: float
    """Of a training step on small images,"""
    full: float
    """and on whole ones."""
    image: float
    """Of classifying an image."""


def measure_costs(recipe: Recipe, dataset: Dataset, *, seed: int) -> Costs:
    """Take a few steps with a network that is thrown away, on the first batches of the data set."""
    decoding = dataset.pack.decoding
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(dataset.classes)}

    whole = min(recipe.batch_size, max(map(len, get_training_parts(dataset, recipe))))

    def batches(shrink: int) -> Iterator[Batch]:
        for epoch in count(1):  # a small set's epoch is shorter than the measurement
            for batch in iter_training_batches(dataset, recipe, seed=seed, epoch=epoch, shrink=lambda _: shrink):
                if len(batch.labels) == whole:  # an epoch's last batch may be short
                    yield batch

    full = measure_step_seconds(recipe, batches(1), **shape)
    low = measure_step_seconds(recipe, batches(recipe.shrink_at(0)), **shape) if recipe.low_resolution else full
    network = registry.build_network(recipe.model, **shape, seed=seed)
    some = dataset.get_indices("train")[:CLASSIFIED]
    compute_logits(network, dataset.pack.pixels, some[:1])
    began = time.perf_counter()
    compute_logits(network, dataset.pack.pixels, some)
    return Costs(low=low, full=full, image=(time.perf_counter() - began) / len(some))


def measure_step_seconds(
    recipe: Recipe, batches: Iterator[Batch], *, size: int, channels: int, classes: int
) -> float:
    """Return the seconds of the fastest of a few steps: the first ones fetch memory."""
    network = registry.build_network(recipe.model, size=size, channels=channels, classes=classes, seed=0)
    state = TrainingState(
        network=network,
        optimizer=optimizers.build_optimizer(recipe.optimizer, network, l2=recipe.l2),
        class_weights=None,
        label_smoothing=recipe.label_smoothing,
    )
    state.learning_rate = 0.0  # nothing is to be learned, and nothing to diverge
    with torch.random.fork_rng(devices=[]):
        readings = [time.perf_counter()]
        for _ in run_epoch(state, batches):
            readings.append(time.perf_counter())
            if len(readings) > MEASURED or (readings[-1] - readings[0] > MEASURING and len(readings) > 3):
                break
    return min(after - before for before, after in pairwise(readings))
