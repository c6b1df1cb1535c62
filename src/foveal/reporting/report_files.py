"""A report as files: one offline HTML page, its pictures, and every number as JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Final

from foveal.files.atomic import outside_faults, write_bytes, write_json, write_json_with_digest
from foveal.files.run_folder import RunFolder
from foveal.files.typed_json import plain
from foveal.reporting import plots, report_page
from foveal.reporting.confusions import find_confusions
from foveal.reporting.gallery import Gallery
from foveal.reporting.html import require_jinja
from foveal.reporting.report import Report
from foveal.reporting.training_findings import find_best_epoch, find_most_accurate_epoch

_PICTURES: Final = {
    "learning-curves",
    "confusion-matrix",
    "roc-curves",
    "precision-recall-curves",
    "reliability",
}


def build_evaluation_json(report: Report) -> dict[str, object]:
    """Return the content of `evaluation.json`: every measured number that the report shows or mentions.

    What was set, not measured, is in `recipe.json` and `environment.json`.
    """
    best, peak = find_best_epoch(report.history), find_most_accurate_epoch(report.history)
    return {
        "schema": 2,
        "summary": None if report.summary is None else report.summary.to_json(),
        "validation": None if report.validation is None else report.validation.to_json(),
        "test": None if report.test is None else report.test.to_json(),
        "mistakes": [] if report.evaluation is None else plain(find_confusions(report.evaluation)),
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
                name: {"n": split.n, "classes": list(split.classes)}
                for name, split in report.dataset.splits.items()
            },
            "left_out": len(report.dataset.left_out),
        },
        "network": {
            "trainable": sum(layer.trainable for layer in report.layers),
            "other": sum(layer.other for layer in report.layers),
            "layers": [plain(layer) for layer in report.layers],
        },
        "gallery": None if report.gallery is None else _describe_gallery(report.gallery),
    }


def _describe_gallery(gallery: Gallery) -> dict[str, object]:
    """Return the gallery as JSON, without its pictures."""
    values = plain(gallery)
    assert isinstance(values, dict)
    del values["sheet"]
    return values


def write_report(report: Report, folder: RunFolder) -> Path:
    """Write `evaluation.json`, `plots/` and `report.html` into a run folder; return the path of the page.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        OutsideError: The files cannot be written. Each of them is then new or as it was.
    """
    require_jinja()
    with outside_faults(folder.plots):
        folder.plots.mkdir(exist_ok=True)
    pictures = draw_pictures(report, folder.plots)
    with outside_faults(folder.plots):
        for name in _PICTURES - pictures.keys():  # these are left from an earlier report and may be wrong now
            for suffix in (".png", ".svg", ".json"):
                (folder.plots / (name + suffix)).unlink(missing_ok=True)
    numbers = build_evaluation_json(report)
    write_json_with_digest(folder.evaluation, numbers)
    write_bytes(folder.report, report_page.render_report(report, pictures, numbers).encode())
    return folder.report


def draw_pictures(report: Report, folder: Path) -> dict[str, str]:
    """Draw what the report has data for, as PNG, SVG and JSON with the numbers; return the SVGs by name."""
    pictures: dict[str, str] = {}
    numbers: dict[str, object] = {}
    if report.history:
        pictures["learning-curves"] = plots.draw_learning_curves(
            report.history,
            folder / "learning-curves",
            next_learning_rate=report.next_learning_rate,
            scheduled=report.scheduled,
        )
        numbers["learning-curves"] = [asdict(record) for record in report.history]
    if report.evaluation is not None:
        evaluation = report.evaluation
        pictures["confusion-matrix"] = plots.draw_confusion_matrix(evaluation, folder / "confusion-matrix")
        numbers["confusion-matrix"] = {
            "classes": [scores.name for scores in evaluation.classes],
            "counts": [list(row) for row in evaluation.confusion],
        }
        pictures["reliability"] = plots.draw_reliability(evaluation.confidence, folder / "reliability")
        numbers["reliability"] = plain(evaluation.confidence)
    if report.curves:
        pictures["roc-curves"] = plots.draw_roc_curves(report.curves, folder / "roc-curves")
        numbers["roc-curves"] = [
            {"name": curve.name, "area": curve.area, "fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()}
            for curve in report.curves
        ]
        pictures["precision-recall-curves"] = plots.draw_precision_recall_curves(
            report.curves, folder / "precision-recall-curves"
        )
        numbers["precision-recall-curves"] = [
            {
                "name": curve.name,
                "average_precision": curve.average_precision,
                "recall": curve.recall.tolist(),
                "precision": curve.precision.tolist(),
            }
            for curve in report.curves
        ]
    for name, values in numbers.items():
        write_json(folder / f"{name}.json", values)
    return pictures
