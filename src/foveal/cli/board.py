"""`foveal runs` and `foveal board`."""

import argparse
import json

from foveal import progress
from foveal.cli.options import Verbs, add_json, add_runs_folder
from foveal.cli.output import print_result


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    runs = verbs.add_parser(
        "runs",
        help="list the runs of a folder",
        description="List the runs below a folder, also those inside groups (foveal repeat): how far each "
        "is, and what came of it. A damaged run is listed with the reason.",
    )
    add_runs_folder(runs)
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
    add_runs_folder(board)
    board.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    board.add_argument("--port", type=int, default=8765, help="default: 8765; 0: any that is free")
    board.set_defaults(call=_board)


def _runs(args: argparse.Namespace) -> int:
    from foveal.experiments.run_list import runs

    listed = runs(args.folder, sort=args.sort)
    if args.json:
        print_result(json.dumps(listed.to_json(), allow_nan=False))
    elif len(listed):
        print_result(repr(listed))
    else:
        progress.line(f"{listed!r}; foveal train DIR makes one")
    return 0


def _board(args: argparse.Namespace) -> int:
    from foveal.board_page.server import board

    board(args.folder, host=args.host, port=args.port)
    return 0
