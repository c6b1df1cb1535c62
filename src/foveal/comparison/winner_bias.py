"""The accuracy of the best of several models, corrected for having been chosen on the same images."""

from dataclasses import dataclass

import numpy as np

from foveal.evaluation.intervals import wilson_interval_of_share
from foveal.types import Bools, Floats, Ints

N_BOOTSTRAP_SAMPLES = 2000
"""The number of bootstrap samples of the images."""
SAMPLES_PER_BATCH = 100
"""The number of bootstrap samples that are drawn together. It limits the memory for their counts."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The best of several models, and its accuracy corrected for the selection."""

    best: int
    """The index of the selected model."""
    models: int
    """The number of models."""
    images: int
    """The number of images by which the model was selected."""
    accuracy: float
    """The model's accuracy on the images that selected it. It is too optimistic."""
    corrected: float
    """The mean accuracy of a model selected in this way on images that did not select it."""
    interval: tuple[float, float]
    """An interval for the selected model's true accuracy, at 95 % or more.

    It reaches from the lower end of Wilson's interval around `corrected`, which errs downwards, to the upper
    end of Wilson's interval around `accuracy`, which errs upwards.
    """

    @property
    def inflation(self) -> float:
        """By how much the selection makes the accuracy too high."""
        return self.accuracy - self.corrected


def select_best(correct: Bools, losses: Floats, *, seed: int = 0) -> Selection:
    """Select the model with the most correct predictions, ties broken by the lower loss, and correct for it.

    The selection is repeated on each of 2,000 bootstrap samples of the images. Each time the selected model
    is evaluated on the images that the sample lacks; `corrected` is the mean of these accuracies. Where all
    models are equally good it is unbiased. Where one is clearly better it is slightly too low, since a sample
    selects worse than all images do. It does not know what else was fitted to these images: the epoch of
    each model, and where the search looked next.

    Args:
        correct: (models, images), which model classifies which image correctly.
        losses: (models, images), the cross-entropies.
        seed: The seed of the bootstrap samples.

    Source: BBC-CV without its folds: I. Tsamardinos, E. Greasidou, G. Borboudakis, Bootstrapping the
    out-of-sample predictions for efficient and accurate cross-validation, Machine Learning 107 (2018),
    1895-1922.
    """
    models, images = correct.shape
    # One image with an infinite loss would decide a tie of mean losses. No finite model has such a loss.
    costs = np.nan_to_num(losses.astype(np.float64), nan=1e9, posinf=1e9)
    hits = correct.astype(np.float64)
    best = int(_select_each(np.ones((1, images)), hits, costs)[0])
    accuracy = float(hits[best].mean())
    corrected = accuracy
    if models > 1 and images > 1:
        generator = np.random.default_rng(seed)
        accuracies: list[Floats] = []
        for _ in range(N_BOOTSTRAP_SAMPLES // SAMPLES_PER_BATCH):
            counts = generator.multinomial(images, np.full(images, 1 / images), size=SAMPLES_PER_BATCH)
            selected = _select_each(counts.astype(np.float64), hits, costs)
            left_out = counts == 0  # (SAMPLES_PER_BATCH, images)
            n = left_out.sum(axis=1)
            usable = n > 0
            accuracies.append((left_out * hits[selected]).sum(axis=1)[usable] / n[usable])
        corrected = min(accuracy, float(np.concatenate(accuracies).mean()))  # selection never lowers accuracy
    return Selection(
        best=best,
        models=models,
        images=images,
        accuracy=accuracy,
        corrected=corrected,
        interval=(
            wilson_interval_of_share(corrected, images)[0],
            wilson_interval_of_share(accuracy, images)[1],
        ),
    )


def _select_each(counts: Floats, hits: Floats, costs: Floats) -> Ints:
    """Return the index of the best model for each row of `counts` (samples, images), the images' weights."""
    scores = np.rint(counts @ hits.T)  # (samples, models)
    tied_costs = np.where(scores == scores.max(axis=1, keepdims=True), counts @ costs.T, np.inf)
    selected: Ints = tied_costs.argmin(axis=1)
    return selected
