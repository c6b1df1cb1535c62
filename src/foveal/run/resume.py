"""`resume`: a run from its newest whole checkpoint to its end."""

import os
import time
from dataclasses import replace

from torch import nn

from foveal import progress
from foveal.errors import RunError
from foveal.files.events import Forced
from foveal.files.lock import only_writer
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import EnvironmentRecord
from foveal.planning.memory_estimate import refuse_shortage
from foveal.recipe.recipe import Recipe
from foveal.run.loggers import Loggers, check_loggers
from foveal.run.loop import RunContext, train_to_the_end
from foveal.run.options import TrainOptions
from foveal.run.run import Run
from foveal.run.setup import begin_session, build_network, open_loggers
from foveal.training.budget_controller import replay_budget
from foveal.training.environment import (
    FIELDS_THAT_DECIDE_BITS,
    describe_environment_changes,
    describe_environment_now,
)
from foveal.training.session import FORCE_ADVICE


def resume(
    run: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    cache: str | os.PathLike[str] | None = None,
    force: bool = False,
    options: TrainOptions | None = None,
) -> Run:
    """Continue an interrupted run from its newest checkpoint that is whole.

    The result is that of an uninterrupted run, bit by bit. A finished run is returned as it is. What a time
    budget decided by the clock is decided again alike; the time in between is not counted.

    >>> foveal.resume("runs/first").history.best.epoch in (1, 2)
    True

    Args:
        run: The run folder.
        model: Your own network, if the run was begun with one.
        cache: The folder for decoded images. By default it is the one that the run was begun with.
        force: Whether to continue although data, recipe, code, threads or machine changed. The result is then
            not that of an uninterrupted run. What differed is recorded in the run's events.
        options: As in `train`. Your own augmentation must be the one that the run was begun with. Loggers get
            earlier epochs too, where they are missing.

    Raises:
        RunError: Another process writes to the run; or data, recipe, code, threads or machine changed.
        OutsideError: The disk failed.
        DivergenceError: A loss is no longer a number. The message names the files of its batch.
        Interrupted: Ctrl-C or SIGTERM came. Everything is saved.
    """
    return continue_run(Run(run, model=model, cache=cache), force=force, options=options or TrainOptions())


def continue_run(run: Run, *, force: bool, options: TrainOptions, seconds_spent: float = 0.0) -> Run:
    """Do what `resume` does, for Foveal's own commands too.

    `seconds_spent` is how long this process had been running before the call, for a run with a budget.
    """
    kinds = check_loggers(options.log)
    with only_writer(run.path), open_loggers(run.folder, kinds) as loggers:
        if run.folder.finished:
            return _return_finished(run)
        return _train_the_rest(run, loggers, force=force, options=options, seconds_spent=seconds_spent)


def _return_finished(run: Run) -> Run:
    progress.line(f"{run.path} is finished; there is nothing to resume")
    if run.evaluation("validation") is None and run.folder.dataset.splits["validation"].n:
        run.evaluate("validation")  # it was stopped between its last two steps
    return run


def _train_the_rest(
    run: Run, loggers: Loggers, *, force: bool, options: TrainOptions, seconds_spent: float
) -> Run:
    folder = run.folder
    recipe = Recipe.from_json(folder.recipe)
    environment = folder.environment
    _check_augmentation(folder, options)
    now = describe_environment_now(environment)
    changes = describe_environment_changes(environment, now)
    _refuse(folder, changes, force=force)
    dataset, data_changes = run.look_up_data()
    _refuse(folder, data_changes, force=force)
    network = build_network(recipe, dataset, seed=environment.seed, model=run.own_model)
    refuse_shortage(network, recipe, dataset)
    session = begin_session(folder, recipe, dataset, network)
    if forced := [*changes, *data_changes, *session.resume(force=force)]:
        progress.warn(f"going on although {'; '.join(forced)}: not to the bits of an uninterrupted run")
        folder.add_event(Forced(differences=tuple(forced)))
        folder.replace(dataset=dataset.to_record(), environment=_with_bits_of(environment, now))
    progress.line(f"resuming at epoch {session.epoch}, step {session.step}")
    controller, spent_before = replay_budget(folder.events()) or (None, 0.0)
    context = RunContext(
        dataset=dataset,
        seed=environment.seed,
        options=options,
        loggers=loggers,
        budget=controller,
        budget_began=time.monotonic() - seconds_spent - spent_before,
    )
    return train_to_the_end(session, context)


def _check_augmentation(folder: RunFolder, options: TrainOptions) -> None:
    own_augmentation = folder.environment.own_augmentation
    if own_augmentation and options.augment is None:
        raise RunError(
            f"{folder.path} was begun with your own augmentation; pass it from Python: "
            f"options=TrainOptions(augment=…)"
        )
    if options.augment is not None and not own_augmentation:
        raise RunError(f"{folder.path} was begun without an augmentation of your own; leave augment out")


def _refuse(folder: RunFolder, changes: list[str], *, force: bool) -> None:
    """Refuse to resume where something changed, unless that is asked for."""
    if changes and not force:
        raise RunError(f"{folder.path} cannot be resumed: {changes[0]}; {FORCE_ADVICE}")


def _with_bits_of(environment: EnvironmentRecord, now: EnvironmentRecord) -> EnvironmentRecord:
    """Return the environment with the fields that decide on bits taken from `now`."""
    return replace(environment, **{field: getattr(now, field) for field in FIELDS_THAT_DECIDE_BITS})
