"""The search space of `tune`: settings of a recipe, each with a range of numbers or a list of values."""

import itertools
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from foveal.errors import RecipeError
from foveal.recipe import overrides
from foveal.recipe.networks import ModelS
from foveal.recipe.optimizers import Muon
from foveal.recipe.recipe import Recipe

LOG_SCALE_SETTINGS = ("learning_rate", "bias_learning_rate", "head_learning_rate", "l2", "epsilon")
"""The settings whose ranges are drawn on a log scale."""
PART_SETTINGS = ("optimizer", "plateau", "early_stopping", "anneal", "low_resolution")
"""The settings that decide which other settings exist. They are applied first."""
LEARNING_RATE_FACTOR = 5.0
"""By default the learning rate is searched from a fifth of the recipe's to five times the recipe's."""
MAX_CHECKED_COMBINATIONS = 256
"""The number of combinations of range ends and choices that are checked before anything is trained."""
SIGNIFICANT_DIGITS = 3
"""The number of significant digits of a drawn number. Three suffice, and the commands stay readable."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """All numbers from `low` to `high`, both included."""

    path: str
    """The path of the setting, such as "optimizer.learning_rate"."""
    low: float
    """The lowest value."""
    high: float
    """The highest value."""
    is_integer: bool
    """Whether only whole numbers are drawn."""
    log: bool
    """Whether numbers are drawn on a log scale."""

    @property
    def probe_values(self) -> tuple[str, ...]:
        """The values that are checked before training, as text: both ends."""
        return self.format_value(self.low), self.format_value(self.high)

    def format_value(self, value: Any) -> str:  # noqa: ANN401 - what Optuna drew
        """Return a drawn value as text, as `--set` takes it. It is rounded, but never outside the range."""
        if self.is_integer:
            return str(int(value))
        return repr(min(self.high, max(self.low, float(f"{value:.{SIGNIFICANT_DIGITS}g}"))))

    def parse_value(self, text: str) -> Any:  # noqa: ANN401 - as Optuna takes it
        """Return the value that a text stands for, as Optuna takes it."""
        return int(float(text)) if self.is_integer else float(text)

    def contains(self, text: str) -> bool:
        """Whether the value that a text stands for lies in the range."""
        try:
            value = float(text)
        except ValueError:
            return False
        return self.low <= value <= self.high and (not self.is_integer or value.is_integer())

    def to_distribution(self) -> BaseDistribution:
        """Return the range as Optuna's distribution."""
        if self.is_integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return f"{self.path}={'..'.join(self.probe_values)}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One value of a list."""

    path: str
    """The path of the setting, such as "optimizer"."""
    values: tuple[str, ...]
    """The values as text, as `--set` takes them."""

    @property
    def probe_values(self) -> tuple[str, ...]:
        """The values that are checked before training, as text: all of them."""
        return self.values

    def format_value(self, value: Any) -> str:  # noqa: ANN401 - what Optuna drew
        """Return a drawn value as text, as `--set` takes it."""
        return str(value)

    def parse_value(self, text: str) -> Any:  # noqa: ANN401 - as Optuna takes it
        """Return the value that a text stands for, as Optuna takes it."""
        return text

    def to_distribution(self) -> BaseDistribution:
        """Return the list as Optuna's distribution."""
        return CategoricalDistribution(self.values)

    def __str__(self) -> str:
        return f"{self.path}={','.join(self.values)}"


Dimension = Range | Choice


def parse_search_space(
    recipe: Recipe, over: Sequence[str], fixed: Collection[str] = ()
) -> tuple[Dimension, ...]:
    """Parse what to search, or choose it where `over` is empty.

    Args:
        recipe: The recipe whose settings are searched.
        over: The dimensions, as `key=low..high` or `key=a,b,c`.
        fixed: The paths of settings that the user has set for all trials.

    Returns:
        The dimensions, the parts of the recipe first.

    Raises:
        RecipeError: A dimension is malformed, or the recipe refuses a value or a combination.
    """
    if over:
        dimensions = [_parse_dimension(recipe, spec) for spec in over]
    else:
        dimensions = [dimension for dimension in _choose_dimensions(recipe) if dimension.path not in fixed]
    if not dimensions:
        raise RecipeError("--set leaves nothing of what is searched by default; name something with --over")
    dimensions.sort(key=lambda dimension: dimension.path not in PART_SETTINGS)  # the sort is stable
    paths = [dimension.path for dimension in dimensions]
    for path in paths:
        if path in fixed:
            raise RecipeError(f"{path} is searched, so --set {path}=… has no effect; leave one of them out")
        if paths.count(path) > 1:
            raise RecipeError(f"--over names {path} twice; name it once, with all its values")
    _check_combinations(recipe, dimensions)
    return tuple(dimensions)


def _check_combinations(recipe: Recipe, dimensions: Sequence[Dimension]) -> None:
    """Refuse a search space in which the recipe refuses a combination of range ends and choices."""
    combinations = itertools.product(*(dimension.probe_values for dimension in dimensions))
    for values in itertools.islice(combinations, MAX_CHECKED_COMBINATIONS):
        settings = [f"{dimension.path}={value}" for dimension, value in zip(dimensions, values, strict=True)]
        try:
            overrides.apply_settings(recipe, settings)
        except RecipeError as error:
            raise RecipeError(f"--over: {' with '.join(settings)} is refused: {error}") from error


def select_own_values(recipe: Recipe, dimensions: Iterable[Dimension]) -> dict[str, str]:
    """Return the recipe's own values as text, by their paths, where they lie in the search space."""
    own_values: dict[str, str] = {}
    for dimension in dimensions:
        path = dimension.path
        if isinstance(dimension, Range):
            text = str(get_setting(recipe, path))
            if dimension.contains(text):
                own_values[path] = text
        else:
            for value in dimension.values:
                if overrides.apply_settings(recipe, [f"{path}={value}"])[0] == recipe:
                    own_values[path] = value
                    break
    return own_values


def get_setting(recipe: Recipe, path: str) -> Any:  # noqa: ANN401 - JSON
    """Return the value of a setting by its path, or None where the recipe has no such part."""
    value: Any = recipe.to_json()
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _parse_dimension(recipe: Recipe, spec: str) -> Dimension:
    key, separator, text = spec.partition("=")
    if not separator or not key.strip() or not text.strip():
        raise RecipeError(
            f"--over {spec!r} is not of the form KEY=LOW..HIGH or KEY=A,B,C; say learning_rate=1e-4..1e-2"
        )
    if ".." in text:
        return _parse_range(recipe, spec)
    # A comma inside brackets belongs to a list: widths=[32,64],[64,128].
    values = tuple(value.strip() for value in re.split(r",(?![^\[]*\])", text))
    if len(values) < 2 or "" in values:
        raise RecipeError(
            f"--over {spec!r} names {len(set(values) - {''})} value; name two or more, or use --set"
        )
    if len(set(values)) < len(values):
        raise RecipeError(f"--over {spec!r} names a value twice")
    (path,) = {_try_value(recipe, spec, value)[0] for value in values}
    return Choice(path=path, values=values)


def _parse_range(recipe: Recipe, spec: str) -> Range:
    low_text, high_text = map(str.strip, spec.partition("=")[2].split("..", 1))
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        raise RecipeError(f"--over {spec!r}: a range is LOW..HIGH with two numbers") from None
    path, low_value = _try_value(recipe, spec, low_text)
    _, high_value = _try_value(recipe, spec, high_text)
    if type(low_value) not in (int, float) or type(high_value) is not type(low_value):
        raise RecipeError(f"--over {spec!r}: {path} is no number; name its values: {path}=A,B")
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise RecipeError(f"--over {spec!r}: the range is empty; write the lower end first")
    log = path.rsplit(".", 1)[-1] in LOG_SCALE_SETTINGS
    if log and low <= 0:
        raise RecipeError(f"--over {spec!r}: {path} is searched on a log scale, so LOW must be above 0")
    return Range(path=path, low=low, high=high, is_integer=type(low_value) is int, log=log)


def _try_value(recipe: Recipe, spec: str, text: str) -> tuple[str, object]:
    """Set one value of a dimension. Return the full path of the setting, and the value in the recipe."""
    key = spec.partition("=")[0].strip()
    try:
        changed_recipe, paths = overrides.apply_settings(recipe, [f"{key}={text}"])
    except RecipeError as error:
        raise RecipeError(f"--over {spec!r}: {error}") from error
    (path,) = paths
    return path, get_setting(changed_recipe, path)


def _choose_dimensions(recipe: Recipe) -> list[Dimension]:
    """Choose what to search by default: what most recipes have, and what regularizes."""
    rate = recipe.optimizer.learning_rate
    dimensions: list[Dimension] = [
        Range(
            path="optimizer.learning_rate",
            low=float(f"{rate / LEARNING_RATE_FACTOR:.{SIGNIFICANT_DIGITS}g}"),
            high=float(f"{rate * LEARNING_RATE_FACTOR:.{SIGNIFICANT_DIGITS}g}"),
            is_integer=False,
            log=True,
        ),
        Range(path="label_smoothing", low=0.0, high=0.3, is_integer=False, log=False),
        Range(
            path="augmentation.shift",
            low=0,
            high=max(1, recipe.image.size // 8),
            is_integer=True,
            log=False,
        ),
    ]
    if isinstance(recipe.model, ModelS):
        dimensions.append(Range(path="model.dropout", low=0.0, high=0.7, is_integer=False, log=False))
    if not isinstance(recipe.optimizer, Muon):
        dimensions.append(Range(path="l2", low=1e-6, high=1e-2, is_integer=False, log=True))
    return dimensions
