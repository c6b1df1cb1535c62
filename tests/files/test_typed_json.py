"""The one strict reader: every type that it knows, both ways, and what it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import RecipeError
from foveal.files.typed_json import plain, read, read_value


@dataclass(frozen=True, kw_only=True)
class Circle:
    """One member of a union."""

    kind: Literal["circle"] = "circle"
    radius: float


@dataclass(frozen=True, kw_only=True)
class Square:
    """The other member."""

    kind: Literal["square"] = "square"
    side: int = 1


@dataclass(frozen=True, kw_only=True)
class Small:
    """Takes its own keys from a larger object."""

    IGNORE_UNKNOWN: ClassVar[bool] = True
    n: int


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Every type that the reader knows."""

    text: str
    count: int
    share: float
    yes: bool
    word: Literal["a", "b"]
    sizes: tuple[int, ...]
    pair: tuple[str, str]
    shape: Circle | Square
    maybe: float | None
    by_name: Mapping[str, Square]
    many: tuple[Square, ...]
    small: Small | None = None
    anything: object = None


finite = st.floats(allow_nan=False, allow_infinity=False)
squares = st.builds(Square, side=st.integers())
wholes = st.builds(
    Whole,
    text=st.text(),
    count=st.integers(),
    share=finite,
    yes=st.booleans(),
    word=st.sampled_from(["a", "b"]),
    sizes=st.lists(st.integers()).map(tuple),
    pair=st.tuples(st.text(), st.text()),
    shape=st.builds(Circle, radius=finite) | squares,
    maybe=st.none() | finite,
    by_name=st.dictionaries(st.text(), squares),
    many=st.lists(squares).map(tuple),
    small=st.none() | st.builds(Small, n=st.integers()),
    anything=st.none() | st.dictionaries(st.text(), st.integers()),
)


@given(wholes)
def test_what_is_written_is_read_back_equal(whole: Whole) -> None:
    assert read(plain(whole), Whole, "whole") == whole


GOOD: dict[str, object] = {
    "text": "t",
    "count": 1,
    "share": 1,
    "yes": True,
    "word": "a",
    "sizes": [1],
    "pair": ["x", "y"],
    "shape": {"kind": "circle", "radius": 2},
    "maybe": None,
    "by_name": {"k": {"side": 2}},
    "many": [{"side": 1}, {"side": 2}],
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"text": 1}, "whole.text is 1; it must be text"),
        ({"count": True}, "whole.count is True; it must be a whole number"),
        ({"count": 1.0}, "whole.count is 1.0; it must be a whole number"),
        ({"share": float("nan")}, "whole.share is nan; it must be a number"),
        ({"share": "1"}, "whole.share is '1'; it must be a number"),
        ({"yes": 1}, "whole.yes is 1; it must be true or false"),
        ({"word": "c"}, "whole.word is 'c'; it must be a or b"),
        ({"sizes": [1, "2"]}, "whole.sizes[1] is '2'; it must be a whole number"),
        ({"sizes": 3}, "whole.sizes is 3; it must be a list such as [32, 64]"),
        ({"pair": ["x"]}, "whole.pair is ['x']; it must be 2 values"),
        ({"shape": {"kind": "oval"}}, "whole.shape is 'oval'; it must be circle or square"),
        ({"shape": {"radius": 1}}, "whole.shape lacks kind"),
        ({"shape": {"kind": "circle"}}, "whole.shape lacks radius"),
        ({"by_name": {"k": {"sid": 1}}}, "whole.by_name.k has the unknown key 'sid'; did you mean 'side'?"),
        ({"by_name": []}, "whole.by_name is []; it must be an object"),
        ({"many": [{"side": 1}, {"side": "x"}]}, "whole.many[1].side is 'x'; it must be a whole number"),
        ({"small": {"n": 1, "more": 2}}, None),
        ({"unknown": 1}, "whole has the unknown key 'unknown'"),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(change: dict[str, object], complaint: str | None) -> None:
    value = {**GOOD, **change}
    if complaint is None:
        assert read(value, Whole, "whole").small == Small(n=1)
    else:
        with pytest.raises(RecipeError) as caught:
            read(value, Whole, "whole")
        assert str(caught.value).startswith(complaint)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(RecipeError, match="whole is 3; it must be a table"):
        read(3, Whole, "whole")
    with pytest.raises(RecipeError, match="whole lacks text, count"):
        read({}, Whole, "whole")


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(RecipeError) as caught:
        read_value("x" * 10_000, int, "n")
    assert len(str(caught.value)) < 300
