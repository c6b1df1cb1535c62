"""JSON or TOML values -> frozen dataclasses, strictly: nothing unknown, nothing converted in silence.

And back: `plain`.
"""

import difflib
import math
import types
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from foveal.errors import RecipeError


def read(value: object, expected: Any, where: str) -> object:  # noqa: ANN401 - a type annotation
    """Return `value` as the annotated type, or refuse it naming its path."""
    if is_dataclass(expected):
        return _read_dataclass(value, expected, where)
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return _read_union(value, arguments, where)
    if origin is Literal:
        if isinstance(value, str) and value in arguments:
            return value
        raise RecipeError(f"{where} is {value!r}; it must be {' or '.join(map(str, arguments))}")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{where} is {value!r}; it must be a list such as [32, 64]")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise RecipeError(f"{where} is {value!r}; it must be {len(arguments)} values")
        if arguments[0] in (int, str) and all(type(each) is arguments[0] for each in value):
            return tuple(value)  # at once: a confusion matrix may have a million
        return tuple(read(each, arguments[0], f"{where}[{i}]") for i, each in enumerate(value))
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if expected is float and type(value) in (int, float) and math.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    if expected is not float and type(value) is expected:
        return value
    raise RecipeError(f"{where} is {value!r}; it must be {kinds[expected]}")


def _read_union(value: object, members: tuple[Any, ...], where: str) -> object:
    if value is None and type(None) in members:
        return None
    parts = [member for member in members if member is not type(None)]
    if len(parts) == 1:
        return read(value, parts[0], where)
    named = {get_type_hints(part)["name"].__args__[0]: part for part in parts}
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in named:
        raise RecipeError(f"{where} is {name!r}; it must be {' or '.join(named)}")
    return read(value, named[name], where)


def _read_dataclass(value: object, expected: Any, where: str) -> object:  # noqa: ANN401 - a dataclass
    if not isinstance(value, dict):
        raise RecipeError(f"{where} is {value!r}; it must be a table of settings")
    hints = get_type_hints(expected)
    for key in value:
        if key not in hints:
            raise RecipeError(f"{where} has the unknown key {key!r}; {nearest(str(key), hints)}")
    prefix = "" if where == "recipe" else f"{where}."
    given = {key: read(each, hints[key], prefix + key) for key, each in value.items()}
    try:
        return expected(**given)
    except TypeError as error:  # a required key is missing; dataclasses say which
        raise RecipeError(f"{where}: {str(error).partition(') ')[2] or error}") from error


def plain(value: object) -> object:
    """Return a dataclass, with all that it holds, as plain JSON values: the inverse of `read`."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        if value and type(value[0]) in (int, float, str):
            return list(value)  # at once: a confusion matrix may have a million
        return [plain(each) for each in value]
    return value


def require(value: object, shape: Any, where: str) -> None:  # noqa: ANN401 - nested types
    """Refuse a JSON value that is not of a shape; what it has beside that is left alone.

    A shape is a type, a tuple of types and None, a list with the shape of all elements, or a dict with the
    shapes of the keys that must be there. A float may be whole, and must be finite.

    Raises:
        RecipeError: with the path of what does not fit.
    """
    match shape:
        case dict():
            if not isinstance(value, dict):
                raise RecipeError(f"{where} is no object")
            for key, part in shape.items():
                if key not in value:
                    raise RecipeError(f"{where} lacks {key}")
                require(value[key], part, f"{where}.{key}")
        case list():
            if not isinstance(value, list):
                raise RecipeError(f"{where} is no list")
            if not (isinstance(shape[0], type) and all(type(each) is shape[0] for each in value)):
                for index, each in enumerate(value):
                    require(each, shape[0], f"{where}[{index}]")
        case _:
            allowed = shape if isinstance(shape, tuple) else (shape,)
            finite = type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
            if not (
                (value is None and None in allowed)
                or (float in allowed and finite)
                or (type(value) in allowed and type(value) is not float)
            ):
                raise RecipeError(f"{where} is {str(value)[:40]!r}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name nearest to an unknown one, or list them all."""
    choices = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(choices)}"
