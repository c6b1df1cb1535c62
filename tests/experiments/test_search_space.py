"""The search space: parsed from what people write, and refused where it is malformed."""

import pytest

from foveal.errors import RecipeError
from foveal.experiments.search_space import Choice, Range, parse_search_space, select_own_values
from foveal.recipe.builtin import RECIPES, load_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_offers_something_that_it_takes(name: str) -> None:
    recipe = load_recipe(name)
    dimensions = parse_search_space(recipe, [])
    paths = [each.path for each in dimensions]
    assert "optimizer.learning_rate" in paths
    assert ("l2" in paths) == (recipe.optimizer.name != "muon")
    assert ("model.dropout" in paths) == (recipe.model.name == "model-s")
    assert {"optimizer.learning_rate", "label_smoothing", "augmentation.shift"} <= select_own_values(
        recipe, dimensions
    ).keys()


def test_ranges_and_choices() -> None:
    rate, batch, widths, epochs = parse_search_space(
        load_recipe("model-s-02"),
        ["learning_rate=1e-4..1e-2", "batch_size=32,64", "model.widths=[8],[8, 16]", "epochs=2..9"],
    )
    assert rate == Range(path="optimizer.learning_rate", low=1e-4, high=1e-2, is_integer=False, log=True)
    assert batch == Choice(path="batch_size", values=("32", "64"))
    assert widths == Choice(path="model.widths", values=("[8]", "[8, 16]"))
    assert epochs == Range(path="epochs", low=2, high=9, is_integer=True, log=False)
    assert rate.format_value(0.00123456) == "0.00123"
    assert rate.format_value(1e-4 * 0.9999) == "0.0001"
    assert epochs.format_value(3) == "3"


def test_parts_come_before_what_they_decide() -> None:
    dimensions = parse_search_space(
        load_recipe("model-s-02"), ["learning_rate=1e-3..1e-1", "optimizer=sgd,adam"]
    )
    assert [each.path for each in dimensions] == ["optimizer", "optimizer.learning_rate"]


def test_the_recipe_as_it_stands() -> None:
    recipe = load_recipe("model-s-02")
    dimensions = parse_search_space(
        recipe, ["optimizer=rmsprop,adam", "batch_size=32,64", "dropout=0.6..0.8"]
    )
    assert select_own_values(recipe, dimensions) == {"optimizer": "rmsprop", "batch_size": "64"}


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (["learning_rate"], "not of the form KEY=LOW..HIGH"),
        (["learning_rate="], "not of the form"),
        (["learning_rat=1..2"], "did you mean 'learning_rate'"),
        (["learning_rate=0.1..0.01"], "the range is empty"),
        (["learning_rate=a..b"], "two numbers"),
        (["learning_rate=1e-4..2e-4..3e-4"], "two numbers"),
        (["learning_rate=-1..1"], "must be above 0"),
        (["l2=0..0.1"], "log scale"),
        (["dropout=0..inf"], "model.dropout"),
        (["dropout=0..1"], "must lie in"),
        (["batch_size=1.5..3"], "whole number"),
        (["class_weights=0..1"], "class_weights"),
        (["batch_size=32"], "name two or more, or use --set"),
        (["batch_size=32,,64"], "names 2 value"),
        (["batch_size=32,32"], "twice"),
        (["batch_size=32,x"], "whole number"),
        (["batch_size=32,64", "batch_size=8..9"], "twice"),
        (["warm_up=0..0.5"], "no effect under the recipe"),
        (["optimizer=sgd,muon", "l2=1e-5..1e-3"], "with l2="),
    ],
)
def test_what_is_refused(over: list[str], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_search_space(load_recipe("model-s-02"), over)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
