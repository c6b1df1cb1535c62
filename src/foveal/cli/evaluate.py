"""`foveal evaluate`, `report` and `compare`."""

import argparse
import json
from pathlib import Path

from foveal import progress
from foveal.cli.options import Verbs, add_json, add_moved_data, add_split, add_verify, get_moved_data
from foveal.cli.output import print_result
from foveal.commands import show_command


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    _add_evaluate(verbs)
    _add_report(verbs)
    _add_compare(verbs)


def _add_evaluate(verbs: Verbs) -> None:
    evaluate = verbs.add_parser("evaluate", help="measure a trained model on a split")
    evaluate.add_argument("run", metavar="RUN", type=Path)
    add_split(evaluate)
    add_moved_data(evaluate)
    add_verify(evaluate)
    evaluate.add_argument(
        "--views",
        action="store_true",
        help="also measure test-time augmentation: 6 views of each image averaged (3 if training did not "
        "mirror), in 6 times the time; no property of the saved model",
    )
    add_json(evaluate)
    evaluate.set_defaults(call=_evaluate)


def _add_report(verbs: Verbs) -> None:
    report = verbs.add_parser("report", help="write the report of what a run has measured so far")
    report.add_argument("run", metavar="RUN", type=Path)
    add_moved_data(report)
    add_json(report)
    report.set_defaults(call=_report)


def _add_compare(verbs: Verbs) -> None:
    compare = verbs.add_parser(
        "compare",
        help="say which of several runs is better, or that these images cannot tell",
        description="Compare runs on the same test images, image by image, by their stored predictions.",
    )
    compare.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    add_split(compare)
    compare.add_argument(
        "--html",
        metavar="FILE",
        type=Path,
        help="also write a page, with images that only one of two runs gets right",
    )
    add_json(compare)
    compare.set_defaults(call=_compare)


def _evaluate(args: argparse.Namespace) -> int:
    from foveal.run.run import Run

    run = Run(args.run, data=get_moved_data(args), verify=args.verify)
    evaluation = run.evaluate(args.split, views=args.views)
    if args.json:
        print_result(json.dumps({"run": str(run.path), **evaluation.to_json()}))
    else:
        print_result(str(evaluation))
        progress.line(f"next: {show_command('report', run.path)}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from foveal.run.run import Run

    page = str(Run(args.run, data=get_moved_data(args)).report())
    print_result(json.dumps({"run": str(args.run), "report": page}) if args.json else page)
    return 0


def _compare(args: argparse.Namespace) -> int:
    from foveal.experiments.compare_runs import compare, write_page

    comparison = compare(*args.runs, split=args.split)
    if args.html is not None:
        progress.line(f"page: {write_page(comparison, args.runs, args.html)}")
    print_result(json.dumps(comparison.to_json()) if args.json else str(comparison))
    return 0
