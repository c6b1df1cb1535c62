"""What a run tells on standard error while it trains."""

from pathlib import Path

import numpy as np

from foveal import progress
from foveal.commands import show_command
from foveal.data.dataset import Dataset
from foveal.data.duplicates import describe_equal_files
from foveal.data.file_notes import describe_notes
from foveal.engine.compiled import load_library
from foveal.files.run_records import EpochRecord
from foveal.models import registry
from foveal.planning.plan import Plan
from foveal.reporting.budget_findings import format_duration
from foveal.tables import text_table
from foveal.training.session import Session

MAX_CLASSES_SHOWN = 12
"""The number of classes up to which all are shown before training. Of more, the first and last are."""
N_FIRST_CLASSES, N_LAST_CLASSES = 6, 3
"""How many of many classes are shown."""
MAX_NAMES_SHOWN = 4
"""The number of names of files passed over that are shown."""


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
    tell_classes(dataset)
    tell_listing(dataset, session.folder.path)
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
    for sentence in describe_notes(dataset.pack.paths, dataset.pack.notes):
        progress.warn(sentence)
    for equal_files in dataset.equal_files:
        progress.warn(describe_equal_files(equal_files))
    if (kernels := load_library()).library is None:
        progress.line(
            f"Foveal's own kernels are not used, so training takes about twice as long: "
            f"{kernels.description}; install a C compiler, gcc or clang"
        )
    progress.line(f"run folder: {session.folder.path}")


def tell_classes(dataset: Dataset) -> None:
    """Tell the classes and how many images each has in every split, the first and last of many classes."""
    splits = dataset.splits
    parts = {"training": np.concatenate(splits.train), "validation": splits.validation, "test": splits.test}
    counts = {name: dataset.count_classes(part) for name, part in parts.items() if len(part)}
    rows = [
        [progress.printable(name, 40), *(f"{count[label]:,}" for count in counts.values())]
        for label, name in enumerate(dataset.classes)
    ]
    if len(rows) > MAX_CLASSES_SHOWN:
        n_more = len(rows) - N_FIRST_CLASSES - N_LAST_CLASSES
        rows[N_FIRST_CLASSES:-N_LAST_CLASSES] = [[f"… {n_more:,} more", *([""] * len(counts))]]
    header = [f"{len(dataset.classes):,} classes", *counts]
    for line in text_table(header, rows, right=set(range(1, len(header)))).splitlines():
        progress.line(line)


def tell_listing(dataset: Dataset, run: Path) -> None:
    """Tell how the folders were read, what was passed over, and how to use images without classes."""
    listing = dataset.listing
    if listing is None:
        return
    for note in listing.notes:
        progress.line(note)
    for warning in listing.warnings:
        progress.warn(warning)
    if listing.passed_over:
        n_files = sum(listing.passed_over.values())
        names = sorted(listing.passed_over, key=lambda name: (-listing.passed_over[name], name))
        counted = [f"{progress.printable(name, 40)} ({listing.passed_over[name]:,})" for name in names]
        shown = ", ".join(counted[:MAX_NAMES_SHOWN])
        more = f" and {len(names) - MAX_NAMES_SHOWN:,} other names" if len(names) > MAX_NAMES_SHOWN else ""
        files = "1 file" if n_files == 1 else f"{n_files:,} files"
        progress.line(f"passed over, as hidden or left by other programs: {files}: {shown}{more}")
    if listing.unlabelled:
        command = show_command("predict", run, listing.root / listing.unlabelled)
        progress.warn(
            f"the {listing.n_unlabelled:,} images in {progress.printable(listing.unlabelled)} have no "
            f"classes, so they test nothing; after training: {command}"
        )


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
