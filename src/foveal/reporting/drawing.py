"""How pictures are drawn: colours, style, and each as PNG and SVG, by matplotlib's figures alone.

pyplot and its state stay out. The SVG uses the colours below as plain hex codes, so that a page can put its
own in their place. Names of classes come from strangers: they are drawn as they are, never as formulas.
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
"""Text on a dark cell: not `PAPER`, which a dark page turns dark."""
PALETTE: Final = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d46", "#7a4fa3")
"""Six of Okabe and Ito's colours for colour-blind readers (yellow is too pale for lines), and two more."""

DOTTED: Final = (0, (1, 2))
DASHED: Final = (0, (4, 2))

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class named $x^2$ is shown as such
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


def save(stem: Path, size: tuple[float, float], draw: "Callable[[Figure], None]") -> str:
    """Draw a figure of `size` inches, write `stem`.png and `stem`.svg, and return the SVG's text.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutsideError: the disk refuses.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=size, dpi=160, layout="constrained")
        draw(figure)
        png, svg = io.BytesIO(), io.StringIO()
        # `savefig` would draw it all once only to lay it out, and again for the picture.
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})  # type: ignore[no-untyped-call]
        figure.set_layout_engine("none")  # it stays as it was laid out
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    write_bytes(stem.with_name(stem.name + ".png"), png.getvalue())
    write_bytes(stem.with_name(stem.name + ".svg"), svg.getvalue().encode())
    return svg.getvalue()


def require_matplotlib() -> None:
    """Refuse, naming the extra, where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "train")


@contextmanager
def _style() -> Iterator[None]:
    """Draw in our style whatever the user's own settings are, and put those back afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # A script that the font lacks is a box in the PNG; the SVG keeps the text for the reader's fonts.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        # As `mpl.rcdefaults`, which reads all of matplotlib's style sheets first, for a tenth of a second.
        # It ignores this warning too: the default of a deprecated setting harms nobody.
        warnings.simplefilter("ignore", mpl.MatplotlibDeprecationWarning)
        mpl.rcParams.update({key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"})
        mpl.rcParams.update(_STYLE)
        yield


# ---- in a page

_XLINK: Final = "{http://www.w3.org/1999/xlink}"
_VARIABLES: Final = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    f"fill: {PAPER}": "fill: none",
    f"stroke: {PAPER}": "stroke: var(--card)",
    f"stroke: {ACCENT}": "stroke: var(--accent)",
}


def inline(svg: str, name: str) -> str:
    """Fit a picture into the page: the page's colours and fonts, ids of its own, no sheet of its own."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - drawn by us a moment ago
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            if key in ("id", f"{_XLINK}href") and not value.startswith("data:"):
                value = f"#{name}-{value[1:]}" if value.startswith("#") else f"{name}-{value}"
            elif key == "clip-path":
                value = value.replace("url(#", f"url(#{name}-")
            elif key == "style":
                value = re.sub(r"font-family: [^;]*; ", "", value)
                for colour, variable in _VARIABLES.items():
                    value = value.replace(colour, variable)
            element.set("href" if key == f"{_XLINK}href" else key, value)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("aria-hidden", "true")  # the figure around it says what it shows
    return ElementTree.tostring(root, encoding="unicode")
