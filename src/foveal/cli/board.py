"""`foveal runs` and `foveal board`."""

import argparse
import json
from pathlib import Path
from typing import Any

from foveal import progress
from foveal.cli.output import add_json, say


def add_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse does not name this type
    """Add these verbs to the parser."""
    runs = verbs.add_parser(
        "runs",
        help="list the runs of a folder",
        description="List the runs below a folder, also those inside groups (foveal repeat): how far each "
        "is, and what came of it. A damaged run is listed with the reason.",
    )
    runs.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", default=Path("runs"), help="default: runs"
    )
    runs.add_argument(
        "--sort",
        choices=("accuracy", "date", "seconds", "name"),
        default="date",
        help="default: date, the newest first",
    )
    add_json(runs)
    runs.set_defaults(call=_runs)
    board = verbs.add_parser(
        "board",
        help="a local page with the runs of a folder, live",
        description="Serve a page with the runs of a folder, the curves of those in progress, and "
        "comparisons. It changes nothing. Ctrl-C ends it.",
    )
    board.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", default=Path("runs"), help="default: runs"
    )
    board.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    board.add_argument("--port", type=int, default=8765, help="default: 8765; 0: any that is free")
    board.set_defaults(call=_board)


def _runs(asked: argparse.Namespace) -> int:
    from foveal.experiments.run_list import runs

    found = runs(asked.folder, sort=asked.sort)
    if asked.json:
        say(json.dumps(found.to_json(), allow_nan=False))
    elif len(found):
        say(repr(found))
    else:
        progress.line(f"{found!r}; foveal train DIR makes one")
    return 0


def _board(asked: argparse.Namespace) -> int:
    from foveal.board.server import board

    board(asked.folder, host=asked.host, port=asked.port)
    return 0
