"""Optimizer steps by the kernels, which read and write each number once."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.engine.compiled import library_or_none, require_library
from foveal.engine.signatures import AdamSettings, RMSpropSettings
from foveal.engine.tensors import CHANNELS_PER_PANEL, is_float32_on_cpu


def supports(parameters: Sequence[Tensor]) -> bool:
    """Say whether the kernels can change these parameters."""
    return library_or_none() is not None and all(
        is_float32_on_cpu(parameter) and _is_dense(parameter) for parameter in parameters
    )


def _is_dense(parameter: Tensor) -> bool:
    """Say whether a parameter's numbers lie side by side; a user's own network may have gaps between them."""
    return parameter.is_contiguous() or parameter.is_contiguous(memory_format=torch.channels_last)


def step_rmsprop(
    parameters: Sequence[Tensor],
    squares: Sequence[Tensor],
    *,
    learning_rate: float,
    rho: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """Take a step of RMSprop with epsilon inside the root.

    The weights times `weight_decay` are added to the gradients. The caller has checked `supports`, and every
    parameter has a gradient.
    """
    settings = RMSpropSettings(learning_rate, rho, epsilon, weight_decay)
    library = require_library()
    for parameter, square in zip(parameters, squares, strict=True):
        library.foveal_rmsprop(settings, parameter.numel(), *_addresses(parameter, square))


def step_adam(
    parameters: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    *,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """Take a step of Adam with epsilon beside the uncorrected root.

    The learning rate contains the bias correction, and the weights times `weight_decay` are added to the
    gradients. The caller has checked `supports`, and every parameter has a gradient.
    """
    settings = AdamSettings(learning_rate, beta_1, beta_2, epsilon, weight_decay)
    library = require_library()
    for parameter, mean, square in zip(parameters, means, squares, strict=True):
        library.foveal_adam(settings, parameter.numel(), *_addresses(parameter, mean, square))


def supports_orthogonalisation(updates: Sequence[Tensor]) -> bool:
    """Say whether `orthogonalise` can take these updates (O, C, H, W)."""
    return supports(updates) and all(
        len(update) % CHANNELS_PER_PANEL == 0
        and update[0].numel() % CHANNELS_PER_PANEL == 0
        and len(update) <= update[0].numel()
        and update.is_contiguous(memory_format=torch.channels_last)
        for update in updates
    )


def orthogonalise(updates: Sequence[Tensor], iterations: int) -> list[Tensor]:
    """Bring updates (O, C, H, W), taken as matrices with O rows, near the orthogonal ones closest to them.

    The caller has checked `supports_orthogonalisation`. Source: Jordan 2024,
    kellerjordan.github.io/posts/muon.
    """
    matrices = [update.clone() for update in updates]
    shapes = [(len(matrix), matrix[0].numel()) for matrix in matrices]
    memory = [torch.empty(2 * rows * (rows + columns)) for rows, columns in shapes]
    longs = ctypes.c_long * len(matrices)
    pointers = ctypes.c_void_p * len(matrices)
    require_library().foveal_orthogonalise(
        len(matrices),
        longs(*(rows for rows, _ in shapes)),
        longs(*(columns for _, columns in shapes)),
        pointers(*(matrix.data_ptr() for matrix in matrices)),
        iterations,
        pointers(*(tensor.data_ptr() for tensor in memory)),
        torch.get_num_threads(),
    )
    return matrices


def _addresses(parameter: Tensor, *averages: Tensor) -> list[int]:
    """Return where a parameter, its gradient and its averages lie, all of them in the parameter's order."""
    assert parameter.grad is not None
    gradient = parameter.grad
    if gradient.stride() != parameter.stride():
        gradient = parameter.grad = torch.empty_like(parameter).copy_(gradient)
    assert all(average.stride() == parameter.stride() for average in averages)
    return [tensor.data_ptr() for tensor in (parameter, gradient, *averages)]
