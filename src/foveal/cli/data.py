"""`foveal data …`: getting data sets."""

import argparse
import json
from pathlib import Path

from foveal.cli.options import Verbs, add_json
from foveal.cli.output import print_result


def add_verbs(verbs: Verbs) -> None:
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
    add_json(get)
    get.set_defaults(call=_get)


def _get(args: argparse.Namespace) -> int:
    from foveal.data import named_datasets

    folder = named_datasets.get(args.name, args.folder, archive=args.archive)
    print_result(json.dumps({"folder": str(folder)}) if args.json else str(folder))
    return 0
