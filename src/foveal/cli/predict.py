"""`foveal predict`: using a model."""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from foveal import progress
from foveal.cli.options import Verbs
from foveal.cli.output import print_result
from foveal.errors import DataError

if TYPE_CHECKING:
    from foveal.deployment.predictions import Predictions


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    predict = verbs.add_parser(
        "predict",
        help="classify images with a trained model",
        description="Classify images. Files that cannot be read are listed; the rest is done (exit code 1). "
        "Where folders have the names of the model's classes, the accuracy is told.",
    )
    predict.add_argument("model", metavar="MODEL", type=Path, help="a run, or the model folder in it")
    predict.add_argument("files", metavar="IMAGE", nargs="*", help="images, folders of images, or patterns")
    predict.add_argument(
        "--list", metavar="FILE", help="a file with the path of an image in each line; - is standard input"
    )
    predict.add_argument(
        "--format",
        choices=("table", "csv", "jsonl"),
        default="table",
        help="default: table; jsonl has every class",
    )
    predict.set_defaults(call=_predict)


def _predict(args: argparse.Namespace) -> int:
    from foveal.deployment import bundle
    from foveal.deployment.inputs import collect_items

    if not args.files and args.list is None:
        raise DataError(
            "no image is named; name images, folders or patterns, or a list of paths: --list FILE"
        )
    model = bundle.load_bundle(args.model)
    listed = [] if args.list is None else _read_list(args.list)
    predictions = model.predict(collect_items(listed, patterns=False), args.files)
    _print_predictions(predictions, args.format)
    unreadable = predictions.unreadable
    if unreadable:
        progress.line(f"{len(unreadable)} of {len(predictions)} files could not be read")
    return 1 if unreadable else 0


def _print_predictions(predictions: "Predictions", form: str) -> None:
    """Print predictions. The notes on them go to standard error where programs read standard output."""
    from foveal.files.typed_json import to_json

    match form:
        case "table":
            print_result(repr(predictions))
            return
        case "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(["path", "class", "probability", "unsure", "error"])
            for each in predictions:
                texts = (each.path, each.label, each.error)
                path, label, error = (None if text is None else progress.csv_cell(text) for text in texts)
                unsure = {True: "unsure", False: "sure", None: None}[each.unsure]
                writer.writerow([path, label, each.probability, unsure, error])
        case "jsonl":
            for each in predictions:
                print_result(json.dumps(to_json(each)))
    for note in predictions.notes:
        progress.line(note)


def _read_list(name: str) -> list[str]:
    """Read the paths in a list file, or in standard input.

    Raises:
        DataError: It cannot be read, or names nothing.
    """
    from foveal.deployment.predictions import read_list

    where = "standard input" if name == "-" else name
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the list {where}: {error.strerror}") from error
    try:
        paths = read_list(content)
    except ValueError as error:
        raise DataError(f"{where} is no list of paths: {error}") from error
    if not paths:
        raise DataError(f"{where} names no image; write the path of an image into each line")
    return paths
