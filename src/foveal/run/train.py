"""`train`: the recipe, the data, the network and the run folder of a new run. `loop` has its epochs."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataOptions, DataSource
from foveal.errors import RecipeError, RunError
from foveal.files.lock import only_writer
from foveal.files.run_folder import RunFolder, default_run_path
from foveal.files.run_records import MAX_SEED
from foveal.models import registry
from foveal.planning.memory_estimate import refuse_shortage
from foveal.planning.plan import Plan, PlanRequest, plan_training
from foveal.recipe import builtin, overrides
from foveal.recipe.budget import Budget
from foveal.recipe.overrides import Settings
from foveal.recipe.recipe import Recipe
from foveal.run.loggers import check_loggers
from foveal.run.loop import RunContext, train_to_the_end
from foveal.run.messages import tell_plan
from foveal.run.moved_data import record_table
from foveal.run.options import TrainOptions, TrainRequest
from foveal.run.run import Run
from foveal.run.setup import begin_session, build_network, open_loggers
from foveal.training.budget_controller import replay_budget
from foveal.training.environment import describe_environment

DEFAULT_BUDGET = Budget(seconds=300)
"""The budget where neither a recipe nor a budget is named."""
DEFAULT_RECIPE = "model-s-02"
"""The recipe where the network is the user's own, for which nothing can be planned."""
N_PREPARING_IMAGES = 2000
"""The number of training images from which a network takes what it needs before the first step."""


def train(
    data: DataSource,
    *,
    recipe: str | Path | Recipe | None = None,
    budget: str | Budget | None = None,
    settings: Settings = (),
    seed: int = 0,
    model: nn.Module | None = None,
    out: str | os.PathLike[str] | None = None,
    options: TrainOptions | None = None,
) -> Run:
    """Train a classifier on class folders and return the run.

    The test split is not touched. `run.evaluate("test")` opens it.

    >>> run = foveal.train("digits", recipe="digits", settings={"epochs": 2}, out="runs/two-epochs")
    >>> len(run.history)
    2

    Args:
        data: A folder in one of the layouts of class folders, or images in memory, or `DataOptions` with
            either. A run on images in memory cannot be resumed, because it does not keep them.
        recipe: A recipe's name, a TOML or JSON file, or a `Recipe`. Without one, the best training that is
            expected to fit into the budget is planned for the data and the machine.
        budget: The time from the call to the return, such as "30s", "5m" or "1h". It is five minutes where
            neither a budget nor a recipe is given.
        settings: Changes to the recipe: {"epochs": 6}, or ["epochs=6", "plateau.patience=2"].
        seed: The seed of initial weights, order of images, augmentation, dropout and random splits.
        model: Your own network in place of the recipe's. It takes float32 (N, C, S, S) between 0 and 1 and
            returns logits (N, classes). It is trained in place, from the weights that it has.
        out: The run folder. By default it is runs/DATE-TIME-RECIPE.
        options: Your own augmentation, checkpoints, loggers, and a function that may stop the run.

    Raises:
        UserError: The data, the recipe or a setting is refused. No run was begun.
        OutsideError: The disk failed, or there is too little memory.
        DivergenceError: A loss is no longer a number. The message names the files of its batch.
        Interrupted: Ctrl-C or SIGTERM came. Everything is saved, and `resume` continues.
    """
    return start_run(
        TrainRequest(
            data=DataOptions.of(data),
            recipe=recipe,
            budget=None if budget is None else Budget.parse(budget),
            settings=settings,
            seed=seed,
            model=model,
            out=out,
            options=options or TrainOptions(),
        )
    )


def start_run(request: TrainRequest) -> Run:
    """Do what `train` does, for Foveal's own commands too."""
    if not 0 <= request.seed < MAX_SEED:
        raise RecipeError(f"the seed is {request.seed}; it must lie between 0 and 2^63 − 1")
    kinds = check_loggers(request.options.log)
    budget_began = time.monotonic() - request.seconds_spent
    if request.out is not None and Path(request.out).exists():
        raise RunError(f"{request.out} exists already; choose another --out, or remove it first")
    training = _choose_training(request, budget_began)
    network = build_network(training.recipe, training.dataset, seed=request.seed, model=request.model)
    if request.model is None:
        _prepare_network(network, training.dataset, seed=request.seed)
    refuse_shortage(network, training.recipe, training.dataset)
    folder = _create_folder(request, training, network, budget_began)
    with only_writer(folder.path):
        session = begin_session(folder, training.recipe, training.dataset, network)
        if training.plan is not None:
            tell_plan(training.plan, time.monotonic() - budget_began)
        # The controller is made of the event just written, as `resume` will make it.
        controller, _ = replay_budget(folder.events()) or (None, 0.0)
        with open_loggers(folder, kinds) as loggers:
            context = RunContext(
                dataset=training.dataset,
                seed=request.seed,
                options=request.options,
                loggers=loggers,
                budget=controller,
                budget_began=budget_began,
            )
            return train_to_the_end(session, context)


@dataclass(frozen=True, kw_only=True)
class _Training:
    """What will be trained on what: as the recipe says, or as planned for a budget."""

    recipe: Recipe
    dataset: Dataset
    plan: Plan | None


def _choose_training(request: TrainRequest, budget_began: float) -> _Training:
    """Open the data and choose the recipe.

    Raises:
        RecipeError: Both a recipe and a budget are given, or a setting is refused.
    """
    if request.recipe is None and request.model is None:
        recipe, changed = _change_recipe(builtin.budgeted(), request)
        plan_request = PlanRequest(
            budget=request.budget or DEFAULT_BUDGET,
            clock=lambda: time.monotonic() - budget_began,
            changed=changed,
            seed=request.seed,
            includes_test=request.includes_test,
        )
        dataset, plan = plan_training(request.data, recipe, plan_request)
        return _Training(recipe=plan.recipe, dataset=dataset, plan=plan)
    if request.budget is not None:
        decider = "a recipe decides" if request.model is None else "your own network decides"
        raise RecipeError(
            f"{decider} how long training takes, so a budget has no effect; leave one of them out"
        )
    recipe, _ = _change_recipe(builtin.load_recipe(request.recipe or DEFAULT_RECIPE), request)
    dataset = open_dataset(request.data, recipe.image, seed=request.seed)
    return _Training(recipe=recipe, dataset=dataset, plan=None)


def _change_recipe(recipe: Recipe, request: TrainRequest) -> tuple[Recipe, frozenset[str]]:
    """Return the recipe as the user changed it, and the paths of the changed settings."""
    recipe, changed = overrides.apply_settings(recipe, request.settings)
    if request.data.validation_split == "none":
        recipe = overrides.remove_validation(recipe, changed)
    if request.model is not None:
        recipe = overrides.use_custom_network(recipe, changed, request.model)
    if request.options.augment is not None:
        recipe = overrides.use_custom_augmentation(recipe, changed)
        changed |= {"augmentation"}
    return recipe, changed


def _prepare_network(network: nn.Module, dataset: Dataset, *, seed: int) -> None:
    """Let the network take what it needs from training images, such as the filters of a whitening layer."""
    indices = dataset.get_indices("train")
    sample = np.random.default_rng([seed, N_PREPARING_IMAGES]).permutation(indices)[:N_PREPARING_IMAGES]
    registry.prepare_network(network, torch.from_numpy(dataset.pack.pixels[np.sort(sample)]))


def _create_folder(
    request: TrainRequest, training: _Training, network: nn.Module, budget_began: float
) -> RunFolder:
    """Make the run folder. It gets its name together with all that `resume` needs, initial weights too."""
    dataset, plan, cache = training.dataset, training.plan, request.data.cache_folder
    environment = describe_environment(
        seed=request.seed,
        data=str(dataset.place),
        validation=request.data.validation_split,
        group=request.data.group,
        share=dataset.share,
        cache=None if cache is None else str(cache),
        own_augmentation=request.options.augment is not None,
    )
    environment = replace(environment, table=record_table(request.data), layout=request.data.layout)

    def fill(folder: RunFolder) -> None:
        begin_session(folder, training.recipe, dataset, network).save()  # the checkpoint of step 0
        if plan is not None:
            folder.add_event(plan.to_event(seconds_spent=round(time.monotonic() - budget_began, 3)))

    return RunFolder.create(
        default_run_path(training.recipe.name) if request.out is None else Path(request.out),
        recipe=training.recipe.to_json(),
        dataset=dataset.to_record(),
        environment=environment,
        promises_test=request.includes_test,
        takes_free_name=request.out is None,
        fill=fill,
    )
