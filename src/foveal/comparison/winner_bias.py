"""How much the choice of the best of several models, by the images that judged them, flatters it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.evaluation.intervals import wilson_interval_of_share

N_BOOTSTRAP_SAMPLES = 2000
"""Bootstrap samples of the images."""
AT_ONCE = 100
"""Of them, so that their counts stay small in memory."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The best of several models, and what its accuracy is once it no longer counts that it was chosen."""

    best: int
    """The row of the model that was chosen."""
    models: int
    images: int
    accuracy: float
    """Its share of right answers on the images that chose it: too good."""
    corrected: float
    """What a model that is chosen so gets right of images that did not choose it, on average."""
    interval: tuple[float, float]
    """For the chosen model's true accuracy, at 95 % or more: from the lower end of Wilson's interval around
    `corrected`, which errs downwards, to the upper end of that around `accuracy`, which errs upwards."""

    @property
    def inflation(self) -> float:
        """By how much choosing flatters."""
        return self.accuracy - self.corrected


def select_best(right: NDArray[np.bool_], losses: NDArray[np.floating], *, seed: int = 0) -> Selection:
    """Choose the model with the most right answers, ties broken by the lower loss, and correct for that.

    The choice is made again on each of 2,000 bootstrap samples of the images, and each time the chosen model
    is judged on the images that the sample lacks; `corrected` is the mean of these figures. Where all models
    are equally good it is unbiased; where one stands out it is slightly low, as a sample chooses
    worse than all images do. What it cannot know is what else was fitted to these images: the epoch of
    each model, and where the search looked next.

    Args:
        right: (models, images), who got which image right.
        losses: (models, images), the cross-entropies.
        seed: of the samples.

    Source: BBC-CV without its folds: I. Tsamardinos, E. Greasidou, G. Borboudakis, Bootstrapping the
    out-of-sample predictions for efficient and accurate cross-validation, Machine Learning 107 (2018),
    1895-1922.
    """
    models, images = right.shape
    # The mean of an image's loss would let one image decide a tie if it is infinite; no finite model has one.
    costs = np.nan_to_num(losses.astype(np.float64), nan=1e9, posinf=1e9)
    hits = right.astype(np.float64)
    everything = np.ones((1, images))
    best = int(_choose(everything, hits, costs)[0])
    accuracy = float(hits[best].mean())
    corrected = accuracy
    if models > 1 and images > 1:
        draw = np.random.default_rng(seed)
        shares: list[NDArray[np.float64]] = []
        for _ in range(N_BOOTSTRAP_SAMPLES // AT_ONCE):
            counts = draw.multinomial(images, np.full(images, 1 / images), size=AT_ONCE).astype(np.float64)
            chosen = _choose(counts, hits, costs)
            left_out = counts == 0  # (AT_ONCE, images)
            n = left_out.sum(axis=1)
            known = n > 0
            shares.append((left_out * hits[chosen]).sum(axis=1)[known] / n[known])
        corrected = min(accuracy, float(np.concatenate(shares).mean()))  # choosing never makes modest
    return Selection(
        best=best,
        models=models,
        images=images,
        accuracy=accuracy,
        corrected=corrected,
        interval=(wilson_interval_of_share(corrected, images)[0], wilson_interval_of_share(accuracy, images)[1]),
    )


def _choose(
    counts: NDArray[np.float64], hits: NDArray[np.float64], costs: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the row of the best model under each row of `counts` (samples, images), each image's weight."""
    scores = np.rint(counts @ hits.T)  # (samples, models)
    ties = np.where(scores == scores.max(axis=1, keepdims=True), counts @ costs.T, np.inf)
    chosen: NDArray[np.int64] = ties.argmin(axis=1)
    return chosen
