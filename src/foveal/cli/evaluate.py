"""`foveal evaluate`, `report` and `compare`."""

import argparse
import json
from pathlib import Path
from typing import Any

from foveal import progress
from foveal.cli.output import add_json, say


def add_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse does not name this type
    """Add these verbs to the parser."""
    _add_evaluate(verbs)
    _add_report(verbs)
    _add_compare(verbs)


def _add_evaluate(verbs: Any) -> None:  # noqa: ANN401
    evaluate = verbs.add_parser("evaluate", help="measure a trained model on a split")
    evaluate.add_argument("run", metavar="RUN", type=Path)
    evaluate.add_argument("--split", choices=("test", "validation"), default="test", help="default: test")
    evaluate.add_argument(
        "--views",
        action="store_true",
        help="also judge with test-time augmentation: 6 views of each image averaged (3 if training did not "
        "mirror), in 6 times the time; no property of the saved model",
    )
    add_json(evaluate)
    evaluate.set_defaults(call=_evaluate)


def _add_report(verbs: Any) -> None:  # noqa: ANN401
    report = verbs.add_parser("report", help="write the report of what a run has measured so far")
    report.add_argument("run", metavar="RUN", type=Path)
    add_json(report)
    report.set_defaults(call=_report)


def _add_compare(verbs: Any) -> None:  # noqa: ANN401
    compare = verbs.add_parser(
        "compare",
        help="say which of several runs is better, or that these images cannot tell",
        description="Compare runs on the same test images, image by image, by their stored predictions.",
    )
    compare.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    compare.add_argument("--split", choices=("test", "validation"), default="test", help="default: test")
    compare.add_argument(
        "--html",
        metavar="FILE",
        type=Path,
        help="also write a page, with images that only one of two runs gets right",
    )
    add_json(compare)
    compare.set_defaults(call=_compare)


def _evaluate(asked: argparse.Namespace) -> int:
    from foveal.runs.run import Run

    run = Run(asked.run)
    evaluation = run.evaluate(asked.split, views=asked.views)
    if asked.json:
        say(json.dumps({"run": str(run.path), **evaluation.to_json()}))
    else:
        say(str(evaluation))
        progress.line(f"next: foveal report {run.path}")
    return 0


def _report(asked: argparse.Namespace) -> int:
    from foveal.runs.run import Run

    page = str(Run(asked.run).report())
    say(json.dumps({"run": str(asked.run), "report": page}) if asked.json else page)
    return 0


def _compare(asked: argparse.Namespace) -> int:
    from foveal.experiments.compare_runs import compare, write_page

    found = compare(*asked.runs, split=asked.split)
    if asked.html is not None:
        progress.line(f"page: {write_page(found, asked.runs, asked.html)}")
    say(json.dumps(found.to_json()) if asked.json else str(found))
    return 0
