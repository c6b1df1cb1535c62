"""Dropout: how much is dropped, what is left, and that the derivative drops the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.engine.compiled import load_library, without_kernels
from foveal.engine.dropout import dropout, supports

pytestmark = pytest.mark.skipif(
    load_library().library is None, reason=f"no kernels: {load_library().description}"
)


def dropped(rate: float, *, seed: int = 0, shape: tuple[int, ...] = (1000, 1000)) -> torch.Tensor:
    torch.manual_seed(seed)
    return dropout(torch.ones(shape), rate)


@pytest.fixture(autouse=True)
def own_random_numbers() -> object:
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("rate", [0.05, 0.25, 0.5, 0.9])
def test_the_rate_is_kept_and_the_rest_scaled(rate: float) -> None:
    found = dropped(rate)
    assert set(found.unique().tolist()) == {0.0, float(torch.tensor(1.0) / (1 - torch.tensor(rate)))}
    bound = 5 * (rate * (1 - rate) / found.numel()) ** 0.5  # five standard deviations of a million coins
    assert abs(float((found == 0).float().mean()) - rate) < bound
    wide = 5 * (rate * (1 - rate) / 1000) ** 0.5
    for share in ((found == 0).float().mean(0), (found == 0).float().mean(1)):  # each row and column, too
        assert (share - rate).abs().max() < wide * 1.2


def test_neighbours_and_seeds_know_nothing_of_each_other() -> None:
    masks = [(dropped(0.5, seed=seed) == 0).float() * 2 - 1 for seed in (1, 2)]
    bound = 5 / 1000
    assert abs(float((masks[0] * masks[1]).mean())) < bound
    for lag in (1, 2, 16, 1000):
        flat = masks[0].flatten()
        assert abs(float((flat[:-lag] * flat[lag:]).mean())) < bound


def test_the_seed_alone_makes_the_mask() -> None:
    one = dropped(0.5, seed=3)
    assert torch.equal(dropped(0.5, seed=3), one)
    assert not torch.equal(dropped(0.5, seed=4), one)
    assert not torch.equal(dropout(torch.ones(1000, 1000), 0.5), one)  # the next from the same generator
    torch.manual_seed(3)
    numbers = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(dropout(numbers, 0.5), numbers * one)


def test_the_derivative_drops_the_same() -> None:
    numbers = torch.ones(100, 100, requires_grad=True)
    found = dropout(numbers, 0.3)
    grad_output = torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
    found.backward(grad_output)
    assert torch.equal(numbers.grad, found.detach() * grad_output)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.99), st.integers(0, 100), st.integers(0, 2**32))
def test_each_number_is_zero_or_scaled(rate: float, n: int, seed: int) -> None:
    torch.manual_seed(seed)
    numbers = torch.randn(n) + 10
    found = dropout(numbers, rate)
    kept = found != 0
    assert torch.allclose(found[kept], numbers[kept] / (1 - rate), rtol=1e-5)
    assert rate > 0 or kept.all()


def test_the_order_in_memory_does_not_matter() -> None:
    numbers = torch.arange(1.0, 13).reshape(3, 4)
    torch.manual_seed(0)
    plain = dropout(numbers, 0.5)
    torch.manual_seed(0)
    assert torch.equal(dropout(numbers.T.contiguous().T, 0.5), plain)


def test_what_the_kernel_cannot_do_does_not_fit() -> None:
    assert supports(torch.ones(3))
    assert not supports(torch.ones(3, dtype=torch.float64))
    assert not supports(torch.ones(3, device="meta"))
    with without_kernels():
        assert not supports(torch.ones(3))
