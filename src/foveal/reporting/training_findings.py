"""Findings about training: the best epoch, the drops of the learning rate, and overfitting."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from foveal.evaluation.metrics import format_percent
from foveal.files.run_records import EpochRecord
from foveal.reporting.findings import Finding, format_count, join_words

NEAR_BEST_TOLERANCE: Final = 0.02
"""A validation loss at most this fraction above the best counts as good as the best."""
MIN_TRAINING_FALL: Final = 0.10
"""Overfitting needs a training loss that has fallen further by at least this fraction."""
MIN_VALIDATION_RISE: Final = 0.05
"""Overfitting needs a validation loss that has risen above its best by at least this fraction."""
CHECKED_EPOCHS: Final = 3
"""Both must hold in each of so many last epochs, because the loss of a single one can be an outlier."""


OVERFITTING_RULE: Final = (
    "Training figures are running means, taken while the weights move and with dropout and augmentation on, "
    "so they are compared with each other and never with validation figures. A run overfits after its best "
    f"epoch if, in each of the last {CHECKED_EPOCHS} epochs, the training loss was at least "
    f"{100 * MIN_TRAINING_FALL:.0f} % below that of the best epoch and the validation loss at least "
    f"{100 * MIN_VALIDATION_RISE:.0f} % above. It overfits mildly after the first epoch whose validation "
    f"loss came within {100 * NEAR_BEST_TOLERANCE:.0f} % of the best, if the training loss then fell by at "
    f"least {100 * MIN_TRAINING_FALL:.0f} % more, measured likewise: what it learned after that was "
    "of little use on other images, but did no harm."
)


def find_best_epoch(history: Sequence[EpochRecord]) -> EpochRecord | None:
    """Return the first epoch with the lowest validation loss; None where no epoch was validated."""
    return min(_select_validated(history), key=get_validation_loss, default=None)


def find_most_accurate_epoch(history: Sequence[EpochRecord]) -> EpochRecord | None:
    """Return the first epoch with the highest validation accuracy; None where no epoch has one."""
    measured = [record for record in history if record.validation_accuracy is not None]
    return max(measured, key=lambda record: record.validation_accuracy or 0.0, default=None)


@dataclass(frozen=True, kw_only=True)
class LearningRateDrop:
    """A step down of the learning rate between two epochs."""

    after_epoch: int
    before: float
    after: float


def find_learning_rate_drops(
    history: Sequence[EpochRecord], *, next_learning_rate: float | None = None, scheduled: bool = False
) -> list[LearningRateDrop] | None:
    """Return the drops of the learning rate, or None if it followed a schedule.

    A rate that ever rises, or that falls after more than every other epoch, counts as a schedule, too.

    Args:
        history: The epochs.
        next_learning_rate: The rate with which another epoch would have trained. It shows a drop after the
            last epoch, of which the history has no trace.
        scheduled: Whether the recipe has a schedule.
    """
    rates = [record.learning_rate for record in history]
    if history and next_learning_rate is not None:
        rates.append(next_learning_rate)
    pairs = zip(history, rates, rates[1:], strict=False)
    changes = [
        LearningRateDrop(after_epoch=record.epoch, before=before, after=after)
        for record, before, after in pairs
        if after != before
    ]
    rises = any(change.after > change.before for change in changes)
    return None if scheduled or rises or len(changes) > max(2, (len(rates) - 1) / 2) else changes


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """The verdict of `detect_overfitting`, with its reasons.

    Changes are fractions of the value in the reference epoch.
    """

    verdict: Literal["overfits", "mild", "none", "too few epochs", "not validated"]
    after_epoch: int | None = None
    """The reference epoch: the last one before overfitting begins, if it does."""
    training_fell: float | None = None
    """The least fraction by which the last training losses lie below the reference; negative means above."""
    validation_rose: tuple[float, float] | None = None
    """The least and the largest fraction by which the last validation losses lie above the reference."""
    validation_gained: float | None = None
    """The fraction by which the best validation loss lies below the reference."""


def detect_overfitting(history: Sequence[EpochRecord]) -> Overfitting:
    """Decide whether a run overfits, and after which epoch.

    Training losses are running means with dropout and augmentation on, so they are compared only with each
    other, never with validation losses.

    A run *overfits* after its best epoch if two things hold in each of the last `CHECKED_EPOCHS` epochs. The
    training loss is at least `MIN_TRAINING_FALL` below that of the best epoch, and the validation loss is at
    least `MIN_VALIDATION_RISE` above. Overfitting is *mild* if the training loss fell as much after the first
    epoch whose validation loss is within `NEAR_BEST_TOLERANCE` of the best. What the run learned after that
    was of little use on other images, but did no harm.
    """
    validated = _select_validated(history)
    best = find_best_epoch(validated)
    if best is None:
        return Overfitting(verdict="not validated")
    if len(validated) <= CHECKED_EPOCHS:
        return Overfitting(verdict="too few epochs")
    since_best = _compare_last_epochs(validated, best)
    assert since_best.training_fell is not None
    assert since_best.validation_rose is not None
    # If the best epoch were among the last ones, it would be compared with itself, and neither could hold.
    if since_best.training_fell >= MIN_TRAINING_FALL and since_best.validation_rose[0] >= MIN_VALIDATION_RISE:
        return replace(since_best, verdict="overfits")
    lowest = get_validation_loss(best)
    near_best = next(
        record
        for record in validated
        if _compute_change(get_validation_loss(record), lowest) <= NEAR_BEST_TOLERANCE
    )
    since_near_best = _compare_last_epochs(validated, near_best)
    assert since_near_best.training_fell is not None
    if since_near_best.training_fell >= MIN_TRAINING_FALL:
        return replace(since_near_best, verdict="mild")
    return since_best


def _compare_last_epochs(validated: Sequence[EpochRecord], reference: EpochRecord) -> Overfitting:
    """Compare the last epochs with a reference epoch; the verdict is left at "none"."""
    last = validated[-CHECKED_EPOCHS:]
    reference_loss = get_validation_loss(reference)
    rises = [_compute_change(get_validation_loss(record), reference_loss) for record in last]
    lowest = min(get_validation_loss(record) for record in validated)
    return Overfitting(
        verdict="none",
        after_epoch=reference.epoch,
        training_fell=-max(_compute_change(record.loss, reference.loss) for record in last),
        validation_rose=(min(rises), max(rises)),
        validation_gained=-_compute_change(lowest, reference_loss),
    )


def _compute_change(value: float, reference: float) -> float:
    """Return the relative change; 0 where the reference is exactly 0."""
    return value / reference - 1 if reference > 0 else 0.0


def _select_validated(history: Sequence[EpochRecord]) -> list[EpochRecord]:
    return [record for record in history if record.validation_loss is not None]


def get_validation_loss(record: EpochRecord) -> float:
    """Return the validation loss of an epoch that was validated."""
    assert record.validation_loss is not None
    return record.validation_loss


# ---- sentences


def describe_history(
    history: Sequence[EpochRecord], *, next_learning_rate: float | None = None, scheduled: bool = False
) -> list[Finding]:
    """Describe the best epoch, the learning rate, and whether and from which epoch on the run overfits.

    `next_learning_rate` and `scheduled` are those of `find_learning_rate_drops`.
    """
    if not history:
        return []
    return [
        _describe_best_epoch(history),
        _describe_learning_rate(history, next_learning_rate, scheduled=scheduled),
        _describe_overfitting(history),
    ]


def _describe_best_epoch(history: Sequence[EpochRecord]) -> Finding:
    n, best = len(history), find_best_epoch(history)
    if best is None:
        loss = history[-1].loss
        sentence = (
            "Nothing was validated, so no epoch can be called the best. "
            f"After {format_count(n, 'epoch')} the running training loss was {loss:.4f}."
        )
        numbers: dict[str, Any] = {"epochs": n, "best_epoch": None, "last_training_loss": loss}
        return Finding(kind="best_epoch", sentence=sentence, numbers=numbers)
    loss, accuracy = get_validation_loss(best), best.validation_accuracy
    metrics = f"validation loss {loss:.4f}"
    if accuracy is not None:
        metrics += f", accuracy {_format_accuracy(accuracy)}"
    sentence = (
        f"The only epoch reached {metrics}." if n == 1 else f"Epoch {best.epoch} of {n} was best: {metrics}."
    )
    peak = find_most_accurate_epoch(history) or best
    if accuracy is not None and peak.validation_accuracy is not None and peak.validation_accuracy > accuracy:
        sentence += (
            f" By accuracy alone it is epoch {peak.epoch}, with {_format_accuracy(peak.validation_accuracy)}."
        )
    numbers = {
        "epochs": n,
        "best_epoch": best.epoch,
        "validation_loss": loss,
        "validation_accuracy": accuracy,
        "most_accurate_epoch": peak.epoch,
        "highest_validation_accuracy": peak.validation_accuracy,
    }
    return Finding(kind="best_epoch", sentence=sentence, numbers=numbers)


def _describe_learning_rate(
    history: Sequence[EpochRecord], next_learning_rate: float | None, *, scheduled: bool
) -> Finding:
    drops = find_learning_rate_drops(history, next_learning_rate=next_learning_rate, scheduled=scheduled)
    first, last = history[0], history[-1]
    highest = max(history, key=lambda record: record.learning_rate)
    first_rate, highest_rate, last_rate = (
        format_learning_rate(record.learning_rate) for record in (first, highest, last)
    )
    if drops is None:
        sentence = (
            f"The learning rate followed a schedule: {first_rate} in epoch {first.epoch}, at most "
            f"{highest_rate} (epoch {highest.epoch}), {last_rate} in epoch {last.epoch}."
        )
    elif not drops:
        sentence = f"The learning rate stayed at {first_rate}."
    else:
        times = {1: "once", 2: "twice"}.get(len(drops), f"{len(drops)} times")
        steps = [f"to {format_learning_rate(drop.after)} after epoch {drop.after_epoch}" for drop in drops]
        sentence = f"The learning rate, {first_rate} at first, was cut {times}: {join_words(steps)}."
        if drops[-1].after_epoch == last.epoch:
            sentence += " No epoch trained with the last of these."
    numbers = {
        "first": first.learning_rate,
        "highest": highest.learning_rate,
        "last": last.learning_rate,
        "cuts": None if drops is None else [asdict(drop) for drop in drops],
    }
    return Finding(kind="learning_rate", sentence=sentence, numbers=numbers)


def _describe_overfitting(history: Sequence[EpochRecord]) -> Finding:
    overfitting = detect_overfitting(history)
    reference = overfitting.after_epoch
    from_epoch = None if reference is None or overfitting.verdict == "none" else reference + 1
    return Finding(
        kind="overfitting",
        sentence=_explain_overfitting(overfitting, history),
        numbers={"from_epoch": from_epoch, **asdict(overfitting)},
    )


def _explain_overfitting(overfitting: Overfitting, history: Sequence[EpochRecord]) -> str:
    reference = overfitting.after_epoch or 0
    in_each = f"in each of the last {CHECKED_EPOCHS} epochs"
    fell = overfitting.training_fell or 0.0
    lowest_rise, highest_rise = overfitting.validation_rose or (0.0, 0.0)
    match overfitting.verdict:
        case "not validated":
            return "Whether it overfits cannot be told, as nothing was validated."
        case "too few epochs":
            epochs = format_count(len(_select_validated(history)), "validated epoch")
            return f"Whether it overfits cannot be told from {epochs}."
        case "overfits":
            return (
                f"It overfits from epoch {reference + 1} on: {in_each} the training loss was at least "
                f"{_format_change(fell)} below that of epoch {reference}, the best, and the validation loss "
                f"at least {_format_change(lowest_rise)} above."
            )
        case "mild":
            gained = overfitting.validation_gained or 0.0
            gain = f"became at most {_format_change(gained)} better" if gained > 0 else "became no better"
            return (
                f"It overfits mildly from epoch {reference + 1} on: {in_each} the training loss was at least "
                f"{_format_change(fell)} below that of epoch {reference}, while the validation loss {gain}."
            )
        case "none" if history[-1].epoch - reference < CHECKED_EPOCHS:
            return (
                f"No overfitting is visible: the validation loss was lowest at epoch {reference} of "
                f"{len(history)}, so more epochs may still help."
            )
        case "none":
            training = (
                f"had fallen by at least {_format_change(fell)}" if fell > 0 else "did not keep falling"
            )
            return (
                f"No clear overfitting: in the last {CHECKED_EPOCHS} epochs the validation loss lay "
                f"{_format_change(lowest_rise)} to {_format_change(highest_rise)} above that of epoch "
                f"{reference}, the best, while the training loss {training}."
            )


# ---- words


def format_learning_rate(value: float) -> str:
    """Return a learning rate as text, such as "0.001" or "1e-5"."""
    return re.sub(r"e-0?", "e-", f"{value:.3g}")


def _format_change(change: float) -> str:
    return f"{100 * change:.1f} %"


def _format_accuracy(accuracy: float) -> str:
    return format_percent(accuracy, 10_000)  # the history does not say on how many images it was measured
