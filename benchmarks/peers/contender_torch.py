"""Plain eager PyTorch as a contender: Model S as one writes it with `torch.nn`, on channels-last tensors.

Other scripts start it; see `contender.py`.

    python -m benchmarks.peers.contender_torch DATA

It answers `steps`, `evaluate` and `convolutions` as `contender_foveal.py` does. All images lie in memory as
one uint8 tensor that is indexed. Foveal reads them, before anything counts.
"""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measurement.command_line import add_cifar10, create_parser
from benchmarks.peers.contender import Channel

BATCH = 64
TEST_BATCH = 500
WARM_UP_STEPS = 30
"""The number of steps before the first that counts."""
SHAPES = ((3, 32, 32), (32, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8))
"""The convolutions of Model S: input channels, output channels, height and width."""


def main() -> None:
    """Read the command line, and answer requests until the input ends."""
    parser = create_parser(__doc__)
    add_cifar10(parser)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    channel = Channel()
    (images, labels), test = read_images(args.data, args.cache)
    torch.manual_seed(0)
    network = create_model_s()
    optimizer = torch.optim.RMSprop(network.parameters(), lr=0.001, alpha=0.9, eps=1e-7)
    for _ in islice(train_epoch(network, optimizer, images, labels), WARM_UP_STEPS):
        pass
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    channel.ready(versions=versions, threads=torch.get_num_threads())
    steps, position = train_epoch(network, optimizer, images, labels), 0
    convolutions = Convolutions()
    while True:
        request = channel.wait()
        began = time.perf_counter()
        match request["do"]:
            case "steps":
                sizes = list(islice(steps, request["n"]))
                if not sizes:  # The epoch ended exactly with the request before.
                    steps, position = train_epoch(network, optimizer, images, labels), 0
                    sizes = list(islice(steps, request["n"]))
                seconds = time.perf_counter() - began
                channel.answer(seconds=seconds, steps=len(sizes), images=sum(sizes), first=position == 0)
                position += len(sizes)
                if len(sizes) < request["n"]:
                    steps, position = train_epoch(network, optimizer, images, labels), 0
            case "evaluate":
                loss, correct = evaluate(network, *test)
                seconds = time.perf_counter() - began
                channel.answer(seconds=seconds, images=len(test[1]), loss=loss, correct=correct)
            case "convolutions":
                for _ in range(request["n"]):
                    convolutions.step()
                channel.answer(seconds=time.perf_counter() - began, steps=request["n"])
            case unknown:
                raise ValueError(unknown)


def read_images(data: Path, cache: Path | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the notebook's training images uint8 (N, 32, 32, 3) with labels (N,), and its test images."""
    from foveal.data.dataset import SplitName, open_dataset
    from foveal.data.options import DataOptions
    from foveal.recipe import builtin

    dataset = open_dataset(
        DataOptions(data, validation="train2", cache=cache), builtin.load_recipe("model-s-02").image
    )

    def read_split(name: SplitName) -> tuple[Tensor, Tensor]:
        indices = dataset.get_indices(name)
        images = torch.from_numpy(np.array(dataset.pack.pixels[indices]))
        return images, torch.from_numpy(dataset.labels[indices])

    return read_split("train"), read_split("test")


def create_model_s() -> nn.Module:
    """Create Model S. It maps floats (N, 3, 32, 32) between 0 and 1 to logits (N, 10)."""
    layers: list[nn.Module] = []
    for channels_in, channels_out, _ in SHAPES:
        layers += [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.ReLU()]
        layers += [nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)]
        if channels_in == channels_out:
            layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(2048, 256), nn.ReLU(), nn.Dropout(0.5)]
    layers += [nn.Linear(256, 10)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def to_floats(images: Tensor) -> Tensor:
    """Return uint8 (N, H, W, C) as floats (N, C, H, W) between 0 and 1, channels last in memory."""
    return images.permute(0, 3, 1, 2).float() / 255


def train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> Iterator[int]:
    """Train on all images once, in a random order; yield the size of each batch after its step."""
    network.train()
    for indices in torch.split(torch.randperm(len(images)), BATCH):
        optimizer.zero_grad()
        logits, y_true = network(to_floats(images[indices])), labels[indices]
        loss = F.cross_entropy(logits, y_true)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # Loss and accuracy are computed at every step, as the others do.
        (logits.argmax(1) == y_true).sum().item()
        yield len(indices)


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, int]:
    """Return the mean loss on images uint8 (N, H, W, C), and how many are classified correctly."""
    training = network.training
    network.eval()
    with torch.inference_mode():
        logits = torch.cat([network(to_floats(batch)) for batch in torch.split(images, TEST_BATCH)])
        loss, correct = F.cross_entropy(logits, labels).item(), int((logits.argmax(1) == labels).sum())
    network.train(training)
    return loss, correct


class Convolutions:
    """The six convolutions of Model S alone, each on random inputs of its own.

    One step costs what they cost in a training step of batch 64: forward, then the gradients of weights,
    biases and inputs. The first one needs no gradient of its input.
    """

    def __init__(self) -> None:
        self._layers: list[nn.Conv2d] = []
        self._inputs: list[Tensor] = []
        self._gradients: list[Tensor] = []
        for number, (channels_in, channels_out, side) in enumerate(SHAPES):
            layer = nn.Conv2d(channels_in, channels_out, 3, padding=1)
            self._layers.append(layer.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
            self._inputs.append(_random_maps(channels_in, side).requires_grad_(number > 0))
            self._gradients.append(_random_maps(channels_out, side))

    def step(self) -> None:
        """Compute all convolutions once, forward and backward."""
        outputs = [layer(maps) for layer, maps in zip(self._layers, self._inputs, strict=True)]
        torch.autograd.backward(outputs, self._gradients)
        for layer, maps in zip(self._layers, self._inputs, strict=True):
            layer.zero_grad()
            maps.grad = None


def _random_maps(channels: int, side: int) -> Tensor:
    return torch.rand(BATCH, channels, side, side).contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
