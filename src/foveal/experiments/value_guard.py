"""Whether the values of images at prediction are on the scale of those at `fit`.

A network answers on any numbers. Images from 0 to 1, given to a classifier that was fitted on 0 to 255, look
black to it, and almost every answer is wrong. No error would tell.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import DataError
from foveal.types import Floats

MIN_CONTRAST_SHARE = 0.1
"""Images whose contrast is below this share of what `fit` saw are on another scale."""
MAX_FAR_SHARE = 0.01
"""The share of values that may lie further outside the range of `fit` than this range is wide."""
MANY_IMAGES = 5
"""The number of images from which on all of them together are judged by what is usual in `fit`."""
RARE = 0.01
"""The share of the images of `fit` that count as unusual."""
MAX_LIGHTER = 0.4
"""The share of the range by which the darkest value of many images may lie above what is usual."""
MAX_DARKER = 0.6
"""The share of the range by which the brightest value of many images may lie below what is usual."""


@dataclass(frozen=True, kw_only=True)
class ValueGuard:
    """What the values of the images of `fit` were like. A blank image, of one value, counts nowhere."""

    low: float
    """The lowest value."""
    high: float
    """The highest value."""
    whole: bool
    """Whether all values are whole numbers."""
    usual_contrast: float
    """The contrast of an image, its highest value minus its lowest, that 99 of 100 images exceed."""
    lowest_contrast: float
    """The lowest contrast of an image."""
    usual_minimum: float
    """The lowest value in an image that 99 of 100 images fall below."""
    usual_maximum: float
    """The highest value in an image that 99 of 100 images exceed."""

    @classmethod
    def fit(cls, rows: NDArray[Any], low: float, high: float) -> "ValueGuard":
        """Describe the rows (N, features) of `fit`, and the range from `low` to `high` that scales them."""
        minima, maxima = _measure_extremes(rows)
        contrasts = maxima - minima
        if not len(contrasts):
            minima, maxima, contrasts = np.array([low]), np.array([high]), np.array([0.0])
        return cls(
            low=low,
            high=high,
            whole=_are_whole(rows),
            usual_contrast=float(np.quantile(contrasts, RARE)),
            lowest_contrast=float(contrasts.min()),
            usual_minimum=float(np.quantile(minima, 1 - RARE)),
            usual_maximum=float(np.quantile(maxima, RARE)),
        )

    def check(self, rows: NDArray[Any]) -> None:
        """Refuse rows (N, features) that are on another scale than those of `fit`.

        Raises:
            DataError: They are. The message has both ranges, and how to convert.
        """
        if (problem := self._find_problem(rows)) is None:
            return
        low, high = float(rows.min()), float(rows.max())
        raise DataError(
            f"X has values from {low:g} to {high:g} ({rows.dtype}), but fit saw {self.low:g} to "
            f"{self.high:g}: {problem}; {self._suggest(low, high)}"
        )

    def _find_problem(self, rows: NDArray[Any]) -> str | None:
        """Return what tells that rows are on another scale, or None."""
        minima, maxima = _measure_extremes(rows)
        width = self.high - self.low
        if not len(minima):
            all_blank = len(rows) >= MANY_IMAGES and self.usual_contrast > 0
            return "all these images are blank" if all_blank else None
        far = (rows < self.low - width) | (rows > self.high + width)
        if far.mean() > MAX_FAR_SHARE:
            return f"{far.mean():.0%} of the values lie far outside that"
        contrast = float((maxima - minima).max())
        expected = self.usual_contrast if len(minima) >= MANY_IMAGES else self.lowest_contrast
        fractions = self.whole and width > 1 and minima.min() >= 0 and maxima.max() <= 1
        if contrast < MIN_CONTRAST_SHARE * expected or (fractions and not _are_whole(rows)):
            return "no image has a tenth of their contrast"
        if self.whole and width >= 100 and rows.max() <= 1:
            return "no value exceeds 1"
        if len(minima) < MANY_IMAGES:
            return None
        if minima.min() > self.usual_minimum + MAX_LIGHTER * width:
            return "no image is as dark as those"
        if maxima.max() < self.usual_maximum - MAX_DARKER * width:
            return "no image is as bright as those"
        return None

    def _suggest(self, low: float, high: float) -> str:
        if low >= 0 and high <= 1 and (self.low >= 0 and 200 <= self.high <= 255):
            return "multiply it by 255: (X * 255).round().astype(np.uint8)"
        if low >= 0 and 1 < high <= 255 and self.low >= 0 and self.high <= 1:
            return "divide it by 255, as before fit: X / 255"
        return "prepare X in the same way for fit and predict"


def _measure_extremes(rows: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the lowest and the highest value of each row that is not blank."""
    minima, maxima = rows.min(axis=1).astype(np.float64), rows.max(axis=1).astype(np.float64)
    kept = maxima > minima
    return minima[kept], maxima[kept]


def _are_whole(rows: NDArray[Any]) -> bool:
    return rows.dtype.kind in "iub" or bool((rows == np.round(rows)).all())
