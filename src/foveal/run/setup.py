"""What a new run and a resumed one have in common: the network and the session that trains it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from foveal.data.batches import count_steps_per_epoch, get_training_parts
from foveal.data.dataset import Dataset
from foveal.errors import Interrupted
from foveal.files.run_folder import RunFolder
from foveal.models import registry
from foveal.recipe.recipe import Recipe
from foveal.run.loggers import Loggers
from foveal.training.session import Session


def build_network(recipe: Recipe, dataset: Dataset, *, seed: int, model: nn.Module | None) -> nn.Module:
    """Return the recipe's network with its initial weights, or the user's own `model`, checked and wrapped.

    Raises:
        ModelError: The user's network does not fit the images or the classes.
    """
    decoding = dataset.pack.decoding
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(dataset.classes)}
    if model is not None:
        return registry.wrap_custom_network(model, **shape)
    return registry.build_network(recipe.model, **shape, seed=seed)


def begin_session(folder: RunFolder, recipe: Recipe, dataset: Dataset, network: nn.Module) -> Session:
    """Return a session at its first step, of as many steps as the recipe's epochs and steps allow."""
    steps = recipe.epochs * count_steps_per_epoch(get_training_parts(dataset, recipe), recipe.batch_size)
    return Session.begin(
        folder,
        recipe,
        network,
        dataset.count_classes(dataset.get_indices("train")),
        steps=steps if recipe.steps is None else min(steps, recipe.steps),
    )


@contextmanager
def open_loggers(folder: RunFolder, kinds: tuple[str, ...]) -> Iterator[Loggers]:
    """Give a run's loggers to the block, and close them after it."""
    loggers = Loggers(kinds, folder)
    try:
        yield loggers
    except Interrupted:
        loggers.leave()
        raise
    loggers.finish()
