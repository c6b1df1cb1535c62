from typing import Any

import pytest

from foveal.reporting.budget_findings import duration, findings_of_budget

PLAN = {
    "event": "plan",
    "seconds": 60.0,
    "steps": 1000,
    "why": ["images of 32 × 32 pixels", "never mirrored"],
    "more": "twice the time would be enough for 4 epochs",
}
END = {"event": "trained", "steps": 1000}


def said(*events: dict[str, Any]) -> str:
    (finding,) = findings_of_budget(events)
    return finding.sentence


def test_a_run_without_budget_or_without_end_says_nothing() -> None:
    assert findings_of_budget([]) == []
    assert findings_of_budget([END]) == []
    assert findings_of_budget([PLAN]) == []


def test_what_went_as_planned() -> None:
    assert said(PLAN, END) == (
        "Training was planned to fit into 60 seconds: images of 32 × 32 pixels; never mirrored. "
        "It took 1,000 steps. Twice the time would be enough for 4 epochs."
    )


def test_corrections_are_told_with_the_worst_of_them() -> None:
    corrections = [{"event": "budget", "slowdown": each} for each in (1.25, 2.5, 1.1)]
    sentence = said(PLAN, *corrections, {**END, "steps": 700})
    assert "It took 700 steps where 1,000 were planned: their number was corrected 3 times" in sentence
    assert "up to 2.50 times as long" in sentence
    assert "corrected once" in said(PLAN, corrections[0], END)


def test_going_back_is_told() -> None:
    sentence = said(PLAN, {"event": "went back", "step": 40, "to": 30}, END)
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
    assert duration(seconds) == words
