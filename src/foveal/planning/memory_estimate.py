"""What training will need of memory, estimated before it begins."""

import copy

import torch
from torch import Tensor, nn

from foveal.data.dataset import Dataset
from foveal.errors import OutsideError
from foveal.evaluation.predict import BATCH_SIZE
from foveal.memory import available
from foveal.models import registry
from foveal.recipe.networks import Custom
from foveal.recipe.recipe import Recipe
from foveal.training.epoch import compute_training_loss

TRIED = 2
"""Images of the trial; batch normalisation needs two."""
PASSING = 1.6
"""A backward pass holds so many times what the forward pass saved for it."""
COPIES = 6
"""Of the weights: gradients, the optimizer's averages, and the copies that a checkpoint is made of."""


def refuse_shortage(network: nn.Module, recipe: Recipe, dataset: Dataset) -> None:
    """Refuse to begin what there is too little memory for.

    Raises:
        OutsideError: with what is needed, what there is, and a batch size that would fit.
    """
    free = available()
    if free is None or isinstance(recipe.model, Custom):  # what a user's own network does is not tried out
        return
    fixed, image = estimate_memory(network, dataset)
    need = fixed + image * recipe.batch_size
    if need <= free:
        return
    fitting = (free - fixed) // image
    advice = f"smaller batches fit: --set batch_size={fitting}" if fitting >= 1 else "train a smaller network"
    raise OutsideError(
        f"training will need about {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; "
        f"{advice}, or end other programs"
    )


def has_enough_memory(recipe: Recipe, dataset: Dataset) -> bool:
    """Say whether there is memory enough to train a recipe's network; so where the system does not tell."""
    free = available()
    if free is None:
        return True
    decoding = dataset.pack.decoding
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(dataset.classes)}
    fixed, image = estimate_memory(registry.build_network(recipe.model, **shape, seed=0), dataset)
    return fixed + image * recipe.batch_size <= free


def estimate_memory(network: nn.Module, dataset: Dataset) -> tuple[int, int]:
    """Estimate the bytes that training takes beside what the process has: once, and for an image of a batch.

    The latter are measured on a trial of two black images: what the forward pass saves for the backward pass.
    """
    decoding = dataset.pack.decoding
    weights = {each.untyped_storage().data_ptr() for each in network.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    trial = copy.deepcopy(network).train()  # its moving averages are spoilt by the trial
    weights |= {each.untyped_storage().data_ptr() for each in trial.parameters()}
    images = torch.zeros((TRIED, decoding.size, decoding.size, decoding.channels), dtype=torch.uint8)
    labels = torch.zeros(TRIED, dtype=torch.int64)
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(note, lambda each: each):
        loss = compute_training_loss(
            trial(images), labels, None
        )  # keeps alive what was saved: no address comes twice
    held = sum(saved.values())
    del loss
    image = int(held / TRIED * PASSING) + images[0].nbytes
    fixed = COPIES * sum(each.nbytes for each in network.state_dict().values())
    return fixed + BATCH_SIZE * image, image
