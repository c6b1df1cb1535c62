"""What is wrong with a training although no step failed: averages that lag behind, models that only guess."""

import numpy as np
from torch import nn

from foveal import progress
from foveal.data.dataset import Dataset
from foveal.evaluation.intervals import wilson_interval
from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.predict import compute_logits
from foveal.recipe.networks import ModelS, Sprint
from foveal.recipe.recipe import Recipe
from foveal.reporting.findings import format_count
from foveal.reporting.usefulness import describe_uselessness
from foveal.training.session import Session

MAX_SHARE_LEFT = 0.3
"""The share of the first running averages that may be left when training may first stop.

With momentum 0.99 and patience 6, on 1,300 digits: at 20 steps an epoch (a share of 0.30) validation reached
98 % (two seeds), at 10 steps (0.55) 78 % in place of the 98 % of momentum 0.9, at 5 steps 45 % in place of
95 % (three seeds each).
"""
MOMENTA = (0.9, 0.7, 0.5)
"""The momenta of BatchNorm that are proposed, the first that fits."""
MIN_LAG = 0.15
"""The accuracy must fall by this much between training and use of the same weights on the same images."""
MAX_CHECKED_IMAGES = 500
"""The number of training images on which this is measured."""


def warn_of_few_steps(recipe: Recipe, steps_per_epoch: int) -> None:
    """Warn before training if BatchNorm's running averages will lag behind the weights when it may stop."""
    momentum = _get_momentum(recipe)
    if momentum is None:
        return
    steps = _count_steps_until_stop(recipe, steps_per_epoch)
    if momentum**steps <= MAX_SHARE_LEFT:
        return
    when = "training may stop early" if recipe.early_stopping is not None else "training ends"
    progress.warn(
        f"an epoch has only {format_count(steps_per_epoch, 'step')}, and BatchNorm keeps {momentum:.0%} of "
        f"its running averages at each: when {when}, after {format_count(steps, 'step')}, "
        f"{momentum**steps:.0%} of the first values is still in them. Then validation looks like guessing "
        f"although training goes well; {_advise(recipe, steps)}"
    )


def warn_of_lagging_averages(session: Session, dataset: Dataset, steps_per_epoch: int) -> None:
    """Warn after training if the network classifies the images that it trained on much worse in use.

    In training, BatchNorm takes mean and variance of each batch; in use, it takes running averages. Dropout
    and augmentation make training harder, so the accuracy in use should be the higher one. It is called
    before the best epoch's weights replace the last.
    """
    history = session.folder.history()
    if not history or not _has_running_averages(session.state.network):
        return
    last = history[-1]
    if last.validation_accuracy is not None and last.accuracy - last.validation_accuracy < MIN_LAG:
        return
    indices = dataset.get_indices("train")
    chosen = indices[np.linspace(0, len(indices) - 1, min(MAX_CHECKED_IMAGES, len(indices))).astype(np.int64)]
    y_pred = compute_logits(session.state.network, dataset.pack.pixels, np.sort(chosen)).argmax(axis=1)
    n_correct = int((y_pred == dataset.labels[np.sort(chosen)]).sum())
    highest = wilson_interval(n_correct, len(chosen))[1]
    if last.accuracy - max(n_correct / len(chosen) + MIN_LAG, highest) < 0:
        return
    progress.warn(
        f"in the last epoch the network was right on {last.accuracy:.0%} of the training images, but in use, "
        f"with the running averages of its BatchNorm, it is right on {n_correct} of {len(chosen)} of them: "
        f"these averages lag behind the weights; "
        f"{_advise(session.recipe, _count_steps_until_stop(session.recipe, steps_per_epoch))}"
    )


def warn_if_useless(evaluation: Evaluation) -> None:
    """Warn if an evaluation shows a model that only guesses, or whose loss has exploded."""
    for finding in describe_uselessness(evaluation):
        progress.warn(finding.sentence)


def _get_momentum(recipe: Recipe) -> float | None:
    """Return the momentum of the BatchNorm of a recipe's network, or None if it has none."""
    match recipe.model:
        case ModelS(batch_norm=True, momentum=momentum) | Sprint(momentum=momentum):
            return momentum
        case _:
            return None


def _has_running_averages(network: nn.Module) -> bool:
    return any(name.endswith("running_mean") for name, _ in network.named_buffers())


def _count_steps_until_stop(recipe: Recipe, steps_per_epoch: int) -> int:
    """Return the number of steps after which training may first stop."""
    steps = recipe.steps or recipe.epochs * steps_per_epoch
    if recipe.early_stopping is not None:
        steps = min(steps, recipe.early_stopping.patience * steps_per_epoch)
    return steps


def _advise(recipe: Recipe, steps: int) -> str:
    """Say what helps if running averages must follow within so many steps."""
    momentum = _get_momentum(recipe)
    if momentum is None:
        return "give its BatchNorm layers a momentum with which the averages follow sooner"
    fitting = next(
        (each for each in MOMENTA if each < momentum and each**steps <= MAX_SHARE_LEFT), MOMENTA[-1]
    )
    if fitting >= momentum:
        return "train longer, or without a recipe: --budget 1m"
    return f"what helps: --set model.momentum={fitting:g}, or no recipe but a budget: --budget 1m"
