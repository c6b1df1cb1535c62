"""The networks that a recipe can name: the values that define them, not the layers themselves.

`foveal.models` builds the layers from these values.
"""

from dataclasses import dataclass
from typing import Literal

from foveal.recipe.checks import require

Activation = Literal["relu", "silu"]
"""The activation function of a network: ReLU or SiLU."""


def _check_widths(widths: tuple[int, ...], noun: str) -> None:
    require(len(widths) > 0, f"model.widths is empty; name at least one {noun}'s filters")
    require(all(1 <= width <= 4096 for width in widths), "model.widths: each must lie between 1 and 4096")


@dataclass(frozen=True, kw_only=True)
class ModelS:
    """A classic convolutional network, as the notebook builds it in Keras.

    Each block has some 3×3 convolutions with ReLU and ends in 2×2 max pooling. Dense layers follow.

    >>> foveal.ModelS(widths=(16, 32), dense=0).dropout
    0.5
    """

    name: Literal["model-s"] = "model-s"
    """The name of this network family in recipe files."""
    widths: tuple[int, ...] = (32, 64, 128)
    """The number of filters of the convolutions in each block. Its length is the number of blocks."""
    convolutions: int = 2
    """The number of convolutions in each block."""
    batch_norm: bool = True
    """Whether batch normalisation follows the ReLU of each convolution."""
    momentum: float = 0.99
    """The momentum of batch normalisation, as in Keras: the share of a moving average kept at each step."""
    dense: int = 256
    """The number of units in the hidden dense layer. With 0 there is no such layer."""
    dropout: float = 0.5
    """The dropout rate, after flattening and after the hidden dense layer. With 0 there is no dropout."""

    def __post_init__(self) -> None:
        _check_widths(self.widths, "block")
        require(1 <= self.convolutions <= 16, "model.convolutions must lie between 1 and 16")
        require(0 <= self.momentum < 1, "model.momentum must lie in [0, 1)")
        require(0 <= self.dense <= 65536, "model.dense must lie between 0 and 65536")
        require(0 <= self.dropout < 1, "model.dropout must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Sprint:
    """A network for short training: a whitening layer, then groups of two 3×3 convolutions each.

    2×2 max pooling follows the first convolution of each group, and global average pooling the last group.
    The design is that of Keller Jordan's airbench (2024, arXiv:2404.00498).

    >>> foveal.Sprint(widths=(64, 128, 128)).activation
    'silu'
    """

    name: Literal["sprint"] = "sprint"
    """The name of this network family in recipe files."""
    widths: tuple[int, ...] = (32, 64, 80)
    """The number of filters in each group. Foveal's own kernels need multiples of 16; others train slower."""
    whitening: int = 16
    """The number of 2×2 filters in the whitening layer, an even number. The data fix their weights."""
    activation: Activation = "silu"
    """The activation function after each convolution."""
    momentum: float = 0.85
    """The momentum of batch normalisation, as in Keras: the share of a moving average kept at each step."""

    def __post_init__(self) -> None:
        _check_widths(self.widths, "group")
        require(
            2 <= self.whitening <= 24 and self.whitening % 2 == 0,
            f"model.whitening is {self.whitening}; it must be even and lie between 2 and 24",
        )
        require(0 <= self.momentum < 1, "model.momentum must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Custom:
    """A network of your own, which you pass as `model=...` from Python.

    >>> foveal.Custom(architecture="my_package.MyNetwork").name
    'custom'
    """

    name: Literal["custom"] = "custom"
    """The name in recipe files of a network that was passed from Python."""
    architecture: str
    """The qualified name of the network's class. It is a record only and is never imported."""


NetworkConfig = ModelS | Sprint | Custom
"""Any network that a recipe can name."""
