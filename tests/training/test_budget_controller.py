"""Budgets are played through on a clock of the test's own."""

from collections.abc import Callable

import pytest

from foveal.files.events import (
    BudgetCorrected,
    Created,
    Planned,
    PlannedPace,
    Resumed,
    RolledBack,
    TrainingInterrupted,
)
from foveal.training.budget_controller import MAX_EVALUATION_SLOWDOWN, BudgetController, Pace, replay_budget
from foveal.training.schedules import Progress

SECONDS, RESERVE = 100.0, 10.0


def budget(**options: float) -> BudgetController:
    pace = Pace(low=0.05, full=0.1, share=0.4)
    return BudgetController(
        seconds=SECONDS,
        reserve=RESERVE / 2,
        evaluation_seconds=RESERVE / 2,
        pace=pace,
        max_steps=int(options.get("max_steps", 10**6)),
    )


def play(
    controller: BudgetController, progress: Progress, *, slow: Callable[[float], float] = lambda _now: 1.0
) -> tuple[float, int, dict[int, int]]:
    """Train on a clock whose steps take `slow` times as long; return the end, the steps, the corrections."""
    now, step, corrections = 0.0, 0, {}
    while step < progress.steps:
        at = progress.at(step)
        now += (controller.pace.low if at < controller.pace.share else controller.pace.full) * slow(now)
        step += 1
        steps = controller.update(now, step, progress)
        if steps is not None:
            corrections[step] = steps
            progress.correct(step, steps)
    return now, step, corrections


def due(controller: BudgetController) -> int:
    return int((SECONDS - RESERVE) / controller.pace.compute_mean_seconds(0, 1))


def test_a_pace_is_the_mean_over_both_resolutions() -> None:
    pace = Pace(low=1, full=3, share=0.5)
    assert pace.compute_mean_seconds(0, 1) == 2
    assert pace.compute_mean_seconds(0.5, 1) == 3
    assert pace.compute_mean_seconds(0.25, 0.75) == 2
    assert pace.compute_mean_seconds(0, 0.5) == 1
    assert Pace(low=1, full=3, share=0).compute_mean_seconds(0, 1) == 3


def test_what_goes_as_planned_is_left_alone() -> None:
    controller = budget()
    end, steps, corrections = play(controller, Progress(steps=due(controller)))
    assert corrections == {}
    assert steps == due(controller)
    assert end == pytest.approx(SECONDS - RESERVE, abs=0.2)


@pytest.mark.parametrize("factor", [0.5, 1.1, 2.0, 5.0])
@pytest.mark.parametrize("since", [0.0, 30.0, 80.0])
def test_it_ends_in_time_whenever_the_machine_slows_down(factor: float, since: float) -> None:
    controller = budget()
    progress = Progress(steps=due(controller))
    end, steps, corrections = play(controller, progress, slow=lambda now: factor if now >= since else 1.0)
    assert corrections
    assert progress.at(steps) == 1  # so the learning rate was carried to its end
    # What comes after the last step is slower, too. Where that alone takes longer than the rest of the
    # budget, training ends as soon as it is seen.
    end_due = SECONDS - RESERVE / 2 - RESERVE / 2 * min(max(1, controller.slowdown), MAX_EVALUATION_SLOWDOWN)
    assert end <= max(end_due, since) + 3
    assert end >= end_due - 3


def test_a_hiccup_is_no_reason_to_end_early() -> None:
    controller = budget()
    end, _, _ = play(
        controller, Progress(steps=due(controller)), slow=lambda now: 20.0 if 40 <= now <= 45 else 1.0
    )
    assert SECONDS * 0.97 <= end + RESERVE <= SECONDS * 1.01


def test_validating_between_epochs_is_no_slowness() -> None:
    controller, progress = budget(), Progress(steps=due(budget()))
    now, step = 0.0, 0
    while step < progress.steps and now < 60:
        now += controller.pace.low if progress.at(step) < controller.pace.share else controller.pace.full
        step += 1
        controller.update(now, step, progress)
        if step % 50 == 0:
            controller.pause(0.1)
            now += 0.1
    assert controller.slowdown == pytest.approx(1)


@pytest.mark.parametrize("epoch", [3, 40, 400])
def test_what_passes_between_epochs_is_planned_for(epoch: int) -> None:
    """However short epochs are: training is annealed to its end, not cut off at the deadline."""
    controller, progress = budget(), Progress(steps=due(budget()))
    now, step, reached, each = 0.0, 0, 0.0, 0.02 * epoch
    while step < progress.steps:
        now += controller.pace.low if progress.at(step) < controller.pace.share else controller.pace.full
        step += 1
        reached = progress.at(step)
        if (steps := controller.update(now, step, progress)) is not None:
            progress.correct(step, steps)
        if step % epoch == 0:
            controller.pause(each)
            now += each
    assert reached > 0.99  # before the last correction, which may end it
    assert SECONDS * 0.95 - RESERVE <= now <= SECONDS * 1.01 - RESERVE + each


def test_never_more_steps_than_help() -> None:
    controller = budget(max_steps=due(budget()))
    end, steps, _ = play(controller, Progress(steps=due(controller)), slow=lambda _now: 0.25)
    assert steps == due(controller)
    assert end < SECONDS / 2


def test_a_budget_that_is_spent_ends_training_at_once() -> None:
    controller, progress = budget(), Progress(steps=1000)
    assert controller.update(SECONDS - RESERVE - 1, 1, progress) is None
    assert controller.update(SECONDS - RESERVE + 1, 2, progress) == 2


def test_decisions_are_replayed_from_the_journal() -> None:
    """With the journal at hand the clock counts no longer: not before its last entry."""

    def slow(now: float) -> float:
        return 3.0 if now > 20 else 1.0

    first = Progress(steps=1000)
    _, steps, corrections = play(budget(), first, slow=slow)
    assert len(corrections) > 1
    controller, progress = budget(), Progress(steps=1000)
    controller.replay = dict(corrections)
    now, step = 0.0, 0
    while step < progress.steps:
        now, step = now + 1000.0, step + 1  # another clock
        corrected = controller.update(now, step, progress)
        if step > max(corrections):
            break
        if corrected is not None:
            progress.correct(step, corrected)
    assert (progress.steps, progress.corrected_at) == (steps, max(corrections))


def at(seconds: int) -> str:
    return f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}.000+00:00"


PLAN = Planned(
    time=at(3),
    seconds=100.0,
    seconds_spent=7.0,
    reserve_seconds=5.0,
    evaluation_seconds=2.0,
    max_steps=50,
    pace=PlannedPace(low=1.0, full=2.0, share=0.5),
    reasons=(),
    outlook="",
    includes_test=False,
)


def test_a_run_without_plan_has_no_budget() -> None:
    assert replay_budget([Created(time=at(0))]) is None


def test_the_journal_tells_what_is_spent_without_the_time_between_processes() -> None:
    found = replay_budget(
        [
            Created(time=at(0)),
            PLAN,
            BudgetCorrected(time=at(13), step=8, steps=40, slowdown=1.0),
            TrainingInterrupted(time=at(14), epoch=1, step=9),
            Resumed(time=at(600), epoch=1, step=9),
            BudgetCorrected(time=at(605), step=20, steps=30, slowdown=1.0),
            Resumed(time=at(900), epoch=1, step=20),
        ]
    )
    assert found is not None
    controller, spent = found
    assert spent == 7 + 11 + 5
    assert controller.replay == {8: 40, 20: 30}
    assert (controller.seconds, controller.reserve) == (100, 5)
    assert (controller.evaluation_seconds, controller.max_steps) == (2, 50)
    assert controller.pace == Pace(low=1, full=2, share=0.5)


def test_what_was_decided_before_going_back_counts_no_longer() -> None:
    found = replay_budget(
        [
            PLAN,
            BudgetCorrected(time=at(13), step=8, steps=40, slowdown=1.0),
            RolledBack(time=at(14), step=9, to=5),
            BudgetCorrected(time=at(15), step=6, steps=33, slowdown=1.0),
        ]
    )
    assert found is not None
    assert found[0].replay == {6: 33}
