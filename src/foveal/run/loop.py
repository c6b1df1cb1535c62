"""The epochs of one run, top to bottom: steps, validation, decisions, checkpoints, the model that is kept."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from foveal import progress
from foveal.commands import show_command
from foveal.data.batches import (
    count_steps_per_epoch,
    get_training_parts,
    iter_training_batches,
    shuffle_into_batches,
)
from foveal.data.dataset import Dataset
from foveal.deployment.bundle import Bundle
from foveal.errors import DivergenceError, Interrupted
from foveal.evaluation.calibration import choose_default_threshold, choose_thresholds, fit_temperature
from foveal.evaluation.metrics import cross_entropy
from foveal.evaluation.predict import compute_logits
from foveal.files.events import (
    BudgetCorrected,
    Diverged,
    EpochEnded,
    LearningRateCut,
    Planned,
    Trained,
    TrainingBegan,
    TrainingInterrupted,
)
from foveal.files.lock import only_writer
from foveal.files.run_records import EpochRecord
from foveal.run.checkpoint_timer import CheckpointTimer
from foveal.run.loggers import Loggers
from foveal.run.messages import tell_epoch, tell_start
from foveal.run.model_card import write_model_card
from foveal.run.options import TrainOptions
from foveal.run.run import Run, record_evaluation
from foveal.run.training_checks import warn_of_few_steps, warn_of_lagging_averages
from foveal.training.budget_controller import BudgetController
from foveal.training.session import Session
from foveal.training.signals import Interruption, StoppedAtOnce, catch_signals

MIN_CORRECTION_TO_TELL = 0.03
"""The share of the steps from which on a correction of their number is told, not only recorded."""
MAX_FILES_IN_MESSAGE = 5
"""The number of files of a batch that a message names. Its event names all of them."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Everything that is fixed for a run and not saved in a checkpoint."""

    dataset: Dataset
    """The images and their splits."""
    seed: int
    """The seed of batches, augmentation and dropout."""
    options: TrainOptions
    """How the run is watched, saved and stopped."""
    loggers: Loggers
    """Where the figures of every epoch are sent."""
    budget: BudgetController | None
    """What keeps the time budget, if the run has one."""
    budget_began: float
    """When the budget began, as a reading of the monotonic clock."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What the network does on the validation images. All is None where nothing validates."""

    logits: NDArray[np.float32] | None = None
    loss: float | None = None
    accuracy: float | None = None


def train_to_the_end(session: Session, context: RunContext) -> Run:
    """Train, validate and decide epoch by epoch, and keep the weights of the best epoch as the model."""
    timer = CheckpointTimer(session, interval=context.options.save_every)
    best_logits: NDArray[np.float32] | None = None  # unknown if the best epoch lies before an interruption
    training_began = time.perf_counter()
    session.folder.add_event(TrainingBegan(epoch=session.epoch, step=session.step))
    tell_start(session, context.dataset, _steps_per_epoch(session, context))
    if context.budget is None:
        warn_of_few_steps(session.recipe, _steps_per_epoch(session, context))

    with torch.random.fork_rng(devices=[]), catch_signals() as interruption:
        while not session.ended:
            epoch_began = time.perf_counter()
            try:
                _train_epoch(session, context, timer, interruption)
                steps_ended = time.monotonic()
                with interruption.stop_at_once():  # nothing is lost: validating again gives the same
                    validation = _validate(session, context.dataset)
            except StoppedAtOnce:
                _save_and_leave(session, interruption)
            except DivergenceError as error:
                _roll_back_once(session, context, error)
                best_logits = None
                continue

            record = _record_epoch(session, validation)
            is_best = _decide(session, context.dataset, record)
            if is_best:
                best_logits = validation.logits
            seconds = time.perf_counter() - epoch_began
            session.folder.add_event(
                EpochEnded(epoch=record.epoch, step=record.step, seconds=round(seconds, 3))
            )
            tell_epoch(session, record, seconds, _steps_per_epoch(session, context))
            session.begin_next_epoch()
            stop = context.options.stop
            if stop is not None and not session.ended and stop(record):
                session.stopped_early = True
            timer.save_after_epoch(needed=is_best or session.ended)
            context.loggers.send()
            if context.budget is not None:
                context.budget.pause(time.monotonic() - steps_ended)
            if interruption.signal_number is not None:  # the signal came between two epochs
                _save_and_leave(session, interruption)

    return _finish(session, context, best_logits, training_began)


def _steps_per_epoch(session: Session, context: RunContext) -> int:
    return count_steps_per_epoch(
        get_training_parts(context.dataset, session.recipe), session.recipe.batch_size
    )


def _train_epoch(
    session: Session, context: RunContext, timer: CheckpointTimer, interruption: Interruption
) -> None:
    """Train on the rest of an epoch's batches. Between steps, look at the budget, signals and the clock."""
    per_epoch = _steps_per_epoch(session, context)
    batches = iter_training_batches(
        context.dataset,
        session.recipe,
        seed=context.seed,
        epoch=session.epoch,
        position=session.batches_done,
        shrink=lambda step: session.recipe.get_shrink_factor(session.progress.at(step)),
        augment=context.options.augment,
    )
    label = f"epoch {session.epoch}/{session.count_epochs(per_epoch)}"
    with (
        progress.bar(per_epoch, label, "steps", done=session.batches_done) as bar,
        _name_files_on_divergence(session, context),
    ):
        for _ in session.train_steps(batches):
            if context.budget is not None:
                _correct_steps(session, context.budget, time.monotonic() - context.budget_began)
            sums = session.totals
            bar.show(loss=f"{sums.loss:.4f}", accuracy=f"{sums.accuracy:.4f}")
            bar.advance()
            if interruption.signal_number is not None:
                _save_and_leave(session, interruption)
            timer.save_if_due()


def _validate(session: Session, dataset: Dataset) -> Validation:
    """Measure the network on the validation images, where there are any and this epoch is to be validated.

    Raises:
        DivergenceError: An output of the network is not finite.
    """
    indices = dataset.splits.validation
    every, is_last = session.recipe.validate_every, session.step >= session.progress.steps
    if len(indices) == 0 or not (is_last or (every is not None and session.epoch % every == 0)):
        return Validation()
    logits = compute_logits(session.state.network, dataset.pack.pixels, indices)
    labels = dataset.labels[indices]
    if not np.isfinite(logits).all():
        raise DivergenceError(
            f"the network's outputs are no longer finite after epoch {session.epoch}, step {session.step}; "
            f"a smaller learning rate may help: --set learning_rate={session.state.learning_rate / 10:g}"
        )
    return Validation(
        logits=logits,
        loss=cross_entropy(logits, labels),
        accuracy=float((logits.argmax(axis=1) == labels).mean()),
    )


def _record_epoch(session: Session, validation: Validation) -> EpochRecord:
    """Append what the epoch measured to the history."""
    record = EpochRecord(
        epoch=session.epoch,
        step=session.step,
        learning_rate=session.state.learning_rate,
        loss=session.totals.loss,
        accuracy=session.totals.accuracy,
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
    )
    session.folder.add_epoch(record)
    return record


def _decide(session: Session, dataset: Dataset, record: EpochRecord) -> bool:
    """Cut the learning rate or stop early as the recipe says; return whether this epoch is the best."""
    loss = record.validation_loss
    if loss is None:
        nothing_validates = len(dataset.splits.validation) == 0
        return nothing_validates and session.best.update(None, epoch=record.epoch, step=record.step)
    is_best = session.best.update(loss, epoch=record.epoch, step=record.step)
    if session.plateau is not None:
        session.state.learning_rate = session.plateau.update(loss, record.learning_rate)
        if session.state.learning_rate != record.learning_rate:
            cut = LearningRateCut(epoch=record.epoch, learning_rate=session.state.learning_rate)
            session.folder.add_event(cut)
    if session.early_stopping is not None:
        session.stopped_early = session.early_stopping.update(loss)
    return is_best


def _finish(
    session: Session, context: RunContext, best_logits: NDArray[np.float32] | None, training_began: float
) -> Run:
    """Save the best epoch's weights as the model, with its temperature, and evaluate it."""
    warn_of_lagging_averages(session, context.dataset, _steps_per_epoch(session, context))
    session.restore_best()
    folder, dataset, network = session.folder, context.dataset, session.state.network
    validation = dataset.splits.validation
    if best_logits is None and len(validation):
        best_logits = compute_logits(network, dataset.pack.pixels, validation)
    temperature, threshold = None, None
    if best_logits is not None:
        y_true = dataset.labels[validation]
        temperature = fit_temperature(best_logits, y_true)
        threshold = choose_default_threshold(choose_thresholds(best_logits, y_true, temperature).selective)
    bundle = Bundle(
        network=network.eval(),
        classes=dataset.classes,
        decoding=dataset.pack.decoding,
        recipe=session.recipe,
        temperature=temperature,
        threshold=None if threshold is None else threshold.threshold,
    )
    bundle.save(folder.model, about=write_model_card(bundle, folder))
    folder.add_event(
        Trained(
            epochs=session.epoch - 1,
            best_epoch=session.best.epoch,
            steps=session.step,
            stopped=_describe_end(session, context.budget),
            seconds=round(time.perf_counter() - training_began, 3),
        )
    )
    for event in folder.events():
        if isinstance(event, Planned):
            progress.line(event.outlook)
    run = Run(folder.path, dataset=dataset, bundle=bundle)
    if best_logits is not None:
        with only_writer(run.path):
            record_evaluation(run, "validation", best_logits)
    return run


def _describe_end(
    session: Session, budget: BudgetController | None
) -> Literal["finished", "early", "budget"]:
    if session.stopped_early:
        return "early"
    return "budget" if budget is not None and session.step < budget.max_steps else "finished"


@contextmanager
def _name_files_on_divergence(session: Session, context: RunContext) -> Iterator[None]:
    """Name the files of the batch at which a loss in the block is no longer a number."""
    try:
        yield
    except DivergenceError as error:
        parts = get_training_parts(context.dataset, session.recipe)
        order = shuffle_into_batches(parts, session.recipe.batch_size, seed=context.seed, epoch=session.epoch)
        files = tuple(context.dataset.pack.paths[index] for index in order[session.batches_done].tolist())
        session.folder.add_event(Diverged(step=session.step + 1, epoch=session.epoch, files=files))
        names = ", ".join(progress.printable(file, 80) for file in files[:MAX_FILES_IN_MESSAGE])
        n_more = len(files) - MAX_FILES_IN_MESSAGE
        more = f" and {n_more} more, all in events.jsonl" if n_more > 0 else ""
        raise DivergenceError(f"{error} (its batch: {names}{more})") from error


def _roll_back_once(session: Session, context: RunContext, error: DivergenceError) -> None:
    """Return to the newest checkpoint with half the learning rate: under a budget, and once only.

    Raises:
        DivergenceError: There is no budget, or training diverged before.
    """
    if context.budget is None or session.rate_halved:
        raise error
    session.roll_back()
    context.budget.reset()
    progress.warn(f"{error}; back to step {session.step}, with half the learning rate, once")


def _correct_steps(session: Session, budget: BudgetController, seconds: float) -> None:
    """Correct the number of steps if the budget asks for it after so many seconds, and record that."""
    steps = budget.update(seconds, session.step, session.progress)
    if steps is None or steps == session.progress.steps:
        return
    if session.step not in budget.replay:
        slowdown = round(budget.slowdown, 3)
        session.folder.add_event(BudgetCorrected(step=session.step, steps=steps, slowdown=slowdown))
        if abs(steps - session.progress.steps) > MIN_CORRECTION_TO_TELL * session.progress.steps:
            progress.line(
                f"{steps:,} steps fit in place of {session.progress.steps:,}: "
                f"one takes {slowdown:.2f} times as long as measured at first"
            )
    session.progress.correct(session.step, steps)


def _save_and_leave(session: Session, interruption: Interruption) -> NoReturn:
    """Save everything and leave."""
    assert interruption.signal_number is not None
    session.save()
    session.folder.add_event(TrainingInterrupted(epoch=session.epoch, step=session.step))
    raise Interrupted(
        f"interrupted in epoch {session.epoch}, everything is saved; "
        f"go on with: {show_command('resume', session.folder.path)}",
        run=session.folder.path,
        signal_number=interruption.signal_number,
    )
