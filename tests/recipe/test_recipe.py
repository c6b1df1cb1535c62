"""Recipes: the series, strict reading, settings."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import RecipeError
from foveal.models import registry
from foveal.recipe import recipe as recipes
from foveal.recipe.builtin import RECIPES, load_recipe
from foveal.recipe.optimizers import Adam, RMSprop
from foveal.recipe.overrides import apply_settings, remove_validation, use_custom_network
from foveal.recipe.recipe import Recipe


def parameters(name: str) -> tuple[int, int]:
    recipe = load_recipe(name)
    network = registry.build_network(recipe.model, size=recipe.image.size, channels=3, classes=10, seed=0)
    return registry.count_parameters(network)


def test_the_notebooks_model_has_its_parameters() -> None:
    assert parameters("model-s-02") == (815_018, 896)


def test_the_predecessor_is_three_convolutions_smaller() -> None:
    first, second = load_recipe("model-s-01").model, load_recipe("model-s-02").model
    assert isinstance(first, recipes.ModelS)
    assert isinstance(second, recipes.ModelS)
    assert len(second.widths) * second.convolutions - len(first.widths) * first.convolutions == 3
    assert all(a < b for a, b in zip(first.widths, second.widths, strict=True))
    assert (first.dense, first.batch_norm, first.dropout) == (0, False, 0.0)
    assert load_recipe("model-s-01").optimizer != load_recipe("model-s-02").optimizer


def test_the_notebooks_training_settings() -> None:
    recipe = load_recipe("model-s-02")
    assert recipe.optimizer == RMSprop(learning_rate=0.001, rho=0.9, epsilon=1e-7)
    assert (recipe.epochs, recipe.batch_size, recipe.l2) == (30, 64, 0)
    assert recipe.plateau == recipes.Plateau(factor=0.1, patience=3, min_delta=1e-4)
    assert recipe.early_stopping == recipes.EarlyStopping(patience=6)
    assert recipe.augmentation == recipes.Augmentation(flip=False, shift=0)


def test_what_the_notebook_plans_next() -> None:
    recipe = load_recipe("model-s-03")
    assert isinstance(recipe.optimizer, Adam)
    assert (recipe.epochs, recipe.batch_size) == (40, 64)
    assert recipe.l2 > 0
    assert recipe.augmentation.flip


@pytest.mark.parametrize("name", RECIPES)
def test_json_reads_back_equal(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(recipe.to_json()))
    assert load_recipe(file) == recipe
    assert load_recipe(str(file)) == recipe


def test_toml_is_read_and_defaults_fill_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nepochs = 3\n[model]\nname = "model-s"\nwidths = [8]\n'
        '[optimizer]\nname = "adam"\nbeta_1 = 0.8\n'
    )
    recipe = load_recipe(file)
    assert (recipe.name, recipe.epochs, recipe.model) == ("mine", 3, recipes.ModelS(widths=(8,)))
    assert recipe.optimizer == Adam(beta_1=0.8)


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        ({"name": "../../x"}, "name is '../../x'"),
        ({"name": "a\ud800"}, "name is"),
        ({"epohcs": 3}, "unknown key 'epohcs'; did you mean 'epochs'"),
        ({"epochs": "3"}, "epochs is '3'; it must be a whole number"),
        ({"epochs": True}, "epochs is True; it must be a whole number"),
        ({"epochs": 0}, "epochs is 0"),
        ({"optimizer": {"name": "adamw"}}, "optimizer is 'adamw'; it must be rmsprop or adam or sgd"),
        ({"optimizer": {"name": "adam", "rho": 0.9}}, "optimizer has the unknown key 'rho'"),
        ({"optimizer": {"name": "adam", "learning_rate": float("nan")}}, "learning_rate is nan"),
        ({"model": {"name": "model-s", "widths": [32, "64"]}}, "model.widths[1] is '64'"),
        ({"model": {"name": "model-s", "widths": []}}, "model.widths is empty"),
        ({"image": {"fit": "squash"}}, "image.fit is 'squash'; it must be stretch or crop or pad"),
        ({"image": 3}, "image is 3; it must be a table"),
        ({"plateau": {"factor": 2}}, "plateau.factor is 2.0"),
        (
            {"image": {"size": 8}, "model": {"name": "model-s", "widths": [1, 1, 1, 1]}},
            "too small for 4 poolings",
        ),
    ],
)
def test_what_does_not_fit_is_named(edit: dict, complaint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_json({**load_recipe("model-s-02").to_json(), **edit})
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "edit", "complaint"),
    [
        ("model-s-02", {"anneal": {}}, "anneal and plateau both set the learning rate"),
        ("sprint", {"plateau": {}}, "anneal and plateau both set the learning rate"),
        ("sprint", {"anneal": {"warm_up": 1}}, "anneal.warm_up is 1.0; it must lie in [0, 1)"),
        ("sprint", {"anneal": {"warm_up": -0.1}}, "anneal.warm_up is -0.1"),
        ("sprint", {"low_resolution": {"size": 12}}, "image.size, 32, must be a multiple of it"),
        ("sprint", {"low_resolution": {"size": 32}}, "low_resolution.size is 32"),
        ("sprint", {"low_resolution": {"size": 64}}, "low_resolution.size is 64"),
        ("sprint", {"low_resolution": {"size": 2}}, "low_resolution.size is 2; it must be 4 or more"),
        ("sprint", {"low_resolution": {"size": 4}}, "image.size is 4: too small for 3 poolings"),
        ("sprint", {"low_resolution": {"share": 0}}, "low_resolution.share is 0.0; it must lie in (0, 1]"),
        ("sprint", {"low_resolution": {"share": 1.5}}, "low_resolution.share is 1.5"),
        ("model-s-02", {"low_resolution": {}}, "Model S's dense layers take images of one size only"),
        (
            "sprint",
            {"image": {"size": 8}, "low_resolution": None, "model": {"name": "sprint", "widths": [8] * 4}},
            "too small for 4 poolings",
        ),
        (
            "model-s-03",
            {"augmentation": {"alternate": True}},
            "augmentation.alternate has no effect without flip",
        ),
        ("sprint", {"model": {"name": "sprint", "whitening": 15}}, "model.whitening is 15; it must be even"),
        ("sprint", {"model": {"name": "sprint", "whitening": 0}}, "model.whitening is 0"),
        ("sprint", {"model": {"name": "sprint", "whitening": 26}}, "model.whitening is 26"),
        ("sprint", {"model": {"name": "sprint", "widths": []}}, "model.widths is empty"),
        ("sprint", {"model": {"name": "sprint", "widths": [0]}}, "model.widths: each must lie"),
        ("sprint", {"model": {"name": "sprint", "momentum": 1}}, "model.momentum must lie in [0, 1)"),
        ("sprint", {"model": {"name": "sprint", "activation": "tanh"}}, "activation is 'tanh'"),
        ("sprint", {"model": {"name": "sprint", "dropout": 0.5}}, "unknown key 'dropout'"),
        ("sprint", {"l2": 0.1}, "l2 has no effect under muon"),
        ("model-s-03", {"optimizer": {"name": "muon"}}, "l2 has no effect under muon"),
        ("sprint", {"label_smoothing": 1}, "label_smoothing is 1.0; it must lie in [0, 1)"),
        ("sprint", {"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ("sprint", {"mixing": "files"}, "mixing is 'files'; it must be folders or images"),
        ("sprint", {"optimizer": {"name": "muon", "iterations": 0}}, "optimizer.iterations must lie"),
        ("sprint", {"optimizer": {"name": "muon", "learning_rate": 0}}, "optimizer.learning_rate is 0.0"),
        (
            "sprint",
            {"optimizer": {"name": "muon", "bias_learning_rate": 0}},
            "optimizer.bias_learning_rate is 0.0",
        ),
        (
            "sprint",
            {"optimizer": {"name": "muon", "head_learning_rate": -1}},
            "optimizer.head_learning_rate is -1",
        ),
        ("sprint", {"optimizer": {"name": "muon", "sgd_momentum": 1}}, "optimizer.sgd_momentum is 1.0"),
        ("sprint", {"optimizer": {"name": "muon", "momentum": 1}}, "optimizer.momentum is 1.0"),
    ],
)
def test_what_does_not_fit_together_is_named(name: str, edit: dict, complaint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_json({**load_recipe(name).to_json(), **edit})
    assert complaint in str(caught.value)


def test_an_older_recipe_still_reads() -> None:
    """What came later has defaults under which a run is as it was."""
    value = load_recipe("model-s-03").to_json()
    for key in ("label_smoothing", "mixing", "low_resolution", "anneal"):
        del value[key]
    del value["augmentation"]["alternate"]
    assert Recipe.from_json(value) == load_recipe("model-s-03")


def test_low_resolution_is_a_share_of_all_steps() -> None:
    recipe, _ = apply_settings(load_recipe("sprint"), ["share=0.5"])
    assert [recipe.shrink_at(step / 10) for step in range(10)] == [2] * 5 + [1] * 5
    assert [recipe.shrink_at(step / 5) for step in range(5)] == [2] * 3 + [1] * 2
    whole, _ = apply_settings(recipe, ["share=1", "low_resolution.size=8"])
    assert [whole.shrink_at(step / 3) for step in range(3)] == [4] * 3
    assert load_recipe("model-s-02").shrink_at(0) == 1


def test_a_missing_key_is_named() -> None:
    value = load_recipe("model-s-02").to_json()
    del value["optimizer"]
    with pytest.raises(RecipeError, match="optimizer"):
        Recipe.from_json(value)


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'model-s-02'"):
        load_recipe("model-s-2")


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(RecipeError, match=r"is no JSON"):
        load_recipe(file)


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
        ("low_resolution=default", lambda recipe: recipe.low_resolution == recipes.LowResolution()),
        ("share=0.25", lambda recipe: recipe.low_resolution == recipes.LowResolution(share=0.25)),
        ("low_resolution.size=8", lambda recipe: recipe.low_resolution.size == 8),
        ("anneal=none", lambda recipe: recipe.anneal is None),
        ("warm_up=0.1", lambda recipe: recipe.anneal == recipes.Anneal(warm_up=0.1)),
        ("label_smoothing=0", lambda recipe: recipe.label_smoothing == 0.0),
        ("mixing=folders", lambda recipe: recipe.mixing == "folders"),
        ("alternate=false", lambda recipe: recipe.augmentation.flip and not recipe.augmentation.alternate),
        ("whitening=8", lambda recipe: recipe.model == recipes.Sprint(whitening=8)),
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
    recipe, _ = apply_settings(load_recipe("model-s-02"), ["plateau=none", "plateau=default", "plateau.patience=1"])
    assert recipe.plateau == recipes.Plateau(patience=1)


def test_without_validation_nothing_decides_by_it() -> None:
    recipe, changed = apply_settings(load_recipe("model-s-02"), ["epochs=2"])
    bare = remove_validation(recipe, changed)
    assert (bare.plateau, bare.early_stopping, bare.epochs) == (None, None, 2)
    with pytest.raises(RecipeError, match="no effect with --validation none"):
        remove_validation(recipe, ["plateau.patience"])


def test_the_recipes_network_has_no_settings_beside_an_own_one() -> None:
    with pytest.raises(RecipeError, match="the network is your own"):
        use_custom_network(load_recipe("model-s-02"), ["model.dropout"], object())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_a_recipe_or_refused(value: object) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_json(value)


@given(st.text(max_size=40))
def test_any_setting_is_taken_or_refused(text: str) -> None:
    try:
        apply_settings(load_recipe("model-s-02"), [text])
    except RecipeError:
        return
    assert "=" in text
