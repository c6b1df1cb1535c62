"""How figures are drawn: colours, style, and the files as PNG and SVG.

Only matplotlib's `Figure` is used, not pyplot with its global state. The SVG has the colours below as hex
codes, so that a page can replace them by its own. Names of classes come from strangers, so they are never
read as formulas.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from foveal.errors import MissingExtraError
from foveal.files.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK: Final = "#1f2933"
MUTED: Final = "#6b7785"
GRID: Final = "#e3e7ec"
PAPER: Final = "#ffffff"
ACCENT: Final = "#1565a8"
WARM: Final = "#c2570c"
ON_ACCENT: Final = "#fdfdfd"
"""The colour of text on a dark cell; it differs from `PAPER`, which a dark page replaces."""
# Okabe and Ito's yellow is left out: it is too pale for lines.
PALETTE: Final = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d46", "#7a4fa3")
"""The colours of lines: six of Okabe and Ito's palette for colour-blind readers, and two more."""

DOTTED: Final = (0, (1, 2))
DASHED: Final = (0, (4, 2))

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class named $x^2$ is format_area as such
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",  # text stays text: small, selectable, searchable
    "svg.hashsalt": "foveal",  # the same picture has the same bytes
}


def save_figure(stem: Path, size: tuple[float, float], draw: "Callable[[Figure], None]") -> str:
    """Draw a figure, write it as PNG and SVG, and return the SVG's text.

    Args:
        stem: The path without suffix; `.png` and `.svg` are appended.
        size: The width and the height in inches.
        draw: Draws on the empty figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutsideError: The files cannot be written.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _apply_style():
        figure = Figure(figsize=size, dpi=160, layout="constrained")
        draw(figure)
        png, svg = io.BytesIO(), io.StringIO()
        # `savefig` would draw everything once for the layout alone, and again for the picture.
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})  # type: ignore[no-untyped-call]
        figure.set_layout_engine("none")  # the layout stays as it is
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    write_bytes(stem.with_name(stem.name + ".png"), png.getvalue())
    write_bytes(stem.with_name(stem.name + ".svg"), svg.getvalue().encode())
    return svg.getvalue()


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "train")


@contextmanager
def _apply_style() -> Iterator[None]:
    """Use this module's style inside the block, and restore the user's settings after it."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # A character that the font lacks is a box in the PNG. The SVG keeps it for the reader's fonts.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        # `mpl.rcdefaults` does the same but first reads all of matplotlib's style sheets, which takes 0.1 s.
        # It ignores this warning, too, because the default of a deprecated setting does no harm.
        warnings.simplefilter("ignore", mpl.MatplotlibDeprecationWarning)
        mpl.rcParams.update({key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"})
        mpl.rcParams.update(_STYLE)
        yield


# ---- pictures inside a page

_XLINK: Final = "{http://www.w3.org/1999/xlink}"
_CSS_COLOURS: Final = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    f"fill: {PAPER}": "fill: none",
    f"stroke: {PAPER}": "stroke: var(--card)",
    f"stroke: {ACCENT}": "stroke: var(--accent)",
}


def adapt_svg(svg: str, name: str) -> str:
    """Adapt a picture to the page that contains it.

    It takes the page's colours and fonts, its ids begin with `name`, and its own style sheet is removed.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 - the text was made by `save_figure`
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            element.set("href" if key == f"{_XLINK}href" else key, _adapt_attribute(key, value, name))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("aria-hidden", "true")  # the label of the surrounding figure describes it
    return ElementTree.tostring(root, encoding="unicode")


def _adapt_attribute(key: str, value: str, name: str) -> str:
    """Return the value of an attribute with the picture's name in ids and the page's colours in styles."""
    if key in ("id", f"{_XLINK}href") and not value.startswith("data:"):
        return f"#{name}-{value[1:]}" if value.startswith("#") else f"{name}-{value}"
    if key == "clip-path":
        return value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = re.sub(r"font-family: [^;]*; ", "", value)
        for colour, variable in _CSS_COLOURS.items():
            value = value.replace(colour, variable)
    return value
