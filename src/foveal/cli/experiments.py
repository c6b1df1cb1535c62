"""`foveal repeat` and `foveal tune`."""

import argparse
import json
import signal

from foveal import progress
from foveal.cli.options import (
    Verbs,
    add_budget,
    add_data,
    add_json,
    add_log,
    add_out,
    add_recipe,
    add_seed,
    add_settings,
    get_data,
)
from foveal.cli.output import print_result
from foveal.cli.process import prepare_process, process_age
from foveal.cli.signals import Terminated
from foveal.errors import Interrupted


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    _add_repeat(verbs)
    _add_tune(verbs)


def _add_repeat(verbs: Verbs) -> None:
    repeat = verbs.add_parser(
        "repeat",
        help="train one recipe with several seeds, and say how much of a result is chance",
        description="Train one recipe with the seeds 0 to N − 1 and evaluate each on the test split. The "
        "same command again goes on where it stopped; with a larger --runs it adds the missing ones.",
    )
    add_data(repeat)
    repeat.add_argument("--runs", type=int, default=5, metavar="N", help="default: 5")
    recipe_or_budget = repeat.add_mutually_exclusive_group()
    add_recipe(recipe_or_budget)
    add_budget(recipe_or_budget, "the time of each run; default: 5m")
    add_settings(repeat)
    add_out(repeat, "GROUP", "repeat")
    add_log(repeat)
    add_json(repeat)
    repeat.set_defaults(call=_repeat)


def _add_tune(verbs: Verbs) -> None:
    tune = verbs.add_parser(
        "tune",
        help="search a recipe's settings, and say how good the best really is",
        description="Train a recipe with other settings, as many trials as fit into the budget, judged by "
        "the validation images; open the test split for the winner alone. The same command with the same "
        "--out goes on where it stopped.",
    )
    add_data(tune)
    add_budget(tune, "the time of the whole search; default: 10m, unless --trials is given")
    tune.add_argument("--trials", metavar="N", type=int, help="at most so many, earlier ones among them")
    add_recipe(tune, default="model-s-02")
    tune.add_argument(
        "--over",
        metavar="KEY=SPEC",
        action="append",
        default=[],
        help="search this setting: learning_rate=1e-4..1e-2 (rates on a log scale) or batch_size=32,64,128; "
        "default: learning rate, label smoothing, shifts, and dropout and l2 where the recipe has them",
    )
    add_settings(tune)
    add_seed(tune)
    add_out(tune, "STUDY", "tune")
    add_json(tune)
    tune.set_defaults(call=_tune)


def _repeat(args: argparse.Namespace) -> int:
    prepare_process()
    from foveal.experiments.repeat import repeat

    try:
        group = repeat(
            get_data(args),
            runs=args.runs,
            recipe=args.recipe,
            budget=args.budget,
            settings=args.settings,
            out=args.out,
            log=args.log,
        )
    except Interrupted as interrupted:
        progress.line(f"the same command with --out {interrupted.run.parent} goes on with all runs")
        raise
    print_result(json.dumps(group.to_json()) if args.json else f"{group}\n\ngroup: {group.path}")
    return 1 if any(run.folder.dataset.left_out for run in group.runs) else 0


def _tune(args: argparse.Namespace) -> int:
    from foveal.files.run_folder import default_run_path

    out = args.out or default_run_path("tune")
    try:
        prepare_process()
        from foveal.experiments.tune import TuneRequest, search

        request = TuneRequest(
            data=get_data(args),
            budget=args.budget,
            trials=args.trials,
            recipe=args.recipe,
            over=args.over,
            settings=args.settings,
            seed=args.seed,
            out=out,
        )
        study = search(request, seconds_spent=process_age())
    except (KeyboardInterrupt, Terminated) as stopped:  # between two trials, or before the first
        number = signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT
        message = f"interrupted; the same command with --out {out} goes on"
        raise Interrupted(message, run=out, signal_number=number) from stopped
    print_result(json.dumps(study.to_json()) if args.json else f"{study}\n\nstudy: {study.path}")
    return 1 if study.run.folder.dataset.left_out else 0
