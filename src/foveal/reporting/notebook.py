"""Pictures that show themselves in a notebook: those of `plots`, in memory."""

import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.errors import RunError
from foveal.files.atomic import outside_faults, write_bytes
from foveal.progress import printable
from foveal.reporting import plots
from foveal.reporting.report import Report


@dataclass(frozen=True, kw_only=True, repr=False)
class Picture:
    """A picture. A notebook shows it where it is the last value of a cell."""

    png: bytes
    """At twice the pixels at which it is shown."""
    svg: str
    about: str
    """What it shows, in a line."""

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file: SVG if the name ends so, else PNG."""
        file = Path(path)
        write_bytes(file, self.svg.encode() if file.suffix.lower() == ".svg" else self.png)
        return file

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        (width,) = struct.unpack_from(">I", self.png, 16)  # of the header, IHDR
        return self.png, {"width": width // 2}

    def __repr__(self) -> str:
        return f"Picture({self.about!r})"


def learning_curves(report: Report) -> Picture:
    """Draw loss and accuracy by epoch.

    Raises:
        RunError: no epoch is finished yet.
    """
    if not report.history:
        raise RunError(f"{report.title}: no epoch is finished yet")
    return drawn(
        lambda stem: plots.learning_curves(
            report.history,
            stem,
            next_learning_rate=report.next_learning_rate,
            scheduled=report.scheduled,
        ),
        about=f"{report.title}: loss and accuracy over {len(report.history)} epochs",
    )


def confusion_matrix(report: Report) -> Picture:
    """Draw how many images of each class were predicted as each class.

    Raises:
        RunError: nothing was judged yet.
    """
    judged = report.judged
    if judged is None:
        raise RunError(f"{report.title}: nothing was judged yet; evaluate it first")
    return drawn(
        lambda stem: plots.confusion_matrix(judged, stem),
        about=f"{report.title}: confusion matrix of {judged.n:,} {printable(judged.split)} images",
    )


def roc_curves(report: Report) -> Picture:
    """Draw the ROC curve of each class against the rest.

    Raises:
        RunError: nothing was judged yet, or no class has images and others beside it.
    """
    if not report.curves:
        raise RunError(f"{report.title}: there are no ROC curves; evaluate it first")
    return drawn(
        lambda stem: plots.roc_curves(report.curves, stem),
        about=f"{report.title}: ROC curves of {len(report.curves)} classes",
    )


def errors(
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    most: int,
) -> Picture | None:
    """Draw up to `most` wrongly predicted images, the surest first, with predicted and true class.

    Returns None where all were predicted rightly.

    `rows` (N,) are the judged images' places in `pixels` (M, S, S, C); `probabilities` (N, K) and
    `labels` (N,) are theirs.
    """
    predicted = probabilities.argmax(axis=1)
    sureness = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    if len(wrong) == 0:
        return None
    surest = wrong[np.argsort(-sureness[wrong], kind="stable")][:most]
    captions = [
        f"{printable(classes[predicted[each]], 16)}, {sureness[each]:.0%}\n"
        f"in truth {printable(classes[labels[each]], 16)}"
        for each in surest.tolist()
    ]
    shown = [pixels[row] for row in rows[surest].tolist()]
    about = f"{len(surest)} of {len(wrong):,} errors, the surest first"
    return drawn(lambda stem: plots.gallery(shown, captions, stem), about=about)


def examples(
    images: Sequence[NDArray[np.uint8]], captions: Sequence[str], *, columns: int, about: str
) -> Picture:
    """Draw images uint8 (S, S, C) in a grid, each under its caption."""
    return drawn(lambda stem: plots.gallery(images, captions, stem, columns=columns), about=about)


def drawn(draw: Callable[[Path], str], *, about: str) -> Picture:
    """Let a function of `plots` draw, to a folder that does not stay.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutsideError: there is no room for temporary files.
    """
    place = Path(tempfile.gettempdir())
    with outside_faults(place), tempfile.TemporaryDirectory(prefix="foveal-") as folder:
        stem = Path(folder) / "picture"
        svg = draw(stem)
        return Picture(png=stem.with_suffix(".png").read_bytes(), svg=svg, about=about)
