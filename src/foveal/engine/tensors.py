"""What the kernels ask of tensors."""

import torch
from torch import Tensor

CHANNELS_PER_PANEL = 16
"""The kernels compute this many channels at once, so numbers of channels are multiples of it."""


def is_float32_on_cpu(tensor: Tensor) -> bool:
    """Say whether a tensor holds single-precision numbers in the processor's memory."""
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def address_or_none(tensor: Tensor | None) -> int | None:
    """Return where a tensor's numbers begin in memory; None stands for C's null."""
    return None if tensor is None else tensor.data_ptr()
