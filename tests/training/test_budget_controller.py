"""Budgets are played through on a clock of the test's own."""

from collections.abc import Callable

import pytest

from foveal.training.budget_controller import SLOWER_END, BudgetController, Pace, replay_budget
from foveal.training.schedules import Progress

SECONDS, RESERVE = 100.0, 10.0


def budget(**options: float) -> BudgetController:
    pace = Pace(low=0.05, full=0.1, share=0.4)
    return BudgetController(
        seconds=SECONDS,
        reserve=RESERVE / 2,
        judging=RESERVE / 2,
        pace=pace,
        most=int(options.get("most", 10**6)),
    )


def play(
    kept: BudgetController, course: Progress, *, slow: Callable[[float], float] = lambda _now: 1.0
) -> tuple[float, int, dict[int, int]]:
    """Train on a clock whose steps take `slow` times as long; return the end, the steps, the corrections."""
    now, step, corrections = 0.0, 0, {}
    while step < course.steps:
        at = course.progress(step)
        now += (kept.pace.low if at < kept.pace.share else kept.pace.full) * slow(now)
        step += 1
        steps = kept.update(now, step, course)
        if steps is not None:
            corrections[step] = steps
            course.correct(step, steps)
    return now, step, corrections


def due(kept: BudgetController) -> int:
    return int((SECONDS - RESERVE) / kept.pace.seconds(0, 1))


def test_a_pace_is_the_mean_over_both_resolutions() -> None:
    pace = Pace(low=1, full=3, share=0.5)
    assert pace.seconds(0, 1) == 2
    assert pace.seconds(0.5, 1) == 3
    assert pace.seconds(0.25, 0.75) == 2
    assert pace.seconds(0, 0.5) == 1
    assert Pace(low=1, full=3, share=0).seconds(0, 1) == 3


def test_what_goes_as_planned_is_left_alone() -> None:
    kept = budget()
    end, steps, corrections = play(kept, Progress(steps=due(kept)))
    assert corrections == {}
    assert steps == due(kept)
    assert end == pytest.approx(SECONDS - RESERVE, abs=0.2)


@pytest.mark.parametrize("factor", [0.5, 1.1, 2.0, 5.0])
@pytest.mark.parametrize("since", [0.0, 30.0, 80.0])
def test_it_ends_in_time_whenever_the_machine_slows_down(factor: float, since: float) -> None:
    kept = budget()
    course = Progress(steps=due(kept))
    end, steps, corrections = play(kept, course, slow=lambda now: factor if now >= since else 1.0)
    assert corrections
    assert course.progress(steps) == 1  # so the learning rate was carried to its end
    # What comes after the last step is slower, too. Where that alone takes longer than the rest of the
    # budget, training ends as soon as it is seen.
    end_due = SECONDS - RESERVE / 2 - RESERVE / 2 * min(max(1, kept.slowdown), SLOWER_END)
    assert end <= max(end_due, since) + 3
    assert end >= end_due - 3


def test_a_hiccup_is_no_reason_to_end_early() -> None:
    kept = budget()
    end, _, _ = play(kept, Progress(steps=due(kept)), slow=lambda now: 20.0 if 40 <= now <= 45 else 1.0)
    assert SECONDS * 0.97 <= end + RESERVE <= SECONDS * 1.01


def test_validating_between_epochs_is_no_slowness() -> None:
    kept, course = budget(), Progress(steps=due(budget()))
    now, step = 0.0, 0
    while step < course.steps and now < 60:
        now += kept.pace.low if course.progress(step) < kept.pace.share else kept.pace.full
        step += 1
        kept.update(now, step, course)
        if step % 50 == 0:
            kept.pause(0.1)
            now += 0.1
    assert kept.slowdown == pytest.approx(1)


@pytest.mark.parametrize("epoch", [3, 40, 400])
def test_what_passes_between_epochs_is_planned_for(epoch: int) -> None:
    """However short epochs are: training is annealed to its end, not cut off at the deadline."""
    kept, course = budget(), Progress(steps=due(budget()))
    now, step, reached, each = 0.0, 0, 0.0, 0.02 * epoch
    while step < course.steps:
        now += kept.pace.low if course.progress(step) < kept.pace.share else kept.pace.full
        step += 1
        reached = course.progress(step)
        if (steps := kept.update(now, step, course)) is not None:
            course.correct(step, steps)
        if step % epoch == 0:
            kept.pause(each)
            now += each
    assert reached > 0.99  # before the last correction, which may end it
    assert SECONDS * 0.95 - RESERVE <= now <= SECONDS * 1.01 - RESERVE + each


def test_never_more_steps_than_help() -> None:
    kept = budget(most=due(budget()))
    end, steps, _ = play(kept, Progress(steps=due(kept)), slow=lambda _now: 0.25)
    assert steps == due(kept)
    assert end < SECONDS / 2


def test_a_budget_that_is_spent_ends_training_at_once() -> None:
    kept, course = budget(), Progress(steps=1000)
    assert kept.update(SECONDS - RESERVE - 1, 1, course) is None
    assert kept.update(SECONDS - RESERVE + 1, 2, course) == 2


def test_decisions_are_replayed_from_the_journal() -> None:
    """With the journal at hand the clock counts no longer: not before its last entry."""

    def slow(now: float) -> float:
        return 3.0 if now > 20 else 1.0

    first = Progress(steps=1000)
    _, steps, corrections = play(budget(), first, slow=slow)
    assert len(corrections) > 1
    kept, course = budget(), Progress(steps=1000)
    kept.replay = dict(corrections)
    now, step = 0.0, 0
    while step < course.steps:
        now, step = now + 1000.0, step + 1  # another clock
        corrected = kept.update(now, step, course)
        if step > max(corrections):
            break
        if corrected is not None:
            course.correct(step, corrected)
    assert (course.steps, course.since) == (steps, max(corrections))


def journal(*events: tuple[int, dict[str, object]]) -> list[dict[str, object]]:
    return [{"time": f"2026-01-01T00:{at // 60:02}:{at % 60:02}.000+00:00", **event} for at, event in events]


PLAN = {
    "event": "plan",
    "seconds": 100.0,
    "spent": 7.0,
    "reserve": 5.0,
    "judging": 2.0,
    "most": 50,
    "pace": {"low": 1.0, "full": 2.0, "share": 0.5},
}


def test_a_run_without_plan_has_no_budget() -> None:
    assert replay_budget(journal((0, {"event": "created"}))) is None


def test_the_journal_tells_what_is_spent_without_the_time_between_processes() -> None:
    found = replay_budget(
        journal(
            (0, {"event": "created"}),
            (3, PLAN),
            (13, {"event": "budget", "step": 8, "steps": 40}),
            (14, {"event": "interrupted"}),
            (600, {"event": "resumed"}),
            (605, {"event": "budget", "step": 20, "steps": 30}),
            (900, {"event": "resumed"}),
        )
    )
    assert found is not None
    kept, spent = found
    assert spent == 7 + 11 + 5
    assert kept.replay == {8: 40, 20: 30}
    assert (kept.seconds, kept.reserve, kept.judging, kept.most) == (100, 5, 2, 50)
    assert kept.pace == Pace(low=1, full=2, share=0.5)


def test_what_was_decided_before_going_back_counts_no_longer() -> None:
    found = replay_budget(
        journal(
            (3, PLAN),
            (13, {"event": "budget", "step": 8, "steps": 40}),
            (14, {"event": "went back"}),
            (15, {"event": "budget", "step": 6, "steps": 33}),
        )
    )
    assert found is not None
    assert found[0].replay == {6: 33}
