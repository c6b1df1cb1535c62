"""The built-in recipes, and recipes in files."""

import json
from pathlib import Path

import pytest

from foveal.errors import RecipeError
from foveal.models import registry
from foveal.recipe.builtin import RECIPES, load_recipe
from foveal.recipe.networks import ModelS
from foveal.recipe.optimizers import Adam, RMSprop
from foveal.recipe.recipe import Augmentation
from foveal.recipe.schedules import EarlyStopping, Plateau


def parameters(name: str) -> tuple[int, int]:
    recipe = load_recipe(name)
    network = registry.build_network(recipe.model, size=recipe.image.size, channels=3, classes=10, seed=0)
    return registry.count_parameters(network)


def test_the_notebooks_model_has_its_parameters() -> None:
    assert parameters("model-s-02") == (815_018, 896)


def test_the_predecessor_is_three_convolutions_smaller() -> None:
    first, second = load_recipe("model-s-01").model, load_recipe("model-s-02").model
    assert isinstance(first, ModelS)
    assert isinstance(second, ModelS)
    assert len(second.widths) * second.convolutions - len(first.widths) * first.convolutions == 3
    assert all(a < b for a, b in zip(first.widths, second.widths, strict=True))
    assert (first.dense, first.batch_norm, first.dropout) == (0, False, 0.0)
    assert load_recipe("model-s-01").optimizer != load_recipe("model-s-02").optimizer


def test_the_notebooks_training_settings() -> None:
    recipe = load_recipe("model-s-02")
    assert recipe.optimizer == RMSprop(learning_rate=0.001, rho=0.9, epsilon=1e-7)
    assert (recipe.epochs, recipe.batch_size, recipe.l2) == (30, 64, 0)
    assert recipe.plateau == Plateau(factor=0.1, patience=3, min_delta=1e-4)
    assert recipe.early_stopping == EarlyStopping(patience=6)
    assert recipe.augmentation == Augmentation(flip=False, shift=0)


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
    assert (recipe.name, recipe.epochs, recipe.model) == ("mine", 3, ModelS(widths=(8,)))
    assert recipe.optimizer == Adam(beta_1=0.8)


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'model-s-02'"):
        load_recipe("model-s-2")


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(RecipeError, match=r"is no JSON"):
        load_recipe(file)
