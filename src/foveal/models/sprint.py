"""Sprint: a whitening layer, then groups of 3×3 convolutions whose initial weights are partly the identity.

The design is that of airbench94 (Keller Jordan 2024, arXiv:2404.00498), with sizes for a processor.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.engine.convolution import Patches, convolve_patches, supports_patches
from foveal.models.layers import ConvolutionUnit, Rescale
from foveal.recipe.networks import Activation, Sprint

PATCH_SIZE = 2
"""The height and width of the whitening layer's patches, in pixels."""
WHITENING_EPSILON = 5e-4
"""A small number that is added to the variances of the patches, so that noise is not amplified."""


class Whitening(nn.Module):
    """A convolution that returns the principal components of image patches, with variance one and both signs.

    The weights are not learned: `SprintNetwork.set_whitening` computes them from training images. Images
    (N, C, H, W) give maps (N, filters, H, W).
    """

    def __init__(self, channels: int, filters: int, activation: Activation) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(filters, channels, PATCH_SIZE, PATCH_SIZE))
        self.register_buffer("bias", torch.zeros(filters))
        self.activation = activation

    weight: Tensor
    bias: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Return the whitened maps (N, filters, H, W) of images (N, C, H, W)."""
        padded = F.pad(images, (0, PATCH_SIZE - 1, 0, PATCH_SIZE - 1))
        maps = F.conv2d(padded, self.weight, self.bias)
        return F.silu(maps) if self.activation == "silu" else F.relu(maps)

    def describe_patches(self) -> Patches:
        """Return this layer as the kernels take it."""
        return Patches(self.weight, self.bias, self.activation)


class SprintNetwork(nn.Module):
    """The network of the Sprint family: it maps uint8 images (N, S, S, C) to logits (N, classes)."""

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
        return self.classify(self.extract_features(images))

    def extract_features(self, images: Tensor) -> Tensor:
        """Return the last maps (N, C, H, W) of images uint8 (N, S, S, C)."""
        first, *rest = self.units
        assert isinstance(first, ConvolutionUnit)
        maps: Tensor
        patches, weight = self.whitening.describe_patches(), first.convolution.weight
        if supports_patches(images, patches, weight):
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
    def set_whitening(self, images: Tensor) -> None:
        """Set the weights of the whitening layer from training images uint8 (N, S, S, C)."""
        weight, bias = compute_whitening(self.rescaling(images), len(self.whitening.weight))
        self.whitening.weight.copy_(weight)
        self.whitening.bias.copy_(bias)


def compute_whitening(images: Tensor, filters: int) -> tuple[Tensor, Tensor]:
    """Return weights (filters, C, 2, 2) and biases (filters,) that whiten the patches of images (N, C, H, W).

    Patches are first centred by the mean and divided by the standard deviation of each channel. One half of
    the filters are the leading principal components, each divided by its standard deviation. The other half
    are the same with the opposite sign. If there are more filters than components, as for grey images, they
    are repeated: filters of zeros would give maps without variance, and batch normalisation NaN gradients.
    """
    channels = images.shape[1]
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3)).clamp(min=1 / 255)
    size, count = channels * PATCH_SIZE**2, 0
    products = torch.zeros(size, size, dtype=torch.float64)
    for batch in torch.split(images, 100):  # patches take four times the memory of the images
        scaled = (batch - mean[:, None, None]) / std[:, None, None]
        patches = F.unfold(scaled, PATCH_SIZE).transpose(1, 2).flatten(0, 1)  # (places, C·2·2)
        products += (patches.T @ patches).double()
        count += len(patches)
    values, vectors = torch.linalg.eigh(products / count)  # ascending
    values, vectors = values.clamp(min=0).flip(0), vectors.flip(1)
    components = (
        (vectors / (values + WHITENING_EPSILON).sqrt())
        .T[: filters // 2]
        .reshape(-1, channels, PATCH_SIZE, PATCH_SIZE)
    )
    # The sign of an eigenvector is arbitrary. As both signs are used, it decides only on their order.
    both = torch.cat([components, -components]) / std[:, None, None]
    weight = both[torch.arange(filters) % len(both)]
    bias = -(weight * mean[:, None, None]).sum((1, 2, 3))
    return weight, bias
