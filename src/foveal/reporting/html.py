"""What our HTML pages have in common: every text in them is inert, whoever wrote it."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from importlib.resources import files
from importlib.util import find_spec

from foveal.errors import MissingExtraError
from foveal.progress import printable


def require_jinja() -> None:
    """Refuse, naming the extra, where jinja2 is not installed."""
    if find_spec("jinja2") is None:
        raise MissingExtraError("jinja2", "train")


def fill(name: str, filters: Mapping[str, Callable[..., object]], **values: object) -> str:
    """Fill a template of ours with values, shown through filters beside `cut` (to a number of letters).

    Texts are shown without control characters and escaped: they may come from strangers' file names.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    require_jinja()
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def inert(value: object) -> object:
        if isinstance(value, str) and not isinstance(value, Markup):
            return printable(value, 5000).replace(" %", "\u00a0%")
        return value

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=inert, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cut": printable, **filters}
    return environment.from_string(text(name)).render(**values) + "\n"


def text(name: str) -> str:
    """Return a file of ours that pages are made of."""
    return (files(__package__) / "templates" / name).read_text("utf-8")


def data_url(content: bytes, kind: str) -> str:
    """Return a picture ("png", "webp") as an address that holds it, as safe markup."""
    from markupsafe import Markup

    return Markup(f"data:image/{kind};base64,{b64encode(content).decode()}")  # noqa: S704 - nothing but base64
