"""Sprint: whitened patches, then groups of 3×3 convolutions that begin as the identity.

The family of airbench94 (Keller Jordan 2024, arXiv:2404.00498), sized for a processor.
"""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.engine.convolution import Patches, convolve_patches, patches_fit
from foveal.models.layers import ConvolutionUnit, Rescale
from foveal.recipe.networks import Sprint

PATCH = 2
"""Height and width of the whitening layer's patches, in pixels."""
EPSILON = 5e-4
"""Added to the patches' variances, so that noise is not blown up."""


class Whitening(nn.Module):
    """Turn images (N, C, H, W) into their patches' principal components, both signs, each of variance one.

    The weights are fixed: `Network.prepare` takes them from the data. Maps keep their size, (N, filters, H,
    W).
    """

    def __init__(self, channels: int, filters: int, activation: Literal["relu", "silu"]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(filters, channels, PATCH, PATCH))
        self.register_buffer("bias", torch.zeros(filters))
        self.activation = activation

    weight: Tensor
    bias: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Whiten images (N, C, H, W)."""
        padded = F.pad(images, (0, PATCH - 1, 0, PATCH - 1))
        maps = F.conv2d(padded, self.weight, self.bias)
        return F.silu(maps) if self.activation == "silu" else F.relu(maps)

    def patches(self) -> Patches:
        """Describe this layer to the kernels."""
        return Patches(self.weight, self.bias, self.activation)


class Network(nn.Module):
    """uint8 images (N, S, S, C) -> logits (N, classes)."""

    def __init__(self, config: Sprint, *, channels: int, classes: int) -> None:
        super().__init__()
        self.rescaling = Rescale()
        self.whitening = Whitening(channels, config.whitening, config.activation)
        widths = [config.whitening, *(width for width in config.widths for _ in range(2))]
        self.units = nn.Sequential(
            *(
                ConvolutionUnit(
                    before,
                    after,
                    pooled=index % 2 == 0,
                    activation=config.activation,
                    momentum=1 - config.momentum,
                )
                for index, (before, after) in enumerate(pairwise(widths))
            )
        )
        self.head = nn.Linear(config.widths[-1], classes, bias=False)
        for unit in self.units:
            assert isinstance(unit, ConvolutionUnit)
            nn.init.kaiming_uniform_(unit.convolution.weight, a=5**0.5)
            nn.init.dirac_(unit.convolution.weight[: unit.convolution.in_channels])
        with torch.no_grad():
            self.head.weight /= self.head.weight.std()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images uint8 (N, S, S, C)."""
        return self.classify(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return the last maps (N, C, H, W) of images uint8 (N, S, S, C)."""
        first, *rest = self.units
        assert isinstance(first, ConvolutionUnit)
        maps: Tensor
        patches, weight = self.whitening.patches(), first.convolution.weight
        if patches_fit(images, patches, weight):
            maps = first.finish(*convolve_patches(images, patches, weight, pooled=first.pooled))
        else:
            maps = first(self.whitening(self.rescaling(images)))
        for unit in rest:
            maps = unit(maps)
        return maps

    def classify(self, maps: Tensor) -> Tensor:
        """Return logits (N, classes) for the last maps (N, C, H, W)."""
        logits: Tensor = self.head(maps.mean((2, 3))) / self.head.in_features
        return logits

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Take the whitening layer from training images uint8 (N, S, S, C).

        Patches are centred by the channels' means and scaled by the channels' deviations, as the family does.
        """
        weight, bias = whitening_filters(self.rescaling(images), len(self.whitening.weight))
        self.whitening.weight.copy_(weight)
        self.whitening.bias.copy_(bias)


def whitening_filters(images: Tensor, filters: int) -> tuple[Tensor, Tensor]:
    """Return weights (filters, C, 2, 2) and biases (filters,) that whiten the patches of images (N, C, H, W).

    Half of the filters are the patches' leading principal components over their deviations, the others the
    same with the opposite sign. Where there are more filters than that, as for grey images, they come again:
    the map of a filter of zeros has no variance, and normalising it would blow its gradients up to NaN.
    """
    channels = images.shape[1]
    mean, deviation = images.mean((0, 2, 3)), images.std((0, 2, 3)).clamp(min=1 / 255)
    size, count = channels * PATCH**2, 0
    products = torch.zeros(size, size, dtype=torch.float64)
    for some in torch.split(images, 100):  # patches take four times the images' memory
        scaled = (some - mean[:, None, None]) / deviation[:, None, None]
        patches = F.unfold(scaled, PATCH).transpose(1, 2).flatten(0, 1)  # (places, C·2·2)
        products += (patches.T @ patches).double()
        count += len(patches)
    values, vectors = torch.linalg.eigh(products / count)  # ascending
    values, vectors = values.clamp(min=0).flip(0), vectors.flip(1)
    components = (vectors / (values + EPSILON).sqrt()).T[: filters // 2].reshape(-1, channels, PATCH, PATCH)
    # An eigenvector's sign is the algorithm's whim; as both signs are used, only the order depends on it.
    both = torch.cat([components, -components]) / deviation[:, None, None]
    weight = both[torch.arange(filters) % len(both)]
    bias = -(weight * mean[:, None, None]).sum((1, 2, 3))
    return weight, bias


def build(config: Sprint, *, channels: int, classes: int) -> Network:
    """Build the network with its initial weights; `Network.prepare` gives it its whitening."""
    return Network(config, channels=channels, classes=classes)
