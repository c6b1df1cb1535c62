"""The recipe `sprint` in plain eager PyTorch, as somebody would write it with torch and its documentation.

    python -m benchmarks.peers.sprint DATA --seed 0 --cache CACHE

Network, images, steps and learning rates are the same, in channels-last memory. Layers are torch's own, the
optimizers `torch.optim.SGD` and Muon in a few lines. Only the decoded images are Foveal's.
`benchmarks.speed.process` runs it as a second peer. The last line of its output is JSON: the seconds of
training and evaluation, and the accuracy on the test folder.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measurement.command_line import add_cifar10, create_parser
from foveal.data.dataset import open_dataset
from foveal.data.options import DataOptions
from foveal.recipe import builtin
from foveal.recipe.networks import Sprint
from foveal.recipe.optimizers import Muon
from foveal.recipe.recipe import Recipe


class Network(nn.Module):
    """The network: whitened patches, then units of convolution, pooling, batch normalisation and SiLU."""

    def __init__(self, recipe: Recipe, images: Tensor, classes: int) -> None:
        super().__init__()
        config = recipe.model
        assert isinstance(config, Sprint)
        weight, bias = compute_whitening(images, config.whitening)
        self.weight, self.bias = nn.Buffer(weight), nn.Buffer(bias)
        layers: list[nn.Module] = []
        channels = config.whitening
        for width in config.widths:
            for pooled in (True, False):
                convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                nn.init.dirac_(convolution.weight[:channels])
                norm = nn.BatchNorm2d(width, eps=1e-12, momentum=1 - config.momentum)
                norm.weight.requires_grad_(False)
                layers += [convolution, *([nn.MaxPool2d(2)] if pooled else []), norm, nn.SiLU(inplace=True)]
                channels = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes, bias=False)
        with torch.no_grad():
            self.head.weight /= self.head.weight.std()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for uint8 (N, H, W, C)."""
        maps = F.pad(images.permute(0, 3, 1, 2).float() / 255, (0, 1, 0, 1))
        maps = self.layers(F.silu(F.conv2d(maps, self.weight, self.bias)))
        logits: Tensor = self.head(maps.mean((2, 3))) / self.head.in_features
        return logits


def compute_whitening(images: Tensor, filters: int) -> tuple[Tensor, Tensor]:
    """Return weights and biases that whiten the 2×2 patches of images uint8 (N, H, W, C)."""
    pixels = images.permute(0, 3, 1, 2).float() / 255
    mean, deviation = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    patches = (
        F.unfold((pixels - mean[:, None, None]) / deviation[:, None, None], 2).transpose(1, 2).flatten(0, 1)
    )
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    half = (vectors / (values + 5e-4).sqrt()).flip(1).T[: filters // 2].reshape(-1, 3, 2, 2)
    weight = torch.cat([half, -half]) / deviation[:, None, None]
    return weight, -(weight * mean[:, None, None]).sum((1, 2, 3))


def orthogonalise(update: Tensor, iterations: int) -> Tensor:
    """Return an update of a kernel, brought near an orthogonal matrix (Newton-Schulz, Jordan 2024)."""
    matrix = update.flatten(1)
    x = matrix / matrix.norm()
    for _ in range(iterations):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    orthogonalised: Tensor = x.view_as(update)
    return orthogonalised


class MuonAndSgd:
    """Muon for the kernels, SGD with Nesterov's momentum for biases and the last layer."""

    def __init__(self, network: Network, config: Muon) -> None:
        parameters = list(network.parameters())
        self._config = config
        self._kernels = [parameter for parameter in parameters if parameter.ndim == 4]
        self._momenta = [torch.zeros_like(kernel) for kernel in self._kernels]
        biases = [parameter for parameter in parameters if parameter.ndim == 1 and parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": biases}, {"params": [network.head.weight]}]
        self._sgd = torch.optim.SGD(groups, momentum=config.sgd_momentum, nesterov=True, lr=1.0)

    def step(self, factor: float) -> None:
        """Take one step, with all learning rates multiplied by the given factor."""
        config = self._config
        rates = [config.bias_learning_rate, config.head_learning_rate]
        for group, rate in zip(self._sgd.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        self._sgd.step()
        with torch.no_grad():
            for kernel, momentum in zip(self._kernels, self._momenta, strict=True):
                assert kernel.grad is not None
                momentum.mul_(config.momentum).add_(kernel.grad)
                update = kernel.grad.add(momentum, alpha=config.momentum)
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                update = orthogonalise(update, config.iterations)
                kernel.sub_(update, alpha=config.learning_rate * factor)


def train(network: Network, recipe: Recipe, images: Tensor, labels: Tensor) -> None:
    """Train on images uint8 (N, H, W, C) with labels (N,) as the recipe says."""
    low = recipe.low_resolution
    assert isinstance(recipe.optimizer, Muon)
    assert low is not None
    optimizer = MuonAndSgd(network, recipe.optimizer)
    mirrored = torch.rand(len(images)) < 0.5
    steps, step = recipe.epochs * -(-len(images) // recipe.batch_size), 0
    network.train()
    for epoch in range(recipe.epochs):
        for indices in torch.split(torch.randperm(len(images)), recipe.batch_size):
            batch, flips = images[indices], mirrored[indices] ^ (epoch % 2 == 1)
            batch = torch.where(flips[:, None, None, None], batch.flip(2), batch)
            if step < low.share * steps:
                small = F.avg_pool2d(batch.permute(0, 3, 1, 2).float(), recipe.image.size // low.size)
                batch = small.round().to(torch.uint8).permute(0, 2, 3, 1)
            loss = F.cross_entropy(network(batch), labels[indices], label_smoothing=recipe.label_smoothing)
            network.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step(1 - step / steps)
            step += 1


def main() -> None:
    """Train, evaluate on the test folder, and print the result."""
    parser = create_parser(__doc__)
    add_cifar10(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    recipe = builtin.sprint()
    dataset = open_dataset(DataOptions(args.data, validation="train2", cache=args.cache), recipe.image)
    began = time.perf_counter()
    torch.manual_seed(args.seed)
    train_indices, test_indices = dataset.get_indices("train"), dataset.get_indices("test")
    images = torch.from_numpy(dataset.pack.pixels[train_indices])
    labels = torch.from_numpy(dataset.labels[train_indices])
    network = Network(recipe, images[torch.randperm(len(images))[:2000]], len(dataset.classes))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train(network, recipe, images, labels)
    network.eval()
    with torch.inference_mode():
        batches = (torch.from_numpy(dataset.pack.pixels[part]) for part in np.array_split(test_indices, 50))
        logits = torch.cat([network(batch) for batch in batches])
    accuracy = float((logits.argmax(1).numpy() == dataset.labels[test_indices]).mean())
    print(json.dumps({"seconds": round(time.perf_counter() - began, 3), "accuracy": accuracy}))


if __name__ == "__main__":
    main()
