"""A report as files: one offline HTML page, its pictures, and every number as JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from foveal.files.atomic import outside_faults, write_bytes, write_json
from foveal.files.run_folder import RunFolder
from foveal.files.typed_json import plain
from foveal.reporting import plots, report_page
from foveal.reporting.confusions import mistakes
from foveal.reporting.gallery import Gallery
from foveal.reporting.html import require_jinja
from foveal.reporting.report import Report
from foveal.reporting.training_findings import best_epoch, most_accurate_epoch

_PICTURES: Final = {
    "learning-curves",
    "confusion-matrix",
    "roc-curves",
    "precision-recall-curves",
    "reliability",
}


def evaluation_json(report: Report) -> dict[str, Any]:
    """Give `evaluation.json`: every number that was measured and that the report shows or says.

    What was set, not measured, is in `recipe.json` and `environment.json`.
    """
    best, peak = best_epoch(report.history), most_accurate_epoch(report.history)
    return {
        "schema": 2,
        "summary": None if report.summary is None else report.summary.to_json(),
        "validation": None if report.validation is None else report.validation.to_json(),
        "test": None if report.test is None else report.test.to_json(),
        "mistakes": [] if report.judged is None else plain(mistakes(report.judged)),
        "findings": [finding.to_json() for finding in report.findings],
        "history": {
            "epochs": len(report.history),
            "best_epoch": None if best is None else best.epoch,
            "most_accurate_epoch": None if peak is None else peak.epoch,
            "seconds": report.seconds,
            "records": [asdict(record) for record in report.history],
        },
        "data": {
            "fingerprint": report.dataset.fingerprint,
            "classes": list(report.dataset.classes),
            "splits": {
                name: {"n": part.n, "classes": list(part.classes)}
                for name, part in report.dataset.splits.items()
            },
            "left_out": len(report.dataset.left_out),
        },
        "network": {
            "trainable": sum(row.trainable for row in report.layers),
            "other": sum(row.other for row in report.layers),
            "layers": [{**asdict(row), "output": list(row.output)} for row in report.layers],
        },
        "gallery": None if report.gallery is None else _without_pictures(report.gallery),
    }


def _without_pictures(gallery: Gallery) -> dict[str, object]:
    values = plain(gallery)
    assert isinstance(values, dict)
    return {key: value for key, value in values.items() if key != "sheet"}


def write(report: Report, folder: RunFolder) -> Path:
    """Write `evaluation.json`, `plots/` and `report.html` into a run folder; return the report's path.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        OutsideError: the disk refuses; each file is whole or as it was.
    """
    require_jinja()
    with outside_faults(folder.plots):
        folder.plots.mkdir(exist_ok=True)
    pictures = draw(report, folder.plots)
    for name in _PICTURES - pictures.keys():  # of an earlier report: this one does not vouch for them
        for suffix in (".png", ".svg", ".json"):
            with outside_faults(folder.plots):
                (folder.plots / (name + suffix)).unlink(missing_ok=True)
    numbers = evaluation_json(report)
    write_json(folder.evaluation, numbers)
    write_bytes(folder.report, report_page.render(report, pictures, numbers).encode())
    return folder.report


def draw(report: Report, plots_folder: Path) -> dict[str, str]:
    """Draw what there is to draw, each as PNG, SVG and its numbers as JSON; return the SVGs by name."""
    pictures = {}

    def keep(name: str, svg: str, numbers: object) -> None:
        pictures[name] = svg
        write_json(plots_folder / f"{name}.json", numbers)

    if report.history:
        svg = plots.learning_curves(
            report.history,
            plots_folder / "learning-curves",
            next_learning_rate=report.next_learning_rate,
            scheduled=report.scheduled,
        )
        keep("learning-curves", svg, [asdict(record) for record in report.history])
    if report.judged is not None:
        e = report.judged
        names = [each.name for each in e.classes]
        svg = plots.confusion_matrix(e, plots_folder / "confusion-matrix")
        keep("confusion-matrix", svg, {"classes": names, "counts": [list(row) for row in e.confusion]})
        svg = plots.reliability(e.confidence, plots_folder / "reliability")
        keep("reliability", svg, plain(e.confidence))
    if report.curves:
        svg = plots.roc_curves(report.curves, plots_folder / "roc-curves")
        points: list[dict[str, Any]] = [
            {"name": each.name, "area": each.area, "fpr": each.fpr.tolist(), "tpr": each.tpr.tolist()}
            for each in report.curves
        ]
        keep("roc-curves", svg, points)
        svg = plots.precision_recall_curves(report.curves, plots_folder / "precision-recall-curves")
        points = [
            {
                "name": each.name,
                "average_precision": each.average_precision,
                "recall": each.recall.tolist(),
                "precision": each.precision.tolist(),
            }
            for each in report.curves
        ]
        keep("precision-recall-curves", svg, points)
    return pictures
