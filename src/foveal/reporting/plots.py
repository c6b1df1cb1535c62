"""The figures of a run; `drawing` says how figures are drawn.

Every public function writes `stem.png` and `stem.svg` and returns the text of the SVG. It raises
MissingExtraError where matplotlib is not installed, and OutsideError where the files cannot be written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from foveal.evaluation.calibration import Calibration, Confidence
from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.roc import ClassCurves, format_area
from foveal.files.run_records import EpochRecord
from foveal.progress import printable
from foveal.reporting.drawing import (
    ACCENT,
    DASHED,
    DOTTED,
    INK,
    MUTED,
    ON_ACCENT,
    PALETTE,
    PAPER,
    WARM,
    save_figure,
)
from foveal.reporting.training_findings import LearningRateDrop, find_best_epoch, find_learning_rate_drops
from foveal.types import Floats, Ints, Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NUMBERED_CLASSES: Final = 20
"""A confusion matrix of at most so many classes has a number in every cell."""
MAX_NAMED_CURVES: Final = 10
"""At most so many curves, those of the smallest areas, are drawn in colour and named."""


# ---- learning curves


def draw_learning_curves(
    history: Sequence[EpochRecord],
    stem: Path,
    *,
    next_learning_rate: float | None = None,
    scheduled: bool = False,
) -> str:
    """Draw loss and accuracy by epoch, with the best epoch and the drops of the learning rate.

    `next_learning_rate` and `scheduled` are those of `find_learning_rate_drops`.
    """
    best = find_best_epoch(history)
    drops = (
        find_learning_rate_drops(history, next_learning_rate=next_learning_rate, scheduled=scheduled) or []
    )
    accuracies = [
        None if record.validation_accuracy is None else 100 * record.validation_accuracy for record in history
    ]
    loss = _Panel(
        title="Loss (nats)",
        training=[record.loss for record in history],
        validation=[record.validation_loss for record in history],
    )
    accuracy = _Panel(
        title="Accuracy (%)", training=[100 * record.accuracy for record in history], validation=accuracies
    )

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2)
        for axes, panel in ((left, loss), (right, accuracy)):
            _draw_panel(axes, panel, [record.epoch for record in history], best, drops)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)

    return save_figure(stem, (9, 3.8), draw)


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """A metric by epoch, on training and on validation images."""

    title: str
    training: Sequence[float]
    validation: Sequence[float | None]


def _draw_panel(
    axes: "Axes",
    panel: _Panel,
    epochs: Sequence[int],
    best: EpochRecord | None,
    drops: Sequence[LearningRateDrop],
) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = "o" if len(epochs) == 1 else ""  # a line through one point is invisible
    axes.plot(
        epochs, panel.training, color=MUTED, linestyle=DASHED, marker=marker, label="training (running mean)"
    )
    validated = {
        epoch: value for epoch, value in zip(epochs, panel.validation, strict=True) if value is not None
    }
    if validated:
        axes.plot(list(validated), list(validated.values()), color=ACCENT, marker=marker, label="validation")
    for number, drop in enumerate(drops):
        label = None if number else "learning rate cut"
        axes.axvline(drop.after_epoch + 0.5, color=MUTED, linewidth=0.9, linestyle=DOTTED, label=label)
    if best is not None and best.epoch in validated:
        axes.plot(
            [best.epoch],
            [validated[best.epoch]],
            color=WARM,
            linestyle="none",
            marker="o",
            markersize=7,
            label=f"best epoch ({best.epoch})",
        )
    axes.set_title(panel.title)
    axes.set_xlabel("epoch")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, epochs[-1] + 0.8)  # leaves room for a drop after the last epoch


# ---- confusion matrix


def draw_confusion_matrix(evaluation: Evaluation, stem: Path) -> str:
    """Draw how many images of each class (row) were predicted as each class (column).

    The shade of a cell is its share of the row. Cells have numbers up to `MAX_NUMBERED_CLASSES` classes.
    """
    counts = np.array(evaluation.confusion, dtype=np.int64)  # (K, K)
    names = [printable(scores.name, 20) for scores in evaluation.classes]
    k = len(counts)
    numbered = k <= MAX_NUMBERED_CLASSES
    side = 2.4 + (0.6 if k <= 12 else 0.48) * max(k, 2) if numbered else 12.0

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        _draw_cells(axes, counts, numbered=numbered)
        _label_classes(axes, names, numbered=numbered)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted class", labelpad=10)
        axes.set_ylabel("true class", labelpad=10)

    return save_figure(stem, (side, side), draw)


def _draw_cells(axes: "Axes", counts: Ints, *, numbered: bool) -> None:
    k = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if numbered:
        edges = np.arange(k + 1) - 0.5
        axes.pcolormesh(edges, edges, _compute_shades(shares), edgecolors=PAPER, linewidth=1.5)
        axes.invert_yaxis()
    else:
        axes.imshow(_compute_shades(shares), interpolation="nearest")
    axes.set_aspect("equal")
    for i, j in np.ndindex(k, k) if numbered else ():
        colour = ON_ACCENT if shares[i, j] > 0.4 else INK if counts[i, j] else MUTED
        number = axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=9, color=colour)
        number.set_in_layout(False)  # it lies inside the axes, so measuring it would change nothing


def _label_classes(axes: "Axes", names: Sequence[str], *, numbered: bool) -> None:
    """Write the names of the classes beside the rows and below the columns, slanted where they are long."""
    k = len(names)
    slanted = any(len(name) > 6 for name in names) or k > 12
    axes.set_xticks(
        range(k),
        names,
        rotation=90 if not numbered else 45 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.set_yticks(range(k), names)
    for label in axes.get_xticklabels() if slanted else ():
        label.set_rotation_mode("anchor")
        label.set_verticalalignment("top" if numbered else "center")
    axes.tick_params(labelsize=max(9.0 if k <= 40 else 9 * 40 / k, 2.5), labelcolor=INK)


def _compute_shades(shares: Floats) -> Floats:
    """Turn shares (K, K) into RGBA colours (K, K, 4); a larger share is more opaque.

    The square root raises small shares: a confusion of 5 % is then visible beside a diagonal of 90 %.
    """
    from matplotlib.colors import to_rgb

    shades = np.empty((*shares.shape, 4))
    shades[..., :3] = to_rgb(ACCENT)
    shades[..., 3] = 0.04 + 0.96 * np.sqrt(shares)
    return shades


# ---- ROC and precision-recall curves


def draw_roc_curves(curves: Sequence[ClassCurves], stem: Path) -> str:
    """Draw the ROC curve of each class, and once more its upper left corner.

    The curves of the smallest areas are in colour and named, the worst first; the others are grey.
    There must be at least one curve.
    """
    lines = [_Line(name=curve.name, area=curve.area, x=curve.fpr, y=curve.tpr) for curve in curves]
    style = _CurveStyle(
        x_label="false-positive rate",
        y_label="true-positive rate",
        area="Area",
        corner="Upper left corner",
        corner_x=(-0.0025, 0.25),
        diagonal=True,
    )
    return _draw_class_curves(lines, style, stem)


def draw_precision_recall_curves(curves: Sequence[ClassCurves], stem: Path) -> str:
    """Draw the precision-recall curve of each class and its corner, as `draw_roc_curves` does."""
    lines = [
        _Line(name=curve.name, area=curve.average_precision, x=curve.recall, y=curve.precision)
        for curve in curves
    ]
    style = _CurveStyle(
        x_label="recall",
        y_label="precision",
        area="Average precision",
        corner="Upper right corner",
        corner_x=(0.75, 1.0025),
        drawstyle="steps-pre",
    )
    return _draw_class_curves(lines, style, stem)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A class's curve, with the area under it."""

    name: str
    area: float
    x: Floats
    y: Floats


@dataclass(frozen=True, kw_only=True)
class _CurveStyle:
    """What differs between ROC and precision-recall curves."""

    x_label: str
    y_label: str
    area: str
    """The name of the area under a curve."""
    corner: str
    """The title of the enlarged corner."""
    corner_x: tuple[float, float]
    """The range of x in the enlarged corner."""
    diagonal: bool = False
    """Whether the line of a random classifier is drawn."""
    drawstyle: str = "default"


def _draw_class_curves(lines: Sequence[_Line], style: _CurveStyle, stem: Path) -> str:
    enlarged = max(line.area for line in lines) > 0.9  # else the corner would be empty

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(1, 2 if enlarged else 1, squeeze=False)[0]
        for axes in panels:
            _draw_lines(axes, lines, style.drawstyle)
            axes.set_xlabel(style.x_label)
            axes.set_aspect("equal")
        whole = panels[0]
        if style.diagonal:
            whole.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=DOTTED)
        whole.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title="Each class against the rest")
        whole.set_ylabel(style.y_label)
        if enlarged:
            ticks = [0.8, 0.85, 0.9, 0.95, 1]
            panels[1].set(xlim=style.corner_x, ylim=(0.75, 1.0025), yticks=ticks, title=style.corner)
        _add_areas(figure, whole, style.area, len(lines))

    return save_figure(stem, (9, 5.6), draw)


def _draw_lines(axes: "Axes", lines: Sequence[_Line], drawstyle: str) -> None:
    """Draw the curves of the smallest areas in colour and named, the others in grey."""
    ranked = sorted(lines, key=lambda line: line.area)
    named = ranked[:MAX_NAMED_CURVES]
    for line in ranked[MAX_NAMED_CURVES:]:
        axes.plot(line.x, line.y, color=MUTED, linewidth=0.6, alpha=0.5, drawstyle=drawstyle)
    for rank, line in enumerate(named):
        axes.plot(
            line.x,
            line.y,
            color=PALETTE[rank % len(PALETTE)],
            linestyle="-" if rank < len(PALETTE) else DASHED,
            linewidth=1.4,
            zorder=4 - rank / len(named),  # the worst on top
            # The number comes first, because matplotlib leaves labels that begin with "_" out of the legend.
            label=f"{format_area(line.area)}  {printable(line.name, 20)}",
            drawstyle=drawstyle,
        )
    axes.grid()


def _add_areas(figure: "Figure", axes: "Axes", area: str, n_curves: int) -> None:
    """Add the areas of the named curves as a legend below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    n_grey = n_curves - len(labels)
    title = f"{area}, worst first" + (f" (the other {n_grey} in grey)" if n_grey else "")
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=min(len(labels), 4))


# ---- images


def draw_image_grid(
    images: Sequence[Pixels], captions: Sequence[str], stem: Path, *, columns: int = 8
) -> str:
    """Draw small images uint8 (S, S, C) in a grid, each below its caption of one or more lines.

    Pixels are drawn as squares, without smoothing. There must be at least one image.
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

    return save_figure(stem, (9, rows * (9 / columns + 0.15 * lines)), draw)


# ---- reliability


def draw_reliability(confidence: Confidence, stem: Path) -> str:
    """Draw accuracy over confidence, with and without the temperature, and risk over coverage."""
    calibrations = {"as trained": confidence.as_trained}
    if confidence.calibrated is not None:
        calibrations["with its temperature"] = confidence.calibrated

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2)
        _draw_calibrations(left, calibrations)
        coverage = [100 * point / len(confidence.risk) for point in range(1, len(confidence.risk) + 1)]
        right.plot(coverage, [100 * risk for risk in confidence.risk], color=ACCENT)
        right.set(xlim=(0, 101), title="Errors (%) among images answered (%)")
        right.set_ylim(bottom=0)
        right.set_xlabel("images answered, the most confident first")
        for axes in (left, right):
            axes.grid()

    return save_figure(stem, (9, 4.2), draw)


def _draw_calibrations(axes: "Axes", calibrations: Mapping[str, Calibration]) -> None:
    """Draw accuracy over confidence by bins; the last of the calibrations has intervals."""
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.9, linestyle=DOTTED)
    for label, calibration in calibrations.items():
        colour, style = (MUTED, DASHED) if label == "as trained" else (ACCENT, "-")
        axes.plot(
            [100 * group.confidence for group in calibration.bins],
            [100 * group.accuracy for group in calibration.bins],
            color=colour,
            linestyle=style,
            label=label,
        )
    for group in list(calibrations.values())[-1].bins:
        bounds = [100 * bound for bound in group.accuracy_interval]
        axes.plot([100 * group.confidence] * 2, bounds, color=ACCENT, linewidth=0.9)
    lowest = min(group.confidence for calibration in calibrations.values() for group in calibration.bins)
    left = max(0.0, 100 * lowest - 5)
    axes.set(xlim=(left, 101), ylim=(max(0.0, left - 15), 102), title="Right (%) by confidence (%)")
    axes.set_xlabel("mean probability of the predicted class")
    axes.legend(loc="upper left")
