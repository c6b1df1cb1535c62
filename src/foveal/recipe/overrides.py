"""Changes to a recipe, as people write them: `epochs=6`, `plateau.patience=2`, `optimizer=adam`."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from numbers import Integral, Real
from typing import Any, get_args, get_type_hints

from foveal.errors import RecipeError
from foveal.files.typed_json import nearest, read
from foveal.recipe.recipe import (
    SGD,
    Adam,
    Anneal,
    Augmentation,
    Custom,
    EarlyStopping,
    LowResolution,
    ModelS,
    Muon,
    Plateau,
    Recipe,
    RMSprop,
    Sprint,
)

_OPTIONAL = ("plateau", "early_stopping", "anneal", "low_resolution")
"""Parts of a recipe that can be left out."""


Settings = str | Iterable[str] | Mapping[str, object]
"""Settings as a caller may write them: `"epochs=6"`, `["epochs=6", "batch_size=32"]` or `{"epochs": 6}`."""


def parse_settings(settings: Settings) -> list[str]:
    """Return settings as a list of `key=value`, in the order in which they were given.

    >>> parse_settings("epochs=3")
    ['epochs=3']
    >>> parse_settings({"epochs": 3, "plateau.patience": 2, "early_stopping": None})
    ['epochs=3', 'plateau.patience=2', 'early_stopping=none']

    Args:
        settings: A single `key=value`, several of them, or a mapping from keys to values.

    Raises:
        RecipeError: An element is no setting; the message shows that element.
    """
    if isinstance(settings, str):
        settings = [settings]
    if isinstance(settings, Mapping):
        return [_write_setting(key, value) for key, value in settings.items()]
    if not isinstance(settings, Iterable):
        raise RecipeError(f"settings is {settings!r}; write key=value, a list of such, or a dictionary")
    settings = list(settings)
    for setting in settings:
        if not isinstance(setting, str) or not setting.partition("=")[0] or "=" not in setting:
            raise RecipeError(f"setting {setting!r} is not of the form key=value")
    return settings


def _write_setting(key: object, value: object) -> str:
    if not isinstance(key, str) or not key or "=" in key:
        raise RecipeError(f"the key {key!r} of the settings is not a setting's name, such as 'epochs'")
    if value is None:
        return f"{key}=none"
    if isinstance(value, str):  # quoted where it would otherwise be read as another value, such as "3"
        return f"{key}={value if _parse(value.strip()) == value else json.dumps(value)}"
    try:
        return f"{key}={_write_value(value)}"
    except TypeError:
        raise RecipeError(f"setting {key!r}: {value!r} cannot be the value of a setting") from None


def _write_value(value: object) -> str:
    """Write a value as TOML; NumPy's numbers are numbers, too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_write_value, value))}]"
    raise TypeError


def change(recipe: Recipe, settings: Settings) -> tuple[Recipe, frozenset[str]]:
    """Return the recipe with settings changed, and the paths that were set.

    A setting is `key=value`. The key is a path such as `plateau.patience`, or its last part where only
    one path ends so. The value is read as TOML, else as plain text. `optimizer=adam` takes another
    optimizer with its defaults; `plateau=none` leaves a part out and `plateau=default` brings it in.

    Raises:
        RecipeError: unknown or ambiguous key, a value that does not fit, a setting without effect.
    """
    changed: list[str] = []
    for setting in parse_settings(settings):
        key, _, text = setting.partition("=")
        path = _resolve(recipe, key.strip())
        recipe = _with(recipe, path.split("."), _parse(text.strip()), path)
        changed.append(path)
    remaining = _paths(recipe)
    for path in changed:
        if path not in remaining:  # a later setting took its part away
            raise RecipeError(f"the setting {path!r} has no effect beside the others")
    return recipe, frozenset(changed)


def differences(then: object, now: object, path: str = "") -> list[str]:
    """Say in which settings two recipes, as JSON values, differ."""
    if isinstance(then, dict) and isinstance(now, dict):
        found = []
        for name in [*then, *(name for name in now if name not in then)]:
            found += differences(then.get(name), now.get(name), f"{path}.{name}" if path else name)
        return found
    if then == now:
        return []
    return [f"{path or 'recipe'} was {json.dumps(then)[:80]} and is {json.dumps(now)[:80]}"]


def _paths(value: object, prefix: str = "") -> list[str]:
    """List the paths of a recipe's settings: leaves, and parts that can be exchanged as a whole."""
    assert is_dataclass(value)
    found = []
    for each in fields(value):
        part = getattr(value, each.name)
        path = prefix + each.name
        if path in ("name", "model.name", "optimizer.name", "model.architecture"):
            continue
        if path == "model.momentum" and not getattr(value, "batch_norm", True):
            continue  # of moving averages that are not there
        if is_dataclass(part):
            found += _paths(part, path + ".")
        if path in ("optimizer", *_OPTIONAL) or not is_dataclass(part):
            found.append(path)
    return found


def _resolve(recipe: Recipe, key: str) -> str:
    paths = _paths(recipe)
    if key in paths:
        return key
    matches = [path for path in paths if path.rsplit(".", 1)[-1] == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RecipeError(f"the setting {key!r} is ambiguous; write {' or '.join(matches)}")
    if key in _known_elsewhere():
        raise RecipeError(
            f"the setting {key!r} has no effect under the recipe {recipe.name} as it stands; "
            f"`foveal recipes {recipe.name}` shows what it uses"
        )
    names = paths + [path.rsplit(".", 1)[-1] for path in paths]
    raise RecipeError(f"unknown setting {key!r}; {nearest(key, names)}")


def _known_elsewhere() -> set[str]:
    """List the settings of all parts that some recipe may have, by path and by plain name."""
    parts = {
        "model": (ModelS, Sprint),
        "optimizer": (RMSprop, Adam, SGD, Muon),
        "plateau": (Plateau,),
        "early_stopping": (EarlyStopping,),
        "anneal": (Anneal,),
        "low_resolution": (LowResolution,),
    }
    names = [
        (prefix, each.name) for prefix, kinds in parts.items() for kind in kinds for each in fields(kind)
    ]
    return {f"{prefix}.{name}" for prefix, name in names} | {name for _, name in names} - {"name"}


def _with(value: Any, path: list[str], new: object, whole: str) -> Any:  # noqa: ANN401 - any dataclass
    head, *rest = path
    if rest:
        return replace(value, **{head: _with(getattr(value, head), rest, new, whole)})
    expected = get_type_hints(type(value))[head]
    if head == "optimizer":
        new = {"name": new}
    elif new == "none" and type(None) in get_args(expected):
        new = None
    elif new == "default" and type(None) in get_args(expected):
        new = {}
    return replace(value, **{head: read(new, expected, whole)})


def _parse(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def without_validation(recipe: Recipe, changed: Iterable[str]) -> Recipe:
    """Leave out of a recipe what decides by the validation loss, for a run in which nothing validates.

    Raises:
        RecipeError: one of the `changed` paths belongs to that.
    """
    for path in changed:
        if path.partition(".")[0] in ("plateau", "early_stopping"):
            raise RecipeError(f"the setting {path} has no effect with --validation none: nothing validates")
    return replace(recipe, plateau=None, early_stopping=None)


def with_own_network(recipe: Recipe, changed: Iterable[str], network: object) -> Recipe:
    """Put a user's own network in place of a recipe's.

    Raises:
        RecipeError: one of the `changed` paths belongs to the recipe's network.
    """
    for path in changed:
        if path.startswith("model."):
            raise RecipeError(f"the setting {path} has no effect: the network is your own")
    kind = type(network)
    return replace(recipe, model=Custom(architecture=f"{kind.__module__}.{kind.__qualname__}"))


def with_own_augmentation(recipe: Recipe, changed: Iterable[str]) -> Recipe:
    """Leave out a recipe's augmentation, where a user's own takes its place.

    Raises:
        RecipeError: one of the `changed` paths belongs to it.
    """
    for path in changed:
        if path.startswith("augmentation."):
            raise RecipeError(f"the setting {path} has no effect: the augmentation is your own")
    return replace(recipe, augmentation=Augmentation())
