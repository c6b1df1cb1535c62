"""Batch normalisation with its neighbours against torch's layers in double precision."""

import copy
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.engine.compiled import load_library, without_kernels
from foveal.engine.convolution import ACTIVATION_CODES, Activation, convolve
from foveal.engine.normalisation import normalise, supports

pytestmark = pytest.mark.skipif(
    load_library().library is None, reason=f"no kernels: {load_library().description}"
)

TOLERANCE = 1e-5
"""Relative to the largest of the numbers."""
OPTIONS = [
    {"rectified": rectified, "pooled": pooled, "activation": activation}
    for rectified, pooled, activation in product([False, True], [False, True], ACTIVATION_CODES)
]


def maps_of(n: int, channels: int, height: int, width: int, *, seed: int = 0) -> Tensor:
    """Multiples of 1/32: neighbours are equal or far enough apart for rounding to change no maximum."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(-60, 100, (n, channels, height, width), generator=random) / 32


def norm_of(channels: int, *, seed: int = 0, scaled: bool = True) -> nn.BatchNorm2d:
    """Scales of both signs, and moving averages that are not those of the beginning."""
    random = torch.Generator().manual_seed(seed)
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels, generator=random) + 0.5)
        norm.bias.copy_(torch.randn(channels, generator=random))
        norm.running_mean.copy_(torch.randn(channels, generator=random))
        norm.running_var.copy_(torch.rand(channels, generator=random) + 0.5)
    norm.weight.requires_grad_(scaled)
    return norm


def by_torch(
    maps: Tensor, norm: nn.BatchNorm2d, *, rectified: bool, pooled: bool, activation: Activation
) -> Tensor:
    maps = norm(F.relu(maps) if rectified else maps)
    maps = F.max_pool2d(maps, 2) if pooled else maps
    return {"linear": maps, "relu": F.relu(maps), "silu": F.silu(maps)}[activation]


def random_gradients(like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(9))


def close(found: Tensor | None, expected: Tensor | None, tolerance: float = TOLERANCE) -> None:
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.dtype == torch.float32
        assert found.shape == expected.shape
        assert (found.double() - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-3)


def compare(maps: Tensor, norm: nn.BatchNorm2d, *, sums: Tensor | None = None, **options: Any) -> None:
    """Outputs, moving averages and all derivatives."""
    exact, exact_norm = maps.detach().double().requires_grad_(), copy.deepcopy(norm).double()
    expected = by_torch(exact, exact_norm, **options)
    expected.backward(random_gradients(expected).double())

    single = maps.detach().clone().requires_grad_()
    assert supports(single)
    found = normalise(single, norm, sums=sums, **options)
    found.backward(random_gradients(found))

    close(found.detach(), expected.detach())
    close(single.grad, exact.grad)
    close(norm.weight.grad, exact_norm.weight.grad)
    close(norm.bias.grad, exact_norm.bias.grad)
    close(norm.running_mean, exact_norm.running_mean)
    close(norm.running_var, exact_norm.running_var)
    assert norm.num_batches_tracked == exact_norm.num_batches_tracked


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_it_is_torchs_layers_in_one(options: dict[str, Any], training: bool) -> None:
    """Odd sizes: what no window covers takes part in the statistics and gets its share of the derivative."""
    for shape in ((3, 16, 6, 8), (2, 32, 5, 7), (2, 16, 2, 3), (1, 16, 3, 2)):
        compare(maps_of(*shape), norm_of(shape[1]).train(training), **options)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(2, 9),
    st.integers(2, 9),
    st.booleans(),
    st.sampled_from(OPTIONS),
    st.integers(0, 2**32),
)
def test_any_shape(
    n: int, panels: int, height: int, width: int, scaled: bool, options: dict[str, Any], seed: int
) -> None:
    channels = 16 * panels
    compare(
        maps_of(n, channels, height, width, seed=seed), norm_of(channels, seed=seed, scaled=scaled), **options
    )


def test_without_a_scale_to_learn() -> None:
    compare(maps_of(3, 16, 4, 4), norm_of(16, scaled=False), rectified=False, pooled=False, activation="silu")


@pytest.mark.parametrize("rectified", [False, True])
def test_sums_that_come_with_the_maps(rectified: bool) -> None:
    """The convolution's own sums take the place of another pass."""
    random = torch.Generator().manual_seed(1)
    images = torch.randn(5, 16, 6, 6, generator=random)
    weight = torch.randn(32, 16, 3, 3, generator=random) / 12
    maps, sums = convolve(images, weight, None, rectified=rectified)
    compare(maps, norm_of(32), sums=sums, rectified=rectified, pooled=False, activation="silu")


def test_given_sums_are_believed() -> None:
    maps = maps_of(2, 16, 4, 4)
    sums = torch.zeros(1, 2, 16, dtype=torch.float64)
    sums[0, 0], sums[0, 1] = 32 * 3.0, 32 * 13.0  # mean 3, variance 4
    norm = nn.BatchNorm2d(16, eps=0.0)
    close(normalise(maps, norm, sums=sums).detach(), (maps.double() - 3) / 2)


def test_the_moving_variance_is_without_bias() -> None:
    """Bessel's correction, n / (n − 1): for eight numbers far from nothing."""
    maps, norm = maps_of(2, 16, 2, 2), nn.BatchNorm2d(16, momentum=1.0)
    normalise(maps, norm)
    numbers = maps.transpose(0, 1).flatten(1).double()
    close(norm.running_var, numbers.var(1, correction=1))
    assert (norm.running_var.double() - numbers.var(1, correction=0)).abs().max() > 0.1


def test_evaluation_leaves_the_moving_averages_alone() -> None:
    norm = norm_of(16).eval()
    before = {name: each.clone() for name, each in norm.state_dict().items()}
    normalise(maps_of(2, 16, 4, 4), norm)
    assert all(torch.equal(each, before[name]) for name, each in norm.state_dict().items())


@pytest.mark.parametrize("scale", [1.5, -1.5])
def test_equal_numbers_pool_to_the_first(scale: float) -> None:
    """After ReLU many windows hold several zeros; under a negative scale they are the largest."""
    maps = torch.tensor([[-1.0, -2.0], [0.0, -3.0]]).expand(2, 16, 2, 2).clone()
    maps[1, :, 1, 1] = 5.0  # else there would be no variance
    norm = nn.BatchNorm2d(16)
    nn.init.constant_(norm.weight, scale)
    norm.eval()  # so that a derivative goes where the maximum was and nowhere else
    compare(maps, norm, rectified=True, pooled=True, activation="linear")
    positive = maps.abs().clamp(min=4).requires_grad_()  # 4 everywhere, but 5 in one place
    normalise(positive, norm, pooled=True).sum().backward()
    places = positive.grad[1, 0].flatten().nonzero().flatten().tolist()
    assert places == ([3] if scale > 0 else [0])


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_an_activation_is_exact_to_single_precision(activation: Activation) -> None:
    """Each number by itself: from far below zero, where silu fades, to far above."""
    values = torch.cat([torch.linspace(-120, 120, 4001), torch.linspace(-2, 2, 999)])
    maps = values.expand(1, 16, 1, 5000).clone().requires_grad_()
    norm = nn.BatchNorm2d(16, eps=0.0).eval()
    found = normalise(maps, norm, activation=activation)
    found.sum().backward()
    exact = maps.detach().double().requires_grad_()
    expected = F.relu(exact) if activation == "relu" else F.silu(exact)
    expected.sum().backward()
    assert ((found - expected).abs() <= 1e-6 * expected.abs() + 1e-30).all()
    assert ((maps.grad - exact.grad).abs() <= 2e-6 * exact.grad.abs() + 1e-6).all()


def test_a_single_number_a_channel_has_no_variance() -> None:
    """Torch refuses it in training. Here the moving averages serve, as in evaluation, and stay."""
    maps = maps_of(1, 16, 1, 1).requires_grad_()
    norm = norm_of(16).train()
    before = {name: each.clone() for name, each in norm.state_dict().items()}
    found = normalise(maps, norm, activation="silu")
    found.sum().backward()
    assert torch.equal(found, normalise(maps, copy.deepcopy(norm).eval(), activation="silu"))
    assert maps.grad.isfinite().all()
    assert norm.bias.grad.isfinite().all()
    assert all(torch.equal(each, before[name]) for name, each in norm.state_dict().items())


def test_equal_numbers_have_a_variance_of_zero() -> None:
    """Rounding must not make it negative, for then its root would be no number."""
    norm = nn.BatchNorm2d(16, eps=1e-12)
    for value in (0.1, 0.3, 1e3 / 3, -7.7):
        found = normalise(torch.full((7, 16, 5, 3), value), norm)
        assert found.isfinite().all()
        assert norm.running_var.isfinite().all()
        assert (norm.running_var >= 0).all()


def test_what_is_not_finite_is_passed_on() -> None:
    """Through ReLU, too: so that a run that diverged is stopped."""
    for options in OPTIONS:
        for value in (torch.nan, torch.inf):
            maps = maps_of(2, 16, 4, 4)
            maps[1, 5, 2, 2] = value
            norm = norm_of(16)
            found = normalise(maps, norm, **options)
            assert found[:, 5].isnan().any(), options
            assert found[:, :5].isfinite().all()
            assert not norm.running_var[5].isfinite()


@pytest.mark.parametrize("options", OPTIONS[::5], ids=str)
def test_any_number_of_threads(options: dict[str, Any], threads: Callable[[int], None]) -> None:
    """The same number gives the same bits, another one the same up to rounding."""
    for number in (1, 2, 3):
        threads(number)
        compare(maps_of(5, 32, 5, 4), norm_of(32), **options)
        results = []
        for _ in range(2):
            maps, norm = maps_of(5, 32, 5, 4).requires_grad_(), norm_of(32)
            found = normalise(maps, norm, **options)
            found.backward(random_gradients(found))
            results.append([found, maps.grad, norm.weight.grad, norm.bias.grad, norm.running_var])
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_the_order_in_memory_does_not_matter() -> None:
    maps, norm = maps_of(3, 16, 4, 6), norm_of(16)
    last = maps.contiguous(memory_format=torch.channels_last)
    assert torch.equal(normalise(last, copy.deepcopy(norm)), normalise(maps, norm))


def test_what_the_kernels_cannot_do_does_not_fit() -> None:
    maps = maps_of(1, 16, 2, 2)
    assert supports(maps)
    assert not supports(maps.double())
    assert not supports(maps[:, :8])
    assert not supports(maps.to("meta"))
    with without_kernels():
        assert not supports(maps)
