"""Batch normalisation by the kernels, together with the ReLU, pooling and activation around it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from foveal.engine.compiled import library_or_none, require_library
from foveal.engine.convolution import ACTIVATION_CODES, Activation
from foveal.engine.signatures import Normalisation
from foveal.engine.tensors import CHANNELS_PER_PANEL, is_float32_on_cpu


def supports(maps: Tensor) -> bool:
    """Say whether the kernels can normalise these maps (N, C, H, W)."""
    return (
        is_float32_on_cpu(maps) and maps.shape[1] % CHANNELS_PER_PANEL == 0 and library_or_none() is not None
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

    In training the batch's statistics are used, and the moving averages of `norm` follow them, the variance
    with Bessel's correction. In evaluation the moving averages are used. They are also used, and stay, where
    the batch has a single number a channel, because that has no variance.

    Args:
        maps: the maps, channels last.
        norm: scale, shift, moving averages, momentum and epsilon; it says whether this is training.
        sums: the maps' sums as `convolve` returns them, with the same `rectified`; None: compute them here.
        rectified: whether ReLU comes before the normalisation.
        pooled: whether the maximum of 2×2 windows is taken after it.
        activation: what comes last.

    Returned are maps (N, C, H, W), or (N, C, H/2, W/2) rounded down if pooled, channels last.

    The caller has checked `supports`. Source: Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    maps = maps.contiguous(memory_format=torch.channels_last)
    count = maps.numel() // maps.shape[1]
    training = norm.training and count > 1
    if training:
        mean, variance = _compute_moments(maps.detach(), sums, rectified)
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked += 1
    else:
        mean, variance = norm.running_mean, norm.running_var
    inv_std = torch.rsqrt(variance + norm.eps)
    options = _Options(training, rectified, pooled, ACTIVATION_CODES[activation])
    normalised: Tensor = _Normalisation.apply(  # type: ignore[no-untyped-call]
        maps, norm.weight, norm.bias, mean, inv_std, options
    )
    return normalised


class _Options(NamedTuple):
    training: bool
    rectified: bool
    pooled: bool
    activation: int


def _compute_moments(maps: Tensor, sums: Tensor | None, rectified: bool) -> tuple[Tensor, Tensor]:
    """Return mean and variance (C,) of maps."""
    n, channels, height, width = maps.shape
    count = n * height * width
    if sums is None:
        threads = torch.get_num_threads()
        sums = torch.zeros((threads, 2, channels), dtype=torch.float64)
        require_library().foveal_channel_sums(
            n, height * width, channels, threads, maps.data_ptr(), rectified, sums.data_ptr()
        )
    mean, mean_square = sums.sum(0) / count
    return mean.float(), (mean_square - mean * mean).clamp_(min=0).float()


class _Normalisation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        maps: Tensor,
        weight: Tensor | None,
        bias: Tensor,
        mean: Tensor,
        inv_std: Tensor,
        options: _Options,
    ) -> Tensor:
        n, channels, height, width = maps.shape
        size = (height // 2, width // 2) if options.pooled else (height, width)
        scale = inv_std if weight is None else weight * inv_std
        shift = bias - mean * scale
        outputs = torch.empty((n, channels, *size), memory_format=torch.channels_last)
        require_library().foveal_normalise(_arguments(maps, scale, shift, options), outputs.data_ptr())
        ctx.save_for_backward(maps, mean, inv_std, scale, shift)
        ctx.options, ctx.has_weight = options, weight is not None
        return outputs

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_output: Tensor,
    ) -> tuple[Tensor, Tensor | None, Tensor, None, None, None]:
        maps, mean, inv_std, scale, shift = ctx.saved_tensors
        library, arguments = require_library(), _arguments(maps, scale, shift, ctx.options)
        grad_output = grad_output.contiguous(memory_format=torch.channels_last)
        sums = torch.zeros((arguments.threads, 2, len(scale)), dtype=torch.float64)
        library.foveal_normalise_back_sums(
            arguments, grad_output.data_ptr(), mean.data_ptr(), sums.data_ptr()
        )
        grad_bias, products = sums.sum(0)
        grad_weight = products * inv_std
        # In evaluation the statistics are constants: no gradient flows back through them.
        count = maps.numel() // len(scale) if ctx.options.training else torch.inf
        grad_mean = (grad_bias / count).float()
        projection = (grad_weight * inv_std / count).float()
        grad_maps = torch.empty_like(maps)
        vectors = (vector.data_ptr() for vector in (mean, grad_mean, projection))
        library.foveal_normalise_back(arguments, grad_output.data_ptr(), *vectors, grad_maps.data_ptr())
        return (
            grad_maps,
            grad_weight.float() if ctx.has_weight else None,
            grad_bias.float(),
            None,
            None,
            None,
        )


def _arguments(maps: Tensor, scale: Tensor, shift: Tensor, options: _Options) -> Normalisation:
    """Return what the kernels take in both directions; the caller keeps the tensors alive."""
    n, channels, height, width = maps.shape
    return Normalisation(
        images=n,
        height=height,
        width=width,
        channels=channels,
        input=maps.data_ptr(),
        scale=scale.data_ptr(),
        shift=shift.data_ptr(),
        rectified=options.rectified,
        pooled=options.pooled,
        activation=options.activation,
        threads=torch.get_num_threads(),
    )
