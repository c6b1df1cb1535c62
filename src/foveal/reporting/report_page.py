"""The report as one HTML page that needs no network, no fonts and only a few lines of script."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from foveal.evaluation.metrics import BALANCED_RATIO, DEFINITIONS, Evaluation, format_percent
from foveal.evaluation.roc import format_area
from foveal.reporting import drawing
from foveal.reporting.gallery import Cell, Gallery
from foveal.reporting.html import encode_data_url, read_template, render_template
from foveal.reporting.report import Report
from foveal.reporting.training_findings import OVERFITTING_RULE, find_best_epoch, format_learning_rate

MAX_LISTED_FILES: Final = 200
"""At most so many of the files left out are listed."""
MAX_LISTED_CELLS: Final = 60
"""At most so many cells are listed where the confusion matrix is too large for a table."""
MAX_TABLE_CLASSES: Final = 20
"""A confusion matrix of at most so many classes is a table with links; a larger one is a picture."""
FULL_COLOUR_SHARE: Final = 0.4
"""A cell with at least this share of its row is drawn in full colour, with a light number."""
_PRIVATE_KEYS: Final = {"data", "cache", "command"}  # they name folders of the user's machine


def render_report(report: Report, pictures: Mapping[str, str], numbers: Mapping[str, object]) -> str:
    """Return the page.

    Args:
        report: What the page tells.
        pictures: The SVG texts by name, as `draw_pictures` returns them.
        numbers: The content of `evaluation.json`.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    from markupsafe import Markup

    script = read_template("report.js")
    evaluation, gallery, n_classes = report.evaluation, report.gallery, len(report.dataset.classes)
    environment = {
        key: value
        for key, value in asdict(report.environment).items()
        if key not in _PRIVATE_KEYS and value != ""
    }
    return render_template(
        "report.html.j2",
        {"percent": format_percent, "learning_rate": format_learning_rate, "area": format_area},
        report=report,
        evaluation=evaluation,
        best=find_best_epoch(report.history),
        numbers=numbers,
        pictures={name: Markup(drawing.adapt_svg(svg, name)) for name, svg in pictures.items()},  # noqa: S704 - ours
        definitions=DEFINITIONS,
        overfitting_rule=OVERFITTING_RULE,
        balanced_ratio=BALANCED_RATIO,
        recipe=_flatten_json(report.recipe),
        environment=_flatten_json(environment),
        listed_files=report.dataset.left_out[:MAX_LISTED_FILES],
        many_classes=n_classes > MAX_TABLE_CLASSES,
        matrix=None if evaluation is None else _lay_out_matrix(evaluation, gallery),
        sheet=None if gallery is None else encode_data_url(gallery.sheet.content, "webp"),
        listed_cells=() if gallery is None else _select_cells(gallery, n_classes),
        script=Markup(script),  # noqa: S704 - ours
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """A cell of the confusion matrix as the page shows it."""

    n: int
    """The number of images."""
    shade: float
    """The strength of the colour, from 0 to 1."""
    full_colour: bool
    """Whether the cell is dark, so that its number is light."""
    anchor: str | None
    """The id of the element that shows the cell's images; None where they are not shown."""


def _lay_out_matrix(evaluation: Evaluation, gallery: Gallery | None) -> list[list[MatrixCell]] | None:
    """Return the rows of the confusion matrix; None where it has too many classes for a table."""
    if len(evaluation.classes) > MAX_TABLE_CLASSES:
        return None
    linked = {(cell.label, cell.predicted) for cell in gallery.cells if cell.images} if gallery else set()
    rows = []
    for i, row in enumerate(evaluation.confusion):
        total = max(1, sum(row))
        cells = []
        for j, n in enumerate(row):
            share = n / total
            full_colour = share >= FULL_COLOUR_SHARE
            # The square root raises small shares: 5 % is then visible beside a diagonal of 90 %.
            shade = (share if full_colour else share / FULL_COLOUR_SHARE) ** 0.5
            anchor = f"cell-{i}-{j}" if (i, j) in linked else None
            cells.append(MatrixCell(n=n, shade=round(shade, 3), full_colour=full_colour, anchor=anchor))
        rows.append(cells)
    return rows


def _select_cells(gallery: Gallery, n_classes: int) -> Sequence[Cell]:
    """Return the cells whose images the page shows: all with a table, else those with most errors."""
    cells = [cell for cell in gallery.cells if cell.images]
    return cells if n_classes <= MAX_TABLE_CLASSES else cells[:MAX_LISTED_CELLS]


def _flatten_json(value: object, path: str = "") -> list[tuple[str, str]]:
    """List the leaves of nested JSON as pairs of path and text, without those that are null."""
    match value:
        case None:
            return []
        case Mapping():
            return [
                leaf
                for key, child in value.items()
                for leaf in _flatten_json(child, f"{path}.{key}" if path else key)
            ]
        case list() | tuple():
            return [(path, ", ".join(str(item) for item in value))]
        case bool():
            return [(path, "yes" if value else "no")]
        case _:
            return [(path, str(value))]
