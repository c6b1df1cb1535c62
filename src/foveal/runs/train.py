"""One run from its beginning or from where it stopped: data, network, folder; `loop` has the epochs."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from torch import nn

from foveal import progress
from foveal.data.arrays import Arrays
from foveal.data.augment import Augment
from foveal.data.batches import steps_per_epoch, training_parts
from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataOptions
from foveal.errors import Interrupted, RecipeError, RunError
from foveal.files.lock import only_writer
from foveal.files.run_folder import EpochRecord, RunFolder
from foveal.models import registry
from foveal.planning.memory_estimate import refuse_shortage
from foveal.planning.plan import Plan, plan_training
from foveal.recipe import builtin
from foveal.recipe import overrides as changes
from foveal.recipe.recipe import Recipe
from foveal.runs import loggers
from foveal.runs.loggers import Loggers
from foveal.runs.loop import train_to_the_end
from foveal.runs.messages import tell_plan
from foveal.runs.run import Run
from foveal.training import environment
from foveal.training.budget_controller import replay_budget
from foveal.training.session import FORCING, Session

DEFAULT_MINUTES = 5.0
"""The budget where neither a recipe nor a budget is named,"""
DEFAULT_RECIPE = "model-s-02"
"""and the recipe where the network is the user's own, which no plan can choose."""
PREPARING = 2000
"""Training images from which a network takes what it needs before the first step."""
SAVE_EVERY = 60.0
"""Seconds between two checkpoints in the middle of an epoch."""


def train(
    data: str | os.PathLike[str] | Arrays,
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
    save_every: float = SAVE_EVERY,
    spent: float = 0.0,
    tested: bool = False,
    log: str | Iterable[str] = (),
    stop: Callable[[EpochRecord], bool] | None = None,
) -> Run:
    """Train a classifier on class folders and return the run.

    The test split, where there is one, is not touched: `run.evaluate("test")` opens it.

    Args:
        data: a folder in one of the layouts of class folders; or images in memory, from which a run cannot
            be resumed, as it does not keep them.
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
        save_every: seconds between two checkpoints in the middle of an epoch; one is written after each.
        spent: seconds of the budget that had passed before the call.
        tested: whether the budget is to have room for `run.evaluate("test")` and `run.report()`, too.
        log: "tensorboard", "mlflow" or both, which get every epoch's figures: see `loggers`. Where they do
            not answer, training goes on.
        stop: asked after each epoch but the last; if it says yes, the run ends there, as by early stopping.

    Raises:
        UserError: the data, the recipe or a setting is refused; no run was begun.
        OutsideError: the disk failed, or there is too little memory.
        DivergenceError: a loss is no longer a number; the files of its batch are named.
        Interrupted: Ctrl-C or SIGTERM; everything is saved and `resume` goes on.
    """
    if not 0 <= seed < 2**63:
        raise RecipeError(f"the seed is {seed}; it must lie between 0 and 2^63 − 1")
    _check_interval(save_every)
    kinds = loggers.check(log)
    validation = validation and validation.lower()
    began = time.monotonic() - spent
    options = DataOptions(data, validation=validation, group=group, cache=cache)
    if out is not None and Path(out).exists():
        raise RunError(f"{out} exists already; choose another --out, or remove it first")
    plan: Plan | None = None
    if recipe is None and model is None:
        seconds = 60 * (DEFAULT_MINUTES if minutes is None else minutes)
        chosen, changed = _changed(builtin.budgeted(), settings, validation, model, augment)
        dataset, plan = plan_training(
            options,
            chosen,
            changed,
            seconds=seconds,
            clock=lambda: time.monotonic() - began,
            seed=seed,
            tested=tested,
        )
        chosen = plan.recipe
    elif minutes is not None:
        what = "a recipe decides" if model is None else "your own network decides"
        raise RecipeError(f"{what} how long training takes, so a budget has no effect; leave one of them out")
    else:
        chosen, _ = _changed(builtin.load(recipe or DEFAULT_RECIPE), settings, validation, model, augment)
        dataset = open_dataset(options, chosen.image, seed=seed)
    path = Path(out) if out is not None else _default_name(chosen)
    network = _network(chosen, dataset, seed, model)
    origin = {
        **environment.describe(seed=seed),
        "data": str(dataset.root.resolve()),
        "validation": options.validation_split,
        "group": options.group,
        "share": dataset.share,
        "cache": None if options.cache_folder is None else str(options.cache_folder),
        "own_augmentation": augment is not None,
    }
    if model is None:
        rows = dataset.rows("train")
        some = np.random.default_rng([seed, PREPARING]).permutation(rows)[:PREPARING]
        registry.prepare(network, torch.from_numpy(dataset.pack.pixels[np.sort(some)]))
    refuse_shortage(network, chosen, dataset)

    def fill(made: RunFolder) -> None:
        _session(made, chosen, dataset, network).save()
        if plan is not None:
            made.event("plan", **plan.to_json(), spent=round(time.monotonic() - began, 3))

    # The folder gets its name with all that `resume` needs: the initial weights too, a user's own network's.
    folder = RunFolder.create(
        path, recipe=chosen.to_json(), dataset=dataset.to_json(), environment=origin, fill=fill
    )
    with only_writer(folder.path):
        session = _session(folder, chosen, dataset, network)
        if plan is not None:
            tell_plan(plan, time.monotonic() - began)
        budget, _ = replay_budget(folder.events()) or (None, 0.0)
        with _logged(folder, kinds) as logged:
            return train_to_the_end(
                session,
                dataset,
                seed=seed,
                augment=augment,
                budget=budget,
                began=began,
                save_every=save_every,
                loggers=logged,
                stop=stop,
            )


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
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    save_every: float = SAVE_EVERY,
    spent: float = 0.0,
    log: str | Iterable[str] = (),
    stop: Callable[[EpochRecord], bool] | None = None,
) -> Run:
    """Go on with an interrupted run, from its newest checkpoint that is whole.

    The result is that of an uninterrupted run, bit by bit. A finished run is returned as it is. `model` and
    `augment` must be those it was begun with. What a budget decided by the clock is decided again alike, as
    far as its journal tells; the time in between is not counted.

    Args:
        run: the run folder.
        model: the user's own network, if it was begun with one.
        augment: the user's own augmentation, if it was begun with one.
        cache: where decoded images are kept; by default the cache it was begun with, if they are still there.
        force: go on although data, recipe, code, threads or machine changed. The result is then no longer
            that of an uninterrupted run; what differed is recorded among the run's events.
        save_every: seconds between two checkpoints in the middle of an epoch; one is written after each.
        spent: seconds of the budget that had passed before the call, since this process began.
        log: as for `train`; epochs from before the interruption are sent, too, where they are missing. A
            finished run is sent whole.
        stop: as in `train`.

    Raises:
        RunError: another process writes to the run; or data, recipe, code, threads or machine are not those
            it was begun with.
        OutsideError: the disk failed.
        DivergenceError: a loss is no longer a number; the files of its batch are named.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    _check_interval(save_every)
    kinds = loggers.check(log)
    folder = RunFolder(run)
    with only_writer(folder.path), _logged(folder, kinds) as logged:
        return _resume(
            folder,
            model,
            augment,
            cache,
            force=force,
            save_every=save_every,
            spent=spent,
            logged=logged,
            stop=stop,
        )


@contextmanager
def _logged(folder: RunFolder, kinds: tuple[str, ...]) -> Iterator[Loggers]:
    """Give the loggers of a run, and let them go with it."""
    logged = Loggers(kinds, folder)
    try:
        yield logged
    except Interrupted:
        logged.leave()
        raise
    logged.finish()


def _resume(
    folder: RunFolder,
    model: nn.Module | None,
    augment: Augment | None,
    cache: str | os.PathLike[str] | None,
    *,
    force: bool,
    save_every: float,
    spent: float,
    logged: Loggers,
    stop: Callable[[EpochRecord], bool] | None,
) -> Run:
    if folder.state in ("trained", "evaluated"):
        progress.line(f"{folder.path} is finished; there is nothing to resume")
        run_before = Run(folder.path, model=model, cache=cache)
        if run_before.evaluation("validation") is None and folder.dataset["splits"]["validation"]["n"]:
            run_before.evaluate("validation")  # it was stopped between its last two steps
        return run_before
    chosen = Recipe.from_json(folder.recipe)
    then = folder.environment
    if then["own_augmentation"] and augment is None:
        raise RunError(f"{folder.path} was begun with your own augmentation; pass it from Python: augment=…")
    if augment is not None and not then["own_augmentation"]:
        raise RunError(f"{folder.path} was begun without an augmentation of your own; leave augment out")
    now = environment.describe(seed=then["seed"])
    changed = environment.differences(then, now)
    if changed and not force:
        raise RunError(f"{folder.path} cannot be resumed: {changed[0]}; {FORCING}")
    dataset, of_data = Run(folder.path, cache=cache).look_up_data()
    if of_data and not force:
        raise RunError(f"{folder.path} cannot be resumed: {of_data[0]}; {FORCING}")
    network = _network(chosen, dataset, then["seed"], model)
    refuse_shortage(network, chosen, dataset)
    session = _session(folder, chosen, dataset, network)
    if forced := [*changed, *of_data, *session.resume(force=force)]:
        progress.warn(f"going on although {'; '.join(forced)}: not to the bits of an uninterrupted run")
        folder.event("forced", differences=forced)
        folder.replace(
            dataset=dataset.to_json(), environment=then | {key: now[key] for key in environment.COMPARED}
        )
    progress.line(f"resuming at epoch {session.epoch}, step {session.step}")
    budget, before = replay_budget(folder.events()) or (None, 0.0)
    return train_to_the_end(
        session,
        dataset,
        seed=then["seed"],
        augment=augment,
        budget=budget,
        began=time.monotonic() - spent - before,
        save_every=save_every,
        loggers=logged,
        stop=stop,
    )


def _check_interval(seconds: float) -> None:
    if not seconds > 0:
        raise RecipeError(f"save_every is {seconds:g} seconds; it must be above 0")


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


def _network(recipe: Recipe, dataset: Dataset, seed: int, model: nn.Module | None) -> nn.Module:
    decoding = dataset.pack.decoding
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(dataset.classes)}
    if model is not None:
        return registry.adopt(model, **shape)
    return registry.build(recipe.model, **shape, seed=seed)


def _default_name(recipe: Recipe) -> Path:
    return Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{recipe.name}"
