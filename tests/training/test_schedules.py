"""The learning rate by step; the decisions between epochs are compared with Keras' in tests/parity."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.training.schedules import BestEpoch, EarlyStopper, LinearAnneal, Progress, ReduceOnPlateau

STEPS = st.integers(1, 400)
WARM_UP = st.floats(0, 0.99)


def test_without_warm_up_it_falls_in_a_straight_line() -> None:
    factors = [LinearAnneal(warm_up=0.0).compute_factor(step / 8, 8) for step in range(8)]
    assert factors == pytest.approx([1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_with_warm_up_it_rises_first() -> None:
    factors = [LinearAnneal(warm_up=0.5).compute_factor(step / 6, 6) for step in range(6)]
    assert factors == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 2 / 3, 1 / 3])


@given(STEPS, WARM_UP)
def test_every_step_is_taken_with_a_positive_share_of_the_rate(steps: int, warm_up: float) -> None:
    factors = [LinearAnneal(warm_up=warm_up).compute_factor(step / steps, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert warm_up > 0 or factors[0] == 1
    assert (
        LinearAnneal(warm_up=warm_up).compute_factor(1.0, steps) == 0
    )  # the line's end, after the last step


@given(STEPS, WARM_UP)
def test_it_rises_then_falls(steps: int, warm_up: float) -> None:
    factors = [LinearAnneal(warm_up=warm_up).compute_factor(step / steps, steps) for step in range(steps)]
    rising = [step for step in range(steps) if step / steps < warm_up]
    assert all(factors[a] < factors[b] for a, b in pairwise(rising))
    falling = factors[len(rising) :]
    assert all(a > b for a, b in pairwise(falling))
    assert not rising or not falling or factors[rising[-1]] <= 1


def test_progress_runs_from_nothing_to_one() -> None:
    progress = Progress(steps=4)
    assert [progress.at(step) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]


def test_a_correction_bends_the_line_without_a_jump() -> None:
    progress = Progress(steps=10)
    progress.correct(5, 7)
    assert [progress.at(step) for step in (5, 6, 7)] == [0.5, 0.75, 1]
    progress.correct(6, 8)  # and once more
    assert [progress.at(step) for step in (6, 7, 8)] == [0.75, 0.875, 1]


def test_a_run_can_end_at_once() -> None:
    progress = Progress(steps=10)
    progress.correct(3, 3)
    assert progress.at(3) == 1


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 50)), max_size=8), STEPS)
def test_progress_never_falls_however_it_is_corrected(corrections: list[tuple[int, int]], steps: int) -> None:
    progress, step, last = Progress(steps=steps), 0, 0.0
    for ahead, left in corrections:
        for _ in range(ahead):
            assert last <= progress.at(step) <= 1
            last = progress.at(step)
            step += 1
        if step < progress.steps:
            progress.correct(step, step + left)
            assert progress.at(step) >= last


@given(st.lists(st.sampled_from([0.5, 0.4999, 0.6, 0.3, 0.30001, 1.0]), min_size=2, max_size=30), st.data())
def test_decisions_go_on_alike_from_their_saved_state(losses: list[float], data: st.DataObject) -> None:
    """Interrupted after any epoch, the state written as JSON and read into fresh objects."""

    def fresh() -> tuple[ReduceOnPlateau, EarlyStopper, BestEpoch]:
        return ReduceOnPlateau(factor=0.1, patience=2, min_delta=1e-3), EarlyStopper(patience=3), BestEpoch()

    def decide(
        objects: tuple[ReduceOnPlateau, EarlyStopper, BestEpoch], epoch: int, loss: float
    ) -> tuple[object, ...]:
        plateau, stopping, best = objects
        return plateau.update(loss, 1.0), stopping.update(loss), best.update(loss, epoch=epoch, step=epoch)

    whole, before, after = fresh(), fresh(), fresh()
    expected = [decide(whole, epoch, loss) for epoch, loss in enumerate(losses, start=1)]
    cut = data.draw(st.integers(0, len(losses)))
    found = [decide(before, epoch, loss) for epoch, loss in enumerate(losses[:cut], start=1)]
    for old, new in zip(before, after, strict=True):
        new.load_state_dict(json.loads(json.dumps(old.state_dict(), allow_nan=False)))  # type: ignore[attr-defined]
    found += [decide(after, epoch, loss) for epoch, loss in enumerate(losses[cut:], start=cut + 1)]
    assert found == expected
