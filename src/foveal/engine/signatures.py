"""The kernels' C functions and structs for ctypes. The files in `kernels/` explain the fields."""

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import POINTER, Structure, c_float, c_int, c_long, c_void_p
from typing import Any

Fields = Sequence[tuple[str, type[Any]]]


def _fields(kind: type[Any], names: str) -> Fields:
    """Return struct fields of one type."""
    return [(name, kind) for name in names.split()]


class FirstLayer(Structure):
    """A first layer with fixed weights that is computed from the bytes of images."""

    _fields_ = (
        ("pixels", c_void_p),
        ("channels", c_long),
        *_fields(c_void_p, "filters bias"),
        ("activation", c_int),
    )


class Convolution(Structure):
    """What a convolution and its derivatives both take."""

    _fields_ = (
        *_fields(c_long, "images height width in_channels out_channels chunk"),
        ("input", c_void_p),
        ("layer", FirstLayer),
        *_fields(c_void_p, "weight memory"),
        ("threads", c_int),
    )


class ConvolutionResults(Structure):
    """What a convolution makes."""

    _fields_ = (*_fields(c_void_p, "bias output argmax sums"), ("rectified", c_int))


class ConvolutionGradients(Structure):
    """What the derivatives of a convolution take and make."""

    _fields_ = _fields(c_void_p, "grad_output argmax grad_input grad_weight grad_bias")


class Normalisation(Structure):
    """What a batch normalisation and its derivatives both take."""

    _fields_ = (
        *_fields(c_long, "images height width channels"),
        *_fields(c_void_p, "input scale shift"),
        *_fields(c_int, "rectified pooled activation threads"),
    )


class Crops(Structure):
    """The crops of a batch."""

    _fields_ = (
        *_fields(c_long, "images size channels shrink"),
        *_fields(c_void_p, "pixels indices source_rows source_columns output"),
        ("threads", c_int),
    )


class RMSpropSettings(Structure):
    """The settings of a step of RMSprop."""

    _fields_ = _fields(c_float, "learning_rate rho epsilon weight_decay")


class AdamSettings(Structure):
    """The settings of a step of Adam."""

    _fields_ = _fields(c_float, "learning_rate beta_1 beta_2 epsilon weight_decay")


SIGNATURES: Mapping[str, tuple[type[Any] | None, Sequence[type[Any]]]] = {
    "foveal_convolution_memory": (c_long, [POINTER(Convolution), c_int]),
    "foveal_convolution": (None, [POINTER(Convolution), POINTER(ConvolutionResults)]),
    "foveal_convolution_back": (None, [POINTER(Convolution), POINTER(ConvolutionGradients)]),
    "foveal_channel_sums": (None, [*[c_long] * 3, c_int, c_void_p, c_int, c_void_p]),
    "foveal_normalise": (None, [POINTER(Normalisation), c_void_p]),
    "foveal_normalise_back_sums": (None, [POINTER(Normalisation), *[c_void_p] * 3]),
    "foveal_normalise_back": (None, [POINTER(Normalisation), *[c_void_p] * 5]),
    "foveal_dropout": (None, [c_long, c_void_p, ctypes.c_uint32, c_float, c_void_p]),
    "foveal_gather_crops": (None, [POINTER(Crops)]),
    "foveal_orthogonalise": (None, [c_long, *[c_void_p] * 3, c_int, c_void_p, c_int]),
    "foveal_rmsprop": (None, [POINTER(RMSpropSettings), c_long, *[c_void_p] * 3]),
    "foveal_adam": (None, [POINTER(AdamSettings), c_long, *[c_void_p] * 4]),
}
"""The result's and the arguments' types of each C function."""
