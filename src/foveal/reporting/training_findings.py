"""Epoch records -> the facts of a run: its best epoch, its learning-rate cuts, whether it overfits."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from foveal.evaluation.metrics import format_percent
from foveal.files.run_records import EpochRecord
from foveal.reporting.findings import Finding, count, listing

AS_GOOD: Final = 0.02
"""A validation loss within this of the best counts as good as the best."""
TRAINING_FELL: Final = 0.10
"""By how much the training loss must have fallen further."""
VALIDATION_ROSE: Final = 0.05
"""By how much the validation loss must have risen above its best."""
LAST: Final = 3
"""In how many last epochs, in each of them, that must hold: one epoch's validation loss can be an outlier."""


OVERFITTING_RULE: Final = (
    "Training figures are running means, taken while the weights move and with dropout and augmentation on, "
    "so they are compared with each other and never with validation figures. A run overfits after its best "
    f"epoch if, in each of the last {LAST} epochs, the training loss was at least "
    f"{100 * TRAINING_FELL:.0f} % below that of the best epoch and the validation loss at least "
    f"{100 * VALIDATION_ROSE:.0f} % above. It overfits mildly after the first epoch whose validation loss "
    f"came within {100 * AS_GOOD:.0f} % of the best, if the training loss then fell by at least "
    f"{100 * TRAINING_FELL:.0f} % more, measured likewise: what it learned after that was "
    "of little use on other images, but did no harm."
)


def best_epoch(history: Sequence[EpochRecord]) -> EpochRecord | None:
    """Give the epoch of the lowest validation loss, the first of equals; None where nothing was validated."""
    return min(_validated(history), key=validation_loss, default=None)


def most_accurate_epoch(history: Sequence[EpochRecord]) -> EpochRecord | None:
    """Give the epoch of the highest validation accuracy, the first of equals; None where there is none."""
    measured = [record for record in history if record.validation_accuracy is not None]
    return max(measured, key=lambda record: record.validation_accuracy or 0.0, default=None)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The learning rate went down."""

    after_epoch: int
    before: float
    after: float


def learning_rate_cuts(
    history: Sequence[EpochRecord], *, next_learning_rate: float | None = None, scheduled: bool = False
) -> list[Cut] | None:
    """Give the cuts of the learning rate, or None if it followed a schedule.

    `scheduled` says that the recipe has a schedule. A rate that ever rises, or that falls after more than
    every other epoch, follows one too. A cut after the last epoch leaves no trace in the history;
    `next_learning_rate`, the rate that another epoch would have trained with, tells it.
    """
    rates = [record.learning_rate for record in history]
    if history and next_learning_rate is not None:
        rates.append(next_learning_rate)
    pairs = zip(history, rates, rates[1:], strict=False)
    changes = [
        Cut(after_epoch=record.epoch, before=before, after=after)
        for record, before, after in pairs
        if after != before
    ]
    rises = any(change.after > change.before for change in changes)
    return None if scheduled or rises or len(changes) > max(2, (len(rates) - 1) / 2) else changes


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """What `overfitting` decided, and from what. Changes are fractions of the value compared with."""

    verdict: Literal["overfits", "mild", "none", "too few epochs", "not validated"]
    after_epoch: int | None = None
    """The epoch compared with; if it overfits, it does so from the next one on."""
    training_fell: float | None = None
    """How far the training loss lay below that epoch's in each of the last epochs (negative: above)."""
    validation_rose: tuple[float, float] | None = None
    """How far the validation loss lay above that epoch's in the last epochs: least, most."""
    validation_gained: float | None = None
    """How far the best validation loss lies below that epoch's."""


def overfitting(history: Sequence[EpochRecord]) -> Overfitting:
    """Decide whether a run overfits and after which epoch.

    Training losses are running means with dropout and augmentation on, so they are compared with each other
    alone, never with validation losses.

    It *overfits* after its best epoch if in each of the `LAST` epochs the training loss was at least
    `TRAINING_FELL` below that of the best epoch, and the validation loss at least `VALIDATION_ROSE` above.
    Overfitting is *mild*, and begins after the first epoch whose validation loss came within `AS_GOOD` of the
    best, if from that epoch on the training loss fell by as much: what it learned from then on was of little
    use elsewhere, but did no harm.
    """
    validated = _validated(history)
    best = best_epoch(validated)
    if best is None:
        return Overfitting(verdict="not validated")
    if len(validated) <= LAST:
        return Overfitting(verdict="too few epochs")
    at_best = _compare(validated, best)
    assert at_best.training_fell is not None
    assert at_best.validation_rose is not None
    # Were the best epoch among the last ones, it would be compared with itself, and neither could hold.
    if at_best.training_fell >= TRAINING_FELL and at_best.validation_rose[0] >= VALIDATION_ROSE:
        return _compare(validated, best, "overfits")
    lowest = validation_loss(best)
    as_good = next(record for record in validated if _change(validation_loss(record), lowest) <= AS_GOOD)
    since = _compare(validated, as_good, "mild")
    assert since.training_fell is not None
    return since if since.training_fell >= TRAINING_FELL else at_best


def _compare(
    validated: Sequence[EpochRecord],
    with_epoch: EpochRecord,
    verdict: Literal["overfits", "mild", "none"] = "none",
) -> Overfitting:
    last = validated[-LAST:]
    rises = [_change(validation_loss(record), validation_loss(with_epoch)) for record in last]
    lowest = min(validation_loss(record) for record in validated)
    return Overfitting(
        verdict=verdict,
        after_epoch=with_epoch.epoch,
        training_fell=-max(_change(record.loss, with_epoch.loss) for record in last),
        validation_rose=(min(rises), max(rises)),
        validation_gained=-_change(lowest, validation_loss(with_epoch)),
    )


def _change(value: float, reference: float) -> float:
    """Give the relative change; none from a loss of exactly zero, of which nothing is a fraction."""
    return value / reference - 1 if reference > 0 else 0.0


def _validated(history: Sequence[EpochRecord]) -> list[EpochRecord]:
    return [record for record in history if record.validation_loss is not None]


def validation_loss(record: EpochRecord) -> float:
    """Give the validation loss of an epoch that was validated."""
    assert record.validation_loss is not None
    return record.validation_loss


# ---- in words


def findings_of_history(
    history: Sequence[EpochRecord], *, next_learning_rate: float | None = None, scheduled: bool = False
) -> list[Finding]:
    """Say which epoch was best, how the learning rate went, and whether and from when the run overfits.

    `next_learning_rate` is the rate that one more epoch would have trained with: it tells of a cut after the
    last epoch.
    """
    if not history:
        return []
    return [_best(history), _learning_rate(history, next_learning_rate, scheduled), _overfitting(history)]


def _best(history: Sequence[EpochRecord]) -> Finding:
    n, best, last = len(history), best_epoch(history), history[-1]
    if best is None:
        sentence = (
            f"Nothing was validated, so no epoch can be called the best. After {count(n, 'epoch')} the "
            f"running training loss was {last.loss:.4f}."
        )
        numbers: dict[str, Any] = {"epochs": n, "best_epoch": None, "last_training_loss": last.loss}
        return Finding(kind="best_epoch", sentence=sentence, numbers=numbers)
    loss, accuracy = validation_loss(best), best.validation_accuracy
    measured = f"validation loss {loss:.4f}"
    if accuracy is not None:
        measured += f", accuracy {_accuracy_share(accuracy)}"
    sentence = (
        f"The only epoch reached {measured}."
        if n == 1
        else f"Epoch {best.epoch} of {n} was best: {measured}."
    )
    peak = most_accurate_epoch(history) or best
    if accuracy is not None and peak.validation_accuracy is not None and peak.validation_accuracy > accuracy:
        sentence += (
            f" By accuracy alone it is epoch {peak.epoch}, with {_accuracy_share(peak.validation_accuracy)}."
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


def _learning_rate(history: Sequence[EpochRecord], next_rate: float | None, scheduled: bool) -> Finding:
    cuts = learning_rate_cuts(history, next_learning_rate=next_rate, scheduled=scheduled)
    first, last = history[0].learning_rate, history[-1].learning_rate
    top = max(history, key=lambda record: record.learning_rate)
    if cuts is None:
        sentence = f"The learning rate followed a schedule: {rate(first)} in epoch {history[0].epoch}, "
        sentence += f"at most {rate(top.learning_rate)} (epoch {top.epoch}), "
        sentence += f"{rate(last)} in epoch {history[-1].epoch}."
    elif not cuts:
        sentence = f"The learning rate stayed at {rate(first)}."
    else:
        times = {1: "once", 2: "twice"}.get(len(cuts), f"{len(cuts)} times")
        steps = listing([f"to {rate(cut.after)} after epoch {cut.after_epoch}" for cut in cuts])
        sentence = f"The learning rate, {rate(first)} at first, was cut {times}: {steps}."
        if cuts[-1].after_epoch == history[-1].epoch:
            sentence += " No epoch trained with the last of these."
    numbers = {
        "first": first,
        "highest": top.learning_rate,
        "last": last,
        "cuts": None if cuts is None else [asdict(cut) for cut in cuts],
    }
    return Finding(kind="learning_rate", sentence=sentence, numbers=numbers)


def _overfitting(history: Sequence[EpochRecord]) -> Finding:
    fact = overfitting(history)
    compared, in_each = fact.after_epoch, f"in each of the last {LAST} epochs"
    fell = fact.training_fell or 0.0
    least, most = fact.validation_rose or (0.0, 0.0)
    from_epoch = None if compared is None or fact.verdict == "none" else compared + 1
    match fact.verdict:
        case "not validated":
            sentence = "Whether it overfits cannot be told, as nothing was validated."
        case "too few epochs":
            seen = count(len(_validated(history)), "validated epoch")
            sentence = f"Whether it overfits cannot be told from {seen}."
        case "overfits":
            sentence = (
                f"It overfits from epoch {from_epoch} on: {in_each} the training loss was at least "
                f"{_percent(fell)} below that of epoch {compared}, the best, and the validation loss at "
                f"least {_percent(least)} above."
            )
        case "mild":
            gained = fact.validation_gained or 0.0
            gain = f"became at most {_percent(gained)} better" if gained > 0 else "became no better"
            sentence = (
                f"It overfits mildly from epoch {from_epoch} on: {in_each} the training loss was at least "
                f"{_percent(fell)} below that of epoch {compared}, while the validation loss {gain}."
            )
        case "none" if compared is not None and history[-1].epoch - compared < LAST:
            sentence = (
                f"No overfitting is visible: the validation loss was lowest at epoch {compared} of "
                f"{len(history)}, so more epochs may still help."
            )
        case "none":
            training = f"had fallen by at least {_percent(fell)}" if fell > 0 else "did not keep falling"
            sentence = (
                f"No clear overfitting: in the last {LAST} epochs the validation loss lay {_percent(least)} "
                f"to {_percent(most)} above that of epoch {compared}, the best, while the training loss "
                f"{training}."
            )
    return Finding(kind="overfitting", sentence=sentence, numbers={"from_epoch": from_epoch, **asdict(fact)})


def rate(value: float) -> str:
    """Write a learning rate, such as 0.001 or 1e-5."""
    return re.sub(r"e-0?", "e-", f"{value:.3g}")


def _percent(change: float) -> str:
    return f"{100 * change:.1f} %"


def _accuracy_share(accuracy: float) -> str:
    return format_percent(accuracy, 10_000)  # the history does not say on how many images
