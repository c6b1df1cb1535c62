"""A run's journal -> what its time budget was, what was planned for it, and what became of that."""

from collections.abc import Sequence

from foveal.files.events import BudgetCorrected, Event, Planned, RolledBack, Trained
from foveal.reporting.findings import Finding, count


def findings_of_budget(events: Sequence[Event]) -> list[Finding]:
    """Say what was planned within which budget, why, how it was corrected, and what more time would change.

    Nothing is said of a run without a budget, or of one that has not ended.
    """
    plans = [event for event in events if isinstance(event, Planned)]
    ends = [event for event in events if isinstance(event, Trained)]
    if not plans or not ends:
        return []
    plan, end = plans[0], ends[-1]
    corrections = [event for event in events if isinstance(event, BudgetCorrected)]
    backs = [event for event in events if isinstance(event, RolledBack)]
    planned, taken = plan.steps or 0, end.steps
    sentence = (
        f"Training was planned to fit into {duration(plan.seconds)}: {'; '.join(plan.why)}. "
        f"It took {count(taken, 'step')}"
    )
    if corrections:
        slowest = max(event.slowdown for event in corrections)
        sentence += f" where {planned:,} were planned: their number was corrected "
        sentence += "once" if len(corrections) == 1 else f"{len(corrections)} times"
        sentence += f", as a step took up to {slowest:.2f} times as long as measured at first"
    sentence += "."
    if backs:
        back = backs[-1]
        sentence += (
            f" Training diverged after step {back.step}; it went back to step {back.to} "
            f"and on with half the learning rate."
        )
    more = plan.more
    sentence += f" {more[:1].upper()}{more[1:]}."
    numbers = {
        "seconds": plan.seconds,
        "planned_steps": planned,
        "steps": taken,
        "corrections": len(corrections),
        "went_back": len(backs),
    }
    return [Finding(kind="budget", sentence=sentence, numbers=numbers)]


def duration(seconds: float) -> str:
    """Write a time, such as 30 seconds or 2.5 minutes."""
    if seconds < 120:
        return f"{seconds:g} seconds"
    return f"{seconds / 60:.3g} minutes"
