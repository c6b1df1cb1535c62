"""Dropout by a kernel: the mask is a hash of place and seed and is never stored."""

from typing import Any

import torch
from torch import Tensor

from foveal.engine.compiled import library_or_none, require_library
from foveal.engine.tensors import is_float32_on_cpu


def supports(numbers: Tensor) -> bool:
    """Say whether the kernel can take these numbers."""
    return is_float32_on_cpu(numbers) and library_or_none() is not None


def dropout(numbers: Tensor, rate: float) -> Tensor:
    """Zero each of the numbers with probability `rate` and scale the others by 1 / (1 − rate).

    The seed is drawn from torch's generator. The caller has checked `supports`. Source: Srivastava et al.
    2014.
    """
    seed = int(torch.randint(2**32, ()))
    dropped: Tensor = _Dropout.apply(numbers, rate, seed)  # type: ignore[no-untyped-call]
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        numbers: Tensor,
        rate: float,
        seed: int,
    ) -> Tensor:
        ctx.rate, ctx.seed = rate, seed
        return _drop(numbers, rate, seed)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        grad_output: Tensor,
    ) -> tuple[Tensor, None, None]:
        return _drop(grad_output, ctx.rate, ctx.seed), None, None


def _drop(numbers: Tensor, rate: float, seed: int) -> Tensor:
    numbers = numbers.contiguous()
    dropped = torch.empty_like(numbers)
    require_library().foveal_dropout(numbers.numel(), numbers.data_ptr(), seed, rate, dropped.data_ptr())
    return dropped
