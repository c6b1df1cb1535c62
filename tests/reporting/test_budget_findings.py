from dataclasses import replace

import pytest

from foveal.files.events import BudgetCorrected, Event, Planned, PlannedPace, RolledBack, Trained
from foveal.reporting.budget_findings import describe_budget, format_duration

PLAN = Planned(
    seconds=60.0,
    steps=1000,
    pace=PlannedPace(low=0.01, full=0.02, share=0.5),
    reserve_seconds=1.0,
    evaluation_seconds=1.0,
    max_steps=2000,
    reasons=("images of 32 × 32 pixels", "never mirrored"),
    outlook="twice the time would be enough for 4 epochs",
    includes_test=True,
    seconds_spent=0.5,
)
END = Trained(steps=1000, stopped="finished", seconds=50.0)


def describe(*events: Event) -> str:
    (finding,) = describe_budget(events)
    return finding.sentence


def test_a_run_without_budget_or_without_end_says_nothing() -> None:
    assert describe_budget([]) == []
    assert describe_budget([END]) == []
    assert describe_budget([PLAN]) == []


def test_what_went_as_planned() -> None:
    assert describe(PLAN, END) == (
        "Training was planned to fit into 60 seconds: images of 32 × 32 pixels; never mirrored. "
        "It took 1,000 steps. Twice the time would be enough for 4 epochs."
    )


def test_corrections_are_told_with_the_worst_of_them() -> None:
    corrections = [BudgetCorrected(step=9, steps=700, slowdown=slowdown) for slowdown in (1.25, 2.5, 1.1)]
    sentence = describe(PLAN, *corrections, replace(END, steps=700))
    assert "It took 700 steps where 1,000 were planned: their number was corrected 3 times" in sentence
    assert "up to 2.50 times as long" in sentence
    assert "corrected once" in describe(PLAN, corrections[0], END)


def test_going_back_is_told() -> None:
    sentence = describe(PLAN, RolledBack(step=40, to=30), END)
    assert "diverged after step 40; it went back to step 30" in sentence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (30, "30 seconds"),
        (90.5, "90.5 seconds"),
        (120, "2 minutes"),
        (150, "2.5 minutes"),
        (7200, "120 minutes"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
