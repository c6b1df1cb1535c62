"""Findings about a run's time budget: what was planned for it, and what became of the plan."""

from collections.abc import Sequence

from foveal.files.events import BudgetCorrected, Event, Planned, RolledBack, Trained
from foveal.reporting.findings import Finding, format_count


def describe_budget(events: Sequence[Event]) -> list[Finding]:
    """Describe the plan for the budget, its corrections, and what more time would change.

    The list is empty if the run had no budget or has not ended.
    """
    plan = next((event for event in events if isinstance(event, Planned)), None)
    end = next((event for event in reversed(events) if isinstance(event, Trained)), None)
    if plan is None or end is None:
        return []
    corrections = [event for event in events if isinstance(event, BudgetCorrected)]
    rollbacks = [event for event in events if isinstance(event, RolledBack)]
    planned_steps = plan.steps or 0
    sentence = (
        f"Training was planned to fit into {format_duration(plan.seconds)}: {'; '.join(plan.reasons)}. "
        f"It took {format_count(end.steps, 'step')}"
    )
    if corrections:
        slowest = max(event.slowdown for event in corrections)
        sentence += f" where {planned_steps:,} were planned: their number was corrected "
        sentence += "once" if len(corrections) == 1 else f"{len(corrections)} times"
        sentence += f", as a step took up to {slowest:.2f} times as long as measured at first"
    sentence += "."
    if rollbacks:
        sentence += (
            f" Training diverged after step {rollbacks[-1].step}; it went back to step {rollbacks[-1].to} "
            f"and on with half the learning rate."
        )
    sentence += f" {plan.outlook[:1].upper()}{plan.outlook[1:]}."
    numbers = {
        "seconds": plan.seconds,
        "planned_steps": planned_steps,
        "steps": end.steps,
        "corrections": len(corrections),
        "went_back": len(rollbacks),
    }
    return [Finding(kind="budget", sentence=sentence, numbers=numbers)]


def format_duration(seconds: float) -> str:
    """Return a time as text, such as "30 seconds" or "2.5 minutes"."""
    if seconds < 120:
        return f"{seconds:g} seconds"
    return f"{seconds / 60:.3g} minutes"
