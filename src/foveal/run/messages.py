"""What a run tells on standard error while it trains."""

from foveal import progress
from foveal.data.dataset import Dataset
from foveal.engine.compiled import load_library
from foveal.files.run_records import EpochRecord
from foveal.models import registry
from foveal.planning.plan import Plan
from foveal.reporting.budget_findings import format_duration
from foveal.training.session import Session


def tell_plan(plan: Plan, seconds_spent: float) -> None:
    """Tell what is planned for a budget, of which so many seconds have passed, and why."""
    seconds_kept = plan.reserve_seconds + plan.evaluation_seconds
    progress.line(
        f"a budget of {format_duration(plan.seconds)}, {seconds_spent:.1f} seconds of it spent, "
        f"{seconds_kept:.1f} kept for the end: "
        f"planned are {plan.recipe.steps:,} steps in batches of {plan.recipe.batch_size}"
    )
    for reason in plan.reasons:
        progress.line(f"  {reason}")


def tell_start(session: Session, dataset: Dataset, steps_per_epoch: int) -> None:
    """Tell what trains on what, and where it is kept, before the first step."""
    splits = dataset.splits
    trainable, other = registry.count_parameters(session.state.network)
    progress.line(
        f"{session.recipe.name}: {trainable:,} trainable and {other:,} other parameters, "
        f"{len(dataset.classes)} classes; "
        f"{sum(map(len, splits.train)):,} images train in {steps_per_epoch} steps an epoch, "
        f"{len(splits.validation):,} validate ({splits.rule})"
    )
    if dataset.left_out:
        path, reason = next(iter(dataset.left_out.items()))
        progress.warn(
            f"{len(dataset.left_out)} files are left out, all listed in dataset.json; the first: "
            f"{progress.printable(path)}: {progress.printable(reason)}"
        )
    if (kernels := load_library()).library is None:
        progress.line(
            f"Foveal's own kernels are not used, so training takes about twice as long: "
            f"{kernels.description}; install a C compiler, gcc or clang"
        )
    progress.line(f"run folder: {session.folder.path}")


def tell_epoch(session: Session, record: EpochRecord, seconds: float, per_epoch: int) -> None:
    """Say what an epoch measured and what was decided after it."""
    epochs = session.count_epochs(per_epoch)
    parts = [
        f"epoch {record.epoch:>{len(str(epochs))}}/{epochs}",
        f"loss {record.loss:.4f}",
        f"accuracy {record.accuracy:.2%}",
    ]
    if record.validation_loss is not None and record.validation_accuracy is not None:
        parts += [
            f"validation loss {record.validation_loss:.4f}",
            f"accuracy {record.validation_accuracy:.2%}",
        ]
    parts += [f"learning rate {record.learning_rate:.4g}", f"{seconds:.1f} s"]
    if session.best.epoch == record.epoch and record.validation_loss is not None:
        parts.append("best so far")
    if session.anneal is None and session.state.learning_rate != record.learning_rate:
        parts.append(f"learning rate cut to {session.state.learning_rate:g}")
    if session.stopped_early:
        parts.append(f"stopping early: no improvement since epoch {session.best.epoch}")
    progress.line("  ".join(parts))
