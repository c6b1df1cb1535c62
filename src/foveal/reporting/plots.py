"""Pictures of a run; see `drawing` for how they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

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
    require_matplotlib,
    save,
)
from foveal.reporting.training_findings import best_epoch, learning_rate_cuts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED_CLASSES: Final = 20
"""Up to so many classes, the cells of a confusion matrix carry their numbers."""
NAMED_CURVES: Final = 10
"""So many ROC curves, those of least area, are drawn in colour and named."""


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
    require_matplotlib()
    from matplotlib.ticker import MaxNLocator

    best = best_epoch(history)
    cuts = learning_rate_cuts(history, next_learning_rate=next_learning_rate, scheduled=scheduled) or []
    dot = "o" if len(history) == 1 else ""  # a line through one point is invisible

    def panel(axes: "Axes", title: str, training: list[float], validation: list[float | None]) -> None:
        epochs = [record.epoch for record in history]
        axes.plot(
            epochs, training, color=MUTED, linestyle=DASHED, marker=dot, label="training (running mean)"
        )
        measured = {
            epoch: value for epoch, value in zip(epochs, validation, strict=True) if value is not None
        }
        if measured:
            axes.plot(list(measured), list(measured.values()), color=ACCENT, marker=dot, label="validation")
        for number, cut in enumerate(cuts):
            label = None if number else "learning rate cut"
            axes.axvline(cut.after_epoch + 0.5, color=MUTED, linewidth=0.9, linestyle=DOTTED, label=label)
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

    return save(stem, (9, 3.8), draw)


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

    return save(stem, (side, side), draw)


def _shades(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn shares (K, K) into the accent's RGBA (K, K, 4), the more opaque the larger the share.

    The root lifts small shares, so that a confusion of 5 % shows beside a diagonal of 90 %.
    """
    from matplotlib.colors import to_rgb

    shades = np.empty((*shares.shape, 4))
    shades[..., :3] = to_rgb(ACCENT)
    shades[..., 3] = 0.04 + 0.96 * np.sqrt(shares)
    return shades


def roc_curves(curves: Sequence[ClassCurves], stem: Path) -> str:
    """Draw the ROC curve of each class, whole and its upper left corner.

    The curves of least area are drawn in colour and named, worst first; the rest are grey. Written and
    returned as by `learning_curves`; there must be at least one curve.
    """
    lines = [_Line(name=each.name, area=each.area, x=each.fpr, y=each.tpr) for each in curves]
    zoomed = max(curve.area for curve in curves) > 0.9  # else the corner is empty

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(1, 2 if zoomed else 1, squeeze=False)[0]
        for axes in panels:
            _worst_first(axes, lines)
            axes.set_xlabel("false-positive rate")
            axes.set_aspect("equal")
        whole = panels[0]
        whole.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=DOTTED)
        whole.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title="Each class against the rest")
        whole.set_ylabel("true-positive rate")
        if zoomed:
            ticks = [0.8, 0.85, 0.9, 0.95, 1]
            panels[1].set(xlim=(-0.0025, 0.25), ylim=(0.75, 1.0025), yticks=ticks, title="Upper left corner")
        _areas_below(figure, whole, "Area", len(lines))

    return save(stem, (9, 5.6), draw)


def precision_recall_curves(curves: Sequence[ClassCurves], stem: Path) -> str:
    """Draw the precision-recall curve of each class, whole and its upper right corner; as `roc_curves`."""
    lines = [
        _Line(name=each.name, area=each.average_precision, x=each.recall, y=each.precision) for each in curves
    ]
    zoomed = max(curve.average_precision for curve in curves) > 0.9

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(1, 2 if zoomed else 1, squeeze=False)[0]
        for axes in panels:
            _worst_first(axes, lines, drawstyle="steps-pre")
            axes.set_xlabel("recall")
            axes.set_aspect("equal")
        whole = panels[0]
        whole.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title="Each class against the rest")
        whole.set_ylabel("precision")
        if zoomed:
            ticks = [0.8, 0.85, 0.9, 0.95, 1]
            panels[1].set(xlim=(0.75, 1.0025), ylim=(0.75, 1.0025), yticks=ticks, title="Upper right corner")
        _areas_below(figure, whole, "Average precision", len(lines))

    return save(stem, (9, 5.6), draw)


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

    return save(stem, (9, rows * (9 / columns + 0.15 * lines)), draw)


def reliability(confidence: Confidence, stem: Path) -> str:
    """Draw accuracy over confidence, as trained and with the temperature, and risk over coverage.

    Written and returned as by `learning_curves`.
    """

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2)
        left.plot([0, 100], [0, 100], color=MUTED, linewidth=0.9, linestyle=DOTTED)
        kinds: dict[str, Calibration] = {"as trained": confidence.as_trained}
        if confidence.calibrated is not None:
            kinds["with its temperature"] = confidence.calibrated
        for label, found in kinds.items():
            colour, style = (MUTED, DASHED) if found is confidence.as_trained else (ACCENT, "-")
            x = [100 * each.confidence for each in found.bins]
            left.plot(
                x, [100 * each.accuracy for each in found.bins], color=colour, linestyle=style, label=label
            )
        for each in (confidence.calibrated or confidence.as_trained).bins:
            low, high = (100 * bound for bound in each.accuracy_interval)
            left.plot([100 * each.confidence] * 2, [low, high], color=ACCENT, linewidth=0.9)
        lowest = min(each.confidence for found in kinds.values() for each in found.bins)
        least = max(0.0, 100 * lowest - 5)
        left.set(xlim=(least, 101), ylim=(max(0.0, least - 15), 102), title="Right (%) by confidence (%)")
        left.set_xlabel("mean probability of the predicted class")
        left.legend(loc="upper left")
        coverage = [100 * point / len(confidence.risk) for point in range(1, len(confidence.risk) + 1)]
        right.plot(coverage, [100 * risk for risk in confidence.risk], color=ACCENT)
        right.set(xlim=(0, 101), title="Errors (%) among images answered (%)")
        right.set_ylim(bottom=0)
        right.set_xlabel("images answered, the most confident first")
        for axes in (left, right):
            axes.grid()

    return save(stem, (9, 4.2), draw)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A class's curve, with the area under it."""

    name: str
    area: float
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def _worst_first(axes: "Axes", lines: Sequence[_Line], *, drawstyle: str = "default") -> None:
    """Draw the curves of least area in colour and named, the others in grey."""
    ranked = sorted(lines, key=lambda line: line.area)
    named = ranked[:NAMED_CURVES]
    for line in ranked[NAMED_CURVES:]:
        axes.plot(line.x, line.y, color=MUTED, linewidth=0.6, alpha=0.5, drawstyle=drawstyle)
    for place, line in enumerate(named):
        axes.plot(
            line.x,
            line.y,
            color=PALETTE[place % len(PALETTE)],
            linestyle="-" if place < len(PALETTE) else DASHED,
            linewidth=1.4,
            zorder=4 - place / len(named),  # the worst on top
            # The number comes first: a label that begins with "_" would be left out of the legend.
            label=f"{format_area(line.area)}  {printable(line.name, 20)}",
            drawstyle=drawstyle,
        )
    axes.grid()


def _areas_below(figure: "Figure", axes: "Axes", area: str, n: int) -> None:
    """Put the areas of the named curves below a figure."""
    handles, labels = axes.get_legend_handles_labels()
    rest = n - len(labels)
    title = f"{area}, worst first" + (f" (the other {rest} in grey)" if rest else "")
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=min(len(labels), 4))
