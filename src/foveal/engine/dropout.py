"""Dropout by a kernel: the mask is a hash of place and seed, made while the numbers pass by."""

from typing import Any

import torch
from torch import Tensor

from foveal.engine.compiled import loaded as kernels


def fits(numbers: Tensor) -> bool:
    """Say whether the kernel can take these numbers."""
    return numbers.dtype == torch.float32 and numbers.device.type == "cpu" and kernels() is not None


def dropout(numbers: Tensor, rate: float) -> Tensor:
    """Zero each of the numbers with probability `rate` and scale the others by 1 / (1 − rate).

    The seed is drawn from torch's generator. The caller has asked `fits`. Source: Srivastava et al. 2014.
    """
    seed = int(torch.randint(2**32, ()))
    result: Tensor = _Dropout.apply(numbers, rate, seed)  # type: ignore[no-untyped-call]
    return result


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        numbers: Tensor,
        rate: float,
        seed: int,
    ) -> Tensor:
        ctx.options = rate, seed
        return _drop(numbers, rate, seed)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        slope: Tensor,
    ) -> tuple[Tensor, None, None]:
        return _drop(slope, *ctx.options), None, None


def _drop(numbers: Tensor, rate: float, seed: int) -> Tensor:
    library = kernels()
    assert library is not None
    numbers = numbers.contiguous()
    dropped = torch.empty_like(numbers)
    library.foveal_dropout(numbers.numel(), numbers.data_ptr(), seed, rate, dropped.data_ptr())
    return dropped
