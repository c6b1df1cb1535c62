"""The recipe `sprint` in plain eager PyTorch: what somebody would write who has torch and its documentation.

    python benchmarks/peer_sprint.py DATA --seed 0 --cache CACHE

The same network, images, steps and learning rates in channels-last memory; torch's own layers,
`torch.optim.SGD` and Muon in a few lines. Only the decoded images are Foveal's. `process.py` runs it as a
second peer; its last line is JSON: the seconds of training and evaluation, the accuracy on the test folder.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.data.dataset import open_dataset
from foveal.recipe import builtin
from foveal.recipe.recipe import Muon, Recipe, Sprint


class Network(nn.Module):
    """Whitened patches, then units of convolution, pooling, batch normalisation and SiLU."""

    def __init__(self, recipe: Recipe, images: Tensor, classes: int) -> None:
        super().__init__()
        config = recipe.model
        assert isinstance(config, Sprint)
        weight, bias = whitening(images, config.whitening)
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


def whitening(images: Tensor, filters: int) -> tuple[Tensor, Tensor]:
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


def orthogonal(update: Tensor, iterations: int) -> Tensor:
    """Bring a kernel's update near an orthogonal matrix (Newton–Schulz, Jordan 2024)."""
    matrix = update.flatten(1)
    x = matrix / matrix.norm()
    for _ in range(iterations):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    orthogonalised: Tensor = x.view_as(update)
    return orthogonalised


def main() -> None:
    """Train, judge on the test folder, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    recipe = builtin.sprint()
    optimizer, low = recipe.optimizer, recipe.low_resolution
    assert isinstance(optimizer, Muon)
    assert low is not None
    dataset = open_dataset(asked.data, recipe.image, validation="train2", cache=asked.cache)
    began = time.perf_counter()
    torch.manual_seed(asked.seed)
    rows = dataset.rows("train")
    images, labels = torch.from_numpy(dataset.pack.pixels[rows]), torch.from_numpy(dataset.labels[rows])
    network = Network(recipe, images[torch.randperm(len(images))[:2000]], len(dataset.classes))
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    kernels = [each for each in network.parameters() if each.ndim == 4]
    biases = [each for each in network.parameters() if each.ndim == 1 and each.requires_grad]
    momenta = [torch.zeros_like(each) for each in kernels]
    rates = [optimizer.bias_learning_rate, optimizer.head_learning_rate]
    sgd = torch.optim.SGD(
        [{"params": biases}, {"params": [network.head.weight]}],
        momentum=optimizer.sgd_momentum,
        nesterov=True,
        lr=1.0,
    )
    mirrored = torch.rand(len(images)) < 0.5
    steps, step = recipe.epochs * -(-len(images) // recipe.batch_size), 0
    network.train()
    for epoch in range(recipe.epochs):
        for index in torch.split(torch.randperm(len(images)), recipe.batch_size):
            batch, flips = images[index], mirrored[index] ^ (epoch % 2 == 1)
            batch = torch.where(flips[:, None, None, None], batch.flip(2), batch)
            if step < low.share * steps:
                factor = recipe.image.size // low.size
                small = F.avg_pool2d(batch.permute(0, 3, 1, 2).float(), factor)
                batch = small.round().to(torch.uint8).permute(0, 2, 3, 1)
            factor_now = 1 - step / steps
            for group, rate in zip(sgd.param_groups, rates, strict=True):
                group["lr"] = rate * factor_now
            loss = F.cross_entropy(network(batch), labels[index], label_smoothing=recipe.label_smoothing)
            network.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            sgd.step()
            with torch.no_grad():
                for kernel, momentum in zip(kernels, momenta, strict=True):
                    assert kernel.grad is not None
                    momentum.mul_(optimizer.momentum).add_(kernel.grad)
                    update = kernel.grad.add(momentum, alpha=optimizer.momentum)
                    kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                    kernel.sub_(
                        orthogonal(update, optimizer.iterations), alpha=optimizer.learning_rate * factor_now
                    )
            step += 1
    network.eval()
    test = dataset.rows("test")
    with torch.inference_mode():
        found = [network(torch.from_numpy(dataset.pack.pixels[some])) for some in np.array_split(test, 50)]
    accuracy = float((torch.cat(found).argmax(1).numpy() == dataset.labels[test]).mean())
    print(json.dumps({"seconds": round(time.perf_counter() - began, 3), "accuracy": accuracy}))


if __name__ == "__main__":
    main()
