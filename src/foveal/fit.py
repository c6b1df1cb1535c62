"""One run, told top to bottom: data, network, epochs, decisions, the model that is kept."""

import os
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal import progress, recipes
from foveal import settings as changes
from foveal.data.augment import Augment
from foveal.data.batches import steps_per_epoch, training_batches, training_parts
from foveal.data.dataset import Dataset, open_dataset
from foveal.deployment.bundle import Bundle
from foveal.errors import DivergenceError, Interrupted, RecipeError, RunError
from foveal.evaluation.metrics import cross_entropy
from foveal.evaluation.predict import logits
from foveal.models import registry
from foveal.planning.plan import Plan, planned
from foveal.recipe import Recipe
from foveal.results import Run, model_card
from foveal.run import EpochRecord, RunFolder
from foveal.telling import announce, tell_epoch, tell_plan
from foveal.training import environment
from foveal.training.budget import Budget, taken_up
from foveal.training.epoch import run_epoch
from foveal.training.session import Session
from foveal.training.signals import Interruption, noted

DEFAULT_MINUTES = 5.0
"""The budget where neither a recipe nor a budget is named,"""
DEFAULT_RECIPE = "model-s-02"
"""and the recipe where the network is the user's own, which no plan can choose."""
WORTH_TELLING = 0.03
"""Of the steps: smaller corrections are journalled, but not said."""
PREPARING = 2000
"""Training images from which a network takes what it needs before the first step."""


def train(
    data: str | os.PathLike[str],
    *,
    recipe: str | Path | Recipe | None = None,
    minutes: float | None = None,
    validation: str | None = None,
    group: str | None = None,
    seed: int = 0,
    settings: Iterable[str] = (),
    model: nn.Module | None = None,
    augment: Augment | None = None,
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    spent: float = 0.0,
    tested: bool = False,
) -> Run:
    """Train a classifier on class folders and return the run.

    The test split, where there is one, is not touched: `run.evaluate("test")` opens it.

    Args:
        data: a folder in one of the layouts of class folders.
        recipe: a recipe's name, a TOML or JSON file, or a `Recipe`. Without one, the best training that is
            expected to fit into the budget is planned for the data and the machine.
        minutes: that budget, from the call to the return; 5 if neither it nor a recipe is given.
        validation: the split that validates, such as "train2"; "none" trains on all.
        group: a regular expression on relative paths; images with the same match never part.
        seed: of the initial weights, the order of images, augmentation, dropout and random splits.
        settings: changes to the recipe, such as "epochs=6" or "plateau.patience=2".
        model: a network of your own instead of the recipe's. It gets floats (N, C, S, S) between 0 and 1
            and returns logits (N, classes). It is trained in place, from the weights it has.
        augment: a function of your own, (images uint8 (N, S, S, C), generator) -> images, instead of the
            recipe's augmentation.
        out: the run's folder; by default runs/DATE-TIME-RECIPE.
        cache: where decoded images are kept; by default the user's cache folder.
        spent: seconds of the budget that had passed before the call.
        tested: whether the budget is to have room for `run.evaluate("test")` and `run.report()`, too.

    Raises:
        UserError: the data, the recipe or a setting is refused; no run was begun.
        OutsideError: the disk failed.
        DivergenceError: a loss is no longer a number.
        Interrupted: Ctrl-C or SIGTERM; everything is saved and `resume` goes on.
    """
    if not 0 <= seed < 2**63:
        raise RecipeError(f"the seed is {seed}; it must lie between 0 and 2^63 − 1")
    validation = validation and validation.lower()
    began = time.monotonic() - spent
    kept = Path(cache).resolve() if cache is not None else None
    if out is not None and Path(out).exists():
        raise RunError(f"{out} exists already; choose another --out, or remove it first")
    plan: Plan | None = None
    if recipe is None and model is None:
        seconds = 60 * (DEFAULT_MINUTES if minutes is None else minutes)
        chosen, changed = _changed(recipes.budgeted(), settings, validation, model, augment)
        dataset, plan = planned(
            data,
            chosen,
            changed,
            seconds=seconds,
            clock=lambda: time.monotonic() - began,
            options={"validation": validation, "group": group, "seed": seed, "cache": kept},
            tested=tested,
        )
        chosen = plan.recipe
    elif minutes is not None:
        what = "a recipe decides" if model is None else "your own network decides"
        raise RecipeError(f"{what} how long training takes, so a budget has no effect; leave one of them out")
    else:
        chosen, _ = _changed(recipes.load(recipe or DEFAULT_RECIPE), settings, validation, model, augment)
        dataset = open_dataset(data, chosen.image, validation=validation, group=group, seed=seed, cache=kept)
    path = Path(out) if out is not None else _default_name(chosen)
    network = _network(chosen, dataset, seed, model)
    origin = {
        **environment.describe(seed=seed),
        "data": str(dataset.root.resolve()),
        **dataset.options,
        "cache": None if kept is None else str(kept),
        "own_augmentation": augment is not None,
    }
    if model is None:
        rows = dataset.rows("train")
        some = np.random.default_rng([seed, PREPARING]).permutation(rows)[:PREPARING]
        registry.prepare(network, torch.from_numpy(dataset.pack.pixels[np.sort(some)]))
    folder = RunFolder.create(path, recipe=chosen.to_json(), dataset=dataset.to_json(), environment=origin)
    session = _session(folder, chosen, dataset, network)
    session.save()  # from here on, `resume` knows the initial weights, a user's own network's too
    budget = None
    if plan is not None:
        folder.event("plan", **plan.to_json(), spent=round(time.monotonic() - began, 3))
        budget, _ = taken_up(folder.events()) or (None, 0.0)
        tell_plan(plan, time.monotonic() - began)
    return _run(session, chosen, dataset, seed, augment, budget=budget, began=began)


def _changed(
    recipe: Recipe,
    settings: Iterable[str],
    validation: str | None,
    model: nn.Module | None,
    augment: Augment | None,
) -> tuple[Recipe, frozenset[str]]:
    """Return the recipe as the user changed it, and the paths of the changes."""
    chosen, changed = changes.change(recipe, settings)
    if validation == "none":
        chosen = changes.without_validation(chosen, changed)
    if model is not None:
        chosen = changes.with_own_network(chosen, changed, model)
    if augment is not None:
        chosen = changes.with_own_augmentation(chosen, changed)
        changed |= {"augmentation"}
    return chosen, changed


def resume(
    run: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    augment: Augment | None = None,
    spent: float = 0.0,
) -> Run:
    """Go on with an interrupted run, from its newest checkpoint, or from its seed if it has none.

    A finished run is returned as it is. `model` and `augment` must be those it was begun with. What a budget
    decided by the clock is decided again alike, as far as its journal tells; the time in between is not
    counted. `spent` are seconds of the budget that had passed before the call, since this process began.

    Raises:
        RunError: data, code version or thread count are not those it was begun with.
    """
    folder = RunFolder(run)
    if folder.state in ("trained", "evaluated"):
        progress.line(f"{folder.path} is finished; there is nothing to resume")
        run_before = Run(folder.path, model=model)
        if run_before.evaluation("validation") is None and folder.dataset["splits"]["validation"]["n"]:
            run_before.evaluate("validation")  # it was stopped between its last two steps
        return run_before
    chosen = Recipe.from_json(folder.recipe)
    if folder.environment["own_augmentation"] and augment is None:
        raise RunError(f"{folder.path} was begun with your own augmentation; pass it from Python: augment=…")
    if augment is not None and not folder.environment["own_augmentation"]:
        raise RunError(f"{folder.path} was begun without an augmentation of your own; leave augment out")
    dataset, seed = Run(folder.path).dataset, folder.environment["seed"]
    environment.refuse_differences(folder.path, folder.environment, environment.describe(seed=seed))
    network = _network(chosen, dataset, seed, model)
    session = _session(folder, chosen, dataset, network)
    session.go_on()
    progress.line(f"resuming at epoch {session.epoch}, step {session.step}")
    budget, before = taken_up(folder.events()) or (None, 0.0)
    began = time.monotonic() - spent - before
    return _run(session, chosen, dataset, seed, augment, budget=budget, began=began)


def _session(folder: RunFolder, recipe: Recipe, dataset: Dataset, network: nn.Module) -> Session:
    per_epoch = steps_per_epoch(training_parts(dataset, recipe), recipe.batch_size)
    steps = recipe.epochs * per_epoch
    return Session.begin(
        folder,
        recipe,
        network,
        dataset.class_counts(dataset.rows("train")),
        steps=steps if recipe.steps is None else min(steps, recipe.steps),
    )


def _run(
    session: Session,
    recipe: Recipe,
    dataset: Dataset,
    seed: int,
    augment: Augment | None,
    *,
    budget: Budget | None,
    began: float,
) -> Run:
    """Train to the end, validate and decide after every epoch, and keep the best weights as the model.

    A budget counts from `began`, a reading of the monotonic clock.
    """
    folder, state = session.folder, session.state
    per_epoch = steps_per_epoch(training_parts(dataset, recipe), recipe.batch_size)
    best_logits = None  # on validation images, unless the best epoch lies before an interruption
    training_began = time.perf_counter()
    folder.event("training", epoch=session.epoch, step=session.step)
    announce(session, recipe, dataset, per_epoch)

    def shrink(step: int) -> int:
        return recipe.shrink_at(session.course.progress(step))

    with torch.random.fork_rng(devices=[]), noted() as interruption:
        while session.step < session.course.steps and not session.stopping:
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
            rate = state.learning_rate  # of the last step: this epoch may have none left
            state.learning_rate = session.rate()
            label = f"epoch {session.epoch}/{session.epochs(per_epoch)}"
            try:
                with progress.bar(per_epoch, label, "steps", done=session.position) as bar:
                    for step in run_epoch(state, batches, done=session.step):
                        session.count(step)
                        rate = state.learning_rate
                        if budget is not None:
                            _correct(session, budget, time.monotonic() - began)
                        so_far = session.so_far
                        bar.show(loss=f"{so_far.loss:.4f}", accuracy=f"{so_far.accuracy:.4f}")
                        bar.advance()
                        if interruption.signal_number is not None:
                            _stop(session, interruption)
                        if session.step >= session.course.steps:
                            break
                        state.learning_rate = session.rate()
                steps_ended = time.monotonic()
                found, loss, accuracy = _validate(session, recipe, dataset)
            except DivergenceError as error:
                if budget is None or session.slowed:
                    raise
                session.go_back()
                budget.restart()
                best_logits = None
                progress.warn(f"{error}; back to step {session.step}, with half the learning rate, once")
                continue
            record = EpochRecord(
                epoch=session.epoch,
                step=session.step,
                learning_rate=rate,
                loss=session.so_far.loss,
                accuracy=session.so_far.accuracy,
                validation_loss=loss,
                validation_accuracy=accuracy,
            )
            folder.add_epoch(record)

            judged = loss is not None or len(dataset.splits.validation) == 0
            if judged and session.best.update(loss, epoch=record.epoch, step=record.step):
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
            session.save()
            if budget is not None:
                budget.pause(time.monotonic() - steps_ended)
            if interruption.signal_number is not None:  # it came while validating
                _stop(session, interruption)

    session.restore_best()
    bundle = Bundle(
        network=state.network.eval(), classes=dataset.classes, decoding=dataset.pack.decoding, recipe=recipe
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
    if len(dataset.splits.validation):
        run.evaluate("validation", found=best_logits)
    return run


def _correct(session: Session, budget: Budget, now: float) -> None:
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


def _why_stopped(session: Session, budget: Budget | None) -> str:
    if session.stopping:
        return "early"
    return "budget" if budget is not None and session.step < budget.most else "finished"


def _validate(
    session: Session, recipe: Recipe, dataset: Dataset
) -> tuple[NDArray[np.float32] | None, float | None, float | None]:
    """Return logits, loss and accuracy on the validation split; None where nothing validates now."""
    rows = dataset.splits.validation
    every, last = recipe.validate_every, session.step >= session.course.steps
    if len(rows) == 0 or not (last or (every is not None and session.epoch % every == 0)):
        return None, None, None
    found, labels = logits(session.state.network, dataset.pack.pixels, rows), dataset.labels[rows]
    if not np.isfinite(found).all():
        raise DivergenceError(
            f"the network's outputs are no longer finite after epoch {session.epoch}, step {session.step}; "
            f"a smaller learning rate may help: --set learning_rate={session.state.learning_rate / 10:g}"
        )
    return found, cross_entropy(found, labels), float((found.argmax(axis=1) == labels).mean())


def _stop(session: Session, interruption: Interruption) -> None:
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


def _network(recipe: Recipe, dataset: Dataset, seed: int, model: nn.Module | None) -> nn.Module:
    decoding = dataset.pack.decoding
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(dataset.classes)}
    if model is not None:
        return registry.adopt(model, **shape)
    return registry.build(recipe.model, **shape, seed=seed)


def _default_name(recipe: Recipe) -> Path:
    return Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{recipe.name}"
