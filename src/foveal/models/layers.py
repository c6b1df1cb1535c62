"""Layers that torch lacks."""

import torch
from torch import Tensor, nn


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
