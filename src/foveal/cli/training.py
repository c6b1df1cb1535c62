"""`foveal train`, `resume`, `evaluate`, `report`, `recipes` and `demo`."""

import argparse
import ctypes
import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from foveal import progress
from foveal import recipe as recipes
from foveal.engine.library import kernels
from foveal.errors import Interrupted, RecipeError
from foveal.run import RunFolder

if TYPE_CHECKING:
    from foveal.results import Run

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""What glibc's malloc.h calls them."""


def add_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse does not name this type
    """Add these verbs to the parser."""
    _add_demo(verbs)
    _add_train(verbs)
    _add_resume(verbs)
    _add_evaluate(verbs)
    _add_report(verbs)
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
    _add_json(demo)
    demo.set_defaults(call=_demo)


def _add_train(verbs: Any) -> None:  # noqa: ANN401
    train = verbs.add_parser(
        "train",
        help="train a classifier on class folders",
        description="Train a classifier on class folders. The test split is opened only with --evaluate.",
    )
    train.add_argument(
        "data", metavar="DIR", type=Path, help="train1…N/CLASS, train/CLASS with test/CLASS, or CLASS"
    )
    train.add_argument(
        "--recipe",
        metavar="NAME",
        default="model-s-02",
        help="a name (foveal recipes) or a .toml or .json file",
    )
    train.add_argument(
        "--validation", metavar="SPLIT", help="the split that validates, such as train2; none: all train"
    )
    train.add_argument("--group", metavar="REGEX", help="images whose paths match alike never part")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    train.add_argument(
        "--fit", choices=get_args(recipes.Fit), help="what happens to images that are no squares"
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
    _add_json(train)
    train.set_defaults(call=_train)


def _add_resume(verbs: Any) -> None:  # noqa: ANN401
    resume = verbs.add_parser("resume", help="go on with an interrupted run where it stopped")
    resume.add_argument("run", metavar="RUN", type=Path)
    resume.add_argument("--evaluate", action="store_true", help="go on: test, and write the report")
    _add_json(resume)
    resume.set_defaults(call=_resume)


def _add_evaluate(verbs: Any) -> None:  # noqa: ANN401
    evaluate = verbs.add_parser("evaluate", help="measure a trained model on a split")
    evaluate.add_argument("run", metavar="RUN", type=Path)
    evaluate.add_argument("--split", choices=("test", "validation"), default="test", help="default: test")
    _add_json(evaluate)
    evaluate.set_defaults(call=_evaluate)


def _add_report(verbs: Any) -> None:  # noqa: ANN401
    report = verbs.add_parser("report", help="write the report of what a run has measured so far")
    report.add_argument("run", metavar="RUN", type=Path)
    _add_json(report)
    report.set_defaults(call=_report)


def _add_recipes(verbs: Any) -> None:  # noqa: ANN401
    listing = verbs.add_parser("recipes", help="list the recipes, or show one layer by layer")
    listing.add_argument("name", metavar="NAME", nargs="?")
    listing.add_argument("--classes", metavar="N", type=int, default=10, help="default: 10")
    listing.add_argument("--json", action="store_true", help="print the recipe as JSON")
    listing.set_defaults(call=_recipes)


def _add_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the result, on standard output


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


def _begin() -> None:
    """Prepare the command's process for training, before torch is imported."""
    _keep_freed_memory()
    # The first time, a compiler works for a second or two, beside torch's import and the decoding of images.
    threading.Thread(target=kernels, daemon=True).start()


def _demo(asked: argparse.Namespace) -> int:
    _begin()
    from foveal.data import sources
    from foveal.fit import train

    digits = asked.folder / "digits"
    if not digits.exists():
        sources.get("digits", digits)
    run = train(digits, recipe="digits", out=_free_name(asked.folder / "run"))
    return _finish(run, evaluate=True, as_json=asked.json)


def _free_name(path: Path) -> Path:
    """Return `path`, or with the first number that makes it free: a demo may be run again."""
    number = 1
    free = path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _train(asked: argparse.Namespace) -> int:
    _begin()
    from foveal.fit import train

    flags = {
        "image.fit": asked.fit,
        "image.background": asked.background,
        "class_weights": asked.class_weights,
    }
    settings = asked.settings + [f'{key}="{value}"' for key, value in flags.items() if value is not None]
    try:
        run = train(
            asked.data,
            recipe=asked.recipe,
            validation=asked.validation,
            group=asked.group,
            seed=asked.seed,
            settings=settings,
            out=asked.out,
            cache=asked.cache,
        )
    except Interrupted as interrupted:
        return _interrupted(interrupted, as_json=asked.json)
    return _finish(run, evaluate=asked.evaluate, as_json=asked.json)


def _resume(asked: argparse.Namespace) -> int:
    _begin()
    from foveal.fit import resume

    was_finished = RunFolder(asked.run).state in ("trained", "evaluated")
    try:
        run = resume(asked.run)
    except Interrupted as interrupted:
        return _interrupted(interrupted, as_json=asked.json)
    code = _finish(run, evaluate=asked.evaluate, as_json=asked.json)
    return 0 if was_finished else code


def _interrupted(interrupted: Interrupted, *, as_json: bool) -> int:
    from foveal.results import Run

    if as_json:
        _say(json.dumps(Run(interrupted.run).summary()))
    raise interrupted


def _finish(run: "Run", *, evaluate: bool, as_json: bool) -> int:
    """Judge on the test split if asked, print the outcome, and say what can come next."""
    if evaluate:
        evaluation = run.evaluate("test") if run.has_test else run.evaluation("validation")
        report = run.report()
        if as_json:
            _say(json.dumps(run.summary()))
        else:
            judged = "" if evaluation is None else f"{evaluation}\n\n"
            _say(f"{judged}report: {report}")
            progress.line(f"use the model: foveal predict {run.path} IMAGE …")
    elif as_json:
        _say(json.dumps(run.summary()))
    else:
        _say(str(run.path))
        progress.line(f"next: foveal evaluate {run.path}  or  foveal predict {run.path} IMAGE …")
    return 1 if run.folder.dataset["left_out"] else 0


def _evaluate(asked: argparse.Namespace) -> int:
    from foveal.results import Run

    run = Run(asked.run)
    evaluation = run.evaluate(asked.split)
    if asked.json:
        _say(json.dumps({"run": str(run.path), **evaluation.to_json()}))
    else:
        _say(str(evaluation))
        progress.line(f"next: foveal report {run.path}")
    return 0


def _report(asked: argparse.Namespace) -> int:
    from foveal.results import Run

    page = str(Run(asked.run).report())
    _say(json.dumps({"run": str(asked.run), "report": page}) if asked.json else page)
    return 0


def _recipes(asked: argparse.Namespace) -> int:
    if asked.classes < 2:
        raise RecipeError(f"--classes is {asked.classes}; a classifier needs two or more")
    if asked.name is None and asked.json:
        _say(json.dumps({name: make().to_json() for name, make in recipes.RECIPES.items()}))
        return 0
    if asked.name is None:
        rows = [
            [name, (make.__doc__ or "").removeprefix("Return ").partition("\n")[0]]
            for name, make in recipes.RECIPES.items()
        ]
        _say(progress.table(["recipe", "what it is"], rows))
        return 0
    recipe = recipes.load(asked.name)
    if asked.json:
        json.dump(recipe.to_json(), sys.stdout, indent=2)
        _say("")
        return 0
    from foveal.models import registry

    channels = 1 if recipe.image.channels == "grey" else 3
    shape = {"size": recipe.image.size, "channels": channels}
    network = registry.build(recipe.model, **shape, classes=asked.classes, seed=0)
    side = recipe.image.size
    _say(f"{recipe.name}: images {side} × {side} × {channels}, {asked.classes} classes\n")
    _say(registry.show_table(network, **shape))
    _say("\nsettings (--set KEY=VALUE):")
    for path, value in _settings_of(recipe):
        _say(f"  {path} = {value}")
    return 0


def _settings_of(recipe: recipes.Recipe) -> list[tuple[str, str]]:
    found = []
    for key, value in recipe.to_json().items():
        if isinstance(value, dict):
            found += [(f"{key}.{part}", json.dumps(each)) for part, each in value.items() if part != "name"]
        elif key != "name":
            found.append((key, "none" if value is None else json.dumps(value)))
    return found
