"""Optimizer steps by the kernels against their formulas in double precision and torch's own kernels."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal.engine.compiled import load_library, without_kernels
from foveal.engine.steps import (
    orthogonalise,
    step_adam,
    step_rmsprop,
    supports,
    supports_orthogonalisation,
)
from foveal.training import optimizers

pytestmark = pytest.mark.skipif(
    load_library().library is None, reason=f"no kernels: {load_library().description}"
)


def numbers(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameters() -> list[Tensor]:
    """Vectors, matrices and filters; plain and channels last in memory."""
    made = [
        numbers((7,), 1),
        numbers((5, 3), 2),
        numbers((4, 3, 3, 3), 4).contiguous(memory_format=torch.channels_last),
        numbers((), 5),
        numbers((2, 0), 6),
    ]
    return [each.requires_grad_() for each in made]


def set_gradients(trained: list[Tensor], step: int) -> None:
    """Gradients in the plain order, whatever the parameter's is."""
    for index, each in enumerate(trained):
        each.grad = numbers(tuple(each.shape), 100 * step + index).contiguous()


MAKERS: list[Callable[[list[Tensor]], optimizers.Optimizer]] = [
    lambda params: optimizers.RMSprop(
        [{"params": params, "weight_decay": 0.1}], lr=0.05, rho=0.9, epsilon=1e-7
    ),
    lambda params: optimizers.RMSprop([{"params": params}], lr=0.05, rho=0.0, epsilon=0.3),
    lambda params: optimizers.Adam(
        [{"params": params, "weight_decay": 0.1}], lr=0.05, beta_1=0.9, beta_2=0.999, epsilon=1e-7
    ),
    lambda params: optimizers.Adam([{"params": params}], lr=0.05, beta_1=0.5, beta_2=0.6, epsilon=0.3),
]


@pytest.mark.parametrize("make", MAKERS, ids=["rmsprop-decay", "rmsprop", "adam-decay", "adam"])
def test_steps_are_those_of_torchs_kernels(make: Callable[[list[Tensor]], optimizers.Optimizer]) -> None:
    one, other = parameters(), parameters()
    with_them, without_them = make(one), make(other)
    for step in range(5):
        set_gradients(one, step)
        set_gradients(other, step)
        assert supports(one)
        with_them.step()
        with without_kernels():
            assert not supports(other)
            without_them.step()
        for mine, theirs, start in zip(one, other, parameters(), strict=True):
            assert mine.stride() == start.stride()
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=5e-6)
            for name, average in without_them.state[theirs].items():
                torch.testing.assert_close(with_them.state[mine][name], average, rtol=1e-5, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40),
    st.floats(1e-5, 1.0),
    st.floats(0, 0.99),
    st.floats(1e-8, 1.0),
    st.floats(0, 0.5),
    st.integers(0, 1000),
)
def test_rmsprop_is_its_formula(
    n: int, rate: float, rho: float, epsilon: float, decay: float, seed: int
) -> None:
    weights, square = numbers((n,), seed), numbers((n,), seed + 1).square()
    weights.grad = numbers((n,), seed + 2)
    w, v, g = (each.double().clone() for each in (weights, square, weights.grad))
    g = g + decay * w
    v = rho * v + (1 - rho) * g**2
    w = w - rate * g / (v + epsilon).sqrt()
    step_rmsprop([weights], [square], learning_rate=rate, rho=rho, epsilon=epsilon, weight_decay=decay)
    torch.testing.assert_close(weights.double(), w, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(square.double(), v, rtol=1e-5, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.floats(1e-5, 1.0), st.floats(0, 0.99), st.floats(0, 0.99), st.integers(0, 1000))
def test_adam_is_its_formula(n: int, rate: float, beta_1: float, beta_2: float, seed: int) -> None:
    weights, mean = numbers((n,), seed), numbers((n,), seed + 1)
    square = numbers((n,), seed + 3).square() + 0.1
    weights.grad = numbers((n,), seed + 2)
    w, m, v, g = (each.double().clone() for each in (weights, mean, square, weights.grad))
    g = g + 0.2 * w
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g**2
    w = w - rate * m / (v.sqrt() + 1e-3)
    step_adam(
        [weights],
        [mean],
        [square],
        learning_rate=rate,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=1e-3,
        weight_decay=0.2,
    )
    for found, expected in ((weights, w), (mean, m), (square, v)):
        torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize(
    "step",
    [
        partial(step_rmsprop, learning_rate=0.1, rho=0.9, epsilon=1e-7, weight_decay=0.0),
        lambda each, square: step_adam(
            each,
            [torch.zeros_like(each[0])],
            square,
            learning_rate=0.1,
            beta_1=0.9,
            beta_2=0.9,
            epsilon=1e-7,
            weight_decay=0.0,
        ),
    ],
    ids=["rmsprop", "adam"],
)
def test_a_gradient_that_is_no_number_shows(step: Callable[[list[Tensor], list[Tensor]], None]) -> None:
    weights = torch.ones(20)
    weights.grad = torch.ones(20)
    weights.grad[7] = torch.nan
    step([weights], [torch.zeros(20)])
    assert weights.isnan().nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize("make", MAKERS)
def test_parameters_without_a_gradient_stay(make: Callable[[list[Tensor]], optimizers.Optimizer]) -> None:
    trained = parameters()
    optimizer = make(trained)
    optimizer.step()
    set_gradients(trained, 0)
    trained[1].grad = None
    optimizer.step()
    before = parameters()
    assert torch.equal(trained[1], before[1])
    assert not torch.equal(trained[0], before[0])


@pytest.mark.parametrize("make", MAKERS)
def test_a_parameter_with_holes_in_memory_is_left_to_torch(
    make: Callable[[list[Tensor]], optimizers.Optimizer],
) -> None:
    """As somebody's own network may have: the numbers between its own must stay."""
    whole = torch.ones(4, 8)
    trained = torch.nn.Parameter(whole[:, ::2])
    assert not supports([trained])
    optimizer = make([trained])
    trained.grad = torch.ones(4, 4)
    optimizer.step()
    assert (whole[:, 1::2] == 1).all()
    assert (whole[:, ::2] < 1).all()


def test_what_the_kernels_cannot_do_does_not_fit() -> None:
    assert supports(parameters())
    assert not supports([*parameters(), torch.ones(3, dtype=torch.float64)])
    assert not supports([torch.ones(3, device="meta")])


# ---- orthogonal


SHAPES = [(16, 16, 3, 3), (64, 32, 3, 3), (48, 16, 3, 3), (32, 64, 1, 1), (16, 16, 1, 1)]


def last(update: Tensor) -> Tensor:
    return update.contiguous(memory_format=torch.channels_last)


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("iterations", [1, 3, 5])
def test_orthogonal_updates_are_those_of_torchs_kernels(iterations: int) -> None:
    """Whatever their size; the updates themselves stay."""
    updates = [last(10.0**k * numbers(shape, k)) for k, shape in zip((-6, -1, 0, 1, 6), SHAPES, strict=True)]
    before = [each.clone() for each in updates]
    assert supports_orthogonalisation(updates)
    found = orthogonalise(updates, iterations)
    with without_kernels():
        assert not supports_orthogonalisation(updates)
        expected = optimizers.orthogonalise(updates, iterations)
    for one, other, update, old in zip(found, expected, updates, before, strict=True):
        close(one, other)
        assert one.stride() == update.stride()
        assert torch.equal(update, old)


def test_any_number_of_threads_makes_the_same_bits(threads: Callable[[int], None]) -> None:
    """Each matrix is one thread's alone."""
    updates = [last(numbers(shape, 1)) for shape in SHAPES]
    made = []
    for number in (1, 2, 3):
        threads(number)
        made.append(orthogonalise(updates, 3))
    for one, two, three in zip(*made, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_an_update_of_zeros_stays_one_and_what_is_not_finite_shows() -> None:
    assert not orthogonalise([last(torch.zeros(16, 16, 3, 3))], 3)[0].any()
    update = last(numbers((16, 16, 3, 3), 0))
    update[3, 2, 1, 0] = torch.nan
    assert orthogonalise([update], 3)[0].isnan().any()


def test_any_order_in_memory_gives_the_same() -> None:
    update = numbers((32, 16, 3, 3), 4)
    (expected,) = orthogonalise([last(update)], 3)
    for each in (update, update.transpose(0, 1).contiguous().transpose(0, 1)):
        (found,) = optimizers.orthogonalise([each], 3)
        close(found, expected)


def test_which_updates_do_not_fit() -> None:
    fitting = last(torch.zeros(16, 16, 3, 3))
    assert supports_orthogonalisation([fitting])
    for shape in ((8, 16, 3, 3), (16, 3, 3, 3), (64, 16, 1, 1)):
        update = last(numbers(shape, 1))
        assert not supports_orthogonalisation([fitting, update])
        assert optimizers.orthogonalise([update], 3)[0].shape == shape
    assert not supports_orthogonalisation([fitting.double()])
    assert not supports_orthogonalisation([fitting.contiguous()])
