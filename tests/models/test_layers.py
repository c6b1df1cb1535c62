"""Our own layers: with the kernels and without them they say the same."""

import copy
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from foveal.engine.compiled import library_or_none, without_kernels
from foveal.models.layers import ConvolutionUnit, Dropout, FusedLayers


def maps_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.2


def results(unit: Any, maps: Tensor, trained: list[nn.Parameter]) -> list[Tensor]:
    maps = maps.clone().requires_grad_()
    found = unit(maps)
    slope = torch.randn(found.shape, generator=torch.Generator().manual_seed(9))
    return [found.detach(), *torch.autograd.grad(found, [maps, *trained], slope)]


def alike(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()


def convolution_unit(
    channels: int, width: int, *, pooled: bool, activation: Literal["relu", "silu"] = "silu"
) -> ConvolutionUnit:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unit = ConvolutionUnit(channels, width, pooled=pooled, activation=activation, momentum=0.4)
        nn.init.normal_(unit.norm.bias)
    return unit


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize(("channels", "width"), [(16, 32), (16, 8), (3, 16)])  # fits whole, not, in part
@pytest.mark.parametrize("training", [True, False])
def test_a_convolution_unit_is_its_layers(
    pooled: bool, activation: Literal["relu", "silu"], channels: int, width: int, training: bool
) -> None:
    unit = convolution_unit(channels, width, pooled=pooled, activation=activation).train(training)
    plain = copy.deepcopy(unit)
    layers = nn.Sequential(plain.convolution, plain.pooling, plain.norm, plain.activation)
    # One pair of numbers in a window never lies within rounding of another at this seed and size.
    maps = maps_of(3, channels, 6, 6)
    found = results(unit, maps, [unit.convolution.weight, unit.norm.bias])
    alike(found, results(layers, maps, [plain.convolution.weight, plain.norm.bias]))
    for mine, theirs in zip(unit.norm.buffers(), plain.norm.buffers(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_unit_s_scale_stays_one() -> None:
    unit = convolution_unit(16, 16, pooled=True)
    unit(maps_of(2, 16, 4, 4)).sum().backward()
    assert unit.norm.weight.grad is None
    assert (unit.norm.weight == 1).all()


@pytest.mark.parametrize("kernels", [True, False])
def test_a_unit_takes_a_single_number_a_channel(kernels: bool) -> None:
    """A last batch of one image whose maps are one pixel: there is no variance, and torch would refuse it."""
    unit = convolution_unit(16, 16, pooled=True).train()
    maps = maps_of(1, 16, 2, 2)
    expected = copy.deepcopy(unit).eval()(maps)
    before = copy.deepcopy(unit.norm.state_dict())
    if kernels:
        found = results(unit, maps, [unit.convolution.weight, unit.norm.bias])
    else:
        with without_kernels():
            found = results(unit, maps, [unit.convolution.weight, unit.norm.bias])
    assert all(each.isfinite().all() for each in found)
    alike(found[:1], [expected.detach()])
    assert all(torch.equal(each, before[name]) for name, each in unit.norm.state_dict().items())


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(("channels", "width"), [(16, 32), (3, 16), (3, 8)])
@pytest.mark.parametrize("training", [True, False])
def test_a_rectified_unit_is_its_layers(pooled: bool, channels: int, width: int, training: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(width, eps=1e-3),
            *([nn.MaxPool2d(2)] if pooled else []),
        ).train(training)
        nn.init.normal_(layers[2].weight)
    mine = copy.deepcopy(layers)
    unit = FusedLayers(mine[0], mine[2], pooled, list(mine))
    maps = maps_of(3, channels, 7, 6)
    alike(results(unit, maps, list(mine.parameters())), results(layers, maps, list(layers.parameters())))
    for one, other in zip(mine.buffers(), layers.buffers(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_dropout_is_nothing_in_evaluation_and_torchs_without_kernels() -> None:
    layer, numbers = Dropout(0.5), torch.ones(1000)
    assert layer.eval()(numbers) is numbers
    layer.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        expected = nn.functional.dropout(numbers, 0.5)
        torch.manual_seed(1)
        with without_kernels():
            assert torch.equal(layer(numbers), expected)
        torch.manual_seed(1)
        found = layer(numbers)
    assert set(found.tolist()) == {0.0, 2.0}
    if library_or_none() is not None:
        assert not torch.equal(found, expected)
