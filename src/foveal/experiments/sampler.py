"""What Optuna suggests: the settings of the next trial, and whether a trial lags behind the others.

Optuna's study is rebuilt in memory from the trials each time, so no stored study can contradict them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from foveal.errors import RecipeError
from foveal.experiments.search_space import Dimension, select_own_values
from foveal.experiments.study import Trial
from foveal.recipe import overrides
from foveal.recipe.recipe import Recipe

RANDOM_TRIALS = 6
"""The number of trials with random settings, before Optuna's sampler learns from the results."""
MIN_TRIALS_TO_PRUNE = 4
"""The number of trials that must be finished before a trial may be stopped early."""
WARM_UP_SHARE = 0.25
"""The share of a recipe's epochs in which no trial is stopped early."""
MAX_DRAWS = 200
"""The number of times that settings are drawn again, because they are not new or the recipe refuses them."""
MAX_SAMPLER_DRAWS = 5
"""The number of these draws that the sampler makes. It tends to repeat itself; later draws are random."""


def propose_settings(
    trials: Sequence[Trial],
    recipe: Recipe,
    dimensions: tuple[Dimension, ...],
    *,
    seed: int,
    own_values_first: bool,
) -> dict[str, str] | None:
    """Return the settings of the next trial by their paths, as text; None if no new combination was found.

    They depend only on the seed and the earlier trials, so an interruption changes nothing.

    Args:
        trials: The trials so far.
        recipe: The recipe whose settings are searched.
        dimensions: The search space.
        seed: The seed of the search.
        own_values_first: Whether the first trial always has the recipe's own values. Otherwise it has them
            only where all of them lie in the search space.
    """
    number = len(trials)
    earlier_settings = [dict(trial.settings) for trial in trials]
    if number == 0:
        own_values = select_own_values(recipe, dimensions)
        if own_values_first or len(own_values) == len(dimensions):
            return own_values
    for attempt in range(MAX_DRAWS):
        draw_seed = int(np.random.SeedSequence([seed, number, attempt]).generate_state(1)[0])
        known_trials = trials if attempt < MAX_SAMPLER_DRAWS else ()
        with _optuna_study(known_trials, dimensions, seed=draw_seed) as study:
            values = study.ask({dim.path: dim.to_distribution() for dim in dimensions}).params
        settings = {dim.path: dim.format_value(values[dim.path]) for dim in dimensions}
        if settings in earlier_settings:
            continue
        try:
            overrides.apply_settings(recipe, [f"{path}={value}" for path, value in settings.items()])
        except RecipeError:
            continue
        return settings
    return None


def lags_behind(accuracies: Mapping[int, float], trials: Sequence[Trial], recipe: Recipe) -> bool:
    """Whether a trial's best validation accuracy so far is below the median of the other trials.

    Args:
        accuracies: The trial's validation accuracies by epoch.
        trials: The other trials.
        recipe: The recipe whose settings are searched.
    """
    with _optuna_study(trials, (), seed=0, epochs=recipe.epochs) as study:
        running_trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(accuracies))
        return study.pruner.prune(study, running_trial)


@contextmanager
def _optuna_study(
    trials: Sequence[Trial], dimensions: tuple[Dimension, ...], *, seed: int, epochs: int = 1
) -> Iterator[optuna.Study]:
    """Give Optuna's study of the trials so far. Optuna logs nothing inside the block."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS, multivariate=False),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=MIN_TRIALS_TO_PRUNE, n_warmup_steps=max(1, round(WARM_UP_SHARE * epochs))
            ),
        )
        for trial in trials:
            if trial.state != "out of time":  # such a trial might have been the best
                study.add_trial(_to_optuna_trial(trial, dimensions))
        yield study
    finally:
        optuna.logging.set_verbosity(verbosity)


def _to_optuna_trial(trial: Trial, dimensions: tuple[Dimension, ...]) -> FrozenTrial:
    searched = [dim for dim in dimensions if dim.path in trial.settings]
    is_complete = trial.state == "trained"
    return create_trial(
        state=TrialState.COMPLETE if is_complete else TrialState.PRUNED,
        params={dim.path: dim.parse_value(trial.settings[dim.path]) for dim in searched},
        distributions={dim.path: dim.to_distribution() for dim in searched},
        value=trial.accuracy if is_complete else None,
        # Without accuracies Optuna ranks a trial that diverged below all others, which is right.
        intermediate_values={} if trial.state == "diverged" else dict(trial.validation_accuracies),
    )
