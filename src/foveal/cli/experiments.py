"""`foveal repeat`."""

import argparse
import json
from pathlib import Path
from typing import Any

from foveal import progress
from foveal.cli.output import add_json, add_log, say


def add_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse does not name this type
    """Add these verbs to the parser."""
    repeat = verbs.add_parser(
        "repeat",
        help="train one recipe with several seeds, and say how much of a result is chance",
        description="Train one recipe with the seeds 0 to N − 1 and judge each on the test split. The same "
        "command again goes on where it stopped; with a larger --runs it adds the missing ones.",
    )
    repeat.add_argument("data", metavar="DIR", type=Path, help="as for train")
    repeat.add_argument("--runs", type=int, default=5, metavar="N", help="default: 5")
    how = repeat.add_mutually_exclusive_group()
    how.add_argument("--recipe", metavar="NAME", help="as for train")
    how.add_argument("--minutes", metavar="M", type=float, help="of each run; default: 5")
    how.add_argument("--seconds", metavar="S", type=float, help="the same in seconds")
    repeat.add_argument("--validation", metavar="SPLIT", help="as for train")
    repeat.add_argument("--group", metavar="REGEX", help="as for train")
    repeat.add_argument(
        "--set", metavar="KEY=VALUE", dest="settings", action="append", default=[], help="change the recipe"
    )
    repeat.add_argument("--out", metavar="GROUP", type=Path, help="default: runs/DATE-TIME-repeat")
    repeat.add_argument("--cache", metavar="DIR", type=Path, help="where decoded images are kept")
    add_log(repeat)
    add_json(repeat)
    repeat.set_defaults(call=_repeat)


def _repeat(asked: argparse.Namespace) -> int:
    from foveal.cli.training import begin
    from foveal.errors import Interrupted

    begin()
    from foveal.experiments.repeat import repeat

    try:
        found = repeat(
            asked.data,
            runs=asked.runs,
            recipe=asked.recipe,
            minutes=asked.minutes if asked.seconds is None else asked.seconds / 60,
            validation=asked.validation,
            group=asked.group,
            settings=asked.settings,
            out=asked.out,
            cache=asked.cache,
            log=asked.log,
        )
    except Interrupted as interrupted:
        progress.line(f"the same command with --out {interrupted.run.parent} goes on with all runs")
        raise
    say(json.dumps(found.to_json()) if asked.json else f"{found}\n\ngroup: {found.path}")
    return 1 if any(run.folder.dataset["left_out"] for run in found.runs) else 0
