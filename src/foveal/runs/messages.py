"""What a run says while it goes on."""

from foveal import progress
from foveal.data.dataset import Dataset
from foveal.engine.compiled import kernels
from foveal.files.run_folder import EpochRecord
from foveal.models import registry
from foveal.planning.plan import Plan
from foveal.recipe.recipe import Recipe
from foveal.reporting.budget_findings import duration
from foveal.training.session import Session


def tell_plan(plan: Plan, spent: float) -> None:
    """Say what is planned for a budget, of which so many seconds are spent, and why."""
    end = plan.reserve + plan.judging
    progress.line(
        f"a budget of {duration(plan.seconds)}, {spent:.1f} seconds of it spent, {end:.1f} kept for the end: "
        f"planned are {plan.recipe.steps:,} steps in batches of {plan.recipe.batch_size}"
    )
    for reason in plan.why:
        progress.line(f"  {reason}")


def announce(session: Session, recipe: Recipe, dataset: Dataset, steps: int) -> None:
    """Say what trains on what, and where it is kept, before the first step."""
    splits = dataset.splits
    trainable, other = registry.count_parameters(session.state.network)
    progress.line(
        f"{recipe.name}: {trainable:,} trainable and {other:,} other parameters, "
        f"{len(dataset.classes)} classes; "
        f"{sum(map(len, splits.train)):,} images train in {steps} steps an epoch, "
        f"{len(splits.validation):,} validate ({splits.rule})"
    )
    if dataset.left_out:
        path, reason = next(iter(dataset.left_out.items()))
        progress.warn(
            f"{len(dataset.left_out)} files are left out, all listed in dataset.json; the first: "
            f"{progress.printable(path)}: {progress.printable(reason)}"
        )
    if (found := kernels()).loaded is None:
        progress.line(
            f"Foveal's own kernels are not used, so training takes about twice as long: {found.about}; "
            f"install a C compiler, gcc or clang"
        )
    progress.line(f"run folder: {session.folder.path}")


def tell_epoch(session: Session, record: EpochRecord, seconds: float, per_epoch: int) -> None:
    """Say what an epoch measured and what was decided after it."""
    epochs = session.epochs(per_epoch)
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
    if session.stopping:
        parts.append(f"stopping early: no improvement since epoch {session.best.epoch}")
    progress.line("  ".join(parts))
