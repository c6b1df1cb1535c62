"""Recipes: what is refused, and reading from JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import RecipeError
from foveal.recipe.builtin import load_recipe
from foveal.recipe.overrides import apply_settings
from foveal.recipe.recipe import Recipe


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
    assert [recipe.get_shrink_factor(step / 10) for step in range(10)] == [2] * 5 + [1] * 5
    assert [recipe.get_shrink_factor(step / 5) for step in range(5)] == [2] * 3 + [1] * 2
    whole, _ = apply_settings(recipe, ["share=1", "low_resolution.size=8"])
    assert [whole.get_shrink_factor(step / 3) for step in range(3)] == [4] * 3
    assert load_recipe("model-s-02").get_shrink_factor(0) == 1


def test_a_missing_key_is_named() -> None:
    value = load_recipe("model-s-02").to_json()
    del value["optimizer"]
    with pytest.raises(RecipeError, match="optimizer"):
        Recipe.from_json(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_a_recipe_or_refused(value: object) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_json(value)
