"""The memory that training needs, estimated before it begins."""

import copy

import torch
from torch import Tensor, nn

from foveal.data.dataset import Dataset
from foveal.errors import OutsideError
from foveal.evaluation.predict import BATCH_SIZE
from foveal.memory import available_bytes
from foveal.models import registry
from foveal.recipe.networks import Custom
from foveal.recipe.recipe import Recipe
from foveal.training.epoch import compute_training_loss

TRIAL_IMAGES = 2
"""The number of images in the trial. Batch normalisation needs two."""
BACKWARD_FACTOR = 1.6
"""The memory of a backward pass, as a multiple of what the forward pass saved for it."""
WEIGHT_COPIES = 6
"""The number of copies of the weights: gradients, averages of the optimizer, and those for a checkpoint."""


def refuse_shortage(network: nn.Module, recipe: Recipe, dataset: Dataset) -> None:
    """Refuse to train if there is too little memory. Networks from Python are not checked.

    Raises:
        OutsideError: There is too little memory. The message names a batch size that fits.
    """
    free = available_bytes()
    if free is None or isinstance(
        recipe.model, Custom
    ):  # a trial of an unknown network could have side effects
        return
    fixed, per_image = estimate_memory(network, dataset)
    total = fixed + per_image * recipe.batch_size
    if total <= free:
        return
    batch_size = (free - fixed) // per_image
    advice = (
        f"smaller batches fit: --set batch_size={batch_size}"
        if batch_size >= 1
        else "train a smaller network"
    )
    raise OutsideError(
        f"training will need about {total / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; "
        f"{advice}, or end other programs"
    )


def has_enough_memory(recipe: Recipe, dataset: Dataset) -> bool:
    """Return whether the memory suffices to train a recipe. If the system does not say, it is assumed to."""
    free = available_bytes()
    if free is None:
        return True
    decoding = dataset.pack.decoding
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(dataset.classes)}
    fixed, per_image = estimate_memory(registry.build_network(recipe.model, **shape, seed=0), dataset)
    return fixed + per_image * recipe.batch_size <= free


def estimate_memory(network: nn.Module, dataset: Dataset) -> tuple[int, int]:
    """Estimate the bytes that training takes in addition: in all cases, and for each image of a batch.

    The bytes for an image are measured with two black images: the forward pass of a copy of the network shows
    what it saves for the backward pass.
    """
    decoding = dataset.pack.decoding
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    saved_bytes: dict[int, int] = {}

    def note_saved(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved_bytes[storage.data_ptr()] = storage.nbytes()
        return tensor

    trial = copy.deepcopy(network).train()  # a copy, because the trial changes the moving averages
    weights |= {parameter.untyped_storage().data_ptr() for parameter in trial.parameters()}
    images = torch.zeros((TRIAL_IMAGES, decoding.size, decoding.size, decoding.channels), dtype=torch.uint8)
    labels = torch.zeros(TRIAL_IMAGES, dtype=torch.int64)
    hooks = torch.autograd.graph.saved_tensors_hooks(note_saved, lambda tensor: tensor)
    with torch.random.fork_rng(devices=[]), hooks:
        # The loss keeps alive what was saved, so that no address is counted twice.
        loss = compute_training_loss(trial(images), labels, None)
    per_image = int(sum(saved_bytes.values()) / TRIAL_IMAGES * BACKWARD_FACTOR) + images[0].nbytes
    del loss
    fixed = WEIGHT_COPIES * sum(tensor.nbytes for tensor in network.state_dict().values())
    return fixed + BATCH_SIZE * per_image, per_image
