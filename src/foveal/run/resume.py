"""`resume`: a run from its newest whole checkpoint to its end."""

import os
import time
from dataclasses import dataclass, replace

from torch import nn

from foveal import progress
from foveal.data.dataset import Dataset
from foveal.data.options import DataSource
from foveal.errors import RunError
from foveal.files.events import Forced
from foveal.files.lock import only_writer
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import EnvironmentRecord
from foveal.planning.memory_estimate import refuse_shortage
from foveal.recipe.overrides import Settings
from foveal.recipe.recipe import Recipe
from foveal.run.loggers import Loggers, check_loggers
from foveal.run.loop import RunContext, train_to_the_end
from foveal.run.more_epochs import begin_extension, plan_extension, was_extended
from foveal.run.moved_data import record_table
from foveal.run.options import TrainOptions
from foveal.run.run import Run
from foveal.run.setup import begin_session, build_network, open_loggers
from foveal.training.budget_controller import replay_budget
from foveal.training.environment import (
    FIELDS_THAT_DECIDE_BITS,
    describe_environment_changes,
    describe_environment_now,
)
from foveal.training.session import FORCE_ADVICE, Session


def resume(
    run: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    cache: str | os.PathLike[str] | None = None,
    data: DataSource | None = None,
    settings: Settings = (),
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
        data: Where the images are now, if they were moved: the folder, or the table of labels. They are
            checked by their digests, and the run remembers the place.
        settings: Another number of epochs, such as {"epochs": 40} or "epochs=40". A finished run goes on too.
        force: Whether to continue although data, recipe, code, threads or machine changed. The result is then
            not that of an uninterrupted run. What differed is recorded in the run's events.
        options: As in `train`. Your own augmentation must be the one that the run was begun with. Loggers get
            earlier epochs too, where they are missing.

    Raises:
        RunError: Another process writes to the run; or data, recipe, code, threads or machine changed; or the
            schedule does not allow more epochs.
        RecipeError: Another setting than the number of epochs is to change.
        OutsideError: The disk failed.
        DivergenceError: A loss is no longer a number. The message names the files of its batch.
        Interrupted: Ctrl-C or SIGTERM came. Everything is saved.
    """
    return continue_run(
        Run(run, model=model, cache=cache, data=data),
        force=force,
        options=options or TrainOptions(),
        settings=settings,
    )


def continue_run(
    run: Run, *, force: bool, options: TrainOptions, settings: Settings = (), seconds_spent: float = 0.0
) -> Run:
    """Do what `resume` does, for Foveal's own commands too.

    `seconds_spent` is how long this process had been running before the call, for a run with a budget.
    """
    kinds = check_loggers(options.log)
    with only_writer(run.path), open_loggers(run.folder, kinds) as loggers:
        extended = plan_extension(run, settings)
        if run.folder.finished and extended is None:
            return _return_finished(run)
        context = _ResumeContext(
            loggers=loggers, options=options, force=force, extended=extended, seconds_spent=seconds_spent
        )
        return _train_the_rest(run, context)


def _return_finished(run: Run) -> Run:
    if run.folder.lacks_promised_test:
        progress.line(f"the training of {run.path} is finished; what is missing is its test or its report")
    else:
        progress.line(f"{run.path} is finished; there is nothing to resume")
    if run.evaluation("validation") is None and run.folder.dataset.splits["validation"].n:
        run.evaluate("validation")  # it was stopped between its last two steps
    return run


@dataclass(frozen=True, kw_only=True)
class _ResumeContext:
    """What a call of `resume` asks for."""

    loggers: Loggers
    options: TrainOptions
    force: bool
    extended: Recipe | None
    seconds_spent: float


def _train_the_rest(run: Run, asked: _ResumeContext) -> Run:
    folder, force = run.folder, asked.force
    # An edited recipe is compared by the session with that of the checkpoint.
    recipe = run.recipe = asked.extended or Recipe.from_json(folder.recipe_as_edited)
    environment = folder.environment
    _check_augmentation(folder, asked.options)
    now = describe_environment_now(environment)
    changes = describe_environment_changes(environment, now)
    _refuse(folder, changes, force=force)
    dataset, data_changes = run.look_up_data()
    _refuse(folder, data_changes, force=force)
    network = build_network(recipe, dataset, seed=environment.seed, model=run.own_model)
    refuse_shortage(network, recipe, dataset)
    if asked.extended is not None:
        begin_extension(folder, asked.extended)
    session = begin_session(folder, recipe, dataset, network)
    recipe_changes = session.resume(force=force, extended=was_extended(folder, recipe))
    if run.data_moved:
        environment = replace(environment, data=str(dataset.place), table=record_table(dataset.options))
        folder.replace(dataset=folder.dataset, environment=environment)
    if forced := [*changes, *data_changes, *recipe_changes]:
        progress.warn(f"going on although {'; '.join(forced)}: not to the bits of an uninterrupted run")
        folder.add_event(Forced(differences=tuple(forced)))
        _forget_other_images(session, dataset)
        folder.replace(dataset=dataset.to_record(), environment=_with_bits_of(environment, now))
    folder.confirm_recipe(recipe.to_json())
    progress.line(f"resuming at epoch {session.epoch}, step {session.step}")
    controller, spent_before = replay_budget(folder.events()) or (None, 0.0)
    context = RunContext(
        dataset=dataset,
        seed=environment.seed,
        options=asked.options,
        loggers=asked.loggers,
        budget=controller,
        budget_began=time.monotonic() - asked.seconds_spent - spent_before,
    )
    return train_to_the_end(session, context)


def _forget_other_images(session: Session, dataset: Dataset) -> None:
    """Let the best epoch be chosen anew where validation images or their labels are others than before."""
    before, now = session.folder.dataset, dataset.to_record()
    labels_may_differ = dataset.table is not None and before.fingerprint != now.fingerprint
    if before.splits["validation"] != now.splits["validation"] or labels_may_differ:
        session.forget_losses()
        session.save()  # before the new images are recorded, so that a kill in between forgets nothing
        progress.warn("the validation images are others than before, so the best epoch is chosen anew")


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
