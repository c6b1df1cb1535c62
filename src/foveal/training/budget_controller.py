"""Keeping a time budget: how many steps a run takes in all, decided from readings of a clock alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

from foveal.files.events import BudgetCorrected, Event, Planned, Resumed, RolledBack
from foveal.training.schedules import Progress

TOLERANCE = 0.02
"""Of the budget, at most: steps are corrected when training would end so much too late or too early."""
WINDOW = 0.05
"""Of the budget: the time over which the machine's speed is judged."""
LEAST_WINDOW = 0.25
"""Seconds; less would judge single steps."""
SLOWER_END = 2.0
"""By so much at most judging is expected to be slower: two threads share a core then."""
MOST_AT_ONCE = 4.0
"""By so much at most a window changes the judgement: a machine that stalls for a moment is not slow."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a step was measured to take before training: seconds on small images, then on whole ones."""

    low: float
    full: float
    share: float
    """Of the run's progress, from its beginning, that small images take."""

    def seconds(self, start: float, end: float) -> float:
        """Return a step's mean seconds between two points of a run's progress, 0 ≤ start < end ≤ 1."""
        low = max(0.0, min(end, self.share) - start) / (end - start)
        return low * self.low + (1 - low) * self.full


@dataclass(kw_only=True)
class BudgetController:
    """Say how many steps still fit, from how long those before took.

    Times are seconds since the budget began to run. What a clock decided is to be journalled and handed
    back as `replay`, steps in all by the step at which they were decided: then a resumed run decides alike.
    """

    seconds: float
    """The whole budget."""
    reserve: float
    """What will pass after the last step: files, the report, and what nobody foresees."""
    judging: float
    """And what validating and testing will take, on a machine as fast as when it was measured."""
    pace: Pace
    most: int
    """Steps beyond which more of them are not expected to help."""
    replay: Mapping[int, int] = field(default_factory=dict)
    slowdown: float = 1.0
    """How much longer steps take than `pace` says, when last judged."""
    _mark: tuple[float, int] | None = None
    """When the window under way began: time, less the pauses within it, and step."""
    _begun: int | None = None
    """The step at which this process began to judge,"""
    _paused: float = 0.0
    """and the seconds between epochs since then."""

    def update(self, now: float, step: int, course: Progress) -> int | None:
        """Return another number of steps in all, if the course is to be corrected after `step` steps."""
        if self.replay and step <= max(self.replay):
            return self.replay.get(step)
        if self._begun is None:
            self._begun = step - 1
        if self._mark is None or step >= course.steps:
            self._mark = (now, step)
            return None
        then, first = self._mark
        left = self.seconds - self.reserve - self.judging - now
        if left <= 0:
            return step
        here = course.progress(step)
        nominal = (course.steps - step) * self.pace.seconds(here, 1.0)
        window = max(LEAST_WINDOW, min(WINDOW * self.seconds, left / 4, nominal / 4))
        if now - then < window or step == first:
            return None
        expected = (step - first) * self.pace.seconds(course.progress(first), here)
        self._mark = (now, step)
        measured = (now - then) / expected
        # Half-way, on a scale of factors, between what was judged before and what was measured now.
        self.slowdown *= min(max(measured / self.slowdown, 1 / MOST_AT_ONCE), MOST_AT_ONCE) ** 0.5
        judging = self.judging * min(max(1.0, self.slowdown), SLOWER_END)
        left = self.seconds - self.reserve - judging - now
        each = self.pace.seconds(here, 1.0) * self.slowdown + self._paused / (step - self._begun)
        steps = min(step + max(0, int(left / each)), max(self.most, step))
        # The less is left, the finer: else the last steps, of the smallest rates, would be cut off.
        tolerance = min(TOLERANCE * self.seconds, left / 5)
        return steps if abs(steps - course.steps) * each > tolerance else None

    def pause(self, seconds: float) -> None:
        """Note what passed between two epochs: time that is spent, but tells nothing of a step's speed."""
        self._paused += seconds
        if self._mark is not None:
            self._mark = (self._mark[0] + seconds, self._mark[1])

    def restart(self) -> None:
        """Judge anew: steps are done a second time, and what was decided at them counts no longer."""
        self.replay, self._mark, self._begun, self._paused = {}, None, None, 0.0


def replay_budget(events: Sequence[Event]) -> tuple[BudgetController, float] | None:
    """Return the budget that a run's events tell of, and the seconds of it that have passed; None without one.

    The time between a process's last event and the next process's first is not counted: nobody waited.
    """
    first = next((index for index, event in enumerate(events) if isinstance(event, Planned)), None)
    if first is None:
        return None
    plan, after = events[first], events[first:]
    assert isinstance(plan, Planned)
    spent = plan.spent
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
        reserve=plan.reserve,
        judging=plan.judging,
        pace=Pace(**asdict(plan.pace)),
        most=plan.most,
        replay=replay,
    )
    return controller, spent
