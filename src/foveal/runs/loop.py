"""The epochs of one run, told top to bottom: steps, decisions, checkpoints, the model that is kept."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from foveal import progress
from foveal.data.augment import Augment
from foveal.data.batches import epoch_order, steps_per_epoch, training_batches, training_parts
from foveal.data.dataset import Dataset
from foveal.deployment.bundle import Bundle
from foveal.errors import DivergenceError, Interrupted
from foveal.evaluation.calibration import fit_temperature
from foveal.evaluation.metrics import cross_entropy
from foveal.evaluation.predict import compute_logits
from foveal.files.run_records import EpochRecord
from foveal.runs.loggers import Loggers
from foveal.runs.messages import announce, tell_epoch
from foveal.runs.run import Run, model_card
from foveal.training.budget_controller import BudgetController
from foveal.training.session import Session
from foveal.training.signals import Interruption, Stopped, noted

WORTH_TELLING = 0.03
"""Of the steps: smaller corrections are journalled, but not said."""
SAVING = 0.02
"""Of the time, at most, for checkpoints that nothing but a crash would need."""
NAMED = 5
"""Files of a batch that a message names; its event names all."""


def train_to_the_end(
    session: Session,
    dataset: Dataset,
    *,
    seed: int,
    augment: Augment | None,
    budget: BudgetController | None,
    began: float,
    save_every: float,
    loggers: Loggers,
    stop: Callable[[EpochRecord], bool] | None,
) -> Run:
    """Train to the end, validate and decide after every epoch, and keep the best weights as the model.

    A budget counts from `began`, a reading of the monotonic clock. Checkpoints are written after every epoch
    and every `save_every` seconds. `stop` is asked after each epoch but the last whether to end here.
    """
    folder, state, recipe = session.folder, session.state, session.recipe
    per_epoch = steps_per_epoch(training_parts(dataset, recipe), recipe.batch_size)
    best_logits = None  # on validation images, unless the best epoch lies before an interruption
    training_began = time.perf_counter()
    folder.event("training", epoch=session.epoch, step=session.step)
    announce(session, recipe, dataset, per_epoch)
    saving = _Saving(session, save_every)

    def shrink(step: int) -> int:
        return recipe.shrink_at(session.course.progress(step))

    with torch.random.fork_rng(devices=[]), noted() as interruption:
        while not session.ended:
            epoch_began = time.perf_counter()
            batches = training_batches(
                dataset,
                recipe,
                seed=seed,
                epoch=session.epoch,
                position=session.position,
                shrink=shrink,
                augment=augment,
            )
            label = f"epoch {session.epoch}/{session.epochs(per_epoch)}"
            try:
                with (
                    progress.bar(per_epoch, label, "steps", done=session.position) as bar,
                    _batch_named(session, dataset, seed),
                ):
                    for _ in session.steps(batches):
                        if budget is not None:
                            _correct(session, budget, time.monotonic() - began)
                        so_far = session.so_far
                        bar.show(loss=f"{so_far.loss:.4f}", accuracy=f"{so_far.accuracy:.4f}")
                        bar.advance()
                        if interruption.signal_number is not None:
                            _stop(session, interruption)
                        saving.if_due()
                steps_ended = time.monotonic()
                with interruption.at_once():  # nothing is lost by it: to validate again gives the same
                    found, loss, accuracy = _validate(session, dataset)
            except Stopped:
                _stop(session, interruption)
            except DivergenceError as error:
                if budget is None or session.slowed:
                    raise
                session.roll_back()
                budget.restart()
                best_logits = None
                progress.warn(f"{error}; back to step {session.step}, with half the learning rate, once")
                continue
            record = EpochRecord(
                epoch=session.epoch,
                step=session.step,
                learning_rate=state.learning_rate,
                loss=session.so_far.loss,
                accuracy=session.so_far.accuracy,
                validation_loss=loss,
                validation_accuracy=accuracy,
            )
            folder.add_epoch(record)

            judged = loss is not None or len(dataset.splits.validation) == 0
            best = judged and session.best.update(loss, epoch=record.epoch, step=record.step)
            if best:
                best_logits = found
            if loss is not None and session.plateau is not None:
                state.learning_rate = session.plateau.update(loss, record.learning_rate)
                if state.learning_rate != record.learning_rate:
                    folder.event("plateau", epoch=record.epoch, learning_rate=state.learning_rate)
            if loss is not None and session.early_stopping is not None:
                session.stopping = session.early_stopping.update(loss)
            seconds = time.perf_counter() - epoch_began
            folder.event("epoch", epoch=record.epoch, step=record.step, seconds=round(seconds, 3))
            tell_epoch(session, record, seconds, per_epoch)
            session.next_epoch()
            if stop is not None and not session.ended and stop(record):
                session.stopping = True
            saving.after_epoch(needed=best or session.ended)
            loggers.send()
            if budget is not None:
                budget.pause(time.monotonic() - steps_ended)
            if interruption.signal_number is not None:  # it came between two epochs
                _stop(session, interruption)

    session.restore_best()
    validation = dataset.splits.validation
    if best_logits is None and len(validation):
        best_logits = compute_logits(state.network, dataset.pack.pixels, validation)
    bundle = Bundle(
        network=state.network.eval(),
        classes=dataset.classes,
        decoding=dataset.pack.decoding,
        recipe=recipe,
        temperature=None if best_logits is None else fit_temperature(best_logits, dataset.labels[validation]),
    )
    bundle.save(folder.model, about=model_card(bundle, folder))
    folder.event(
        "trained",
        epochs=session.epoch - 1,
        best_epoch=session.best.epoch,
        steps=session.step,
        stopped=_why_stopped(session, budget),
        seconds=round(time.perf_counter() - training_began, 3),
    )
    for event in folder.events():
        if event["event"] == "plan":
            progress.line(str(event["more"]))
    run = Run(folder.path, dataset=dataset, bundle=bundle)
    if len(validation):
        run.evaluate("validation", found=best_logits)
    return run


class _Saving:
    """When checkpoints are written: after every epoch and every so many seconds, if that costs little."""

    def __init__(self, session: Session, every: float) -> None:
        self._session = session
        self._every = every
        self._cost = 0.0
        self._saved = time.monotonic()

    def if_due(self) -> None:
        """Save in the middle of an epoch, if the last time is long ago."""
        if time.monotonic() - self._saved >= max(self._every, self._cost / SAVING):
            self._save()

    def after_epoch(self, *, needed: bool) -> None:
        """Save after an epoch. Where epochs take moments not all are, but those that are `needed`."""
        if needed or time.monotonic() - self._saved >= self._cost / SAVING:
            self._save()

    def _save(self) -> None:
        began = time.monotonic()
        self._session.save()
        self._saved = time.monotonic()
        self._cost = self._saved - began


@contextmanager
def _batch_named(session: Session, dataset: Dataset, seed: int) -> Iterator[None]:
    """Name the files of the batch at which a loss in the block is no longer a number."""
    try:
        yield
    except DivergenceError as error:
        recipe = session.recipe
        parts = training_parts(dataset, recipe)
        order = epoch_order(parts, recipe.batch_size, seed=seed, epoch=session.epoch)
        files = [dataset.pack.paths[row] for row in order[session.position].tolist()]
        session.folder.event("diverged", step=session.step + 1, epoch=session.epoch, files=files)
        named = ", ".join(progress.printable(file, 80) for file in files[:NAMED])
        more = f" and {len(files) - NAMED} more, all in events.jsonl" if len(files) > NAMED else ""
        raise DivergenceError(f"{error} (its batch: {named}{more})") from error


def _correct(session: Session, budget: BudgetController, now: float) -> None:
    """Correct the number of steps, if the budget asks for it, and journal that."""
    steps = budget.update(now, session.step, session.course)
    if steps is None or steps == session.course.steps:
        return
    if session.step not in budget.replay:
        slowdown = round(budget.slowdown, 3)
        session.folder.event("budget", step=session.step, steps=steps, slowdown=slowdown)
        if abs(steps - session.course.steps) > WORTH_TELLING * session.course.steps:
            progress.line(
                f"{steps:,} steps fit in place of {session.course.steps:,}: "
                f"one takes {slowdown:.2f} times as long as measured at first"
            )
    session.course.correct(session.step, steps)


def _why_stopped(session: Session, budget: BudgetController | None) -> str:
    if session.stopping:
        return "early"
    return "budget" if budget is not None and session.step < budget.most else "finished"


def _validate(
    session: Session, dataset: Dataset
) -> tuple[NDArray[np.float32] | None, float | None, float | None]:
    """Return logits, loss and accuracy on the validation split; None where nothing validates now."""
    rows = dataset.splits.validation
    every, last = session.recipe.validate_every, session.step >= session.course.steps
    if len(rows) == 0 or not (last or (every is not None and session.epoch % every == 0)):
        return None, None, None
    found, labels = compute_logits(session.state.network, dataset.pack.pixels, rows), dataset.labels[rows]
    if not np.isfinite(found).all():
        raise DivergenceError(
            f"the network's outputs are no longer finite after epoch {session.epoch}, step {session.step}; "
            f"a smaller learning rate may help: --set learning_rate={session.state.learning_rate / 10:g}"
        )
    return found, cross_entropy(found, labels), float((found.argmax(axis=1) == labels).mean())


def _stop(session: Session, interruption: Interruption) -> NoReturn:
    """Save everything and leave."""
    assert interruption.signal_number is not None
    session.save()
    session.folder.event("interrupted", epoch=session.epoch, step=session.step)
    raise Interrupted(
        f"interrupted in epoch {session.epoch}, everything is saved; "
        f"go on with: foveal resume {session.folder.path}",
        run=session.folder.path,
        signal_number=interruption.signal_number,
    )
