"""Pictures of a run, each as PNG and SVG, from matplotlib's figures alone: pyplot and its state stay out.

The SVG uses the colours below as plain hex codes, so that a page can put its own in their place. Names of
classes come from strangers: they are drawn as they are, never read as formulas.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from foveal.errors import MissingExtraError
from foveal.evaluation.history import best_epoch, learning_rate_cuts
from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.roc import RocCurve, shown
from foveal.progress import printable
from foveal.run import EpochRecord, write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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

NUMBERED_CLASSES: Final = 20
"""Up to so many classes, the cells of a confusion matrix carry their numbers."""
NAMED_CURVES: Final = 10
"""So many ROC curves, those of least area, are drawn in colour and named."""
_DOTTED: Final = (0, (1, 2))
_DASHED: Final = (0, (4, 2))

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


def learning_curves(
    history: Sequence[EpochRecord],
    stem: Path,
    *,
    next_learning_rate: float | None = None,
    scheduled: bool = False,
) -> str:
    """Draw loss and accuracy by epoch, marking the best epoch and the cuts of the learning rate.

    `stem` is the path without suffix: `.png` and `.svg` are written. Returns the SVG's text.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutsideError: the disk refuses.
    """
    _require_matplotlib()
    from matplotlib.ticker import MaxNLocator

    best = best_epoch(history)
    cuts = learning_rate_cuts(history, next_learning_rate=next_learning_rate, scheduled=scheduled) or []
    dot = "o" if len(history) == 1 else ""  # a line through one point is invisible

    def panel(axes: "Axes", title: str, training: list[float], validation: list[float | None]) -> None:
        epochs = [record.epoch for record in history]
        axes.plot(
            epochs, training, color=MUTED, linestyle=_DASHED, marker=dot, label="training (running mean)"
        )
        measured = {
            epoch: value for epoch, value in zip(epochs, validation, strict=True) if value is not None
        }
        if measured:
            axes.plot(list(measured), list(measured.values()), color=ACCENT, marker=dot, label="validation")
        for number, cut in enumerate(cuts):
            label = None if number else "learning rate cut"
            axes.axvline(cut.after_epoch + 0.5, color=MUTED, linewidth=0.9, linestyle=_DOTTED, label=label)
        if best is not None and best.epoch in measured:
            axes.plot(
                [best.epoch],
                [measured[best.epoch]],
                color=WARM,
                linestyle="none",
                marker="o",
                markersize=7,
                label=f"best epoch ({best.epoch})",
            )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.5, epochs[-1] + 0.8)  # room for a cut after the last epoch

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2)
        panel(left, "Loss (nats)", [e.loss for e in history], [e.validation_loss for e in history])
        accuracies = [None if e.validation_accuracy is None else 100 * e.validation_accuracy for e in history]
        panel(right, "Accuracy (%)", [100 * e.accuracy for e in history], accuracies)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)

    return _save(stem, (9, 3.8), draw)


def confusion_matrix(evaluation: Evaluation, stem: Path) -> str:
    """Draw how many images of each class (row) were predicted as each class (column).

    The shade is the share of the row; up to `NUMBERED_CLASSES` classes, cells carry their numbers. Written
    and returned as by `learning_curves`.
    """
    counts = np.array(evaluation.confusion, dtype=np.int64)  # (K, K)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(counts)
    numbered = k <= NUMBERED_CLASSES
    side = 2.4 + (0.6 if k <= 12 else 0.48) * max(k, 2) if numbered else 12.0
    size = max(9.0 if k <= 40 else 9 * 40 / k, 2.5)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        if numbered:
            edges = np.arange(k + 1) - 0.5
            axes.pcolormesh(edges, edges, _shades(shares), edgecolors=PAPER, linewidth=1.5)
            axes.invert_yaxis()
        else:
            axes.imshow(_shades(shares), interpolation="nearest")
        axes.set_aspect("equal")
        for i, j in np.ndindex(k, k) if numbered else ():
            colour = ON_ACCENT if shares[i, j] > 0.4 else INK if counts[i, j] else MUTED
            number = axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=9, color=colour)
            number.set_in_layout(False)  # it lies inside the axes: measuring it changes nothing
        names = [printable(scores.name, 20) for scores in evaluation.classes]
        turned = any(len(name) > 6 for name in names) or k > 12
        axes.set_xticks(
            range(k),
            names,
            rotation=90 if not numbered else 45 if turned else 0,
            ha="right" if turned else "center",
        )
        axes.set_yticks(range(k), names)
        for label in axes.get_xticklabels() if turned else ():
            label.set_rotation_mode("anchor")
            label.set_verticalalignment("top" if numbered else "center")
        axes.tick_params(labelsize=size, labelcolor=INK)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted class", labelpad=10)
        axes.set_ylabel("true class", labelpad=10)

    return _save(stem, (side, side), draw)


def _shades(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn shares (K, K) into the accent's RGBA (K, K, 4), the more opaque the larger the share.

    The root lifts small shares, so that a confusion of 5 % shows beside a diagonal of 90 %.
    """
    from matplotlib.colors import to_rgb

    shades = np.empty((*shares.shape, 4))
    shades[..., :3] = to_rgb(ACCENT)
    shades[..., 3] = 0.04 + 0.96 * np.sqrt(shares)
    return shades


def roc_curves(curves: Sequence[RocCurve], stem: Path) -> str:
    """Draw the ROC curve of each class, whole and its upper left corner.

    The curves of least area are drawn in colour and named, worst first; the rest are grey. Written and
    returned as by `learning_curves`; there must be at least one curve.
    """
    ranked = sorted(curves, key=lambda curve: curve.auc)
    named, rest = ranked[:NAMED_CURVES], ranked[NAMED_CURVES:]

    zoomed = max(curve.auc for curve in curves) > 0.9  # else the corner is empty

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(1, 2 if zoomed else 1, squeeze=False)[0]
        for axes in panels:
            for curve in rest:
                axes.plot(curve.fpr, curve.tpr, color=MUTED, linewidth=0.6, alpha=0.5)
            for place, curve in enumerate(named):
                axes.plot(
                    curve.fpr,
                    curve.tpr,
                    color=PALETTE[place % len(PALETTE)],
                    linestyle="-" if place < len(PALETTE) else _DASHED,
                    linewidth=1.4,
                    zorder=4 - place / len(named),  # the worst on top
                    # The number comes first: a label that begins with "_" would be left out of the legend.
                    label=f"{shown(curve.auc)}  {printable(curve.name, 20)}",
                )
            axes.set_xlabel("false-positive rate")
            axes.grid()
            axes.set_aspect("equal")
        whole = panels[0]
        whole.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=_DOTTED)
        whole.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title="Each class against the rest")
        whole.set_ylabel("true-positive rate")
        if zoomed:
            ticks = [0.8, 0.85, 0.9, 0.95, 1]
            panels[1].set(xlim=(-0.0025, 0.25), ylim=(0.75, 1.0025), yticks=ticks, title="Upper left corner")
        handles, labels = whole.get_legend_handles_labels()
        title = "AUC, worst first" + (f" (the other {len(rest)} in grey)" if rest else "")
        figure.legend(handles, labels, title=title, loc="outside lower center", ncols=min(len(named), 4))

    return _save(stem, (9, 5.6), draw)


def gallery(
    images: Sequence[NDArray[np.uint8]], captions: Sequence[str], stem: Path, *, columns: int = 8
) -> str:
    """Draw small images uint8 (S, S, C) in a grid, each under its caption of a line or more.

    Pixels are drawn as squares, not smoothed. Written and returned as by `learning_curves`; there must be at
    least one image.
    """
    rows = -(-len(images) // columns)
    lines = max(caption.count("\n") + 1 for caption in captions)

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, image, caption in zip(grid.flat, images, captions, strict=False):
            plain = image[..., 0] if image.shape[2] == 1 else image
            axes.imshow(plain, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(caption, fontsize=8, loc="center", pad=4)

    return _save(stem, (9, rows * (9 / columns + 0.15 * lines)), draw)


# ---- files


def _save(stem: Path, size: tuple[float, float], draw: "Callable[[Figure], None]") -> str:
    _require_matplotlib()
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


def _require_matplotlib() -> None:
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
