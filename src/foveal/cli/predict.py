"""`foveal predict`: using a model."""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

from foveal import progress


def add_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse does not name this type
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


def _predict(asked: argparse.Namespace) -> int:
    from foveal.deployment import bundle

    predictions = bundle.predict(asked.model, *asked.files)
    match asked.format:
        case "table":
            print(predictions.table())  # noqa: T201 - the result
        case "csv":
            rows = csv.writer(sys.stdout, lineterminator="\n")
            rows.writerow(["path", "class", "probability", "error"])
            for found in predictions:
                texts = (found.path, found.label, found.error)
                path, label, error = (None if text is None else progress.cell(text) for text in texts)
                rows.writerow([path, label, found.probability, error])
        case "jsonl":
            for each in bundle.as_rows(predictions):
                print(json.dumps(each))  # noqa: T201 - the result
    unreadable = predictions.unreadable
    if unreadable:
        progress.line(f"{len(unreadable)} of {len(predictions)} files could not be read")
    return 1 if unreadable else 0
