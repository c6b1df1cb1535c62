"""The fixed list of architectures: a model file names one of them, never a class to import."""

from dataclasses import dataclass
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from foveal.engine.compiled import without_kernels
from foveal.errors import ModelError
from foveal.files.tensor_file import Claim
from foveal.models import model_s, sprint
from foveal.models.layers import Rescale
from foveal.recipe.networks import Custom, ModelS, Sprint
from foveal.tables import text_table


def build(
    config: ModelS | Sprint | Custom, *, size: int, channels: int, classes: int, seed: int
) -> nn.Module:
    """Build the network that a recipe names, its initial weights drawn from the seed.

    It maps uint8 images (N, size, size, channels) to logits (N, classes); normalisation is inside.

    Raises:
        ModelError: the recipe's network is a user's own; pass the module itself.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match config:
            case ModelS():
                network: nn.Module = model_s.build(config, size=size, channels=channels, classes=classes)
            case Sprint():
                network = sprint.build(config, channels=channels, classes=classes)
            case Custom():
                raise ModelError(
                    f"the network is your own class {config.architecture}, which is never imported by name; "
                    f"pass an instance of it from Python: model=…"
                )
            case _:
                assert_never(config)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def claims(config: ModelS | Sprint | Custom, *, size: int, channels: int, classes: int) -> dict[str, Claim]:
    """Say which tensors the network of a recipe has, without any memory for them.

    Raises:
        ModelError: as `build`.
    """
    with torch.device("meta"):
        return claims_of(build(config, size=size, channels=channels, classes=classes, seed=0))


def claims_of(network: nn.Module) -> dict[str, Claim]:
    """Say which tensors a network has."""
    return {name: Claim.of(each) for name, each in network.state_dict().items()}


def prepare(network: nn.Module, images: Tensor) -> None:
    """Let a network take what it needs from training images uint8 (N, S, S, C), before the first step."""
    if isinstance(network, sprint.Network):
        network.prepare(images)


def adopt(module: nn.Module, *, size: int, channels: int, classes: int) -> nn.Module:
    """Take a user's network, which gets floating point images (N, C, H, W) between 0 and 1.

    Returned is the network with the rescaling inside, so that it maps uint8 (N, H, W, C) to logits.

    Raises:
        ModelError: on a trial batch it does not return logits (N, classes).
    """
    whole = nn.Sequential(Rescale(), module)
    trial = torch.zeros((2, size, size, channels), dtype=torch.uint8)
    training = module.training
    try:
        with torch.no_grad():
            logits = whole.eval()(trial)
    except Exception as error:
        raise ModelError(
            f"your network fails on a batch of floats (2, {channels}, {size}, {size}): {error}"
        ) from error
    finally:
        whole.train(training)
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"your network returns {got} for two images; logits of shape (2, {classes}) are needed"
        )
    return whole


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A line of the layer table."""

    name: str
    kind: str
    output: tuple[int, ...]
    """The output's shape without the batch: (H, W, C) for maps, (units,) for vectors."""
    trainable: int
    other: int
    """Numbers that belong to the model but are not trained, such as moving averages."""


def layer_table(network: nn.Module, *, size: int, channels: int) -> list[LayerRow]:
    """Describe a network layer by layer, in the order in which an image passes through."""
    rows: list[LayerRow] = []
    names = {module: name for name, module in network.named_modules()}

    def note(module: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401 - torch's hook
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        if len(shape) == 3:  # torch's (C, H, W), told as (H, W, C) like the images
            shape = (*shape[1:], shape[0])
        trainable, other = count_parameters(module)
        rows.append(
            LayerRow(
                name=names[module],
                kind=type(module).__name__,
                output=shape,
                trainable=trainable,
                other=other,
            )
        )

    leaves = [module for module in network.modules() if not any(module.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    training = network.training
    try:
        with torch.no_grad(), without_kernels():  # kernels do several layers at once, past the hooks
            network.eval()(torch.zeros((1, size, size, channels), dtype=torch.uint8))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return rows


def show_table(network: nn.Module, *, size: int, channels: int) -> str:
    """Lay out the layer table with its totals, as Keras' summary does."""
    rows = [
        [row.name, row.kind, " × ".join(map(str, row.output)), f"{row.trainable + row.other:,}"]
        for row in layer_table(network, size=size, channels=channels)
    ]
    trainable, other = count_parameters(network)
    return (
        text_table(["layer", "kind", "output (height × width × channels)", "parameters"], rows, right={3})
        + f"\n\ntotal parameters      {trainable + other:,}"
        + f"\ntrainable parameters  {trainable:,}\nother parameters      {other:,}"
    )


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Count a module's trainable and other numbers, as Keras counts them.

    Batch normalisation's own counter of batches, which Keras does not have, is not counted.
    """
    parameters = list(module.parameters())
    trainable = sum(each.numel() for each in parameters if each.requires_grad)
    frozen = sum(each.numel() for each in parameters if not each.requires_grad)
    saved = module.state_dict(keep_vars=True)
    buffers = sum(
        each.numel()
        for name, each in saved.items()
        if not isinstance(each, nn.Parameter) and not name.endswith("num_batches_tracked")
    )
    return trainable, frozen + buffers
