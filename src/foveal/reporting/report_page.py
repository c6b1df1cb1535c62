"""A report -> one HTML page that needs nothing else: no network, no fonts, only a few lines of script."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from foveal.evaluation.metrics import BALANCED_RATIO, DEFINITIONS, Evaluation, format_percent
from foveal.evaluation.roc import format_area
from foveal.reporting import drawing
from foveal.reporting.gallery import Cell, Gallery
from foveal.reporting.html import data_url, fill, text
from foveal.reporting.report import Report
from foveal.reporting.training_findings import OVERFITTING_RULE, best_epoch, rate

SHOWN_LEFT_OUT: Final = 200
SHOWN_CELLS: Final = 60
"""Most confused pairs listed where the matrix itself is too large for a table."""
MANY_CLASSES: Final = 20
"""Up to so many classes the confusion matrix is a table to click on, beyond it a picture."""
STRONG: Final = 0.4
"""The share of a row from which on its cell is drawn in full colour, so that its number is white on dark."""
_PRIVATE: Final = {"data", "cache", "command"}
"""What the environment tells of somebody's machine and a page for others need not."""


def render(report: Report, pictures: Mapping[str, str], numbers: Mapping[str, Any]) -> str:
    """Fill the page; `pictures` are SVG texts by name, `numbers` is `evaluation.json`."""
    from markupsafe import Markup

    script = text("report.js")
    judged, classes = report.judged, report.dataset.classes
    return fill(
        "report.html.j2",
        {"percent": format_percent, "rate": rate, "area": format_area},
        report=report,
        judged=judged,
        best=best_epoch(report.history),
        numbers=numbers,
        pictures={name: Markup(drawing.inline(svg, name)) for name, svg in pictures.items()},  # noqa: S704 - ours
        definitions=DEFINITIONS,
        overfitting_rule=OVERFITTING_RULE,
        balanced_ratio=BALANCED_RATIO,
        recipe=_flat(report.recipe),
        environment=_flat({key: value for key, value in asdict(report.environment).items() if key not in _PRIVATE}),
        shown_left_out=report.dataset.left_out[:SHOWN_LEFT_OUT],
        many=len(classes) > MANY_CLASSES,
        matrix=None if judged is None else _matrix(judged, report.gallery),
        sheet=None if report.gallery is None else data_url(report.gallery.sheet.content, "webp"),
        shown_cells=() if report.gallery is None else _shown_cells(report.gallery, len(classes)),
        script=Markup(script),  # noqa: S704 - ours
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """A cell of the confusion matrix as the page shows it."""

    n: int
    shade: float
    """0 to 1."""
    strong: bool
    target: str | None
    """Where its images are shown, if they are."""


def _matrix(e: Evaluation, gallery: Gallery | None) -> Sequence[Sequence[MatrixCell]] | None:
    """Lay out the confusion matrix; None where it has too many classes for a table."""
    if len(e.classes) > MANY_CLASSES:
        return None
    shown = {(cell.label, cell.predicted) for cell in gallery.cells if cell.images} if gallery else set()
    rows = []
    for i, row in enumerate(e.confusion):
        total = max(1, sum(row))
        rows.append(
            [
                MatrixCell(
                    n=n,
                    # The root lifts small shares, so that a confusion of 5 % shows beside a diagonal of 90 %.
                    shade=round(((n / total) if n / total >= STRONG else n / total / STRONG) ** 0.5, 3),
                    strong=n / total >= STRONG,
                    target=target(i, j) if (i, j) in shown else None,
                )
                for j, n in enumerate(row)
            ]
        )
    return rows


def target(label: int, predicted: int) -> str:
    """Name the place of a cell's images in the page."""
    return f"cell-{label}-{predicted}"


def _shown_cells(gallery: Gallery, classes: int) -> Sequence[Cell]:
    """Return the cells whose images the page has; all that a table links to, or the fullest."""
    cells = [cell for cell in gallery.cells if cell.images]
    return cells if classes <= MANY_CLASSES else cells[:SHOWN_CELLS]


def _flat(value: object, path: str = "") -> list[tuple[str, str]]:
    """List the leaves of nested JSON as (path, value); what is null is left out."""
    match value:
        case None:
            return []
        case Mapping():
            return [
                row for key, child in value.items() for row in _flat(child, f"{path}.{key}" if path else key)
            ]
        case list() | tuple():
            return [(path, ", ".join(str(item) for item in value))]
        case bool():
            return [(path, "yes" if value else "no")]
        case _:
            return [(path, str(value))]
