"""The fixed list of network families. A model file names one of them, never a class to import."""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor, nn

from foveal.engine.compiled import without_kernels
from foveal.errors import ModelError
from foveal.files.tensor_file import Claim
from foveal.models import model_s, sprint
from foveal.models.layers import Rescale
from foveal.recipe.networks import Custom, ModelS, NetworkConfig, Sprint
from foveal.tables import text_table


def build_network(config: NetworkConfig, *, size: int, channels: int, classes: int, seed: int) -> nn.Module:
    """Build the network of a recipe and draw its initial weights from the seed.

    The network maps uint8 images (N, size, size, channels) to logits (N, classes), rescaling inside.

    Raises:
        ModelError: The network was passed from Python, so it cannot be built by its name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match config:
            case ModelS():
                network: nn.Module = model_s.build_model_s(
                    config, size=size, channels=channels, classes=classes
                )
            case Sprint():
                network = sprint.SprintNetwork(config, channels=channels, classes=classes)
            case Custom():
                raise ModelError(
                    f"the network is your own class {config.architecture}, which is never imported by name; "
                    f"pass an instance of it from Python: model=…"
                )
            case _:
                assert_never(config)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def list_claims(config: NetworkConfig, *, size: int, channels: int, classes: int) -> dict[str, Claim]:
    """Return the name, shape and dtype of each tensor of a recipe's network, without memory for the tensors.

    Raises:
        ModelError: The network was passed from Python, so it cannot be built by its name.
    """
    with torch.device("meta"):
        return list_claims_of(build_network(config, size=size, channels=channels, classes=classes, seed=0))


def list_claims_of(network: nn.Module) -> dict[str, Claim]:
    """Return the name, shape and dtype of each tensor of a network."""
    return {name: Claim.of(tensor) for name, tensor in network.state_dict().items()}


def prepare_network(network: nn.Module, images: Tensor) -> None:
    """Set the weights of a network that are computed from training images uint8 (N, S, S, C), not learned.

    It is called once, before the first step. Only the whitening layer of Sprint has such weights.
    """
    if isinstance(network, sprint.SprintNetwork):
        network.set_whitening(images)


def wrap_custom_network(network: nn.Module, *, size: int, channels: int, classes: int) -> nn.Module:
    """Put the rescaling of images in front of a network from Python, and try it on two black images.

    The given network gets floating-point images (N, C, H, W) between 0 and 1. The returned network gets uint8
    images (N, H, W, C), as all others do. Both return logits (N, classes).

    Raises:
        ModelError: The network fails, or it does not return logits (N, classes).
    """
    whole = nn.Sequential(Rescale(), network)
    images = torch.zeros((2, size, size, channels), dtype=torch.uint8)
    training = network.training
    try:
        with torch.no_grad():
            logits = whole.eval()(images)
    except Exception as error:
        raise ModelError(
            f"your network fails on a batch of floats (2, {channels}, {size}, {size}): {error}"
        ) from error
    finally:
        whole.train(training)
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        result = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"your network returns {result} for two images; logits of shape (2, {classes}) are needed"
        )
    return whole


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of a network, as one row of the layer table."""

    name: str
    """The name of the layer in the network."""
    kind: str
    """The name of the layer's class."""
    output: tuple[int, ...]
    """The shape of the output without the batch: (H, W, C) for maps, (units,) for vectors."""
    trainable: int
    """The number of trainable parameters."""
    other: int
    """The number of values that belong to the model but are not trained, such as moving averages."""


def list_layers(network: nn.Module, *, size: int, channels: int) -> list[Layer]:
    """Describe the layers of a network in the order in which an image passes through them."""
    layers: list[Layer] = []
    names = {module: name for name, module in network.named_modules()}

    def note_layer(module: nn.Module, _inputs: object, output: object) -> None:
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        if len(shape) == 3:  # from torch's order (C, H, W) to that of images, (H, W, C)
            shape = (*shape[1:], shape[0])
        trainable, other = count_parameters(module)
        layers.append(
            Layer(
                name=names[module],
                kind=type(module).__name__,
                output=shape,
                trainable=trainable,
                other=other,
            )
        )

    leaves = [module for module in network.modules() if not any(module.children())]
    hooks = [leaf.register_forward_hook(note_layer) for leaf in leaves]
    training = network.training
    try:
        with (
            torch.no_grad(),
            without_kernels(),
        ):  # a kernel computes several layers at once, without the hooks
            network.eval()(torch.zeros((1, size, size, channels), dtype=torch.uint8))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return layers


def format_layer_table(network: nn.Module, *, size: int, channels: int) -> str:
    """Return the layers and the totals of a network as a table, as Keras' summary does."""
    rows = [
        [layer.name, layer.kind, " × ".join(map(str, layer.output)), f"{layer.trainable + layer.other:,}"]
        for layer in list_layers(network, size=size, channels=channels)
    ]
    trainable, other = count_parameters(network)
    return (
        text_table(["layer", "kind", "output (height × width × channels)", "parameters"], rows, right={3})
        + f"\n\ntotal parameters      {trainable + other:,}"
        + f"\ntrainable parameters  {trainable:,}\nother parameters      {other:,}"
    )


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Return the numbers of trainable and of other values of a module, counted as Keras does.

    The counter of batches in batch normalisation is left out, because Keras has none.
    """
    parameters = list(module.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in parameters if not parameter.requires_grad)
    tensors = module.state_dict(keep_vars=True)
    buffers = sum(
        tensor.numel()
        for name, tensor in tensors.items()
        if not isinstance(tensor, nn.Parameter) and not name.endswith("num_batches_tracked")
    )
    return trainable, frozen + buffers
