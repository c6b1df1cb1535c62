"""What Optuna advises: the settings of the next trial, and whether one lags behind.

Its study is rebuilt in memory from the trials each time, so that no store can disagree with them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from foveal.errors import RecipeError
from foveal.experiments.search_space import Dimension, standing
from foveal.experiments.study import Trial
from foveal.recipe import overrides as changes
from foveal.recipe.recipe import Recipe

RANDOM = 6
"""Trials before Optuna's sampler uses what it has seen."""
COMPARED = 4
"""Trials that came to their end before others are given up for being worse than their median."""
WARM_UP = 0.25
"""Of a recipe's epochs, in which no trial is given up."""
REDRAWN, ADVISED = 200, 5
"""Times that settings are drawn anew which were there before, or which the recipe refuses together; and how
many of them by the sampler, which falls into the same choices again and again, before chance takes over."""


def propose(
    done: Sequence[Trial],
    recipe: Recipe,
    searched: tuple[Dimension, ...],
    *,
    seed: int,
    standing_first: bool,
) -> dict[str, str] | None:
    """Return the settings of the next trial; None if no other combination was found.

    They depend on the seed and on the trials before it alone, so an interruption changes nothing. The first
    trial is the recipe as it stands: always with `standing_first`, else where all its values are among those
    searched.
    """
    number = len(done)
    before = [dict(each.settings) for each in done]
    if number == 0:
        own = standing(recipe, searched)
        if standing_first or len(own) == len(searched):
            return own
    for attempt in range(REDRAWN):
        draw = np.random.SeedSequence([seed, number, attempt]).generate_state(1)
        with _study(done if attempt < ADVISED else (), searched, seed=int(draw[0])) as study:
            drawn = study.ask({each.path: each.distribution() for each in searched}).params
        settings = {each.path: each.written(drawn[each.path]) for each in searched}
        if settings in before:
            continue
        try:
            changes.change(recipe, [f"{path}={value}" for path, value in settings.items()])
        except RecipeError:
            continue
        return settings
    return None


def lags(reached: Mapping[int, float], done: Sequence[Trial], recipe: Recipe) -> bool:
    """Whether a trial's best validation accuracy so far, by epoch, is below the median of the others."""
    with _study(done, (), seed=0, epochs=recipe.epochs) as study:
        here = create_trial(state=TrialState.RUNNING, intermediate_values=dict(reached))
        return study.pruner.prune(study, here)


@contextmanager
def _study(
    done: Sequence[Trial], searched: tuple[Dimension, ...], *, seed: int, epochs: int = 1
) -> Iterator[optuna.Study]:
    """Give Optuna's view of the trials so far; Optuna is silent meanwhile."""
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM, multivariate=False),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=COMPARED, n_warmup_steps=max(1, round(WARM_UP * epochs))
            ),
        )
        for each in done:
            if each.state == "out of time":
                continue  # it might have been the best
            inside = [one for one in searched if one.path in each.settings]
            whole = each.state == "trained"
            study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE if whole else TrialState.PRUNED,
                    params={one.path: one.drawn(each.settings[one.path]) for one in inside},
                    distributions={one.path: one.distribution() for one in inside},
                    value=each.accuracy if whole else None,
                    # Without any, Optuna takes one that diverged for worse than all others, as it should.
                    intermediate_values={} if each.state == "diverged" else dict(each.epochs),
                )
            )
        yield study
    finally:
        optuna.logging.set_verbosity(said)
