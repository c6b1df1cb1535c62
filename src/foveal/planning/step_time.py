"""How long the training steps of a recipe take on this machine, measured for a moment."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise

import torch

from foveal.data.batches import Batch, get_training_parts, iter_training_batches
from foveal.data.dataset import Dataset
from foveal.evaluation.predict import compute_logits
from foveal.models import registry
from foveal.recipe.recipe import Recipe
from foveal.training import optimizers
from foveal.training.epoch import TrainingState, run_epoch

MAX_MEASURED_STEPS = 8
"""The largest number of steps of each kind that are measured."""
MIN_MEASURED_STEPS = 3
"""The number of steps that are measured even if they take longer than `MAX_MEASURING_SECONDS`."""
MAX_MEASURING_SECONDS = 0.4
"""The time after which no further step is measured."""
MAX_CLASSIFIED_IMAGES = 250
"""The largest number of images that are classified to measure how long that takes."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a recipe costs on this machine, in seconds."""

    low: float
    """The seconds of a training step on small images."""
    full: float
    """The seconds of a training step on images of full size."""
    image: float
    """The seconds to classify one image."""


def measure_costs(recipe: Recipe, dataset: Dataset, *, seed: int) -> Costs:
    """Measure a few steps on the first batches of a data set, with a network that is then discarded."""
    decoding = dataset.pack.decoding
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(dataset.classes)}
    full_batch_size = min(recipe.batch_size, max(map(len, get_training_parts(dataset, recipe))))

    def iter_full_batches(shrink: int) -> Iterator[Batch]:
        for epoch in count(1):  # an epoch of a small set is shorter than the measurement
            for batch in iter_training_batches(
                dataset, recipe, seed=seed, epoch=epoch, shrink=lambda _: shrink
            ):
                if len(batch.labels) == full_batch_size:  # the last batch of an epoch may be smaller
                    yield batch

    full = measure_step_seconds(recipe, iter_full_batches(1), **shape)
    low = full
    if recipe.low_resolution:
        low = measure_step_seconds(recipe, iter_full_batches(recipe.get_shrink_factor(0)), **shape)
    network = registry.build_network(recipe.model, **shape, seed=seed)
    indices = dataset.get_indices("train")[:MAX_CLASSIFIED_IMAGES]
    compute_logits(network, dataset.pack.pixels, indices[:1])  # the first call is slower
    began = time.perf_counter()
    compute_logits(network, dataset.pack.pixels, indices)
    return Costs(low=low, full=full, image=(time.perf_counter() - began) / len(indices))


def measure_step_seconds(
    recipe: Recipe, batches: Iterator[Batch], *, size: int, channels: int, classes: int
) -> float:
    """Return the seconds of the fastest of a few steps, because the first ones still allocate memory."""
    network = registry.build_network(recipe.model, size=size, channels=channels, classes=classes, seed=0)
    state = TrainingState(
        network=network,
        optimizer=optimizers.build_optimizer(recipe.optimizer, network, l2=recipe.l2),
        class_weights=None,
        label_smoothing=recipe.label_smoothing,
    )
    state.learning_rate = 0.0  # the weights stay as they are, so nothing diverges
    with torch.random.fork_rng(devices=[]):
        times = [time.perf_counter()]
        for _ in run_epoch(state, batches):
            times.append(time.perf_counter())
            is_slow = times[-1] - times[0] > MAX_MEASURING_SECONDS and len(times) > MIN_MEASURED_STEPS
            if len(times) > MAX_MEASURED_STEPS or is_slow:
                break
    return min(after - before for before, after in pairwise(times))
