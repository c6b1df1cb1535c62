"""A classifier for scikit-learn: arrays in, `fit`, `predict`, `score`; trained as every run is."""

import math
import signal
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from foveal import progress
from foveal.data.arrays import Arrays
from foveal.data.decode import bring
from foveal.deployment import bundle as bundles
from foveal.errors import DataError, Interrupted, RecipeError
from foveal.evaluation.calibration import softmax
from foveal.evaluation.predict import BATCH_SIZE, compute_logits
from foveal.files.atomic import outside_faults
from foveal.recipe.recipe import Recipe
from foveal.runs.train import train

DEFAULT_MINUTES = 1.0
"""The budget of a `fit` where neither a recipe nor a budget is named."""
SCALED = 1000
"""Images that are scaled to 8 bits at a time."""


class FovealClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An image classifier with scikit-learn's interface, trained by `foveal.train`.

    `X` is images (N, H, W) or (N, H, W, C) with 1 or 3 channels last, or rows (N, H·W·C) of them. Values of
    type uint8 are pixels as they are. All others are scaled in a straight line to 0 … 255 and rounded, so
    that the lowest and the highest value that `fit` sees become 0 and 255; `predict` scales as `fit` did, and
    says how many images had values outside, which are clipped. `value_range` names the two values instead.

    `y` is labels of any type that sorts: strings, integers, booleans.

    Args:
        recipe: as in `foveal.train`: a recipe's name, file or `Recipe`. Without one, the best training for
            the budget is planned at each `fit`.
        minutes: the budget of one `fit`; 1 if neither it, `seconds` nor a recipe is given, as
            cross-validation and searches fit many times.
        seconds: the same in seconds.
        settings: changes to the recipe, such as ("epochs=6",); or one as a string.
        size: height and width in pixels to which images are brought; by default the recipe's.
        image_shape: what a row of a two-dimensional `X` is: (height, width) or (height, width, channels); by
            default a square of one channel. "padded" lays rows of any length, line by line, on the smallest
            square that holds them, with zeros behind: for tables that are no images.
        value_range: the two values that become 0 and 255.
        validation_fraction: of the images, how many are set aside, stratified, to choose the best epoch and
            decide on learning rates; 0 trains on all.
        random_state: an integer is the seed of `foveal.train`: the same data, recipe, machine and number of
            threads then give the same bits. With a budget the clock decides too, and they need not.
        verbose: whether training is told on standard error.

    Attributes:
        classes_: the labels (K,), sorted.
        n_features_in_: the values of one image, H·W·C.
        image_shape_: (H, W, C).
        value_range_: what became 0 and 255.
        bundle_: the trained model, `foveal.deployment.bundle.Bundle`; `bundle_.recipe` is the whole recipe.
        history_: what each epoch measured, as `Run.history`.

    `fit` raises what `foveal.train` raises: a `UserError`, which is a `ValueError`, where input is refused.
    """

    def __init__(
        self,
        recipe: str | Path | Recipe | None = None,
        *,
        minutes: float | None = None,
        seconds: float | None = None,
        settings: Iterable[str] = (),
        size: int | None = None,
        image_shape: tuple[int, ...] | str | None = None,
        value_range: tuple[float, float] | None = None,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.minutes = minutes
        self.seconds = seconds
        self.settings = settings
        self.size = size
        self.image_shape = image_shape
        self.value_range = value_range
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.recipe is None  # the clock decides too
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> "FovealClassifier":  # noqa: N803 - scikit-learn's name
        """Train on images `X` (see the class) with labels `y` (N,); return self."""
        rows, shape = _as_rows(X)
        rows, y = validate_data(self, rows, y, dtype="numeric")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.image_shape_ = shape or _shape_of_row(rows.shape[1], self.image_shape)
        if self.value_range is not None:
            low, high = map(float, self.value_range)
        elif rows.dtype == np.uint8:
            low, high = 0.0, 255.0
        else:
            low, high = float(rows.min()), float(rows.max())
        self.value_range_ = (low, high)
        arrays = Arrays(
            images=self._pixels(rows),
            labels=labels.astype(np.int64),
            classes=tuple(map(str, self.classes_.tolist())),
            validation_share=self.validation_fraction or 0.1,
        )
        settings = [self.settings] if isinstance(self.settings, str) else list(self.settings)
        if self.size is not None:
            settings.append(f"image.size={self.size}")
        place = Path(tempfile.gettempdir())
        with (
            nullcontext() if self.verbose else progress.quiet(),
            outside_faults(place),
            tempfile.TemporaryDirectory(prefix="foveal-") as folder,
        ):
            try:
                run = train(
                    arrays,
                    recipe=self.recipe,
                    minutes=self._minutes(),
                    validation=None if self.validation_fraction else "none",
                    seed=self._seed(),
                    settings=settings,
                    out=Path(folder) / "run",
                )
            except Interrupted as interrupted:  # nothing is kept that could be resumed
                if interrupted.exit_code == 128 + signal.SIGTERM:
                    raise SystemExit(interrupted.exit_code) from interrupted
                raise KeyboardInterrupt from interrupted
            self.bundle_, self.history_ = run.bundle, run.history
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of each class (N, K), in the order of `classes_`."""
        check_is_fitted(self)
        rows, shape = _as_rows(X)
        if shape is not None and shape != self.image_shape_:
            raise DataError(f"X has images of the shape {shape}, but fit saw {self.image_shape_}")
        pixels = self._pixels(validate_data(self, rows, dtype="numeric", reset=False))
        brought = bring(pixels, self.bundle_.decoding)
        # Sums in single precision depend on the size of the batch, in the last digit. In whole batches only,
        # an image has the same probabilities whatever is predicted beside it.
        empty = np.zeros((-len(brought) % BATCH_SIZE, *brought.shape[1:]), dtype=np.uint8)
        found = compute_logits(self.bundle_.network, np.concatenate([brought, empty]))[: len(brought)]
        return softmax(found, self.bundle_.temperature)

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the likeliest class of each image (N,), as `y` named it."""
        check_is_fitted(self)
        likeliest: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return likeliest

    # ---- what users keep: joblib and pickle get the model folder's files, no class of a network

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "bundle_" in state:
            with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
                self.bundle_.save(Path(folder), about="")
                state["bundle_"] = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "bundle_" in state:
            with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
                for name, content in state["bundle_"].items():
                    (Path(folder) / Path(name).name).write_bytes(content)
                state = state | {"bundle_": bundles.load(folder)}
        super().__setstate__(state)

    # ---- from what users have to what is trained on

    def _pixels(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale rows (N, features) to uint8 images (N, H, W, C), as `fit` found the range."""
        n, features = rows.shape
        low, high = self.value_range_
        height, width, channels = self.image_shape_
        if rows.dtype == np.uint8 and (low, high) == (0, 255) and features == height * width * channels:
            return rows.reshape(n, height, width, channels)
        flat = np.zeros((n, height * width * channels), dtype=np.uint8)
        factor = 255 / (high - low) if high > low else 0.0
        outside = 0
        for start in range(0, n, SCALED):
            values = rows[start : start + SCALED].astype(np.float64)
            outside += int(((values < low) | (values > high)).any(axis=1).sum())
            flat[start : start + SCALED, :features] = ((values - low) * factor).round().clip(0, 255)
        if outside:
            progress.warn(f"{outside} images have values outside {low:g} … {high:g}; they were clipped")
        return flat.reshape(n, height, width, channels)

    def _minutes(self) -> float | None:
        if self.minutes is not None and self.seconds is not None:
            raise RecipeError("both minutes and seconds are given; leave one of them out")
        if self.seconds is not None:
            return self.seconds / 60
        return DEFAULT_MINUTES if self.minutes is None and self.recipe is None else self.minutes

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))


def _as_rows(images: Any) -> tuple[Any, tuple[int, int, int] | None]:  # noqa: ANN401 - what is like an array
    """Lay images (N, H, W) or (N, H, W, C) out as rows, with (H, W, C), which is None for rows."""
    shape = images.shape if hasattr(images, "shape") else np.asarray(images).shape
    if len(shape) not in (3, 4):
        return images, None
    if len(shape) == 4 and shape[3] not in (1, 3):
        raise DataError(
            f"X has the shape {shape}; images are (N, height, width, channels) with 1 or 3 channels, which "
            f"come last: np.moveaxis(X, 1, -1)"
        )
    height, width, channels = (*shape[1:], 1)[:3]
    return np.asarray(images).reshape(shape[0], -1), (height, width, channels)


def _shape_of_row(features: int, asked: tuple[int, ...] | str | None) -> tuple[int, int, int]:
    """Say what image (H, W, C) a row of so many values is."""
    side = math.isqrt(features - 1) + 1
    if asked == "padded":
        return side, side, 1
    if asked is None:
        if side * side != features:
            raise DataError(
                f"a row of X has {features} values, which make no square of one channel; say what they are, "
                f"such as image_shape=(32, 32, 3), or image_shape='padded' for rows that are no images"
            )
        return side, side, 1
    if isinstance(asked, str) or len(asked) not in (2, 3) or math.prod(asked) != features:
        raise DataError(f"image_shape is {asked!r}, but a row of X has {features} values")
    height, width, channels = (*asked, 1)[:3]
    return height, width, channels
