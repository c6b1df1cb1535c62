"""Keeping a time budget: how many steps a run takes in all, decided from readings of a clock alone.

docs/decisions/0007-time-budget.md says where the constants come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

from foveal.files.events import BudgetCorrected, Event, Planned, Resumed, RolledBack
from foveal.training.schedules import Progress

TOLERANCE = 0.02
"""Steps are corrected if training would end too late or too early by more than this share of the budget."""
WINDOW_SHARE = 0.05
"""The share of the budget over which the speed of steps is measured."""
MIN_WINDOW_SECONDS = 0.25
"""The shortest time over which the speed of steps is measured. Less would measure single steps."""
MAX_EVALUATION_SLOWDOWN = 2.0
"""The largest slowdown that is expected of the final evaluation. Two threads then share one core."""
MAX_SLOWDOWN_CHANGE = 4.0
"""The largest factor by which one measurement changes the slowdown. A short stall must not count as slow."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long a step takes, as measured before training."""

    low: float
    """The seconds that a step on small images takes."""
    full: float
    """The seconds that a step on images of full size takes."""
    share: float
    """The share of the run, from its beginning, that trains on small images."""

    def compute_mean_seconds(self, start: float, end: float) -> float:
        """Return the mean seconds of the steps between two points of progress, 0 ≤ start < end ≤ 1."""
        low_share = max(0.0, min(end, self.share) - start) / (end - start)
        return low_share * self.low + (1 - low_share) * self.full


@dataclass(kw_only=True)
class BudgetController:
    """Decides how many steps fit into a time budget, from how long the steps so far took.

    All times are seconds since the budget began. Decisions depend on the clock, so the caller records them in
    the run's events. A resumed run gets them as `replay` and makes the same decisions again.
    """

    seconds: float
    """The whole budget."""
    reserve: float
    """The time kept for files, the report and surprises after the last step."""
    evaluation_seconds: float
    """The time that validating and testing take, on a machine as fast as when it was measured."""
    pace: Pace
    """How long a step takes, as measured before training."""
    max_steps: int
    """The number of steps beyond which more are not expected to help."""
    replay: Mapping[int, int] = field(default_factory=dict)
    """The recorded decisions: the number of steps in all, by the step after which it was decided."""
    slowdown: float = 1.0
    """How many times as long as `pace` says a step takes now."""
    _window: tuple[float, int] | None = None
    """The time, without pauses, and the step at which the current measurement began."""
    _first_step: int | None = None
    """The step at which this process began to measure."""
    _paused: float = 0.0
    """The seconds between epochs since `_first_step`."""

    def update(self, now: float, step: int, progress: Progress) -> int | None:
        """Return a new number of steps in all, or None if it stays as it is.

        Args:
            now: The seconds of the budget that have passed.
            step: The number of steps that are done.
            progress: The progress of the run.
        """
        if self.replay and step <= max(self.replay):
            return self.replay.get(step)
        if self._first_step is None:
            self._first_step = step - 1
        if self._window is None or step >= progress.steps:
            self._window = (now, step)
            return None
        window_began, window_step = self._window
        remaining = self.seconds - self.reserve - self.evaluation_seconds - now
        if remaining <= 0:
            return step
        here = progress.at(step)
        planned = (progress.steps - step) * self.pace.compute_mean_seconds(here, 1.0)
        window = max(MIN_WINDOW_SECONDS, min(WINDOW_SHARE * self.seconds, remaining / 4, planned / 4))
        if now - window_began < window or step == window_step:
            return None
        expected = (step - window_step) * self.pace.compute_mean_seconds(progress.at(window_step), here)
        self._window = (now, step)
        self._update_slowdown((now - window_began) / expected)
        return self._count_steps_that_fit(now, step, self._first_step, progress)

    def _update_slowdown(self, measured: float) -> None:
        """Move the slowdown half-way, on a scale of factors, to what was measured."""
        change = min(max(measured / self.slowdown, 1 / MAX_SLOWDOWN_CHANGE), MAX_SLOWDOWN_CHANGE)
        self.slowdown *= change**0.5

    def _count_steps_that_fit(self, now: float, step: int, first_step: int, progress: Progress) -> int | None:
        evaluation = self.evaluation_seconds * min(max(1.0, self.slowdown), MAX_EVALUATION_SLOWDOWN)
        remaining = self.seconds - self.reserve - evaluation - now
        step_seconds = self.pace.compute_mean_seconds(progress.at(step), 1.0) * self.slowdown
        step_seconds += self._paused / (step - first_step)
        steps = min(step + max(0, int(remaining / step_seconds)), max(self.max_steps, step))
        # The less time remains, the finer the correction. Otherwise the last steps, which have the smallest
        # learning rates, would be cut off.
        tolerance = min(TOLERANCE * self.seconds, remaining / 5)
        return steps if abs(steps - progress.steps) * step_seconds > tolerance else None

    def pause(self, seconds: float) -> None:
        """Note the seconds between two epochs. They belong to the budget, but not to the time of a step."""
        self._paused += seconds
        if self._window is not None:
            self._window = (self._window[0] + seconds, self._window[1])

    def reset(self) -> None:
        """Begin to measure again, after training went back: the decisions of the lost steps are void."""
        self.replay, self._window, self._first_step, self._paused = {}, None, None, 0.0


def replay_budget(events: Sequence[Event]) -> tuple[BudgetController, float] | None:
    """Restore the controller of a run from its events, and the seconds of its budget that have passed.

    Returns None for a run without a budget. The time between two processes is not counted, because the run
    did not train then.
    """
    first = next((index for index, event in enumerate(events) if isinstance(event, Planned)), None)
    if first is None:
        return None
    plan, after = events[first], events[first:]
    assert isinstance(plan, Planned)
    spent = plan.seconds_spent
    replay: dict[int, int] = {}
    for event, next_event in pairwise(after):
        if not isinstance(next_event, Resumed):
            spent += (next_event.when - event.when).total_seconds()
    for event in after:
        if isinstance(event, RolledBack):
            replay = {}
        elif isinstance(event, BudgetCorrected):
            replay[event.step] = event.steps
    controller = BudgetController(
        seconds=plan.seconds,
        reserve=plan.reserve_seconds,
        evaluation_seconds=plan.evaluation_seconds,
        pace=Pace(**asdict(plan.pace)),
        max_steps=plan.max_steps,
        replay=replay,
    )
    return controller, spent
