"""One strict reader of JSON and TOML values: they become frozen dataclasses, or are refused with their path.

Nothing is converted in silence: an unknown key, a missing key or a value of another type is an error.
`plain` is the way back.
"""

import difflib
import math
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from foveal.errors import RecipeError

REQUIRED: Mapping[str, object] = {"required": True}
"""The metadata of a field that files must have, although it has a default where it is made."""

T = TypeVar("T")
_Reader = Callable[[object], object]
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


class _MismatchError(Exception):
    """A value is not of its type; its path is put together on the way up."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.path: list[str | int] = []

    def prefixed_with(self, step: str | int) -> "_MismatchError":
        """Return the mismatch with the key or index before its path under which the value stands."""
        self.path.insert(0, step)
        return self


def read(value: object, expected: type[T], where: str) -> T:
    """Return a JSON value as an instance of a dataclass.

    Fields may be of the types str, int, float, bool, Literal, tuple, Mapping with keys of text, further
    dataclasses, unions of dataclasses that a literal field tells apart, `object` for anything, and None. A
    dataclass with a class variable IGNORE_UNKNOWN that is true takes only its own keys from a larger object.

    Args:
        value: What was parsed from JSON or TOML.
        expected: The dataclass.
        where: The name of the value in error messages. The keys of a "recipe" are named without it.

    Raises:
        RecipeError: Something does not fit. The message begins with its path.
    """
    try:
        return cast(T, _reader(cast(Any, expected))(value))
    except _MismatchError as error:
        raise RecipeError(f"{_join(where, error.path)} {error}") from None


def read_value(value: object, expected: Any, where: str) -> object:  # noqa: ANN401 - any annotation
    """Return a JSON value as a type that is no dataclass, such as `int | None`; otherwise as `read` does."""
    try:
        return _reader(expected)(value)
    except _MismatchError as error:
        raise RecipeError(f"{_join(where, error.path)} {error}") from None


def plain(value: object) -> object:
    """Return a dataclass, with all that it holds, as plain JSON values: the inverse of `read`."""
    if is_dataclass(value) and not isinstance(value, type):
        return {_key(part): plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, tuple):
        if value and type(value[0]) in (int, float, str):
            return list(value)  # at once: a confusion matrix may have a million
        return [plain(child) for child in value]
    return value


def to_json(value: object) -> dict[str, object]:
    """Return a dataclass as a JSON object."""
    values = plain(value)
    assert isinstance(values, dict)
    return values


def json_field(key: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare a field of a dataclass whose key in JSON is not its name."""
    return field(metadata={"key": key})


def _key(part: Field[Any]) -> str:
    return cast(str, part.metadata.get("key", part.name))


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name nearest to an unknown one, or list them all."""
    choices = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(choices)}"


def _join(where: str, path: list[str | int]) -> str:
    text = "" if where == "recipe" and path else where
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


@cache
def _reader(expected: Any) -> _Reader:  # noqa: ANN401 - any annotation
    """Return the function that reads values of an annotated type. It is made once for each type."""
    if expected is object:
        return lambda value: value
    if is_dataclass(expected):
        return _dataclass_reader(expected)
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return _union_reader(arguments)
    if origin is Literal:
        return _literal_reader(arguments)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin is Mapping:
        return _mapping_reader(_reader(arguments[1]))
    return _scalar_reader(expected)


def _scalar_reader(expected: type) -> _Reader:
    def read_scalar(value: object) -> object:
        if expected is float:
            if type(value) in (int, float) and math.isfinite(cast(float, value)):
                return float(cast(float, value))
        elif type(value) is expected:
            return value
        raise _MismatchError(f"is {_shown(value)}; it must be {_KINDS[expected]}")

    return read_scalar


def _literal_reader(choices: tuple[Any, ...]) -> _Reader:
    def read_literal(value: object) -> object:
        if isinstance(value, str) and value in choices:
            return value
        raise _MismatchError(f"is {_shown(value)}; it must be {' or '.join(map(str, choices))}")

    return read_literal


def _tuple_reader(arguments: tuple[Any, ...]) -> _Reader:
    of_any_length = arguments[-1] is Ellipsis
    read_item, scalar = _reader(arguments[0]), arguments[0] if arguments[0] in (int, str) else None

    def read_tuple(value: object) -> object:
        if not isinstance(value, list | tuple):
            raise _MismatchError(f"is {_shown(value)}; it must be a list such as [32, 64]")
        if not of_any_length and len(value) != len(arguments):
            raise _MismatchError(f"is {_shown(value)}; it must be {len(arguments)} values")
        if scalar is not None and all(type(item) is scalar for item in value):
            return tuple(value)  # at once: a confusion matrix may have a million
        items = []
        for index, item in enumerate(value):
            try:
                items.append(read_item(item))
            except _MismatchError as error:
                raise error.prefixed_with(index) from None
        return tuple(items)

    return read_tuple


def _mapping_reader(read_child: _Reader) -> _Reader:
    def read_mapping(value: object) -> object:
        if not isinstance(value, dict):
            raise _MismatchError(f"is {_shown(value)}; it must be an object")
        children = {}
        for key, child in value.items():
            try:
                children[key] = read_child(child)
            except _MismatchError as error:
                raise error.prefixed_with(str(key)) from None
        return children

    return read_mapping


def _union_reader(members: tuple[Any, ...]) -> _Reader:
    parts = [member for member in members if member is not type(None)]
    read_part = _reader(parts[0]) if len(parts) == 1 else _tagged_reader(tuple(parts))
    if len(parts) == len(members):
        return read_part
    return lambda value: None if value is None else read_part(value)


def _tagged_reader(parts: tuple[Any, ...]) -> _Reader:
    """Return the reader of a union of dataclasses whose first literal field says which of them it is."""
    if not all(is_dataclass(part) for part in parts):
        raise TypeError(f"only a union of dataclasses can be told apart, not {parts}")
    tag = next(name for name, hint in get_type_hints(parts[0]).items() if get_origin(hint) is Literal)
    readers = {get_args(get_type_hints(part)[tag])[0]: _reader(part) for part in parts}

    def read_tagged(value: object) -> object:
        if isinstance(value, dict) and tag not in value:
            raise _MismatchError(f"lacks {tag}")
        name = value[tag] if isinstance(value, dict) else value
        if not isinstance(name, str) or name not in readers:
            raise _MismatchError(f"is {_shown(name)}; it must be {' or '.join(readers)}")
        return readers[name](value)

    return read_tagged


def _dataclass_reader(expected: Any) -> _Reader:  # noqa: ANN401 - a dataclass
    hints = get_type_hints(expected)
    names = {_key(part): part.name for part in fields(expected)}
    hints = {key: hints[name] for key, name in names.items()}
    ignore_unknown = getattr(expected, "IGNORE_UNKNOWN", False)
    readers: dict[str, _Reader] = {}  # filled at the first use: a dataclass may hold itself
    required = [_key(part) for part in fields(expected) if _is_required(part)]

    def read_dataclass(value: object) -> object:
        if not readers:
            readers.update({name: _reader(hint) for name, hint in hints.items()})
        if not isinstance(value, dict):
            raise _MismatchError(f"is {_shown(value)}; it must be a table of settings")
        values = {}
        for key, child in value.items():
            if key not in readers:
                if ignore_unknown:
                    continue
                raise _MismatchError(f"has the unknown key {key!r}; {nearest(str(key), hints)}")
            try:
                values[key] = readers[key](child)
            except _MismatchError as error:
                raise error.prefixed_with(str(key)) from None
        if missing := [name for name in required if name not in values]:
            raise _MismatchError(f"lacks {', '.join(missing)}")
        return expected(**{names[key]: child for key, child in values.items()})

    return read_dataclass


def _is_required(part: Field[Any]) -> bool:
    return "required" in part.metadata or (part.default is MISSING and part.default_factory is MISSING)


def _shown(value: object) -> str:
    """Return a value for a message. It may come from a stranger and be long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
