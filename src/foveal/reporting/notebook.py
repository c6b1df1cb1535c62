"""Pictures that a notebook shows: the figures of `plots`, held in memory."""

import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foveal.errors import RunError
from foveal.files.atomic import outside_faults, write_bytes
from foveal.progress import printable
from foveal.reporting import plots
from foveal.reporting.report import Report
from foveal.types import Floats, Ints, Pixels


@dataclass(frozen=True, kw_only=True, repr=False)
class Picture:
    """A picture, which a notebook shows where it is the last value of a cell.

    >>> picture = foveal.Run("runs/first").learning_curves()
    >>> picture.png[1:4]
    b'PNG'
    """

    png: bytes
    """The picture as PNG, with twice the pixels at which a notebook shows it."""
    svg: str
    """The picture as SVG."""
    description: str
    """What the picture shows, in one line."""

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file and return its path. The file is SVG if its name ends so, else PNG."""
        file = Path(path)
        write_bytes(file, self.svg.encode() if file.suffix.lower() == ".svg" else self.png)
        return file

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        (width,) = struct.unpack_from(">I", self.png, 16)  # from the chunk IHDR
        return self.png, {"width": width // 2}

    def __repr__(self) -> str:
        return f"Picture({self.description!r})"


def render_learning_curves(report: Report) -> Picture:
    """Draw loss and accuracy by epoch.

    Raises:
        RunError: No epoch is finished yet.
    """
    if not report.history:
        raise RunError(f"{report.title}: no epoch is finished yet")
    return render_picture(
        lambda stem: plots.draw_learning_curves(
            report.history,
            stem,
            next_learning_rate=report.next_learning_rate,
            scheduled=report.scheduled,
        ),
        description=f"{report.title}: loss and accuracy over {len(report.history)} epochs",
    )


def render_confusion_matrix(report: Report) -> Picture:
    """Draw how many images of each class were predicted as each class.

    Raises:
        RunError: The run has not been evaluated.
    """
    evaluation = report.evaluation
    if evaluation is None:
        raise RunError(f"{report.title}: nothing was judged yet; evaluate it first")
    images = f"{evaluation.n:,} {printable(evaluation.split)} images"
    return render_picture(
        lambda stem: plots.draw_confusion_matrix(evaluation, stem),
        description=f"{report.title}: confusion matrix of {images}",
    )


def render_roc_curves(report: Report) -> Picture:
    """Draw the ROC curve of each class against the rest.

    Raises:
        RunError: The run has not been evaluated, or no class has both its own and other images.
    """
    if not report.curves:
        raise RunError(f"{report.title}: there are no ROC curves; evaluate it first")
    return render_picture(
        lambda stem: plots.draw_roc_curves(report.curves, stem),
        description=f"{report.title}: ROC curves of {len(report.curves)} classes",
    )


def render_errors(
    pixels: Pixels,
    indices: Ints,
    probabilities: Floats,
    labels: Ints,
    classes: Sequence[str],
    *,
    limit: int,
) -> Picture | None:
    """Draw wrongly predicted images with their predicted and true class, the most confident first.

    Args:
        pixels: All images of the data set, (M, S, S, C).
        indices: Which of them were classified, (N,).
        probabilities: The probabilities of their classes, (N, K).
        labels: Their true classes, (N,).
        classes: The names of the classes.
        limit: The largest number of images.

    Returns:
        The picture, or None where every prediction is right.
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    errors = np.flatnonzero(predicted != labels)
    if len(errors) == 0:
        return None
    ranked = errors[np.argsort(-confidence[errors], kind="stable")][:limit]
    captions = [
        f"{printable(classes[predicted[error]], 16)}, {confidence[error]:.0%}\n"
        f"in truth {printable(classes[labels[error]], 16)}"
        for error in ranked.tolist()
    ]
    images = [pixels[index] for index in indices[ranked].tolist()]
    description = f"{len(ranked)} of {len(errors):,} errors, the surest first"
    return render_picture(lambda stem: plots.draw_image_grid(images, captions, stem), description=description)


def render_images(
    images: Sequence[Pixels], captions: Sequence[str], *, columns: int, description: str
) -> Picture:
    """Draw images uint8 (S, S, C) in a grid, each below its caption."""
    return render_picture(
        lambda stem: plots.draw_image_grid(images, captions, stem, columns=columns), description=description
    )


def render_picture(draw: Callable[[Path], str], *, description: str) -> Picture:
    """Return what a function of `plots` draws, without leaving files behind.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutsideError: There is no space for temporary files.
    """
    place = Path(tempfile.gettempdir())
    with outside_faults(place), tempfile.TemporaryDirectory(prefix="foveal-") as folder:
        stem = Path(folder) / "picture"
        svg = draw(stem)
        return Picture(png=stem.with_suffix(".png").read_bytes(), svg=svg, description=description)
