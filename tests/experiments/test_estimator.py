"""The classifier for scikit-learn: scikit-learn's own checks, its tools around it, and what arrays may be."""

import os
import pickle  # noqa: TID251 - what users do with a model
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import foveal
from foveal import FovealClassifier
from foveal.data.decode import Decoding, decode
from foveal.data.options import DataOptions
from foveal.errors import DataError, ModelError, RecipeError
from foveal.experiments.value_guard import ValueGuard
from foveal.recipe.networks import ModelS
from foveal.recipe.optimizers import Adam
from foveal.recipe.recipe import Image, Recipe

TINY = Recipe(
    name="tiny",
    model=ModelS(widths=(8,), convolutions=1, dense=0, dropout=0.0, momentum=0.5),
    optimizer=Adam(learning_rate=0.02),
    image=Image(size=8, channels="auto"),
    epochs=6,
    batch_size=16,
    plateau=None,
    early_stopping=None,
)


@pytest.fixture(scope="module")
def images() -> Any:
    """300 digits: images float64 (N, 8, 8) from 0 to 16."""
    return load_digits().images[:300]


@pytest.fixture(scope="module")
def labels() -> Any:
    return load_digits().target[:300]


@pytest.fixture(scope="module")
def fitted(images: Any, labels: Any) -> FovealClassifier:
    """Not to be fitted again."""
    return FovealClassifier(TINY).fit(images[:200], labels[:200])


# ---- what scikit-learn asks of every classifier


# Its tables have two to twenty columns, which are no square image: "padded" is how such rows are taken.
@pytest.mark.filterwarnings("ignore:Skipping check check_array_api_input")  # it needs a variable at start
@parametrize_with_checks([FovealClassifier(TINY, image_shape="padded")])
def test_it_passes_the_checks_of_scikit_learn_without_exception(estimator: Any, check: Any) -> None:
    check(estimator)


def test_budgets_are_told_to_be_non_deterministic() -> None:
    assert not FovealClassifier(TINY).__sklearn_tags__().non_deterministic
    assert FovealClassifier().__sklearn_tags__().non_deterministic


# ---- its tools around it


def test_digits_by_cross_validation(images: Any, labels: Any) -> None:
    scores = cross_val_score(FovealClassifier(TINY), images, labels, cv=3)
    assert scores.min() > 0.75  # a tenth by chance


def test_a_grid_search_over_settings(images: Any, labels: Any) -> None:
    search = GridSearchCV(
        FovealClassifier(TINY), {"settings": ["epochs=1", {"epochs": 2}, ("epochs=6",)]}, cv=2
    )
    search.fit(images, labels)
    assert search.best_params_ == {"settings": ("epochs=6",)}
    assert search.best_estimator_.bundle_.recipe.epochs == 6
    assert len(search.best_estimator_.history_) == 6


def test_a_pipeline_with_strings_for_labels(images: Any, labels: Any) -> None:
    names = np.array(["nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    pipe = make_pipeline(MinMaxScaler(), FovealClassifier(TINY))
    pipe.fit(images[:200].reshape(200, -1), names[labels[:200]])
    assert pipe.score(images[200:].reshape(100, -1), names[labels[200:]]) > 0.75
    assert list(pipe[-1].classes_) == sorted(names)
    assert pipe[-1].bundle_.classes == tuple(sorted(names))
    assert pipe.predict(images[:1].reshape(1, -1)).dtype == names.dtype


def test_a_clone_is_not_fitted(fitted: FovealClassifier, images: Any) -> None:
    with pytest.raises(NotFittedError):
        clone(fitted).predict(images)


@pytest.mark.parametrize("keep", ["pickle", "joblib"])
def test_a_kept_model_predicts_the_same_bits(
    fitted: FovealClassifier, images: Any, tmp_path: Path, keep: str
) -> None:
    if keep == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        joblib.dump(fitted, tmp_path / "model")
        again = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))
    assert list(again.history_) == list(fitted.history_)


def test_what_is_kept_is_the_model_folder_and_damage_is_noticed(fitted: FovealClassifier) -> None:
    state = fitted.__getstate__()
    assert set(state["bundle_"]) == {"model.safetensors", "config.json", "README.md"}
    weights = bytearray(state["bundle_"]["model.safetensors"])
    weights[-1] ^= 1
    with pytest.raises(ModelError, match="digest"):
        FovealClassifier().__setstate__(
            state | {"bundle_": state["bundle_"] | {"model.safetensors": bytes(weights)}}
        )


# ---- it is the training of the house


def test_arrays_train_as_their_files_do(few_digits: Path, tmp_path: Path, small: tuple[str, ...]) -> None:
    shutil.copytree(few_digits / "train", tmp_path / "data" / "train")
    run = foveal.train(
        DataOptions(tmp_path / "data", validation="none", cache=tmp_path / "cache"),
        recipe="model-s-02",
        settings=small,
        out=tmp_path / "run",
    )
    plain = Decoding(size=8, channels=1, fit="stretch", background="black")
    files = sorted((tmp_path / "data").rglob("*.png"))
    pixels = np.stack([decode(file.read_bytes(), plain).pixels[..., 0] for file in files])
    labels = [int(file.parent.name) for file in files]
    mine = FovealClassifier("model-s-02", settings=small, validation_fraction=0).fit(pixels, labels)
    for name, each in run.model.state_dict().items():
        np.testing.assert_array_equal(mine.bundle_.network.state_dict()[name].numpy(), each.numpy())
    assert mine.history_[-1].validation_loss is None


def test_random_state_decides(fitted: FovealClassifier, images: Any, labels: Any) -> None:
    def probabilities(random_state: Any) -> Any:
        return (
            FovealClassifier(TINY, random_state=random_state)
            .fit(images[:200], labels[:200])
            .predict_proba(images)
        )

    np.testing.assert_array_equal(probabilities(0), fitted.predict_proba(images))
    assert not np.array_equal(probabilities(1), fitted.predict_proba(images))
    drawn = probabilities(np.random.RandomState(3))
    np.testing.assert_array_equal(drawn, probabilities(np.random.RandomState(3)))


def test_a_budget(images: Any, labels: Any) -> None:
    mine = FovealClassifier(budget="5s").fit(images[:200], labels[:200])
    assert mine.bundle_.recipe.name == "budget"
    assert mine.bundle_.decoding.size == 16
    assert mine.score(images[200:], labels[200:]) > 0.3  # a tenth by chance; the clock decides how much more


def test_nothing_stays_behind_and_nothing_is_said(
    images: Any,
    labels: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    FovealClassifier(TINY).fit(images, labels)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_control_c_stops_it(
    images: Any, labels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = threading.Event()

    def interrupt() -> None:
        while not list(tmp_path.glob("*/run/checkpoints/*.safetensors")):
            began.wait(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    watching = threading.Thread(target=interrupt)
    watching.start()
    with pytest.raises(KeyboardInterrupt):
        FovealClassifier(TINY, settings="epochs=100000").fit(images, labels)
    watching.join()
    assert list(tmp_path.iterdir()) == []


# ---- what arrays may be


def test_rows_and_images_are_the_same(fitted: FovealClassifier, images: Any, labels: Any) -> None:
    rows = images.reshape(len(images), -1)
    again = FovealClassifier(TINY).fit(rows[:200], labels[:200])
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(rows))
    assert fitted.n_features_in_ == again.n_features_in_ == 64
    assert fitted.image_shape_ == again.image_shape_ == (8, 8, 1)


def test_the_range_of_fit_scales_what_is_predicted(
    fitted: FovealClassifier, images: Any, labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitted.value_range_ == (0, 16)
    as_bytes = (images * 255 / 16).round().astype(np.uint8)
    for scaled, range_ in ((images / 16, (0, 1)), (images - 8, (-8, 8)), (as_bytes, (0, 255))):
        again = FovealClassifier(TINY).fit(scaled[:200], labels[:200])
        assert again.value_range_ == range_
        np.testing.assert_array_equal(again.predict(scaled), fitted.predict(images))
    dark = fitted.predict_proba(images / 2)  # scaled by its own range it would be as bright as ever
    assert not np.allclose(dark, fitted.predict_proba(images))
    assert capsys.readouterr().err == ""
    bright = images[:20].copy()
    bright[3, 2, 2], bright[4, 0, 0] = 17, -1
    fitted.predict(bright)
    assert "2 images have values outside 0 … 16" in capsys.readouterr().err


FORMS = {
    "bytes": lambda pixels: pixels,
    "floats to 255": lambda pixels: pixels.astype(np.float32),
    "floats to 1": lambda pixels: pixels / 255,
    "16 bits": lambda pixels: pixels.astype(np.uint16) * 257,
    "-1 to 1": lambda pixels: pixels / 127.5 - 1,
    "cut to 0 and 1": lambda pixels: (pixels / 255).astype(np.uint8),
    "true and false": lambda pixels: pixels > 127,
}
"""Ways to write the same pixels 0 to 255."""
ALIKE = ("bytes", "floats to 255")


@pytest.mark.parametrize("before", [name for name in FORMS if name != "cut to 0 and 1"])
@pytest.mark.parametrize("after", FORMS)
@pytest.mark.parametrize("n", [1, 60])
def test_values_on_another_scale_than_those_of_fit_are_refused(before: str, after: str, n: int) -> None:
    random = np.random.default_rng(0)
    pixels = random.choice([0, 30, 60, 250, 255], (200, 64)).astype(np.uint8)
    rows, new = FORMS[before](pixels), FORMS[after](pixels[:n])
    low, high = (0.0, 255.0) if rows.dtype == np.uint8 else (float(rows.min()), float(rows.max()))
    guard = ValueGuard.fit(rows, low, high)
    alike = before == after or {before, after} <= set(ALIKE)
    # One image between 0 and 1 may be a bright one of −1 to 1, and true and false are 0 and 1.
    inside = {before, after} <= {"floats to 1", "-1 to 1", "true and false", "cut to 0 and 1"}
    if alike or (inside and after != "-1 to 1" and (n == 1 or before != "-1 to 1")):
        guard.check(new)
    elif not inside:
        with pytest.raises(DataError, match="but fit saw"):
            guard.check(new)


def test_unusual_images_and_blank_ones_are_no_other_scale() -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 200, (100, 64)).astype(np.uint8)
    guard = ValueGuard.fit(rows, 0.0, 255.0)
    guard.check(np.full((1, 64), 7, np.uint8))  # blank
    guard.check(rows[:1] // 4)  # dark
    guard.check(np.clip(rows[:9].astype(int) + 55, 0, 255))  # bright
    hot = rows[:9].astype(np.uint16)
    hot[0, 0] = 60_000  # one hot pixel
    guard.check(hot)
    with pytest.raises(DataError, match="blank"):
        guard.check(np.zeros((9, 64)))
    ValueGuard.fit(np.full((9, 64), 3.0), 3.0, 3.0).check(np.full((9, 64), 3.0))


def test_a_classifier_fitted_on_bytes_refuses_floats_to_one_and_says_what_to_do(
    images: Any, labels: Any
) -> None:
    pixels = (images * 255 / 16).round().astype(np.uint8)
    mine = FovealClassifier(TINY).fit(pixels[:200], labels[:200])
    with pytest.raises(DataError, match=r"0 to 1 .*fit saw 0 to 255: .*\(X \* 255\)\.round\(\)"):
        mine.score(pixels[200:] / 255, labels[200:])
    again = pickle.loads(pickle.dumps(mine))
    with pytest.raises(DataError, match="multiply it by 255"):
        again.predict_proba(pixels[:1] / 255)
    floats = FovealClassifier(TINY).fit(pixels[:200] / 255, labels[:200])
    with pytest.raises(DataError, match="divide it by 255"):
        floats.predict(pixels[200:])
    np.testing.assert_array_equal(mine.predict(pixels.astype(float)), mine.predict(pixels))


def test_a_range_can_be_named(images: Any, labels: Any) -> None:
    mine = FovealClassifier(TINY, value_range=(0, 32)).fit(images, labels)
    assert mine.value_range_ == (0, 32)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_colour_of_any_shape(dtype: Any) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 10, 14, 3)).astype(dtype)
    labels = np.arange(60) % 2 == 0  # booleans
    images[labels, :, :7, 0] = 255  # red on the left
    mine = FovealClassifier(TINY).fit(images[:40], labels[:40])
    assert (mine.predict(images[40:]) == labels[40:]).all()
    assert mine.bundle_.decoding.channels == 3
    assert mine.image_shape_ == (10, 14, 3)
    rows = FovealClassifier(TINY, image_shape=(10, 14, 3)).fit(images[:40].reshape(40, -1), labels[:40])
    np.testing.assert_array_equal(rows.predict_proba(images), mine.predict_proba(images))


def test_the_size_is_the_recipes_or_as_asked(images: Any, labels: Any) -> None:
    assert FovealClassifier(TINY).fit(images, labels).bundle_.decoding.size == 8
    assert FovealClassifier(TINY, size=12).fit(images, labels).bundle_.decoding.size == 12


def test_a_class_of_a_single_image_trains(images: Any, labels: Any) -> None:
    rare = np.where(np.arange(300) == 7, 10, labels)
    assert FovealClassifier(TINY, validation_fraction=0.5).fit(images, rare).predict_proba(images).shape == (
        300,
        11,
    )


@pytest.mark.parametrize(
    ("shape", "settings", "complaint"),
    [
        ((30, 12), {}, "12 values, which make no square.*image_shape='padded'"),
        ((30, 12), {"image_shape": (3, 5)}, r"image_shape is \(3, 5\), but a row of X has 12 values"),
        ((30, 12), {"image_shape": "square"}, "image_shape is 'square', but"),
        ((30, 3, 8, 8), {}, r"channels, which come last: np.moveaxis\(X, 1, -1\)"),
        ((30, 8, 8, 4), {}, "with 1 or 3 channels"),
        ((30, 8, 8), {"validation_fraction": 0.7}, "above 0 and at most 0.5"),
        ((3, 8, 8), {}, "3 images are too few to set 10% aside"),
    ],
)
def test_what_cannot_be_images_is_refused(shape: Any, settings: Any, complaint: str) -> None:
    random = np.random.default_rng(0)
    with pytest.raises(DataError, match=complaint):
        FovealClassifier(TINY, **settings).fit(random.random(shape), np.arange(shape[0]) % 3)


def test_other_images_than_those_of_fit_are_refused(fitted: FovealClassifier) -> None:
    with pytest.raises(DataError, match=r"shape \(4, 16, 1\), but fit saw \(8, 8, 1\); resize it"):
        fitted.predict(np.zeros((2, 4, 16)))
    with pytest.raises(DataError, match=r"shape \(8, 8, 3\), .*as many channels"):
        fitted.predict(np.zeros((2, 8, 8, 3)))
    with pytest.raises(DataError, match=r"for a single image: X\[np.newaxis\]"):
        fitted.predict(np.zeros((8, 8, 1)))
    with pytest.raises(ValueError, match="expecting 64 features"):
        fitted.predict(np.zeros((2, 63)))


def test_one_class_and_a_budget_beside_a_recipe_are_refused(images: Any, labels: Any) -> None:
    with pytest.raises(DataError, match="one class only"):
        FovealClassifier(TINY).fit(images, np.zeros(300))
    with pytest.raises(RecipeError, match="write a number and a unit"):
        FovealClassifier(budget="5").fit(images, labels)
    with pytest.raises(RecipeError, match="a recipe decides"):
        FovealClassifier(TINY, budget="1m").fit(images, labels)
