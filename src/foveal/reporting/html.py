"""What all HTML pages share: a template is filled so that every text in it is inert."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from importlib.resources import files
from importlib.util import find_spec

from foveal.errors import MissingExtraError
from foveal.progress import printable


def require_jinja() -> None:
    """Check that jinja2 is installed.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    if find_spec("jinja2") is None:
        raise MissingExtraError("jinja2", "train")


def render_template(name: str, filters: Mapping[str, Callable[..., object]], **values: object) -> str:
    """Fill a template of this package with values and return the page.

    Templates can use `filters` and the filter `cut`, which shortens a text to a number of characters.
    Texts may come from file names of strangers: control characters are replaced, and HTML is escaped.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    require_jinja()
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def make_inert(value: object) -> object:
        if isinstance(value, str) and not isinstance(value, Markup):
            return printable(value, 5000).replace(" %", "\u00a0%")
        return value

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=make_inert, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cut": printable, **filters}
    return environment.from_string(read_template(name)).render(**values) + "\n"


def read_template(name: str) -> str:
    """Return the text of a file in the folder `templates`."""
    return (files(__package__) / "templates" / name).read_text("utf-8")


def encode_data_url(content: bytes, image_format: str) -> str:
    """Return a picture as a `data:` address in safe markup; the format is "png" or "webp"."""
    from markupsafe import Markup

    encoded = b64encode(content).decode()
    return Markup(f"data:image/{image_format};base64,{encoded}")  # noqa: S704 - nothing but base64
