"""Settings: how they are written, and what they change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import RecipeError
from foveal.recipe.builtin import load_recipe
from foveal.recipe.networks import Sprint
from foveal.recipe.optimizers import Adam
from foveal.recipe.overrides import apply_settings, parse_settings, remove_validation, use_custom_network
from foveal.recipe.schedules import Anneal, LowResolution, Plateau


def changes_it_alone(name: str, setting: str, expected) -> None:
    before = load_recipe(name)
    after, paths = apply_settings(before, [setting])
    assert expected(after)
    assert len(paths) == 1
    top = next(iter(paths)).partition(".")[0]
    assert {**after.to_json(), top: None} == {**before.to_json(), top: None}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("low_resolution=none", lambda recipe: recipe.low_resolution is None),
        ("low_resolution=default", lambda recipe: recipe.low_resolution == LowResolution()),
        ("share=0.25", lambda recipe: recipe.low_resolution == LowResolution(share=0.25)),
        ("low_resolution.size=8", lambda recipe: recipe.low_resolution.size == 8),
        ("anneal=none", lambda recipe: recipe.anneal is None),
        ("warm_up=0.1", lambda recipe: recipe.anneal == Anneal(warm_up=0.1)),
        ("label_smoothing=0", lambda recipe: recipe.label_smoothing == 0.0),
        ("mixing=folders", lambda recipe: recipe.mixing == "folders"),
        ("alternate=false", lambda recipe: recipe.augmentation.flip and not recipe.augmentation.alternate),
        ("whitening=8", lambda recipe: recipe.model == Sprint(whitening=8)),
        ("activation=relu", lambda recipe: recipe.model.activation == "relu"),
        ("widths=[16, 32]", lambda recipe: recipe.model.widths == (16, 32)),
        ("model.momentum=0.5", lambda recipe: recipe.model.momentum == 0.5),
        ("optimizer.momentum=0.5", lambda recipe: recipe.optimizer.momentum == 0.5),
        ("head_learning_rate=1", lambda recipe: recipe.optimizer.head_learning_rate == 1.0),
        ("optimizer=adam", lambda recipe: recipe.optimizer == Adam()),
    ],
)
def test_a_setting_of_sprint_changes_what_it_names_and_nothing_else(setting: str, expected) -> None:
    changes_it_alone("sprint", setting, expected)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["momentum=0.5"], "ambiguous; write model.momentum or optimizer.momentum"),
        (["size=16"], "ambiguous; write image.size or low_resolution.size"),
        (["low_resolution=none", "share=0.5"], "'share' has no effect"),
        (["share=0.5", "low_resolution=none"], "'low_resolution.share' has no effect"),
        (["dropout=0.5"], "'dropout' has no effect under the recipe sprint"),
        (["plateau=default"], "anneal and plateau both set the learning rate"),
        (["flip=false"], "augmentation.alternate has no effect without flip"),
        (["image.size=24"], "image.size, 24, must be a multiple of it"),
        (["share=2"], "low_resolution.share is 2.0"),
        (["low_resolution=16"], "low_resolution is 16"),
    ],
)
def test_a_setting_of_sprint_that_cannot_be_is_refused(settings: list[str], complaint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        apply_settings(load_recipe("sprint"), settings)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("setting", ["share=0.5", "warm_up=0.1", "whitening=8", "head_learning_rate=1"])
def test_settings_of_sprint_have_no_effect_elsewhere(setting: str) -> None:
    with pytest.raises(RecipeError, match="has no effect under the recipe model-s-02"):
        apply_settings(load_recipe("model-s-02"), [setting])


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("epochs=6", lambda recipe: recipe.epochs == 6),
        ("optimizer.rho=0.8", lambda recipe: recipe.optimizer.rho == 0.8),
        ("rho=0", lambda recipe: recipe.optimizer.rho == 0.0),
        ("widths=[8, 16]", lambda recipe: recipe.model.widths == (8, 16)),
        ("batch_norm=false", lambda recipe: recipe.model.batch_norm is False),
        ("background=white", lambda recipe: recipe.image.background == "white"),
        ("plateau=none", lambda recipe: recipe.plateau is None),
        ("optimizer=adam", lambda recipe: recipe.optimizer == Adam()),
        ("early_stopping.patience=9", lambda recipe: recipe.early_stopping.patience == 9),
    ],
)
def test_a_setting_changes_what_it_names_and_nothing_else(setting: str, expected) -> None:
    changes_it_alone("model-s-02", setting, expected)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["patience=2"], "ambiguous; write plateau.patience or early_stopping.patience"),
        (["epohcs=2"], "unknown setting 'epohcs'; did you mean 'epochs'"),
        (["beta_1=0.5"], "'beta_1' has no effect under the recipe model-s-02"),
        (["plateau=none", "plateau.factor=0.5"], "'plateau.factor' has no effect"),
        (["optimizer=adam", "rho=0.5"], "'rho' has no effect"),
        (["epochs"], "not of the form key=value"),
        (["epochs=1.5"], "epochs is 1.5; it must be a whole number"),
        (["name=x"], "unknown setting 'name'"),
        (["plateu.patience=3"], "did you mean 'plateau.patience'"),
        (["batch_norm=false", "momentum=0.5"], "'momentum' has no effect"),
        (["plateau.patience=3", "plateau=none"], "'plateau.patience' has no effect"),
        (["epochs=" + "9" * 5000], "epochs is '999"),
        (["widths=" + "[" * 5000], "widths is '[[["),
        (["shift=32"], "augmentation.shift is 32; it must be less than image.size"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: list[str], complaint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        apply_settings(load_recipe("model-s-02"), settings)
    assert complaint in str(caught.value)


def test_a_part_can_be_brought_back() -> None:
    recipe, _ = apply_settings(
        load_recipe("model-s-02"), ["plateau=none", "plateau=default", "plateau.patience=1"]
    )
    assert recipe.plateau == Plateau(patience=1)


def test_without_validation_nothing_decides_by_it() -> None:
    recipe, changed = apply_settings(load_recipe("model-s-02"), ["epochs=2"])
    bare = remove_validation(recipe, changed)
    assert (bare.plateau, bare.early_stopping, bare.epochs) == (None, None, 2)
    with pytest.raises(RecipeError, match="no effect with --validation none"):
        remove_validation(recipe, ["plateau.patience"])


def test_the_recipes_network_has_no_settings_beside_an_own_one() -> None:
    with pytest.raises(RecipeError, match="the network is your own"):
        use_custom_network(load_recipe("model-s-02"), ["model.dropout"], object())


@given(st.text(max_size=40))
def test_any_setting_is_taken_or_refused(text: str) -> None:
    try:
        apply_settings(load_recipe("model-s-02"), [text])
    except RecipeError:
        return
    assert "=" in text


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("epochs=3", ["epochs=3"]),
        (["epochs=3", "plateau=none"], ["epochs=3", "plateau=none"]),
        (iter(["epochs=3"]), ["epochs=3"]),
        ((), []),
        ({}, []),
        ({"epochs": 3, "plateau.patience": 2}, ["epochs=3", "plateau.patience=2"]),
        ({"l2": 1e-5, "flip": True, "plateau": None}, ["l2=1e-05", "flip=true", "plateau=none"]),
        ({"widths": (16, 32), "optimizer": "adam"}, ["widths=[16, 32]", "optimizer=adam"]),
        ({"epochs": np.int64(3), "l2": np.float32(0.5)}, ["epochs=3", "l2=0.5"]),
        ({"background": "3", "mixing": " images"}, ['background="3"', 'mixing=" images"']),
    ],
)
def test_settings_are_written_in_one_form(settings: object, expected: list[str]) -> None:
    assert parse_settings(settings) == expected


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("epochs", "setting 'epochs' is not of the form key=value"),
        (["epochs=3", 7], "setting 7 is not of the form key=value"),
        (["=3"], "setting '=3' is not of the form key=value"),
        (3, "settings is 3"),
        ({3: 4}, "the key 3 of the settings"),
        ({"": 4}, "the key '' of the settings"),
        ({"epochs=3": 4}, "the key 'epochs=3' of the settings"),
        ({"epochs": {"a": 1}}, "setting 'epochs': {'a': 1} cannot be the value of a setting"),
        ({"widths": [1, None]}, "setting 'widths': [1, None] cannot be the value of a setting"),
    ],
)
def test_a_bad_setting_is_named(settings: object, complaint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_settings(settings)
    assert complaint in str(caught.value)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_in_a_mapping_is_read_as_itself(text: str) -> None:
    recipe, _ = apply_settings(load_recipe("model-s-02"), {"background": text})
    assert recipe.image.background == text


def test_the_first_setting_without_effect_is_named() -> None:
    settings = ["rho=0.5", "epsilon=0.1", "plateau.factor=0.5", "optimizer=adam", "plateau=none"]
    with pytest.raises(RecipeError, match=r"'optimizer\.rho' has no effect"):
        apply_settings(load_recipe("model-s-02"), settings)
