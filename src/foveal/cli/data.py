"""`foveal data …`: getting data sets."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse does not name this type
    """Add these verbs to the parser."""
    data = verbs.add_parser("data", help="named data sets").add_subparsers(
        title="verbs", metavar="VERB", required=True
    )
    get = data.add_parser(
        "get",
        help="a named data set as class folders",
        description="Get a named data set and write it as class folders of PNG files.",
    )
    get.add_argument("name", metavar="NAME", help="cifar10 (a download of 163 MB) or digits (comes along)")
    get.add_argument("folder", metavar="DIR", type=Path, help="where to write; must not exist or be empty")
    get.add_argument("--archive", metavar="FILE", type=Path, help="use an archive that is here already")
    get.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    get.set_defaults(call=_get)


def _get(asked: argparse.Namespace) -> int:
    from foveal.data import named_datasets

    written = named_datasets.get(asked.name, asked.folder, archive=asked.archive)
    print(json.dumps({"folder": str(written)}) if asked.json else written)  # noqa: T201 - the result
    return 0
