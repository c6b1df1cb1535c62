"""3×3 convolutions with padding 1, by the kernels."""

import threading
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from foveal.engine.compiled import loaded as kernels

Activation = Literal["linear", "relu", "silu"]
CODES: dict[Activation, int] = {"linear": 0, "relu": 1, "silu": 2}
"""What the kernels call an activation."""
PANEL = 16
"""Channels the kernels handle at once."""
TOGETHER = 4096
"""Channels, in and out, times tiles of 4×4 pixels transformed together: 0.6 MB, what a core's cache holds."""

_local = threading.local()


def fits(images: Tensor, weight: Tensor) -> bool:
    """Say whether the kernels can convolve these images (N, C, H, W) with weights (O, C, 3, 3), padding 1."""
    return images.dtype == torch.float32 and images.device.type == "cpu" and _weight_fits(weight)


def _weight_fits(weight: Tensor) -> bool:
    return (
        weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and weight.shape[0] % PANEL == 0
        and weight.shape[1] % PANEL == 0
        and weight.shape[2:] == (3, 3)
        and kernels() is not None
    )


def convolve(
    images: Tensor, weight: Tensor, bias: Tensor | None, *, pooled: bool = False, rectified: bool = False
) -> tuple[Tensor, Tensor]:
    """Convolve images (N, C, H, W) with weights (O, C, 3, 3), padding 1, and add the bias (O,).

    Returned are the outputs (N, O, H, W), channels last, and their sums: double (threads, 2, O), for each
    channel the sum and the sum of squares of the outputs, or of their positive parts if `rectified`. With
    `pooled` the outputs are the maxima of 2×2 windows, (N, O, H/2, W/2) rounded down, and the sums are
    theirs.

    The caller has asked `fits`. Source: Lavin and Gray 2016, arXiv:1509.09308; see kernels.c.
    """
    outputs, sums = _Convolution.apply(images, weight, bias, None, pooled, rectified)  # type: ignore[no-untyped-call]
    return outputs, sums


@dataclass(frozen=True)
class Patches:
    """A first layer with fixed weights: act(filters · 2×2 patch + bias) of pixels between 0 and 1.

    Beyond the right and the lower border a patch is zero, so maps keep the images' size.
    """

    filters: Tensor
    """float (O, C, 2, 2)."""
    bias: Tensor
    """float (O,)."""
    activation: Activation


def patches_fit(images: Tensor, patches: Patches, weight: Tensor) -> bool:
    """Say whether the kernels can convolve what patches make of images uint8 (N, H, W, C)."""
    return (
        images.dtype == torch.uint8
        and patches.filters.dtype == torch.float32
        and patches.filters.shape[2:] == (2, 2)
        and _weight_fits(weight)
    )


def convolve_patches(
    images: Tensor, patches: Patches, weight: Tensor, *, pooled: bool = False
) -> tuple[Tensor, Tensor]:
    """Convolve what `patches` make of images uint8 (N, H, W, C); see `convolve`.

    The first layer's maps, larger than all that follows, are made again from the bytes where they are
    needed and never lie in memory. The caller has asked `patches_fit`.
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
        library = kernels()
        assert library is not None
        if patches is None:
            images = images.contiguous(memory_format=torch.channels_last)
            n, _, height, width = images.shape
        else:
            images = images.contiguous()
            n, height, width, _ = images.shape
        weight = weight.contiguous(memory_format=torch.channels_last)
        made = (height // 2, width // 2) if pooled else (height, width)
        outputs = torch.empty((n, weight.shape[0], *made), memory_format=torch.channels_last)
        tiles = -(-height // 4) * -(-width // 4)
        chosen = torch.empty((n, tiles, weight.shape[0]), dtype=torch.int32) if pooled else None
        call = _Call(images, weight, patches, backward=False)
        sums = torch.zeros((call.threads, 2, weight.shape[0]), dtype=torch.float64)
        library.foveal_convolution(
            *call.arguments,
            weight.data_ptr(),
            _pointer(bias),
            rectified,
            outputs.data_ptr(),
            _pointer(chosen),
            sums.data_ptr(),
            call.memory(),
        )
        ctx.save_for_backward(images, weight, chosen)
        ctx.patches, ctx.biased = patches, bias is not None
        ctx.mark_non_differentiable(sums)
        return outputs, sums

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        slope: Tensor,
        _sums: Tensor,
    ) -> tuple[Tensor | None, Tensor, Tensor | None, None, None, None]:
        library = kernels()
        assert library is not None
        images, weight, chosen = ctx.saved_tensors
        slope = slope.contiguous(memory_format=torch.channels_last)
        images_slope = torch.empty_like(images) if ctx.needs_input_grad[0] else None
        weight_slope = torch.empty_like(weight)
        bias_slope = torch.empty(weight.shape[0]) if ctx.biased else None
        call = _Call(images, weight, ctx.patches, backward=True)
        library.foveal_convolution_back(
            *call.arguments,
            weight.data_ptr(),
            slope.data_ptr(),
            _pointer(chosen),
            _pointer(images_slope),
            weight_slope.data_ptr(),
            _pointer(bias_slope),
            call.memory(),
        )
        return images_slope, weight_slope, bias_slope, None, None, None


class _Call:
    """What both kernels are told of their input. It keeps the tensors alive whose addresses it hands on."""

    def __init__(self, images: Tensor, weight: Tensor, patches: Patches | None, *, backward: bool) -> None:
        self.threads = torch.get_num_threads()
        if patches is None:
            n, channels, height, width = images.shape
            bytes_of = 0
            inputs: tuple[Any, ...] = (images.data_ptr(), None, 0, None, None, 0)
        else:
            n, height, width, bytes_of = images.shape
            channels = len(patches.filters)
            # (2, 2, C, O): the kernel reads a pixel and adds it to all maps at once.
            self.filters = patches.filters.permute(2, 3, 1, 0).contiguous()
            addresses = (self.filters.data_ptr(), patches.bias.data_ptr())
            inputs = (None, images.data_ptr(), bytes_of, *addresses, CODES[patches.activation])
        tiles = -(-height // 4) * -(-width // 4)
        # Backward each such set reads and writes the kernels' slopes once: wide layers take larger sets.
        room = max(TOGETHER, channels * weight.shape[0]) if backward else TOGETHER
        together = max(1, room // ((channels + weight.shape[0]) * tiles))  # images at a time
        shape = (n, height, width, channels, weight.shape[0], together, self.threads)
        self.arguments = (*shape, *inputs)
        self._sizes = (*shape, backward, bytes_of)

    def memory(self) -> int:
        """Return the address of enough working memory, kept for the next call: fresh pages cost time."""
        library = kernels()
        assert library is not None
        floats = library.foveal_convolution_memory(*self._sizes)
        kept: Tensor | None = getattr(_local, "memory", None)
        if kept is None or kept.numel() < floats:
            _local.memory = kept = torch.empty(floats)
        return kept.data_ptr()


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
