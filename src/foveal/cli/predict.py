"""`foveal predict`: using a model."""

import argparse
import csv
import json
import sys
from pathlib import Path

from foveal import progress
from foveal.cli.options import Verbs
from foveal.cli.output import print_result


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    predict = verbs.add_parser(
        "predict",
        help="classify images with a trained model",
        description="Classify images. Files that cannot be read are listed; the rest is done (exit code 1).",
    )
    predict.add_argument("model", metavar="MODEL", type=Path, help="a run, or the model folder in it")
    predict.add_argument("files", metavar="IMAGE", nargs="+", help="images, folders of images, or patterns")
    predict.add_argument(
        "--format",
        choices=("table", "csv", "jsonl"),
        default="table",
        help="default: table; jsonl has every class",
    )
    predict.set_defaults(call=_predict)


def _predict(args: argparse.Namespace) -> int:
    from foveal.deployment import bundle
    from foveal.files.typed_json import to_json

    predictions = bundle.predict(args.model, *args.files)
    match args.format:
        case "table":
            print_result(predictions.table())
        case "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(["path", "class", "probability", "error"])
            for prediction in predictions:
                texts = (prediction.path, prediction.label, prediction.error)
                path, label, error = (None if text is None else progress.csv_cell(text) for text in texts)
                writer.writerow([path, label, prediction.probability, error])
        case "jsonl":
            for prediction in predictions:
                print_result(json.dumps(to_json(prediction)))
    unreadable = predictions.unreadable
    if unreadable:
        progress.line(f"{len(unreadable)} of {len(predictions)} files could not be read")
    return 1 if unreadable else 0
