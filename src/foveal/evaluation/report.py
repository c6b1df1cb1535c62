"""A run and what was measured of it -> one offline HTML page, its pictures, and every number as JSON."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from foveal.evaluation import page, plots
from foveal.evaluation.budget import findings_of_budget
from foveal.evaluation.findings import Finding, findings_of_evaluation
from foveal.evaluation.gallery import Gallery
from foveal.evaluation.history import best_epoch, findings_of_history, most_accurate_epoch
from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.mistakes import mistakes
from foveal.evaluation.roc import ClassCurves
from foveal.evaluation.templating import require_jinja
from foveal.evaluation.trust import findings_of_confidence, summary
from foveal.reading import plain
from foveal.run import EpochRecord, RunFolder, outside_faults, write_bytes, write_json

if TYPE_CHECKING:
    from foveal.models.registry import LayerRow

_PICTURES: Final = {
    "learning-curves",
    "confusion-matrix",
    "roc-curves",
    "precision-recall-curves",
    "reliability",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report tells, as plain data."""

    title: str
    recipe: Mapping[str, Any]
    """`recipe.json`."""
    dataset: Mapping[str, Any]
    """`dataset.json`."""
    environment: Mapping[str, Any]
    """`environment.json`."""
    history: Sequence[EpochRecord]
    events: Sequence[Mapping[str, Any]] = ()
    """`events.jsonl`: how training ended, and the learning-rate cut after the last epoch."""
    validation: Evaluation | None = None
    test: Evaluation | None = None
    curves: Sequence[ClassCurves] = ()
    """Of the test split if that was judged, else of the validation split."""
    layers: "Sequence[LayerRow]" = ()
    gallery: Gallery | None = None
    """The errors, of the same split."""

    @classmethod
    def of_run(
        cls,
        folder: RunFolder,
        *,
        validation: Evaluation | None = None,
        test: Evaluation | None = None,
        curves: Sequence[ClassCurves] = (),
        layers: "Sequence[LayerRow]" = (),
        gallery: Gallery | None = None,
    ) -> "Report":
        """Gather what a run folder holds and put the evaluations beside it."""
        return cls(
            title=folder.path.resolve().name,
            recipe=folder.recipe,
            dataset=folder.dataset,
            environment=folder.environment,
            history=folder.history(),
            events=folder.events(),
            validation=validation,
            test=test,
            curves=curves,
            layers=layers,
            gallery=gallery,
        )

    @property
    def judged(self) -> Evaluation | None:
        """The evaluation that the report goes into: the test split's, else the validation split's."""
        return self.test or self.validation

    @property
    def next_learning_rate(self) -> float | None:
        """The rate that another epoch would have trained with, where it was cut after the last one."""
        for event in self.events:
            if event["event"] == "plateau" and self.history and event["epoch"] == self.history[-1].epoch:
                return float(event["learning_rate"])
        return None

    @property
    def scheduled(self) -> bool:
        """Whether the learning rate followed a schedule by the step."""
        return self.recipe.get("anneal") is not None

    @cached_property
    def findings(self) -> list[Finding]:
        """All that is said in sentences, computed."""
        e = self.judged
        judged = [] if e is None else [*findings_of_evaluation(e), *findings_of_confidence(e)]
        of_history = findings_of_history(
            self.history, next_learning_rate=self.next_learning_rate, scheduled=self.scheduled
        )
        return [*judged, *of_history, *findings_of_budget(self.events)]

    @cached_property
    def summary(self) -> Finding | None:
        """The whole in a few plain words, if something was judged."""
        return None if self.judged is None else summary(self.judged)

    @property
    def seconds(self) -> float | None:
        """How long training took (since it was last resumed), if it has ended."""
        ends = [
            event["seconds"] for event in self.events if event["event"] == "trained" and "seconds" in event
        ]
        return float(ends[-1]) if ends else None

    @property
    def stopped(self) -> str | None:
        """Why training ended, if it has: "finished" or "early"."""
        ends = [str(event["stopped"]) for event in self.events if event["event"] == "trained"]
        return ends[-1] if ends else None

    @property
    def resumed(self) -> bool:
        """Whether training was ever resumed."""
        return any(event["event"] == "resumed" for event in self.events)

    @property
    def command(self) -> str:
        """The command that trains the same run again, from the run's `recipe.json`."""
        then = self.environment
        parts = ["foveal", "train", PurePath(str(then.get("data") or "DATA")).name, "--recipe", "recipe.json"]
        for option in ("validation", "group", "seed"):
            if then.get(option) is not None:
                parts += [f"--{option}", str(then[option])]
        return shlex.join(parts)


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
            "fingerprint": report.dataset["fingerprint"],
            "classes": list(report.dataset["classes"]),
            "splits": {
                name: {"n": part["n"], "classes": list(part["classes"])}
                for name, part in report.dataset["splits"].items()
            },
            "left_out": len(report.dataset["left_out"]),
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
    write_bytes(folder.report, page.render(report, pictures, numbers).encode())
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
