"""What happens to a run, one frozen dataclass for each kind of event: the lines of `events.jsonl`.

An event's `event` is its kind, and `time` is when it happened, in ISO 8601 with the time zone.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from foveal.files.typed_json import REQUIRED, json_field


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class _Event:
    time: str = field(default_factory=_now, metadata=REQUIRED)
    """When it happened, in ISO 8601. By default it is now."""

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.time)  # a ValueError where it is no time

    @property
    def when(self) -> datetime:
        """The time of the event. One without a time zone is taken as UTC."""
        time = datetime.fromisoformat(self.time)
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Created(_Event):
    """The run folder was made."""

    event: Literal["created"] = "created"
    promises_test: bool = False
    """Whether the command that made it goes on to the test and the report."""


@dataclass(frozen=True, kw_only=True)
class PlannedPace:
    """How long a step takes, as measured before training."""

    low: float
    """The seconds that a step on small images takes."""
    full: float
    """The seconds that a step on images of full size takes."""
    share: float
    """The share of the run, from its beginning, that trains on small images."""


@dataclass(frozen=True, kw_only=True)
class Planned(_Event):
    """A recipe was planned for a time budget."""

    event: Literal["plan"] = "plan"
    seconds: float
    """The whole budget in seconds."""
    steps: int | None = None
    """The planned number of optimizer steps."""
    pace: PlannedPace
    """The measured time of a step."""
    reserve_seconds: float = json_field("reserve")
    """The seconds kept for files, the report and surprises."""
    evaluation_seconds: float = json_field("judging")
    """The seconds that validating and testing are expected to take."""
    max_steps: int = json_field("most")
    """The number of steps beyond which more are not expected to help."""
    reasons: tuple[str, ...] = json_field("why")
    """The reasons for the plan, as sentences without a full stop."""
    outlook: str = json_field("more")
    """What more time would change, as a sentence without a full stop."""
    includes_test: bool = json_field("tested")
    """Whether the budget has room for testing and reporting."""
    seconds_spent: float = json_field("spent")
    """The seconds of the budget that had passed when this event was written."""


@dataclass(frozen=True, kw_only=True)
class TrainingBegan(_Event):
    """A process began to train, at this epoch and after so many steps."""

    event: Literal["training"] = "training"
    epoch: int = 1
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class EpochEnded(_Event):
    """An epoch was trained and validated."""

    event: Literal["epoch"] = "epoch"
    epoch: int
    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LearningRateCut(_Event):
    """The learning rate was cut, because the validation loss had stopped falling."""

    event: Literal["plateau"] = "plateau"
    epoch: int
    """The epoch after which it was cut."""
    learning_rate: float
    """The learning rate from now on."""


@dataclass(frozen=True, kw_only=True)
class BudgetCorrected(_Event):
    """The number of steps was corrected, so that training ends in time."""

    event: Literal["budget"] = "budget"
    step: int
    """The step after which this was decided."""
    steps: int
    """The number of steps in all, from now on."""
    slowdown: float
    """How many times as long as measured before training a step takes now."""


@dataclass(frozen=True, kw_only=True)
class RolledBack(_Event):
    """Training diverged and went back to a checkpoint, with half the learning rate."""

    event: Literal["went back"] = "went back"
    step: int
    """The step after which it diverged."""
    to: int
    """The step of the checkpoint."""
    epoch: int = 1


@dataclass(frozen=True, kw_only=True)
class Diverged(_Event):
    """A loss was no longer a finite number."""

    event: Literal["diverged"] = "diverged"
    step: int
    epoch: int
    files: tuple[str, ...]
    """The relative paths of the images in the batch."""


@dataclass(frozen=True, kw_only=True)
class CheckpointDamaged(_Event):
    """A checkpoint could not be read and was set aside."""

    event: Literal["checkpoint damaged"] = "checkpoint damaged"
    step: int


@dataclass(frozen=True, kw_only=True)
class TrainingInterrupted(_Event):
    """Training was interrupted by Ctrl-C or SIGTERM; everything was saved."""

    event: Literal["interrupted"] = "interrupted"
    epoch: int = 1
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Resumed(_Event):
    """Training continues from a checkpoint."""

    event: Literal["resumed"] = "resumed"
    epoch: int = 1
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Forced(_Event):
    """Training was resumed although something had changed, because the user asked for it."""

    event: Literal["forced"] = "forced"
    differences: tuple[str, ...]
    """What had changed, a sentence each."""


@dataclass(frozen=True, kw_only=True)
class Extended(_Event):
    """The number of epochs was changed, because the user asked for more."""

    event: Literal["extended"] = "extended"
    epochs: int
    """The number of epochs from now on."""
    before: int
    """The number of epochs before."""


@dataclass(frozen=True, kw_only=True)
class CutShort(_Event):
    """A trial of a search was stopped early, because it lagged behind or its time was over."""

    event: Literal["cut short"] = "cut short"
    epoch: int
    why: Literal["lags", "time"]


@dataclass(frozen=True, kw_only=True)
class GivenUp(_Event):
    """A trial of a search was given up, because it diverged."""

    event: Literal["given up"] = "given up"
    why: str


@dataclass(frozen=True, kw_only=True)
class Trained(_Event):
    """Training has ended, and the model of the best epoch is in `model/`."""

    event: Literal["trained"] = "trained"
    epochs: int | None = None
    best_epoch: int | None = None
    steps: int
    stopped: Literal["finished", "early", "budget"]
    """Why training ended: all steps were done, early stopping decided, or the budget was over."""
    seconds: float
    """How long training took since this process began or resumed it."""


@dataclass(frozen=True, kw_only=True)
class TestSplitOpened(_Event):
    """The test images were used for the first time, or once more."""

    event: Literal["test split opened"] = "test split opened"
    n: int


@dataclass(frozen=True, kw_only=True)
class Evaluated(_Event):
    """The model was measured on the test images."""

    event: Literal["evaluated"] = "evaluated"
    split: str
    n: int
    accuracy: float


Event = (
    Created
    | Planned
    | TrainingBegan
    | EpochEnded
    | LearningRateCut
    | BudgetCorrected
    | RolledBack
    | Diverged
    | CheckpointDamaged
    | TrainingInterrupted
    | Resumed
    | Forced
    | Extended
    | CutShort
    | GivenUp
    | Trained
    | TestSplitOpened
    | Evaluated
)
"""Any event of a run."""

State = Literal["created", "training", "interrupted", "trained", "evaluated"]
"""Where a run is in its life."""
FINISHED: frozenset[State] = frozenset({"trained", "evaluated"})
"""The states of a run whose training has ended."""


def state_after(events: "list[Event]") -> State:
    """Return where a run is in its life after these events, oldest first."""
    state: State = "created"
    for event in events:
        match event:
            case Created() | TrainingBegan() | TrainingInterrupted() | Trained() | Evaluated():
                state = event.event
            case Extended():
                state = "interrupted"
    return state
