"""A classifier for scikit-learn: arrays in, `fit`, `predict`, `score`; trained as every run is."""

import math
import signal
import tempfile
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
from foveal.data.decode import resize_images
from foveal.data.options import DataOptions
from foveal.deployment.bundle import Bundle, load_bundle
from foveal.errors import DataError, Interrupted
from foveal.evaluation.calibration import softmax
from foveal.evaluation.predict import BATCH_SIZE, compute_logits
from foveal.experiments.value_guard import ValueGuard
from foveal.files.atomic import outside_faults
from foveal.recipe.budget import Budget
from foveal.recipe.overrides import Settings, parse_settings
from foveal.recipe.recipe import Recipe
from foveal.run.history import History
from foveal.run.train import train

DEFAULT_BUDGET = Budget(seconds=60)
"""The budget of `fit` where neither a recipe nor a budget is given."""
IMAGES_PER_CHUNK = 1000
"""The number of images that are scaled to 8 bits at a time."""


class FovealClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An image classifier with scikit-learn's interface, trained by `foveal.train`.

    `X` is images (N, H, W) or (N, H, W, C) with 1 or 3 channels, or rows (N, H·W·C) of them. Values of type
    uint8 are pixels and stay as they are. All others are scaled linearly to 0 … 255 and rounded: the lowest
    and the highest value in `fit` become 0 and 255. `predict` scales by the same two values. Values outside
    are clipped, and a warning says in how many images. `value_range` sets the two values. Images that are on
    another scale than those of `fit`, such as 0 to 1 in place of 0 to 255, are refused.

    `y` is labels of any type that can be sorted: strings, integers, booleans.

    >>> from sklearn.datasets import load_digits
    >>> images, labels = load_digits(return_X_y=True)
    >>> classifier = foveal.FovealClassifier("digits", settings={"epochs": 1}).fit(images[:600], labels[:600])
    >>> classifier.predict(images[:2]).shape
    (2,)

    Args:
        recipe: As in `foveal.train`: the name or file of a recipe, or a `Recipe`. Without one, each `fit`
            plans the best training for the budget.
        budget: The time of one `fit`, such as "30s" or "5m". It is one minute if neither a budget nor a
            recipe is given, because cross-validation and searches fit many times.
        settings: Changes to the recipe, such as ("epochs=6",) or {"epochs": 6}.
        size: The height and width in pixels to which images are resized. By default it is the recipe's.
        image_shape: The shape of the image in a row of a two-dimensional `X`: (height, width) or (height,
            width, channels). By default it is a square with one channel. "padded" is for tables that are no
            images: it fills the smallest square that holds a row, and adds zeros at the end.
        value_range: The two values that become 0 and 255.
        validation_fraction: The share of the images that is held out, stratified, to choose the best epoch
            and the learning rates. With 0 all images are trained on.
        random_state: An integer is the seed of `foveal.train`. The same data, recipe, machine and number of
            threads then give the same bits. With a budget the clock decides too, so they may differ.

    Attributes:
        classes_: The labels (K,), sorted.
        n_features_in_: The number of values in one image, H·W·C.
        image_shape_: The shape of an image, (H, W, C).
        value_range_: The two values that became 0 and 255.
        bundle_: The trained model, a `Bundle`. `bundle_.recipe` is the whole recipe.
        history_: What each epoch measured, as in `Run.history`.

    `fit` raises what `foveal.train` raises. Where input is refused this is a `UserError`, which is a
    `ValueError`.
    """

    def __init__(
        self,
        recipe: str | Path | Recipe | None = None,
        *,
        budget: str | Budget | None = None,
        settings: Settings = (),
        size: int | None = None,
        image_shape: tuple[int, ...] | str | None = None,
        value_range: tuple[float, float] | None = None,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.recipe = recipe
        self.budget = budget
        self.settings = settings
        self.size = size
        self.image_shape = image_shape
        self.value_range = value_range
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.recipe is None  # the clock decides too
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> "FovealClassifier":  # noqa: N803 - scikit-learn's name
        """Train on images `X` (see the class) with labels `y` (N,), and return the classifier."""
        rows, shape = _flatten_images(X)
        rows, y = validate_data(self, rows, y, dtype="numeric")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.image_shape_ = shape or _choose_image_shape(rows.shape[1], self.image_shape)
        if self.value_range is not None:
            low, high = map(float, self.value_range)
        elif rows.dtype == np.uint8:
            low, high = 0.0, 255.0
        else:
            low, high = float(rows.min()), float(rows.max())
        self.value_range_ = (low, high)
        self._value_guard = ValueGuard.fit(rows, low, high)
        self.bundle_, self.history_ = self._train(
            Arrays(
                images=self._to_pixels(rows),
                labels=labels.astype(np.int64),
                classes=tuple(map(str, self.classes_.tolist())),
                validation_share=self.validation_fraction or 0.1,
            )
        )
        return self

    def _train(self, arrays: Arrays) -> tuple[Bundle, History]:
        """Train in a temporary folder."""
        settings = parse_settings(self.settings)
        if self.size is not None:
            settings.append(f"image.size={self.size}")
        budget = DEFAULT_BUDGET if self.budget is None and self.recipe is None else self.budget
        with (
            progress.quiet(),
            outside_faults(Path(tempfile.gettempdir())),
            tempfile.TemporaryDirectory(prefix="foveal-") as folder,
        ):
            try:
                run = train(
                    DataOptions(arrays, validation=None if self.validation_fraction else "none"),
                    recipe=self.recipe,
                    budget=budget,
                    settings=settings,
                    seed=self._choose_seed(),
                    out=Path(folder) / "run",
                )
            except Interrupted as interrupted:  # the temporary folder goes, so nothing could be resumed
                if interrupted.exit_code == 128 + signal.SIGTERM:
                    raise SystemExit(interrupted.exit_code) from interrupted
                raise KeyboardInterrupt from interrupted
            return run.bundle, run.history

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of each class (N, K), in the order of `classes_`."""
        check_is_fitted(self)
        rows, shape = _flatten_images(X)
        if shape is not None and shape != self.image_shape_:
            raise DataError(_explain_shape(np.shape(X), self.image_shape_))
        rows = validate_data(self, rows, dtype="numeric", reset=False)
        self._value_guard.check(rows)
        pixels = self._to_pixels(rows)
        images = resize_images(pixels, self.bundle_.decoding)
        # The last digit of a sum in single precision depends on the batch size. With whole batches only, an
        # image has the same probabilities whatever is predicted beside it.
        padding = np.zeros((-len(images) % BATCH_SIZE, *images.shape[1:]), dtype=np.uint8)
        logits = compute_logits(self.bundle_.network, np.concatenate([images, padding]))[: len(images)]
        return softmax(logits, self.bundle_.temperature)

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the most probable class of each image (N,), with the labels of `y`."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    # ---- pickle and joblib store the files of the model folder, not the network's class

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
                state = state | {"bundle_": load_bundle(folder)}
        super().__setstate__(state)

    # ---- from what users have to the images that are trained on

    def _to_pixels(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale rows (N, features) to uint8 images (N, H, W, C), by the range of `fit`."""
        n, features = rows.shape
        low, high = self.value_range_
        height, width, channels = self.image_shape_
        if rows.dtype == np.uint8 and (low, high) == (0, 255) and features == height * width * channels:
            return rows.reshape(n, height, width, channels)
        flat = np.zeros((n, height * width * channels), dtype=np.uint8)
        factor = 255 / (high - low) if high > low else 0.0
        outside = 0
        for start in range(0, n, IMAGES_PER_CHUNK):
            values = rows[start : start + IMAGES_PER_CHUNK].astype(np.float64)
            outside += int(((values < low) | (values > high)).any(axis=1).sum())
            flat[start : start + IMAGES_PER_CHUNK, :features] = ((values - low) * factor).round().clip(0, 255)
        if outside:
            progress.warn(f"{outside} images have values outside {low:g} … {high:g}; they were clipped")
        return flat.reshape(n, height, width, channels)

    def _choose_seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))


def _flatten_images(images: Any) -> tuple[Any, tuple[int, int, int] | None]:  # noqa: ANN401 - array-like
    """Return images (N, H, W) or (N, H, W, C) as rows, and their shape (H, W, C). For rows it is None."""
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


def _explain_shape(shape: tuple[int, ...], fitted: tuple[int, int, int]) -> str:
    """Say how images of a shape differ from those of `fit`, and how to convert them."""
    text = f"X has images of the shape {(*shape[1:], 1)[:3]}, but fit saw {fitted}"
    if shape == fitted:
        return f"{text}; for a single image: X[np.newaxis]"
    if (*shape[1:], 1)[:2] == fitted[:2]:
        return f"{text}; give it as many channels as in fit"
    return f"{text}; resize it, or swap its axes, as before fit"


def _choose_image_shape(features: int, image_shape: tuple[int, ...] | str | None) -> tuple[int, int, int]:
    """Return the shape (H, W, C) of the image in a row of so many values."""
    side = math.isqrt(features - 1) + 1
    if image_shape == "padded":
        return side, side, 1
    if image_shape is None:
        if side * side != features:
            raise DataError(
                f"a row of X has {features} values, which make no square of one channel; say what they are, "
                f"such as image_shape=(32, 32, 3), or image_shape='padded' for rows that are no images"
            )
        return side, side, 1
    if isinstance(image_shape, str) or len(image_shape) not in (2, 3) or math.prod(image_shape) != features:
        raise DataError(f"image_shape is {image_shape!r}, but a row of X has {features} values")
    height, width, channels = (*image_shape, 1)[:3]
    return height, width, channels
