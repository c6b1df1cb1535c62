"""Optimizer steps by the kernels: each number is read and written once."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.engine.compiled import loaded as kernels
from foveal.engine.convolution import PANEL


def fits(parameters: Sequence[Tensor]) -> bool:
    """Say whether the kernels can change these parameters."""
    return kernels() is not None and all(
        each.dtype == torch.float32 and each.device.type == "cpu" and _dense(each) for each in parameters
    )


def _dense(parameter: Tensor) -> bool:
    """Say whether a parameter's numbers lie side by side; in somebody's own network one may have holes."""
    return parameter.is_contiguous() or parameter.is_contiguous(memory_format=torch.channels_last)


def rmsprop(
    parameters: Sequence[Tensor],
    squares: Sequence[Tensor],
    *,
    rate: float,
    rho: float,
    epsilon: float,
    decay: float,
) -> None:
    """Take a step of RMSprop with epsilon inside the root; `decay` times the weights joins the gradients.

    The caller has asked `fits`, and every parameter has a gradient.
    """
    library = kernels()
    assert library is not None
    for each, square in zip(parameters, squares, strict=True):
        weights, gradient, mean_square = _pointers(each, square)
        library.foveal_rmsprop(each.numel(), weights, gradient, mean_square, rate, rho, epsilon, decay)


def adam(
    parameters: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    *,
    rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    decay: float,
) -> None:
    """Take a step of Adam with epsilon beside the uncorrected root; `rate` holds the bias correction.

    The caller has asked `fits`, and every parameter has a gradient.
    """
    library = kernels()
    assert library is not None
    for each, mean, square in zip(parameters, means, squares, strict=True):
        pointers = _pointers(each, mean, square)
        library.foveal_adam(each.numel(), *pointers, rate, beta_1, beta_2, epsilon, decay)


def orthogonal_fits(updates: Sequence[Tensor]) -> bool:
    """Say whether `orthogonalised` can take these updates (O, C, H, W)."""
    return fits(updates) and all(
        len(each) % PANEL == 0
        and each[0].numel() % PANEL == 0
        and len(each) <= each[0].numel()
        and each.is_contiguous(memory_format=torch.channels_last)
        for each in updates
    )


def orthogonalised(updates: Sequence[Tensor], iterations: int) -> list[Tensor]:
    """Bring updates (O, C, H, W), seen as matrices with O rows, near the orthogonal ones closest to them.

    The caller has asked `orthogonal_fits`. Source: Jordan 2024, kellerjordan.github.io/posts/muon.
    """
    library = kernels()
    assert library is not None
    made = [each.clone() for each in updates]
    shapes = [(len(each), each[0].numel()) for each in made]
    memory = [torch.empty(2 * rows * (rows + columns)) for rows, columns in shapes]
    numbers = ctypes.c_long * len(made)
    addresses = ctypes.c_void_p * len(made)
    library.foveal_orthogonalise(
        len(made),
        numbers(*(rows for rows, _ in shapes)),
        numbers(*(columns for _, columns in shapes)),
        addresses(*(each.data_ptr() for each in made)),
        iterations,
        addresses(*(each.data_ptr() for each in memory)),
        torch.get_num_threads(),
    )
    return made


def _pointers(parameter: Tensor, *averages: Tensor) -> list[int]:
    """Return where a parameter, its gradient and its averages lie, all of them in the parameter's order."""
    assert parameter.grad is not None
    gradient = parameter.grad
    if gradient.stride() != parameter.stride():
        gradient = parameter.grad = torch.empty_like(parameter).copy_(gradient)
    assert all(each.stride() == parameter.stride() for each in averages)
    return [each.data_ptr() for each in (parameter, gradient, *averages)]
