"""What is searched: settings of a recipe, each with a range or a list of values."""

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
from foveal.recipe import overrides as changes
from foveal.recipe.networks import ModelS
from foveal.recipe.optimizers import Muon
from foveal.recipe.recipe import Recipe

RATES = ("learning_rate", "bias_learning_rate", "head_learning_rate", "l2", "epsilon")
"""Settings whose ranges are drawn on a log scale: a factor counts there, not a difference."""
PARTS = ("optimizer", "plateau", "early_stopping", "anneal", "low_resolution")
"""Settings that decide which others there are, so that they are made first."""
AROUND = 5.0
"""By default the learning rate is searched from a fifth to five times the recipe's."""
CORNERS = 256
"""Combinations of ends and choices that are tried on the recipe before anything is trained."""
DIGITS = 3
"""Significant digits of a number that is drawn: enough, and its command stays readable."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """All numbers from `low` to `high`, both included."""

    path: str
    low: float
    high: float
    whole: bool
    """Whether only whole numbers are meant."""
    log: bool

    @property
    def ends(self) -> tuple[str, ...]:
        """The two ends, as settings are written."""
        return self.written(self.low), self.written(self.high)

    def written(self, value: Any) -> str:  # noqa: ANN401 - what Optuna drew
        """Write a drawn value as a setting, rounded but never outside."""
        if self.whole:
            return str(int(value))
        return repr(min(self.high, max(self.low, float(f"{value:.{DIGITS}g}"))))

    def holds(self, text: str) -> bool:
        """Whether a written value lies inside."""
        try:
            value = float(text)
        except ValueError:
            return False
        return self.low <= value <= self.high and (not self.whole or value.is_integer())

    def drawn(self, text: str) -> Any:  # noqa: ANN401 - as Optuna takes it
        """Read a written value."""
        return int(float(text)) if self.whole else float(text)

    def distribution(self) -> BaseDistribution:
        """Say the same to Optuna."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return f"{self.path}={'..'.join(self.ends)}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a list of values."""

    path: str
    ends: tuple[str, ...]
    """All of them, as settings are written."""

    def written(self, value: Any) -> str:  # noqa: ANN401 - what Optuna drew
        """Write a drawn value as a setting."""
        return str(value)

    def drawn(self, text: str) -> Any:  # noqa: ANN401 - as Optuna takes it
        """Read a written value."""
        return text

    def distribution(self) -> BaseDistribution:
        """Say the same to Optuna."""
        return CategoricalDistribution(self.ends)

    def __str__(self) -> str:
        return f"{self.path}={','.join(self.ends)}"


Dimension = Range | Choice


def space(recipe: Recipe, over: Sequence[str], fixed: Collection[str] = ()) -> tuple[Dimension, ...]:
    """Read what is to be searched, `key=low..high` or `key=a,b,c`; or choose what a recipe offers.

    Settings whose path is in `fixed` are the user's, for all trials.

    Raises:
        RecipeError: something malformed, or a value or a combination that the recipe refuses.
    """
    if over:
        found = [_read(recipe, spec) for spec in over]
    else:
        found = [each for each in _offered(recipe) if each.path not in fixed]
    if not found:
        raise RecipeError("--set leaves nothing of what is searched by default; name something with --over")
    found.sort(key=lambda each: each.path not in PARTS)  # stable: the parts first
    paths = [each.path for each in found]
    for path in paths:
        if path in fixed:
            raise RecipeError(f"{path} is searched, so --set {path}=… has no effect; leave one of them out")
        if paths.count(path) > 1:
            raise RecipeError(f"--over names {path} twice; name it once, with all its values")
    for corner in itertools.islice(itertools.product(*(each.ends for each in found)), CORNERS):
        chosen = [f"{path}={value}" for path, value in zip(paths, corner, strict=True)]
        try:
            changes.change(recipe, chosen)
        except RecipeError as error:
            raise RecipeError(f"--over: {' with '.join(chosen)} is refused: {error}") from error
    return tuple(found)


def standing(recipe: Recipe, dimensions: Iterable[Dimension]) -> dict[str, str]:
    """Return the recipe's own values, written as settings, where they are among those searched."""
    found: dict[str, str] = {}
    for each in dimensions:
        if isinstance(each, Range):
            own = [str(value_of(recipe, each.path))]
            inside = [text for text in own if each.holds(text)]
        else:
            path, ends = each.path, each.ends
            inside = [end for end in ends if changes.change(recipe, [f"{path}={end}"])[0] == recipe]
        if inside:
            found[each.path] = inside[0]
    return found


def value_of(recipe: Recipe, path: str) -> Any:  # noqa: ANN401 - JSON
    """Return a setting's value by its path; None where the recipe has no such part."""
    value: Any = recipe.to_json()
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _read(recipe: Recipe, spec: str) -> Dimension:
    key, separator, text = spec.partition("=")
    if not separator or not key.strip() or not text.strip():
        raise RecipeError(
            f"--over {spec!r} is not of the form KEY=LOW..HIGH or KEY=A,B,C; say learning_rate=1e-4..1e-2"
        )
    if ".." in text:
        return _range(recipe, spec, key.strip(), *map(str.strip, text.split("..", 1)))
    # A comma inside brackets belongs to a list: widths=[32,64],[64,128].
    values = tuple(each.strip() for each in re.split(r",(?![^\[]*\])", text))
    if len(values) < 2 or "" in values:
        raise RecipeError(
            f"--over {spec!r} names {len(set(values) - {''})} value; name two or more, or use --set"
        )
    if len(set(values)) < len(values):
        raise RecipeError(f"--over {spec!r} names a value twice")
    (path,) = {_changed(recipe, spec, key.strip(), value)[0] for value in values}
    return Choice(path=path, ends=values)


def _range(recipe: Recipe, spec: str, key: str, low: str, high: str) -> Range:
    try:
        ends = float(low), float(high)
    except ValueError:
        raise RecipeError(f"--over {spec!r}: a range is LOW..HIGH with two numbers") from None
    path, bottom = _changed(recipe, spec, key, low)
    _, top = _changed(recipe, spec, key, high)
    if type(bottom) not in (int, float) or type(top) is not type(bottom):
        raise RecipeError(f"--over {spec!r}: {path} is no number; name its values: {path}=A,B")
    if not (ends[0] < ends[1] and all(map(math.isfinite, ends))):
        raise RecipeError(f"--over {spec!r}: the range is empty; write the lower end first")
    log = path.rsplit(".", 1)[-1] in RATES
    if log and ends[0] <= 0:
        raise RecipeError(f"--over {spec!r}: {path} is searched on a log scale, so LOW must be above 0")
    return Range(path=path, low=ends[0], high=ends[1], whole=type(bottom) is int, log=log)


def _changed(recipe: Recipe, spec: str, key: str, text: str) -> tuple[str, object]:
    """Make one change; return the whole path of the setting and its value then."""
    try:
        made, paths = changes.change(recipe, [f"{key}={text}"])
    except RecipeError as error:
        raise RecipeError(f"--over {spec!r}: {error}") from error
    (path,) = paths
    return path, value_of(made, path)


def _offered(recipe: Recipe) -> list[Dimension]:
    """Choose what to search where nobody says: what recipes have in common and what regularises."""
    rate = recipe.optimizer.learning_rate
    found: list[Dimension] = [
        Range(
            path="optimizer.learning_rate",
            low=float(f"{rate / AROUND:.{DIGITS}g}"),
            high=float(f"{rate * AROUND:.{DIGITS}g}"),
            whole=False,
            log=True,
        ),
        Range(path="label_smoothing", low=0.0, high=0.3, whole=False, log=False),
        Range(path="augmentation.shift", low=0, high=max(1, recipe.image.size // 8), whole=True, log=False),
    ]
    if isinstance(recipe.model, ModelS):
        found.append(Range(path="model.dropout", low=0.0, high=0.7, whole=False, log=False))
    if not isinstance(recipe.optimizer, Muon):
        found.append(Range(path="l2", low=1e-6, high=1e-2, whole=False, log=True))
    return found
