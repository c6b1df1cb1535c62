"""Layers that torch does not have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.engine.convolution import convolve
from foveal.engine.convolution import supports as supports_convolution
from foveal.engine.dropout import dropout
from foveal.engine.dropout import supports as supports_dropout
from foveal.engine.normalisation import normalise
from foveal.engine.normalisation import supports as supports_normalisation


class Rescale(nn.Module):
    """Rescale uint8 images (N, H, W, C) to numbers (N, C, H, W) between 0 and 1.

    The memory order stays as it is, which torch calls channels-last. The dtype is that of the module.
    """

    maximum: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("maximum", torch.tensor(255.0), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return uint8 images (N, H, W, C) as floating-point numbers (N, C, H, W)."""
        return images.permute(0, 3, 1, 2).to(self.maximum.dtype) / self.maximum


class FlattenLast(nn.Module):
    """Flatten maps (N, C, H, W) to (N, H·W·C). Channels vary fastest, as in Keras.

    For channels-last memory the result is a view.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, C, H, W) as vectors (N, H·W·C)."""
        return maps.permute(0, 2, 3, 1).flatten(1)


class Dropout(nn.Dropout):
    """The dropout of torch, computed by Foveal's own kernels where they are faster."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs with dropout in training, and unchanged in evaluation."""
        if self.training and supports_dropout(inputs):
            return dropout(inputs, self.p)
        return super().forward(inputs)


@dataclass(frozen=True)
class FusedLayers:
    """A convolution, ReLU, batch normalisation and perhaps 2×2 max pooling, computed in one pass.

    The layers belong to a network. This object only computes them faster, if there are kernels.
    """

    convolution: nn.Conv2d
    """The first layer."""
    norm: nn.BatchNorm2d
    """The third layer, after ReLU."""
    pooled: bool
    """Whether 2×2 max pooling is the last layer."""
    layers: Sequence[nn.Module]
    """All layers in their order."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Return the output for maps (N, C, H, W): (N, O, H, W), or (N, O, H/2, W/2) if pooled."""
        convolution, sums = self.convolution, None
        if supports_convolution(maps, convolution.weight):
            maps, sums = convolve(maps, convolution.weight, convolution.bias, rectified=True)
        else:
            maps = convolution(maps)
        if supports_normalisation(maps):
            return normalise(maps, self.norm, sums=sums, rectified=True, pooled=self.pooled)
        for layer in self.layers[1:]:
            maps = layer(maps)
        return maps


class ConvolutionUnit(nn.Module):
    """3×3 convolution, 2×2 max pooling if `pooled`, batch normalisation without a scale, activation.

    Pooling precedes batch normalisation and activation, which then have a quarter of the work. The kernels
    never write the maps before pooling. The optimizer keeps the norm of the filters, so there is no scale.
    """

    def __init__(
        self, channels: int, width: int, *, pooled: bool, activation: Literal["relu", "silu"], momentum: float
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        self.pooled = pooled
        self.pooling = nn.MaxPool2d(2) if pooled else nn.Identity()
        # airbench has 1e-12, which makes maps without variance infinite. Images of one colour give such maps.
        self.norm = nn.BatchNorm2d(width, eps=1e-5, momentum=momentum)
        self.norm.weight.requires_grad_(False)
        self.activation = nn.SiLU() if activation == "silu" else nn.ReLU()
        self._activation: Literal["relu", "silu"] = activation

    def forward(self, maps: Tensor) -> Tensor:
        """Return the output for maps (N, C, H, W): (N, width, H, W), or (N, width, H/2, W/2) if pooled."""
        if supports_convolution(maps, self.convolution.weight):
            return self.finish(*convolve(maps, self.convolution.weight, None, pooled=self.pooled))
        maps = self.convolution(maps)
        return self.finish(self.pooling(maps) if self.pooled else maps, None)

    def finish(self, maps: Tensor, sums: Tensor | None) -> Tensor:
        """Normalise and activate maps after convolution and pooling.

        Args:
            maps: The maps (N, width, H, W).
            sums: The sums of each map that the kernel of the convolution returned, or None without a kernel.
        """
        if supports_normalisation(maps):
            return normalise(maps, self.norm, sums=sums, activation=self._activation)
        norm = self.norm
        if norm.training and maps.numel() == maps.shape[1]:  # torch refuses one value per channel
            maps = F.batch_norm(
                maps, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        else:
            maps = norm(maps)
        activated: Tensor = self.activation(maps)
        return activated
