"""`foveal train`, `resume`, `recipes` and `demo`."""

import argparse
import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from foveal import progress
from foveal.cli.output import add_json, add_log, say
from foveal.engine.compiled import kernels
from foveal.errors import Interrupted, RecipeError
from foveal.files.run_folder import RunFolder
from foveal.recipe import builtin
from foveal.recipe.recipe import Recipe, ResizeMode
from foveal.tables import text_table

if TYPE_CHECKING:
    from foveal.runs.run import Run

IMPORTED = time.monotonic()
"""When this module was."""
SPINS = "5000"
"""How often OpenMP's threads look for work before they sleep. By default they keep a core busy for some
milliseconds, and where another process takes one, the thread with the work waits for the thread without.
"""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""What glibc's malloc.h calls them."""


def add_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse does not name this type
    """Add these verbs to the parser."""
    _add_demo(verbs)
    _add_train(verbs)
    _add_resume(verbs)
    _add_recipes(verbs)


def _add_demo(verbs: Any) -> None:  # noqa: ANN401
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


def _add_train(verbs: Any) -> None:  # noqa: ANN401
    train = verbs.add_parser(
        "train",
        help="train a classifier on class folders",
        description="Train a classifier on class folders, by a recipe or within a time budget. The test "
        "split is opened only with --evaluate or a budget.",
    )
    train.add_argument(
        "data", metavar="DIR", type=Path, help="train1…N/CLASS, train/CLASS with test/CLASS, or CLASS"
    )
    how = train.add_mutually_exclusive_group()
    how.add_argument("--recipe", metavar="NAME", help="a name (foveal recipes) or a .toml or .json file")
    how.add_argument(
        "--minutes",
        metavar="M",
        type=float,
        help="plan the best training that fits, test and report included; without recipe or budget: "
        "5 minutes of training, no test",
    )
    how.add_argument("--seconds", metavar="S", type=float, help="the same in seconds")
    train.add_argument(
        "--validation", metavar="SPLIT", help="the split that validates, such as train2; none: all train"
    )
    train.add_argument("--group", metavar="REGEX", help="images whose paths match alike never part")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    train.add_argument(
        "--fit", choices=get_args(ResizeMode), help="what happens to images that are no squares"
    )
    train.add_argument("--background", metavar="COLOUR", help="under transparent pixels; default: black")
    train.add_argument(
        "--class-weights", choices=("none", "balanced"), help="balanced: rare classes weigh more"
    )
    train.add_argument(
        "--set", metavar="KEY=VALUE", dest="settings", action="append", default=[], help="change the recipe"
    )
    train.add_argument("--evaluate", action="store_true", help="go on: test, and write the report")
    train.add_argument("--out", metavar="RUN", type=Path, help="default: runs/DATE-TIME-RECIPE")
    train.add_argument("--cache", metavar="DIR", type=Path, help="where decoded images are kept")
    _add_save_every(train)
    add_log(train)
    add_json(train)
    train.set_defaults(call=_train)


def _add_resume(verbs: Any) -> None:  # noqa: ANN401
    resume = verbs.add_parser("resume", help="go on with an interrupted run where it stopped")
    resume.add_argument("run", metavar="RUN", type=Path)
    resume.add_argument("--evaluate", action="store_true", help="go on: test, and write the report")
    resume.add_argument(
        "--force",
        action="store_true",
        help="go on although data, recipe, code or machine changed; the result is then not bit-identical",
    )
    resume.add_argument("--cache", metavar="DIR", type=Path, help="default: the one it was begun with")
    _add_save_every(resume)
    add_log(resume)
    add_json(resume)
    resume.set_defaults(call=_resume)


def _add_recipes(verbs: Any) -> None:  # noqa: ANN401
    listing = verbs.add_parser("recipes", help="list the recipes, or show one layer by layer")
    listing.add_argument("name", metavar="NAME", nargs="?")
    listing.add_argument("--classes", metavar="N", type=int, default=10, help="default: 10")
    listing.add_argument("--json", action="store_true", help="print the recipe as JSON")
    listing.set_defaults(call=_recipes)


def _add_save_every(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--save-every",
        metavar="S",
        type=float,
        default=60.0,
        help="seconds between checkpoints within an epoch; default: 60; one follows each epoch",
    )


def _keep_freed_memory() -> None:
    """Ask the C library to keep what is freed: maps given back after each step cost time to fetch anew.

    Only glibc can be asked. It is for the command's own process: inside somebody else's, it is not ours to
    say.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        most = 2**31 - 1
        mallopt(M_MMAP_THRESHOLD, most)
        mallopt(M_TRIM_THRESHOLD, most)


def process_age() -> float:
    """Return for how many seconds this process has been running: a budget counts from its start.

    Only Linux tells; elsewhere it is what passed since Foveal was imported.
    """
    try:
        fields = (
            Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.monotonic() - IMPORTED


def begin() -> None:
    """Prepare the command's process for training, before torch is imported."""
    _keep_freed_memory()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    # The first time, a compiler works for a second or two, beside torch's import and the decoding of images.
    threading.Thread(target=kernels, daemon=True).start()


def _demo(asked: argparse.Namespace) -> int:
    begin()
    from foveal.data import sources
    from foveal.runs.train import train

    digits = asked.folder / "digits"
    if not digits.exists():
        sources.get("digits", digits)
    run = train(digits, recipe="digits", out=_free_name(asked.folder / "run"))
    return _finish(run, evaluate=True, as_json=asked.json, log=[])


def _free_name(path: Path) -> Path:
    """Return `path`, or with the first number that makes it free: a demo may be run again."""
    number = 1
    free = path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _train(asked: argparse.Namespace) -> int:
    begin()
    from foveal.runs.train import train

    flags = {
        "image.fit": asked.fit,
        "image.background": asked.background,
        "class_weights": asked.class_weights,
    }
    settings = asked.settings + [f'{key}="{value}"' for key, value in flags.items() if value is not None]
    minutes = asked.minutes if asked.seconds is None else asked.seconds / 60
    evaluate = asked.evaluate or minutes is not None
    try:
        run = train(
            asked.data,
            recipe=asked.recipe,
            minutes=minutes,
            validation=asked.validation,
            group=asked.group,
            seed=asked.seed,
            settings=settings,
            out=asked.out,
            cache=asked.cache,
            save_every=asked.save_every,
            spent=process_age(),
            tested=evaluate,
            log=asked.log,
        )
    except Interrupted as interrupted:
        return _interrupted(interrupted, as_json=asked.json)
    return _finish(run, evaluate=evaluate, as_json=asked.json, log=asked.log)


def _resume(asked: argparse.Namespace) -> int:
    begin()
    from foveal.runs.train import resume

    folder = RunFolder(asked.run)
    was_finished = folder.state in ("trained", "evaluated")
    # A budget that has room for the test is kept as if nothing had come between.
    tested = not was_finished and any(event.get("tested") for event in folder.events())
    try:
        run = resume(
            asked.run,
            cache=asked.cache,
            force=asked.force,
            save_every=asked.save_every,
            spent=process_age(),
            log=asked.log,
        )
    except Interrupted as interrupted:
        return _interrupted(interrupted, as_json=asked.json)
    code = _finish(run, evaluate=asked.evaluate or tested, as_json=asked.json, log=asked.log)
    return 0 if was_finished else code


def _interrupted(interrupted: Interrupted, *, as_json: bool) -> int:
    from foveal.runs.run import Run

    if as_json:
        say(json.dumps(Run(interrupted.run).summary()))
    raise interrupted


def _finish(run: "Run", *, evaluate: bool, as_json: bool, log: list[str]) -> int:
    """Judge on the test split if asked, print the outcome, and say what can come next."""
    from foveal.planning.plan import SEARCHING_FROM
    from foveal.runs.loggers import Loggers

    if evaluate:
        evaluation = run.evaluate("test") if run.has_test else run.evaluation("validation")
        budgets = [event["seconds"] for event in run.folder.events() if event["event"] == "plan"]
        Loggers(log, run.folder).finish()
        report = run.report(neighbours=not budgets or budgets[0] >= SEARCHING_FROM)
        if as_json:
            say(json.dumps(run.summary()))
        else:
            judged = "" if evaluation is None else f"{evaluation}\n\n"
            say(f"{judged}report: {report}")
            progress.line(f"use the model: foveal predict {run.path} IMAGE …")
    elif as_json:
        say(json.dumps(run.summary()))
    else:
        say(str(run.path))
        progress.line(f"next: foveal evaluate {run.path}  or  foveal predict {run.path} IMAGE …")
    return 1 if run.folder.dataset["left_out"] else 0


def _recipes(asked: argparse.Namespace) -> int:
    if asked.classes < 2:
        raise RecipeError(f"--classes is {asked.classes}; a classifier needs two or more")
    if asked.name is None and asked.json:
        say(json.dumps({name: make().to_json() for name, make in builtin.RECIPES.items()}))
        return 0
    if asked.name is None:
        rows = [
            [name, (make.__doc__ or "").removeprefix("Return ").partition("\n")[0]]
            for name, make in builtin.RECIPES.items()
        ]
        say(text_table(["recipe", "what it is"], rows))
        return 0
    recipe = builtin.load(asked.name)
    if asked.json:
        json.dump(recipe.to_json(), sys.stdout, indent=2)
        say("")
        return 0
    from foveal.models import registry

    channels = 1 if recipe.image.channels == "grey" else 3
    shape = {"size": recipe.image.size, "channels": channels}
    network = registry.build(recipe.model, **shape, classes=asked.classes, seed=0)
    side = recipe.image.size
    say(f"{recipe.name}: images {side} × {side} × {channels}, {asked.classes} classes\n")
    say(registry.show_table(network, **shape))
    say("\nsettings (--set KEY=VALUE):")
    for path, value in _settings_of(recipe):
        say(f"  {path} = {value}")
    return 0


def _settings_of(recipe: Recipe) -> list[tuple[str, str]]:
    found = []
    for key, value in recipe.to_json().items():
        if isinstance(value, dict):
            found += [(f"{key}.{part}", json.dumps(each)) for part, each in value.items() if part != "name"]
        elif key != "name":
            found.append((key, "none" if value is None else json.dumps(value)))
    return found
