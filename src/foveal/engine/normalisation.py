"""Batch normalisation with what stands around it, by the kernels, in few passes over memory."""

from typing import Any

import torch
from torch import Tensor, nn

from foveal.engine.compiled import loaded as kernels
from foveal.engine.convolution import CODES, PANEL, Activation


def fits(maps: Tensor) -> bool:
    """Say whether the kernels can normalise these maps (N, C, H, W)."""
    return (
        maps.dtype == torch.float32
        and maps.device.type == "cpu"
        and maps.shape[1] % PANEL == 0
        and kernels() is not None
    )


def normalise(
    maps: Tensor,
    norm: nn.BatchNorm2d,
    *,
    sums: Tensor | None = None,
    rectified: bool = False,
    pooled: bool = False,
    activation: Activation = "linear",
) -> Tensor:
    """Normalise maps (N, C, H, W) as `norm` would, with ReLU before, pooling and an activation after.

    In training the batch's statistics are used and `norm`'s moving averages follow them, the variance with
    Bessel's correction; in evaluation the moving averages are used. So they are, and stay, where the batch
    has a single number a channel: that has no variance.

    Args:
        maps: the maps, channels last.
        norm: scale, shift, moving averages, momentum and epsilon; it says whether this is training.
        sums: the maps' sums as `convolve` returns them, with the same `rectified`; None: take them here.
        rectified: whether ReLU comes before the normalisation.
        pooled: whether the maximum of 2×2 windows is taken after it.
        activation: what comes last.

    Returned are maps (N, C, H, W), or (N, C, H/2, W/2) rounded down if pooled, channels last.

    The caller has asked `fits`. Source: Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    maps = maps.contiguous(memory_format=torch.channels_last)
    n = maps.numel() // maps.shape[1]
    training = norm.training and n > 1
    if training:
        mean, variance = _moments(maps.detach(), sums, rectified)
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (n / (n - 1)), norm.momentum)
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked += 1
    else:
        mean, variance = norm.running_mean, norm.running_var
    deviation = torch.rsqrt(variance + norm.eps)  # its inverse
    result: Tensor = _Normalisation.apply(  # type: ignore[no-untyped-call]
        maps, norm.weight, norm.bias, mean, deviation, training, rectified, pooled, CODES[activation]
    )
    return result


def _moments(maps: Tensor, sums: Tensor | None, rectified: bool) -> tuple[Tensor, Tensor]:
    """Return mean and variance (C,) of maps."""
    n, channels, height, width = maps.shape
    count = n * height * width
    if sums is None:
        library, threads = kernels(), torch.get_num_threads()
        assert library is not None
        sums = torch.zeros((threads, 2, channels), dtype=torch.float64)
        library.foveal_sums(n, height * width, channels, threads, maps.data_ptr(), rectified, sums.data_ptr())
    mean, square = sums.sum(0) / count
    return mean.float(), (square - mean * mean).clamp_(min=0).float()


class _Normalisation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        maps: Tensor,
        weight: Tensor | None,
        bias: Tensor,
        mean: Tensor,
        deviation: Tensor,
        training: bool,
        rectified: bool,
        pooled: bool,
        activation: int,
    ) -> Tensor:
        library = kernels()
        assert library is not None
        n, channels, height, width = maps.shape
        made = (height // 2, width // 2) if pooled else (height, width)
        scale = deviation if weight is None else weight * deviation
        shift = bias - mean * scale
        outputs = torch.empty((n, channels, *made), memory_format=torch.channels_last)
        library.foveal_normalise(
            n,
            height,
            width,
            channels,
            torch.get_num_threads(),
            maps.data_ptr(),
            scale.data_ptr(),
            shift.data_ptr(),
            rectified,
            pooled,
            activation,
            outputs.data_ptr(),
        )
        ctx.save_for_backward(maps, mean, deviation, scale, shift)
        ctx.options = training, weight is not None, rectified, pooled, activation
        return outputs

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        slope: Tensor,
    ) -> tuple[Tensor | None, ...]:
        library = kernels()
        assert library is not None
        maps, mean, deviation, scale, shift = ctx.saved_tensors
        training, scaled, *options = ctx.options
        slope = slope.contiguous(memory_format=torch.channels_last)
        n, channels, height, width = maps.shape
        threads = torch.get_num_threads()
        sums = torch.zeros((threads, 2, channels), dtype=torch.float64)
        shape = (n, height, width, channels, threads, maps.data_ptr(), slope.data_ptr())
        vectors = (scale.data_ptr(), shift.data_ptr(), mean.data_ptr())
        library.foveal_normalise_back(*shape, *vectors, None, None, *options, sums.data_ptr(), None)
        bias_slope, products = sums.sum(0)
        weight_slope = products * deviation
        # In evaluation the statistics are constants: nothing flows back through them.
        count = n * height * width if training else torch.inf
        first = (bias_slope / count).float()
        second = (weight_slope * deviation / count).float()
        maps_slope = torch.empty_like(maps)
        library.foveal_normalise_back(
            *shape, *vectors, first.data_ptr(), second.data_ptr(), *options, None, maps_slope.data_ptr()
        )
        return (
            maps_slope,
            weight_slope.float() if scaled else None,
            bias_slope.float(),
            *[None] * 6,
        )
