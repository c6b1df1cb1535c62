"""Settings, which are changes to a recipe as people write them, such as `epochs=6` or `optimizer=adam`."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from numbers import Integral, Real
from typing import Any, get_args, get_type_hints

from foveal.errors import RecipeError
from foveal.files.typed_json import nearest, read
from foveal.recipe.networks import Custom, ModelS, Sprint
from foveal.recipe.optimizers import SGD, Adam, Muon, RMSprop
from foveal.recipe.recipe import Augmentation, Recipe
from foveal.recipe.schedules import Anneal, EarlyStopping, LowResolution, Plateau

_OPTIONAL_PARTS = ("plateau", "early_stopping", "anneal", "low_resolution")
"""The parts of a recipe that a setting can remove with `none` and add with `default`."""
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
        if not isinstance(setting, str) or setting.find("=") < 1:
            raise RecipeError(f"setting {setting!r} is not of the form key=value")
    return settings


def apply_settings(recipe: Recipe, settings: Settings) -> tuple[Recipe, frozenset[str]]:
    """Return the recipe with settings applied, and the full paths of those settings.

    A key is a path such as `plateau.patience`, or the last part of a path if it is unique. A value is read as
    TOML, else as plain text. `optimizer=adam` chooses another optimizer with its defaults. `plateau=none`
    removes a part, and `plateau=default` adds it with its defaults.

    Raises:
        RecipeError: A key is unknown or ambiguous, a value does not fit, or a setting has no effect.
    """
    changed: list[str] = []
    for setting in parse_settings(settings):
        key, _, text = setting.partition("=")
        path = _find_path(recipe, key.strip())
        recipe = _replace_value(recipe, path.split("."), _parse_value(text.strip()), path)
        changed.append(path)
    remaining = _list_paths(recipe)
    for path in changed:
        if path not in remaining:  # a later setting removed the part that it belongs to
            raise RecipeError(f"the setting {path!r} has no effect beside the others")
    return recipe, frozenset(changed)


def describe_changes(before: object, after: object, path: str = "") -> list[str]:
    """Return a phrase for each setting in which two recipes, given as JSON values, differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        changes = []
        for name in before | after:
            inner_path = f"{path}.{name}" if path else name
            changes += describe_changes(before.get(name), after.get(name), inner_path)
        return changes
    if before == after:
        return []
    return [f"{path or 'recipe'} was {json.dumps(before)[:80]} and is {json.dumps(after)[:80]}"]


def remove_validation(recipe: Recipe, changed: Iterable[str]) -> Recipe:
    """Remove the parts of a recipe that need a validation loss, for a run without validation images.

    Raises:
        RecipeError: One of the `changed` paths belongs to such a part.
    """
    for path in changed:
        if path.partition(".")[0] in ("plateau", "early_stopping"):
            raise RecipeError(f"the setting {path} has no effect with --validation none: nothing validates")
    return replace(recipe, plateau=None, early_stopping=None)


def use_custom_network(recipe: Recipe, changed: Iterable[str], network: object) -> Recipe:
    """Record in a recipe that a network from Python replaces its own.

    Raises:
        RecipeError: One of the `changed` paths belongs to the recipe's network.
    """
    for path in changed:
        if path.startswith("model."):
            raise RecipeError(f"the setting {path} has no effect: the network is your own")
    cls = type(network)
    return replace(recipe, model=Custom(architecture=f"{cls.__module__}.{cls.__qualname__}"))


def use_custom_augmentation(recipe: Recipe, changed: Iterable[str]) -> Recipe:
    """Remove a recipe's augmentation because a function from Python replaces it.

    Raises:
        RecipeError: One of the `changed` paths belongs to the recipe's augmentation.
    """
    for path in changed:
        if path.startswith("augmentation."):
            raise RecipeError(f"the setting {path} has no effect: the augmentation is your own")
    return replace(recipe, augmentation=Augmentation())


def _write_setting(key: object, value: object) -> str:
    if not isinstance(key, str) or not key or "=" in key:
        raise RecipeError(f"the key {key!r} of the settings is not a setting's name, such as 'epochs'")
    if value is None:
        return f"{key}=none"
    if isinstance(value, str):  # quoted where it would otherwise be read as another value, such as "3"
        return f"{key}={value if _parse_value(value.strip()) == value else _quote(value)}"
    try:
        return f"{key}={_write_value(value)}"
    except TypeError:
        raise RecipeError(f"setting {key!r}: {value!r} cannot be the value of a setting") from None


def _write_value(value: object) -> str:
    """Write a value as TOML; NumPy's numbers are accepted, too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_write_value, value))}]"
    raise TypeError


def _quote(text: str) -> str:
    """Write text as a string of TOML, which is that of JSON except for the character DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parse_value(text: str) -> object:
    """Read a setting's value as TOML, else as plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _list_paths(value: object, prefix: str = "") -> list[str]:
    """List the paths of a recipe's settings: single values, and parts that can be replaced as a whole."""
    assert is_dataclass(value)
    paths = []
    for setting in fields(value):
        part = getattr(value, setting.name)
        path = prefix + setting.name
        if path in ("name", "model.name", "optimizer.name", "model.architecture"):
            continue
        if path == "model.momentum" and not getattr(value, "batch_norm", True):
            continue  # there is no batch normalisation that has this momentum
        if is_dataclass(part):
            paths += _list_paths(part, path + ".")
        if path in ("optimizer", *_OPTIONAL_PARTS) or not is_dataclass(part):
            paths.append(path)
    return paths


def _find_path(recipe: Recipe, key: str) -> str:
    """Return the path that a key means: the key itself, or the only path that ends with it."""
    paths = _list_paths(recipe)
    if key in paths:
        return key
    matches = [path for path in paths if path.rsplit(".", 1)[-1] == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RecipeError(f"the setting {key!r} is ambiguous; write {' or '.join(matches)}")
    if key in _list_keys_of_all_recipes():
        raise RecipeError(
            f"the setting {key!r} has no effect under the recipe {recipe.name} as it stands; "
            f"`foveal recipes {recipe.name}` shows what it uses"
        )
    names = paths + [path.rsplit(".", 1)[-1] for path in paths]
    raise RecipeError(f"unknown setting {key!r}; {nearest(key, names)}")


def _list_keys_of_all_recipes() -> set[str]:
    """List the settings of all parts that some recipe can have, setting as a path and by its last part."""
    parts = {
        "model": (ModelS, Sprint),
        "optimizer": (RMSprop, Adam, SGD, Muon),
        "plateau": (Plateau,),
        "early_stopping": (EarlyStopping,),
        "anneal": (Anneal,),
        "low_resolution": (LowResolution,),
    }
    names = [
        (prefix, setting.name) for prefix, types in parts.items() for cls in types for setting in fields(cls)
    ]
    return {f"{prefix}.{name}" for prefix, name in names} | {name for _, name in names} - {"name"}


def _replace_value(part: Any, path: list[str], value: object, whole_path: str) -> Any:  # noqa: ANN401 - any dataclass
    """Return a part of a recipe in which the value at a path is replaced."""
    head, *rest = path
    if rest:
        return replace(part, **{head: _replace_value(getattr(part, head), rest, value, whole_path)})
    expected = get_type_hints(type(part))[head]
    is_optional = type(None) in get_args(expected)
    if head == "optimizer":
        value = {"name": value}
    elif value == "none" and is_optional:
        value = None
    elif value == "default" and is_optional:
        value = {}
    return replace(part, **{head: read(value, expected, whole_path)})
