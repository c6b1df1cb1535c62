"""Winograd's convolutions against torch's in double precision."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal.engine.compiled import load_library, without_kernels
from foveal.engine.convolution import (
    ACTIVATION_CODES,
    MAX_CHANNEL_TILES,
    Activation,
    Patches,
    convolve,
    convolve_patches,
    supports,
    supports_patches,
)

pytestmark = pytest.mark.skipif(
    load_library().library is None, reason=f"no kernels: {load_library().description}"
)

TOLERANCE = 2e-5
"""Relative to the largest of the numbers: F(4×4, 3×3) loses about two digits of single precision."""
MANY = MAX_CHANNEL_TILES // (16 + 16) + 5
"""So many images of one tile that some are transformed together, and a rest is left."""
SHAPES = [
    *((2, 8, 8), (1, 1, 1), (3, 2, 3), (2, 3, 2), (1, 5, 9), (2, 7, 4), (2, 13, 6), (3, 1, 8)),
    *((MANY, 4, 4), (MANY // 2, 5, 8), (1, 48, 50)),
]
"""Images, height, width."""


class Case(NamedTuple):
    images: Tensor
    weight: Tensor
    bias: Tensor


class Outcome(NamedTuple):
    outputs: Tensor
    grad_images: Tensor
    grad_weight: Tensor
    grad_bias: Tensor | None


def case(n: int, height: int, width: int, channels: int = 16, out: int = 16, *, seed: int = 0) -> Case:
    """Random numbers, with a mean, as maps have after an activation."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(n, channels, height, width, generator=random) + 0.3
    weight = torch.randn(out, channels, 3, 3, generator=random) / (9 * channels) ** 0.5
    return Case(images, weight, torch.randn(out, generator=random))


def pooled_case(n: int, height: int, width: int, channels: int = 16, out: int = 16) -> Case:
    """Numbers of which no two in a window come so close that rounding could change the largest."""
    for seed in range(200):
        made = case(n, height, width, channels, out, seed=seed)
        maps = F.conv2d(made.images.double(), made.weight.double(), padding=1)
        windows = F.unfold(maps.flatten(0, 1)[:, None], 2, stride=2)  # (N·O, 4, windows)
        first, second = windows.topk(2, dim=1).values.unbind(1)
        if (first - second).min() > 2 * TOLERANCE * maps.abs().max():
            return made
    raise AssertionError("no such numbers; take fewer")


def random_gradients(like: Tensor, seed: int = 9) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def by_torch(given_: Case, *, pooled: bool = False, biased: bool = True) -> Outcome:
    images, weight, bias = (each.double().requires_grad_() for each in given_)
    maps = F.conv2d(images, weight, bias if biased else None, padding=1)
    maps = F.max_pool2d(maps, 2) if pooled else maps
    maps.backward(random_gradients(maps).double())
    assert images.grad is not None
    assert weight.grad is not None
    return Outcome(maps.detach(), images.grad, weight.grad, bias.grad)


def by_kernels(
    given_: Case, *, pooled: bool = False, biased: bool = True, rectified: bool = False
) -> tuple[Outcome, Tensor]:
    images, weight, bias = (each.clone().requires_grad_() for each in given_)
    assert supports(images, weight)
    maps, sums = convolve(images, weight, bias if biased else None, pooled=pooled, rectified=rectified)
    maps.backward(random_gradients(maps))
    assert images.grad is not None
    assert weight.grad is not None
    return Outcome(maps.detach(), images.grad, weight.grad, bias.grad), sums


def close(found: Tensor | None, expected: Tensor | None) -> None:
    assert (found is None) == (expected is None)
    if found is None or expected is None:
        return
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    if expected.numel():
        assert (found.double() - expected).abs().max() <= TOLERANCE * expected.abs().max()


def all_close(found: Outcome, expected: Outcome) -> None:
    for one, other in zip(found, expected, strict=True):
        close(one, other)


def right_sums(sums: Tensor, maps: Tensor, *, rectified: bool) -> None:
    """Sums and sums of squares of the maps that came with them."""
    values = maps.double().clamp(min=0) if rectified else maps.double()
    expected = torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    assert (sums.dtype, sums.shape[1:]) == (torch.float64, expected.shape)
    # The sums over a tile are in single precision, and their terms may cancel.
    assert (sums.sum(0) - expected).abs().max() <= 1e-5 * max(1.0, float(values.abs().sum((0, 2, 3)).max()))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
def test_outputs_and_derivatives_are_torchs(shape: tuple[int, int, int], biased: bool) -> None:
    given_ = case(*shape)
    found, sums = by_kernels(given_, biased=biased)
    all_close(found, by_torch(given_, biased=biased))
    right_sums(sums, found.outputs, rectified=False)


@pytest.mark.parametrize(
    "shape", [(2, 8, 8), (3, 2, 3), (2, 3, 2), (1, 5, 9), (5, 7, 6), (11, 4, 4)], ids=str
)
def test_pooled_outputs_and_derivatives_are_torchs(shape: tuple[int, int, int]) -> None:
    """Odd heights and widths round down."""
    given_ = pooled_case(*shape)
    found, sums = by_kernels(given_, pooled=True)
    all_close(found, by_torch(given_, pooled=True))
    right_sums(sums, found.outputs, rectified=False)


@pytest.mark.parametrize(("channels", "out"), [(16, 48), (48, 16), (32, 80), (80, 32)])
def test_any_number_of_panels(channels: int, out: int) -> None:
    """Products take two panels of outputs at a time, so an odd number leaves one."""
    given_ = case(3, 6, 5, channels, out)
    all_close(by_kernels(given_)[0], by_torch(given_))
    given_ = pooled_case(2, 4, 6, channels, out)
    all_close(by_kernels(given_, pooled=True)[0], by_torch(given_, pooled=True))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 14),
    st.integers(1, 14),
    st.sampled_from([16, 32]),
    st.sampled_from([16, 48]),
    st.integers(0, 2**32),
)
def test_any_shape(n: int, height: int, width: int, channels: int, out: int, seed: int) -> None:
    given_ = case(n, height, width, channels, out, seed=seed)
    found, sums = by_kernels(given_, rectified=True)
    all_close(found, by_torch(given_))
    right_sums(sums, found.outputs, rectified=True)


@pytest.mark.parametrize("pooled", [False, True])
def test_sums_may_be_of_the_positive_parts(pooled: bool) -> None:
    found, sums = by_kernels(case(5, 6, 7), pooled=pooled, rectified=True)
    assert (found.outputs < 0).any()  # so it matters
    right_sums(sums, found.outputs, rectified=True)


def test_equal_outputs_pool_to_the_first() -> None:
    """Weights of zero: all windows are ties, and the derivative goes to the upper left, as in torch."""
    given_ = Case(torch.ones(1, 16, 12, 12), torch.zeros(16, 16, 3, 3), torch.ones(16))
    images, weight, bias = (each.clone().requires_grad_() for each in given_)
    maps, _ = convolve(images, weight, bias, pooled=True)
    maps.backward(random_gradients(maps))
    expected = by_torch(given_, pooled=True)
    close(weight.grad, expected.grad_weight)


def test_images_that_need_no_derivative_get_none() -> None:
    given_ = case(3, 6, 7)
    images, weight, bias = given_.images, *(each.clone().requires_grad_() for each in given_[1:])
    maps, sums = convolve(images, weight, bias)
    maps.backward(random_gradients(maps))
    expected = by_torch(given_)
    assert not sums.requires_grad
    assert images.grad is None
    close(weight.grad, expected.grad_weight)
    close(bias.grad, expected.grad_bias)


def test_the_order_in_memory_does_not_matter() -> None:
    """Images, weights and gradients come as (N, C, H, W), channels last or as a view."""
    given_ = case(3, 6, 7)
    expected, _ = by_kernels(given_)
    wide = torch.zeros(3, 16, 6, 14)
    wide[..., ::2] = given_.images
    ways = [
        given_.images.contiguous(memory_format=torch.channels_last),
        given_.images.contiguous(),
        wide[..., ::2],
    ]
    for images in ways:
        found, _ = by_kernels(given_._replace(images=images))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    images, weight, bias = (each.clone().requires_grad_() for each in given_)
    maps, _ = convolve(images, weight.contiguous(memory_format=torch.channels_last), bias)
    maps.sum().backward()  # the gradient is one number, expanded
    plain, _ = convolve(given_.images, weight, bias)
    close(weight.grad, torch.autograd.grad(plain, weight, torch.ones(plain.shape))[0].double())


def test_no_images_give_no_outputs_and_derivatives_of_zero() -> None:
    found, sums = by_kernels(case(0, 4, 4))
    assert found.outputs.shape == (0, 16, 4, 4)
    assert not found.grad_weight.any()
    assert not sums.any()


@pytest.mark.parametrize("pooled", [False, True])
def test_bits_do_not_hang_on_what_was_done_before(pooled: bool) -> None:
    """Nor on the working memory's content, which a larger call leaves behind."""
    given_ = case(7, 9, 6, 32, 48)
    (first, sums) = by_kernels(given_, pooled=pooled)
    by_kernels(case(40, 12, 12, 48, 64, seed=5))
    for _ in range(3):
        again, again_sums = by_kernels(given_, pooled=pooled)
        assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))
        assert torch.equal(again_sums, sums)


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_any_number_of_threads(n: int, threads: Callable[[int], None]) -> None:
    """Also more of them than images. Each image's outputs are the same bits; sums are added otherwise."""
    given_ = case(n, 6, 7)
    results = []
    for number in (1, 2, 3):
        threads(number)
        found, sums = by_kernels(given_)
        again, again_sums = by_kernels(given_)
        assert all(torch.equal(a, b) for a, b in zip(again, found, strict=True))
        assert torch.equal(again_sums, sums)
        assert len(sums) == number
        right_sums(sums, found.outputs, rectified=False)
        all_close(found, by_torch(given_))
        results.append(found)
    assert all(torch.equal(each.outputs, results[0].outputs) for each in results)
    assert all(torch.equal(each.grad_images, results[0].grad_images) for each in results)


def test_what_is_not_finite_is_passed_on() -> None:
    """So that a run that diverged is stopped; a maximum that ignores NaN would hide it."""
    given_ = case(2, 6, 6)
    given_.weight[3] = torch.nan
    for rectified in (False, True):
        found, sums = by_kernels(given_, rectified=rectified)
        assert found.outputs[:, 3].isnan().all()
        assert sums[:, :, 3].isnan().any(0).all()
        assert found.grad_images.isnan().all()


def test_what_the_kernels_cannot_do_does_not_fit() -> None:
    images, weight, _ = case(2, 4, 4)
    assert supports(images, weight)
    assert not supports(images.double(), weight)
    assert not supports(images, weight.double())
    assert not supports(images[:, :8], weight[:, :8])
    assert not supports(images, weight[:8])
    assert not supports(images, torch.zeros(16, 16, 5, 5))
    assert not supports(images, torch.zeros(16, 16, 1, 1))
    assert not supports(images.to("meta"), weight.to("meta"))
    with without_kernels():
        assert not supports(images, weight)
    assert supports(images, weight)


# ---- a first layer from the bytes


def patches(channels: int, activation: Activation, filters: int = 16) -> Patches:
    random = torch.Generator().manual_seed(3)
    weight = torch.randn(filters, channels, 2, 2, generator=random)
    return Patches(weight, torch.randn(filters, generator=random), activation)


def maps_by_torch(images: Tensor, first: Patches) -> Tensor:
    pixels = images.permute(0, 3, 1, 2).double() / 255
    maps = F.conv2d(F.pad(pixels, (0, 1, 0, 1)), first.filters.double(), first.bias.double())
    return {"linear": maps, "relu": F.relu(maps), "silu": F.silu(maps)}[first.activation]


def pictures(n: int, height: int, width: int, channels: int, seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, height, width, channels), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("activation", ACTIVATION_CODES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 7), (1, 1, 1), (MANY, 4, 3)], ids=str)
def test_patches_are_padded_convolved_and_activated(
    activation: Activation, channels: int, shape: tuple[int, int, int]
) -> None:
    images, first = pictures(*shape, channels), patches(channels, activation)
    weight = case(*shape).weight.requires_grad_()
    assert supports_patches(images, first, weight)
    found, sums = convolve_patches(images, first, weight)
    found.backward(random_gradients(found))

    exact = weight.detach().double().requires_grad_()
    expected = F.conv2d(maps_by_torch(images, first), exact, padding=1)
    expected.backward(random_gradients(expected).double())
    close(found.detach(), expected.detach())
    close(weight.grad, exact.grad)
    right_sums(sums, found.detach(), rectified=False)


def test_patches_may_be_pooled() -> None:
    images, first = pictures(3, 7, 6, 3), patches(3, "silu")
    for seed in range(200):
        weight = case(3, 7, 6, seed=seed).weight.requires_grad_()
        exact = weight.detach().double().requires_grad_()
        maps = F.conv2d(maps_by_torch(images, first), exact, padding=1)
        windows = F.unfold(maps.detach().flatten(0, 1)[:, None], 2, stride=2).topk(2, dim=1).values
        if (windows[:, 0] - windows[:, 1]).min() > 2 * TOLERANCE * maps.abs().max():
            break
    expected = F.max_pool2d(maps, 2)
    expected.backward(random_gradients(expected).double())
    found, _ = convolve_patches(images, first, weight, pooled=True)
    found.backward(random_gradients(found))
    close(found.detach(), expected.detach())
    close(weight.grad, exact.grad)


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_activations_hold_far_from_zero(activation: Activation) -> None:
    """An identity after the first layer shows the activation itself, from −200 to 200."""
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    filters = torch.zeros(16, 1, 2, 2)
    filters[:, 0, 0, 0] = 400.0
    weight = torch.zeros(16, 16, 3, 3)
    weight[range(16), range(16), 1, 1] = 1.0
    bias = torch.full((16,), -200.0)
    found, _ = convolve_patches(images, Patches(filters, bias, activation), weight)
    expected = maps_by_torch(images, Patches(filters, bias, activation))
    close(found, expected)


def test_patches_that_do_not_fit() -> None:
    images, first, weight = pictures(1, 4, 4, 3), patches(3, "silu"), torch.zeros(16, 16, 3, 3)
    assert supports_patches(images, first, weight)
    assert not supports_patches(images.float(), first, weight)
    assert not supports_patches(images, Patches(first.filters.double(), first.bias, "silu"), weight)
    assert not supports_patches(images, Patches(torch.zeros(16, 3, 3, 3), first.bias, "silu"), weight)
    assert not supports_patches(images, first, torch.zeros(16, 12, 3, 3))
    with without_kernels():
        assert not supports_patches(images, first, weight)
