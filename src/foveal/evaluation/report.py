"""A run and what was measured of it -> one offline HTML page, its pictures, and every number as JSON."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from foveal.errors import MissingExtraError
from foveal.evaluation import plots
from foveal.evaluation.budget import findings_of_budget
from foveal.evaluation.findings import Finding, findings_of_evaluation
from foveal.evaluation.history import (
    OVERFITTING_RULE,
    best_epoch,
    findings_of_history,
    most_accurate_epoch,
    rate,
)
from foveal.evaluation.metrics import BALANCED_RATIO, DEFINITIONS, Evaluation, percent
from foveal.evaluation.roc import ClassCurves, shown
from foveal.progress import printable
from foveal.run import EpochRecord, RunFolder, outside_faults, write_bytes, write_json

if TYPE_CHECKING:
    from foveal.models.registry import LayerRow

SHOWN_LEFT_OUT: Final = 200
_PICTURES: Final = {"learning-curves", "confusion-matrix", "roc-curves"}
_PRIVATE: Final = {"data", "cache", "command"}
"""What the environment tells of somebody's machine and a page for others need not."""


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

    @classmethod
    def of_run(
        cls,
        folder: RunFolder,
        *,
        validation: Evaluation | None = None,
        test: Evaluation | None = None,
        curves: Sequence[ClassCurves] = (),
        layers: "Sequence[LayerRow]" = (),
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
        judged = [] if self.judged is None else findings_of_evaluation(self.judged)
        of_history = findings_of_history(
            self.history, next_learning_rate=self.next_learning_rate, scheduled=self.scheduled
        )
        return [*judged, *of_history, *findings_of_budget(self.events)]

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
        "schema": 1,
        "validation": None if report.validation is None else report.validation.to_json(),
        "test": None if report.test is None else report.test.to_json(),
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
    }


def write(report: Report, folder: RunFolder) -> Path:
    """Write `evaluation.json`, `plots/` and `report.html` into a run folder; return the report's path.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        OutsideError: the disk refuses; each file is whole or as it was.
    """
    _require_jinja()
    with outside_faults(folder.plots):
        folder.plots.mkdir(exist_ok=True)
    pictures = draw(report, folder.plots)
    for name in _PICTURES - pictures.keys():  # of an earlier report: this one does not vouch for them
        for suffix in (".png", ".svg"):
            with outside_faults(folder.plots):
                (folder.plots / (name + suffix)).unlink(missing_ok=True)
    write_json(folder.evaluation, evaluation_json(report))
    write_bytes(folder.report, render(report, pictures).encode())
    return folder.report


def draw(report: Report, plots_folder: Path) -> dict[str, str]:
    """Draw what there is to draw as PNG and SVG; return each picture's SVG by its name."""
    pictures = {}
    if report.history:
        pictures["learning-curves"] = plots.learning_curves(
            report.history,
            plots_folder / "learning-curves",
            next_learning_rate=report.next_learning_rate,
            scheduled=report.scheduled,
        )
    if report.judged is not None:
        pictures["confusion-matrix"] = plots.confusion_matrix(
            report.judged, plots_folder / "confusion-matrix"
        )
    if report.curves:
        pictures["roc-curves"] = plots.roc_curves(report.curves, plots_folder / "roc-curves")
    return pictures


def render(report: Report, pictures: Mapping[str, str]) -> str:
    """Fill the page; `pictures` are SVG texts by name, as `draw` returns them."""
    _require_jinja()
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def inert(value: object) -> object:
        """Make every text harmless that the template shows: it may come from strangers' file names."""
        if isinstance(value, str) and not isinstance(value, Markup):
            return printable(value, 5000).replace(" %", "\u00a0%")
        return value

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=inert, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = percent
    environment.filters["cut"] = printable
    environment.filters["rate"] = rate
    environment.filters["area"] = shown
    template = environment.from_string(
        (files(__package__) / "templates" / "report.html.j2").read_text("utf-8")
    )
    page = template.render(
        report=report,
        best=best_epoch(report.history),
        numbers=evaluation_json(report),
        pictures={name: Markup(_inline(svg, name)) for name, svg in pictures.items()},  # noqa: S704 - ours
        definitions=DEFINITIONS,
        overfitting_rule=OVERFITTING_RULE,
        balanced_ratio=BALANCED_RATIO,
        recipe=_flat(report.recipe),
        environment=_flat({key: value for key, value in report.environment.items() if key not in _PRIVATE}),
        shown_left_out=report.dataset["left_out"][:SHOWN_LEFT_OUT],
    )
    return page + "\n"


def _require_jinja() -> None:
    if find_spec("jinja2") is None:
        raise MissingExtraError("jinja2", "train")


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


_XLINK: Final = "{http://www.w3.org/1999/xlink}"
_VARIABLES: Final = {
    plots.INK: "var(--ink)",
    plots.MUTED: "var(--muted)",
    plots.GRID: "var(--line)",
    f"fill: {plots.PAPER}": "fill: none",
    f"stroke: {plots.PAPER}": "stroke: var(--card)",
    f"stroke: {plots.ACCENT}": "stroke: var(--accent)",
}


def _inline(svg: str, name: str) -> str:
    """Fit a picture into the page: the page's colours and fonts, ids of its own, no sheet of its own."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - drawn by us a moment ago
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            if key in ("id", f"{_XLINK}href") and not value.startswith("data:"):
                value = f"#{name}-{value[1:]}" if value.startswith("#") else f"{name}-{value}"
            elif key == "clip-path":
                value = value.replace("url(#", f"url(#{name}-")
            elif key == "style":
                value = re.sub(r"font-family: [^;]*; ", "", value)
                for colour, variable in _VARIABLES.items():
                    value = value.replace(colour, variable)
            element.set("href" if key == f"{_XLINK}href" else key, value)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("aria-hidden", "true")  # the figure around it says what it shows
    return ElementTree.tostring(root, encoding="unicode")
