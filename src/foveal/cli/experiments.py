"""`foveal repeat` and `foveal tune`."""

import argparse
import json
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

from foveal import progress
from foveal.cli.output import add_json, add_log, say


def add_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse does not name this type
    """Add these verbs to the parser."""
    _add_repeat(verbs)
    _add_tune(verbs)


def _add_repeat(verbs: Any) -> None:  # noqa: ANN401
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


def _add_tune(verbs: Any) -> None:  # noqa: ANN401
    tune = verbs.add_parser(
        "tune",
        help="search a recipe's settings, and say how good the best really is",
        description="Train a recipe with other settings, as many trials as fit into the budget, judged by "
        "the validation images; open the test split for the winner alone. The same command with the same "
        "--out goes on where it stopped.",
    )
    tune.add_argument("data", metavar="DIR", type=Path, help="as for train")
    budget = tune.add_mutually_exclusive_group()
    budget.add_argument(
        "--minutes", metavar="M", type=float, help="the whole search; default: 10, unless --trials is given"
    )
    budget.add_argument("--seconds", metavar="S", type=float, help="the same in seconds")
    tune.add_argument("--trials", metavar="N", type=int, help="at most so many, earlier ones among them")
    tune.add_argument("--recipe", metavar="NAME", help="as for train; default: model-s-02")
    tune.add_argument(
        "--over",
        metavar="KEY=SPEC",
        action="append",
        default=[],
        help="search this setting: learning_rate=1e-4..1e-2 (rates on a log scale) or batch_size=32,64,128; "
        "default: learning rate, label smoothing, shifts, and dropout and l2 where the recipe has them",
    )
    tune.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="settings",
        action="append",
        default=[],
        help="change the recipe, in all trials",
    )
    tune.add_argument("--validation", metavar="SPLIT", help="as for train")
    tune.add_argument("--group", metavar="REGEX", help="as for train")
    tune.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    tune.add_argument("--out", metavar="STUDY", type=Path, help="default: runs/DATE-TIME-tune")
    tune.add_argument("--cache", metavar="DIR", type=Path, help="where decoded images are kept")
    add_json(tune)
    tune.set_defaults(call=_tune)


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


def _tune(asked: argparse.Namespace) -> int:
    from foveal.cli.signals import Terminated
    from foveal.cli.training import begin, process_age
    from foveal.errors import Interrupted

    out = asked.out or Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-tune"
    try:
        begin()
        from foveal.experiments.tune import tune

        found = tune(
            asked.data,
            minutes=asked.minutes if asked.seconds is None else asked.seconds / 60,
            trials=asked.trials,
            recipe=asked.recipe,
            over=asked.over,
            settings=asked.settings,
            validation=asked.validation,
            group=asked.group,
            seed=asked.seed,
            out=out,
            cache=asked.cache,
            spent=process_age(),
        )
    except (KeyboardInterrupt, Terminated) as stopped:  # between two trials, or before the first
        number = signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT
        said = f"interrupted; the same command with --out {out} goes on"
        raise Interrupted(said, run=out, signal_number=number) from stopped
    say(json.dumps(found.to_json()) if asked.json else f"{found}\n\nstudy: {found.path}")
    return 1 if found.run.folder.dataset["left_out"] else 0
