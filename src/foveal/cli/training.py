"""`foveal train`, `resume` and `demo`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from foveal import progress
from foveal.cli.options import (
    Verbs,
    add_budget,
    add_cache,
    add_data,
    add_evaluate,
    add_json,
    add_moved_data,
    add_out,
    add_recipe,
    add_saving,
    add_seed,
    add_settings,
    add_verify,
    get_data,
    get_moved_data,
    get_saving,
)
from foveal.cli.output import print_result
from foveal.cli.process import prepare_process, process_age
from foveal.commands import show_command
from foveal.errors import Interrupted

if TYPE_CHECKING:
    from foveal.run.run import Run


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    _add_demo(verbs)
    _add_train(verbs)
    _add_resume(verbs)


def _add_demo(verbs: Verbs) -> None:
    demo = verbs.add_parser(
        "demo",
        help="the whole way on the digits that come along",
        description="Write scikit-learn's scanned digits as class folders, train on them, test, report.",
    )
    demo.add_argument(
        "folder", metavar="DIR", type=Path, nargs="?", default=Path("demo"), help="default: demo"
    )
    add_json(demo)
    demo.set_defaults(call=_demo)


def _add_train(verbs: Verbs) -> None:
    train = verbs.add_parser(
        "train",
        help="train a classifier on class folders or a table of labels",
        description="Train a classifier on class folders or a table of labels, by a recipe or within a "
        "time budget; without either, within five minutes. The test split is opened only with --evaluate "
        "or a budget.",
    )
    add_data(train)
    recipe_or_budget = train.add_mutually_exclusive_group()
    add_recipe(recipe_or_budget)
    add_budget(recipe_or_budget, "plan the best training that fits, test and report included; default: 5m")
    add_seed(train)
    train.add_argument(
        "--fit", metavar="MODE", help="how images become square: stretch (default), crop or pad"
    )
    train.add_argument("--background", metavar="COLOUR", help="under transparent pixels; default: black")
    train.add_argument(
        "--max-pixels", metavar="N", type=int, help="leave larger pictures out; default: 25000000"
    )
    train.add_argument(
        "--class-weights", choices=("none", "balanced"), help="balanced: rare classes weigh more"
    )
    add_settings(train)
    add_evaluate(train)
    add_out(train, "RUN", "RECIPE")
    add_saving(train)
    add_json(train)
    train.set_defaults(call=_train)


def _add_resume(verbs: Verbs) -> None:
    resume = verbs.add_parser("resume", help="go on with an interrupted run where it stopped")
    resume.add_argument("run", metavar="RUN", type=Path)
    add_evaluate(resume)
    resume.add_argument(
        "--force",
        action="store_true",
        help="go on although data, recipe, code or machine changed; the result is then not bit-identical",
    )
    resume.add_argument(
        "--set",
        metavar="epochs=N",
        dest="settings",
        action="append",
        default=[],
        help="go on to another number of epochs, also after the end, where the schedule allows it",
    )
    add_moved_data(resume)
    add_cache(resume, default="the one it was begun with")
    add_verify(resume)
    add_saving(resume)
    add_json(resume)
    resume.set_defaults(call=_resume)


def _demo(args: argparse.Namespace) -> int:
    prepare_process()
    from foveal.data import named_datasets
    from foveal.files.run_folder import find_free_name
    from foveal.run.train import train

    digits = args.folder / "digits"
    if not digits.exists():
        named_datasets.get("digits", digits)
    run = train(digits, recipe="digits", out=find_free_name(args.folder / "run"))
    return _finish(run, evaluate=True, as_json=args.json, log=[])


def _train(args: argparse.Namespace) -> int:
    from foveal.recipe.budget import Budget

    budget = None if args.budget is None else Budget.parse(args.budget)
    prepare_process()
    from foveal.run.options import TrainRequest
    from foveal.run.train import start_run

    flags = {
        "image.fit": args.fit,
        "image.background": args.background,
        "class_weights": args.class_weights,
    }
    evaluate = args.evaluate or args.recipe is None
    request = TrainRequest(
        data=get_data(args),
        recipe=args.recipe,
        budget=budget,
        settings=args.settings
        + [f'{key}="{value}"' for key, value in flags.items() if value is not None]
        + ([] if args.max_pixels is None else [f"image.max_pixels={args.max_pixels}"]),
        seed=args.seed,
        out=args.out,
        options=get_saving(args),
        seconds_spent=process_age(),
        includes_test=evaluate,
    )
    try:
        run = start_run(request)
    except Interrupted as interrupted:
        _print_summary(interrupted, as_json=args.json)
        raise
    return _finish(run, evaluate=evaluate, as_json=args.json, log=args.log)


def _resume(args: argparse.Namespace) -> int:
    prepare_process()
    from foveal.run.resume import continue_run
    from foveal.run.run import Run

    run = Run(args.run, cache=args.cache, data=get_moved_data(args), verify=args.verify)
    was_finished = run.folder.finished
    # What was promised when the run began is kept as if nothing had come between.
    evaluate = args.evaluate or run.folder.lacks_promised_test
    try:
        run = continue_run(
            run,
            force=args.force,
            options=get_saving(args),
            settings=args.settings,
            seconds_spent=process_age(),
        )
    except Interrupted as interrupted:
        _print_summary(interrupted, as_json=args.json)
        raise
    code = _finish(run, evaluate=evaluate, again=args.evaluate, as_json=args.json, log=args.log)
    return 0 if was_finished and not evaluate else code


def _print_summary(interrupted: Interrupted, *, as_json: bool) -> None:
    from foveal.run.run import Run

    if as_json:
        print_result(json.dumps(Run(interrupted.run).summary()))


def _finish(run: "Run", *, evaluate: bool, as_json: bool, log: list[str], again: bool = True) -> int:
    """Evaluate on the test split if asked to, print the outcome, and tell what can come next.

    A run that is evaluated already is evaluated once more only with `again`.
    """
    from foveal.files.events import Planned
    from foveal.planning.plan import MIN_BUDGET_FOR_SEARCH
    from foveal.run.loggers import Loggers

    if evaluate:
        if again or run.folder.state != "evaluated":
            evaluation = run.evaluate("test") if run.has_test else run.evaluation("validation")
        else:
            evaluation = run.evaluation("test")
        budgets = [event.seconds for event in run.folder.events() if isinstance(event, Planned)]
        Loggers(log, run.folder).finish()
        report = run.report(neighbours=not budgets or budgets[0] >= MIN_BUDGET_FOR_SEARCH)
        if as_json:
            print_result(json.dumps(run.summary()))
        else:
            figures = "" if evaluation is None else f"{evaluation}\n\n"
            print_result(f"{figures}report: {report}")
            progress.line(f"use the model: {show_command('predict', run.path, rest='IMAGE …')}")
    elif as_json:
        print_result(json.dumps(run.summary()))
    else:
        print_result(str(run.path))
        predict = show_command("predict", run.path, rest="IMAGE …")
        progress.line(f"next: {show_command('evaluate', run.path)}  or  {predict}")
    return 1 if run.folder.dataset.left_out else 0
