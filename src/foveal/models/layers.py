"""Layers that torch lacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.engine.convolution import convolve
from foveal.engine.convolution import fits as convolution_fits
from foveal.engine.dropout import dropout
from foveal.engine.dropout import fits as dropout_fits
from foveal.engine.normalisation import fits as normalisation_fits
from foveal.engine.normalisation import normalise


class Rescale(nn.Module):
    """Turn uint8 images (N, H, W, C) into numbers (N, C, H, W) between 0 and 1.

    The result keeps the images' memory order, which torch calls channels-last, and has the dtype that
    the module was moved to.
    """

    maximum: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("maximum", torch.tensor(255.0), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Rescale uint8 (N, H, W, C) to floating point (N, C, H, W)."""
        return images.permute(0, 3, 1, 2).to(self.maximum.dtype) / self.maximum


class FlattenLast(nn.Module):
    """Flatten (N, C, H, W) to (N, H·W·C), channels running fastest, as Keras flattens.

    On channels-last memory this is a view.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Flatten (N, C, H, W) to (N, H·W·C)."""
        return maps.permute(0, 2, 3, 1).flatten(1)


class Dropout(nn.Dropout):
    """Dropout as torch's, faster where the kernels are."""

    def forward(self, numbers: Tensor) -> Tensor:
        """Drop in training; return the numbers as they are in evaluation."""
        if self.training and dropout_fits(numbers):
            return dropout(numbers, self.p)
        return super().forward(numbers)


@dataclass(frozen=True)
class RectifiedUnit:
    """Convolution, ReLU, batch normalisation, and 2×2 max pooling if it follows: one pass where kernels are.

    The layers belong to a network; this is only another way to run them.
    """

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    pooled: bool
    layers: Sequence[nn.Module]
    """All of them, in order."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Turn maps (N, C, H, W) into (N, O, H, W), or (N, O, H/2, W/2) if pooled."""
        convolution, sums = self.convolution, None
        if convolution_fits(maps, convolution.weight):
            maps, sums = convolve(maps, convolution.weight, convolution.bias, rectified=True)
        else:
            maps = convolution(maps)
        if normalisation_fits(maps):
            return normalise(maps, self.norm, sums=sums, rectified=True, pooled=self.pooled)
        for layer in self.layers[1:]:
            maps = layer(maps)
        return maps


class ConvolutionUnit(nn.Module):
    """3×3 convolution, 2×2 max pooling if asked, batch normalisation without a scale, activation.

    Pooling comes first: it leaves the rest a quarter of the work. With the kernels the unpooled maps are
    never written. The filters are to be kept at one norm by the optimizer, so a scale would have nothing to
    do.
    """

    def __init__(
        self, channels: int, width: int, *, pooled: bool, activation: Literal["relu", "silu"], momentum: float
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        self.pooled = pooled
        self.pooling = nn.MaxPool2d(2) if pooled else nn.Identity()
        # The family's 1e-12 would blow a map without variance, as images of one colour give, up to infinity.
        self.norm = nn.BatchNorm2d(width, eps=1e-5, momentum=momentum)
        self.norm.weight.requires_grad_(False)
        self.activation = nn.SiLU() if activation == "silu" else nn.ReLU()
        self._activation: Literal["relu", "silu"] = activation

    def forward(self, maps: Tensor) -> Tensor:
        """Turn maps (N, C, H, W) into (N, width, H, W), or (N, width, H/2, W/2) if pooled."""
        if convolution_fits(maps, self.convolution.weight):
            return self.finish(*convolve(maps, self.convolution.weight, None, pooled=self.pooled))
        maps = self.convolution(maps)
        return self.finish(self.pooling(maps) if self.pooled else maps, None)

    def finish(self, maps: Tensor, sums: Tensor | None) -> Tensor:
        """Normalise and activate convolved and pooled maps, of which `convolve` gave the sums."""
        if normalisation_fits(maps):
            return normalise(maps, self.norm, sums=sums, activation=self._activation)
        norm = self.norm
        if norm.training and maps.numel() == maps.shape[1]:  # torch refuses a single number a channel
            maps = F.batch_norm(
                maps, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        else:
            maps = norm(maps)
        activated: Tensor = self.activation(maps)
        return activated
