"""The learning rate by step; the decisions between epochs are compared with Keras' in tests/parity."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.training.schedules import Anneal

STEPS = st.integers(1, 400)
WARM_UP = st.floats(0, 0.99)


def test_without_warm_up_it_falls_in_a_straight_line() -> None:
    factors = [Anneal(warm_up=0.0).factor(step, 8) for step in range(8)]
    assert factors == pytest.approx([1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_with_warm_up_it_rises_first() -> None:
    factors = [Anneal(warm_up=0.5).factor(step, 6) for step in range(6)]
    assert factors == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 2 / 3, 1 / 3])


@given(STEPS, WARM_UP)
def test_every_step_is_taken_with_a_positive_share_of_the_rate(steps: int, warm_up: float) -> None:
    factors = [Anneal(warm_up=warm_up).factor(step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert warm_up > 0 or factors[0] == 1
    assert Anneal(warm_up=warm_up).factor(steps, steps) == 0  # the line's end, after the last step


@given(STEPS, WARM_UP)
def test_it_rises_then_falls(steps: int, warm_up: float) -> None:
    factors = [Anneal(warm_up=warm_up).factor(step, steps) for step in range(steps)]
    rising = [step for step in range(steps) if step / steps < warm_up]
    assert all(factors[a] < factors[b] for a, b in pairwise(rising))
    falling = factors[len(rising) :]
    assert all(a > b for a, b in pairwise(falling))
    assert not rising or not falling or factors[rising[-1]] <= 1
