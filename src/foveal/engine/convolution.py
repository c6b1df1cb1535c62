"""3×3 convolutions with padding 1 by the kernels."""

import threading
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from foveal.engine.compiled import library_or_none, require_library
from foveal.engine.signatures import Convolution, ConvolutionGradients, ConvolutionResults, FirstLayer
from foveal.engine.tensors import CHANNELS_PER_PANEL, address_or_none, is_float32_on_cpu

Activation = Literal["linear", "relu", "silu"]
ACTIVATION_CODES: dict[Activation, int] = {"linear": 0, "relu": 1, "silu": 2}
"""The number that stands for each activation in the kernels."""
MAX_CHANNEL_TILES = 4096
"""The largest number of tiles of 4×4 pixels, times channels in and out, that are transformed together.

Such a set takes 0.6 MB, which a core's cache holds.
"""

_thread_local = threading.local()


def supports(images: Tensor, weight: Tensor) -> bool:
    """Say whether the kernels can convolve these images (N, C, H, W) with a weight (O, C, 3, 3)."""
    return is_float32_on_cpu(images) and _supports_weight(weight)


def _supports_weight(weight: Tensor) -> bool:
    return (
        is_float32_on_cpu(weight)
        and weight.shape[0] % CHANNELS_PER_PANEL == 0
        and weight.shape[1] % CHANNELS_PER_PANEL == 0
        and weight.shape[2:] == (3, 3)
        and library_or_none() is not None
    )


def convolve(
    images: Tensor, weight: Tensor, bias: Tensor | None, *, pooled: bool = False, rectified: bool = False
) -> tuple[Tensor, Tensor]:
    """Convolve images (N, C, H, W) with a weight (O, C, 3, 3), padding 1, and add the bias (O,).

    Returned are the outputs (N, O, H, W), channels last, and their sums, double (threads, 2, O). These are
    each channel's sum and sum of squares of the outputs, or of their positive parts if `rectified`. With
    `pooled` the outputs are the maxima of 2×2 windows, (N, O, H/2, W/2) rounded down, and the sums are those
    of the maxima.

    The caller has checked `supports`. Source: Lavin and Gray 2016, arXiv:1509.09308; see
    kernels/winograd.h.
    """
    outputs, sums = _Convolution.apply(images, weight, bias, None, pooled, rectified)  # type: ignore[no-untyped-call]
    return outputs, sums


@dataclass(frozen=True)
class Patches:
    """A first layer with fixed weights: activation(filters · 2×2 patch + bias) of pixels between 0 and 1.

    Beyond the right and the lower border pixels are zero, so the maps have the images' size.
    """

    filters: Tensor
    """The filters, float (O, C, 2, 2)."""
    bias: Tensor
    """The biases, float (O,)."""
    activation: Activation
    """The name of the activation function."""


def supports_patches(images: Tensor, patches: Patches, weight: Tensor) -> bool:
    """Say whether `convolve_patches` can take these images uint8 (N, H, W, C), patches and weight."""
    return (
        images.dtype == torch.uint8
        and patches.filters.dtype == torch.float32
        and patches.filters.shape[2:] == (2, 2)
        and _supports_weight(weight)
    )


def convolve_patches(
    images: Tensor, patches: Patches, weight: Tensor, *, pooled: bool = False
) -> tuple[Tensor, Tensor]:
    """Apply the layer `patches` to images uint8 (N, H, W, C) and convolve its maps; see `convolve`.

    The first layer's maps are the largest of all. They are never stored: they are computed again wherever
    they are needed. The caller has checked `supports_patches`.
    """
    outputs, sums = _Convolution.apply(images, weight, None, patches, pooled, False)  # type: ignore[no-untyped-call]
    return outputs, sums


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        patches: Patches | None,
        pooled: bool,
        rectified: bool,
    ) -> tuple[Tensor, Tensor]:
        layout = torch.channels_last if patches is None else torch.contiguous_format
        images = images.contiguous(memory_format=layout)
        weight = weight.contiguous(memory_format=torch.channels_last)
        call = _Call(images, weight, patches, backward=False)
        n, height, width, out_channels = call.n, call.height, call.width, len(weight)
        size = (height // 2, width // 2) if pooled else (height, width)
        outputs = torch.empty((n, out_channels, *size), memory_format=torch.channels_last)
        argmax = torch.empty((n, call.tiles, out_channels), dtype=torch.int32) if pooled else None
        sums = torch.zeros((call.threads, 2, out_channels), dtype=torch.float64)
        results = ConvolutionResults(
            bias=address_or_none(bias),
            output=outputs.data_ptr(),
            argmax=address_or_none(argmax),
            sums=sums.data_ptr(),
            rectified=rectified,
        )
        require_library().foveal_convolution(call.arguments, results)
        ctx.save_for_backward(images, weight, argmax)
        ctx.patches, ctx.has_bias = patches, bias is not None
        ctx.mark_non_differentiable(sums)
        return outputs, sums

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_output: Tensor,
        _grad_sums: Tensor,
    ) -> tuple[Tensor | None, Tensor, Tensor | None, None, None, None]:
        images, weight, argmax = ctx.saved_tensors
        grad_output = grad_output.contiguous(memory_format=torch.channels_last)
        grad_images = torch.empty_like(images) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight)
        grad_bias = torch.empty(len(weight)) if ctx.has_bias else None
        gradients = ConvolutionGradients(
            grad_output=grad_output.data_ptr(),
            argmax=address_or_none(argmax),
            grad_input=address_or_none(grad_images),
            grad_weight=grad_weight.data_ptr(),
            grad_bias=address_or_none(grad_bias),
        )
        call = _Call(images, weight, ctx.patches, backward=True)
        require_library().foveal_convolution_back(call.arguments, gradients)
        return grad_images, grad_weight, grad_bias, None, None, None


class _Call:
    """The arguments of both kernels. It keeps the tensors alive whose addresses they contain."""

    def __init__(self, images: Tensor, weight: Tensor, patches: Patches | None, *, backward: bool) -> None:
        if patches is None:
            self.n, channels, self.height, self.width = images.shape
            layer = FirstLayer()
        else:
            self.n, self.height, self.width, pixel_channels = images.shape
            channels = len(patches.filters)
            # (2, 2, C, O): the kernel reads a pixel and adds it to all maps at once.
            self._filters = patches.filters.permute(2, 3, 1, 0).contiguous()
            layer = FirstLayer(
                pixels=images.data_ptr(),
                channels=pixel_channels,
                filters=self._filters.data_ptr(),
                bias=patches.bias.data_ptr(),
                activation=ACTIVATION_CODES[patches.activation],
            )
        self.threads = torch.get_num_threads()
        self.tiles = -(-self.height // 4) * -(-self.width // 4)
        # Backward, each chunk reads and writes the weight's gradient once: wide layers take larger chunks.
        channel_tiles = max(MAX_CHANNEL_TILES, channels * len(weight)) if backward else MAX_CHANNEL_TILES
        self.arguments = Convolution(
            images=self.n,
            height=self.height,
            width=self.width,
            in_channels=channels,
            out_channels=len(weight),
            chunk=max(1, channel_tiles // ((channels + len(weight)) * self.tiles)),
            input=images.data_ptr() if patches is None else None,
            layer=layer,
            weight=weight.data_ptr(),
            threads=self.threads,
        )
        self.arguments.memory = _allocate_memory(
            require_library().foveal_convolution_memory(self.arguments, backward)
        )


def _allocate_memory(size: int) -> int:
    """Return the address of working memory for `size` floats; it is reused, because fresh pages cost time."""
    memory: Tensor | None = getattr(_thread_local, "memory", None)
    if memory is None or memory.numel() < size:
        _thread_local.memory = memory = torch.empty(size)
    return memory.data_ptr()
