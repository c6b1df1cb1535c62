"""Time budgets as people write them."""

import math

import pytest

from foveal.errors import RecipeError
from foveal.recipe.budget import Budget


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("2.5m", 150), ("1h", 3600), (" 1 h ", 3600), (".5m", 30)]
)
def test_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert Budget.parse(text) == Budget(seconds=seconds)
    assert Budget.parse(str(Budget(seconds=seconds))) == Budget(seconds=seconds)
    assert Budget.parse(Budget(seconds=seconds)) == Budget(seconds=seconds)


@pytest.mark.parametrize("value", ["", "5", "m", "5 min", "-5m", "1e3s", "5d", 5, None])
def test_what_is_no_budget_is_named(value: object) -> None:
    with pytest.raises(RecipeError, match="write a number and a unit") as caught:
        Budget.parse(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_a_budget_is_above_zero(seconds: float) -> None:
    with pytest.raises(RecipeError, match="must be above 0"):
        Budget(seconds=seconds)
