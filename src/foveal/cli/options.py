"""The options that several verbs share. Each is declared here, once."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveal.data.options import DataOptions
    from foveal.run.options import TrainOptions

Verbs = Any
"""What `add_subparsers` returns; argparse has no public name for it."""


def add_data(verb: argparse.ArgumentParser) -> None:
    """Add the data, how they are read and divided, and `--cache`."""
    verb.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="a folder with train1…N/CLASS, train/CLASS and test/CLASS, or CLASS; or a table of labels "
        "(CSV, TSV, Parquet)",
    )
    verb.add_argument(
        "--images", metavar="DIR", type=Path, help="what the table's paths belong to; default: its folder"
    )
    verb.add_argument(
        "--columns",
        metavar="ROLE=COLUMN",
        action="append",
        help="the table's columns where their names do not tell, such as path=file,label=species; further "
        "roles: split, group; none: no such column",
    )
    verb.add_argument(
        "--layout",
        choices=("classes", "splits", "subfolders"),
        help="what the folders are, where that is asked: the first ones are classes, or splits that hold "
        "classes, or their subfolders are classes",
    )
    verb.add_argument(
        "--validation", metavar="SPLIT", help="the split that validates, such as train2; none: all train"
    )
    verb.add_argument("--group", metavar="REGEX", help="images whose paths match alike are never divided")
    add_cache(verb, default="the user's cache folder")
    add_verify(verb)


def get_data(args: argparse.Namespace) -> "DataOptions":
    """Return what `add_data` parsed."""
    from foveal.data.options import DataOptions

    return DataOptions(
        args.data,
        validation=args.validation,
        group=args.group,
        cache=args.cache,
        images=args.images,
        columns=args.columns,
        layout=args.layout,
        verify=args.verify,
    )


def add_moved_data(verb: argparse.ArgumentParser) -> None:
    """Add `--data` and `--images`: where the data of a run are now."""
    verb.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="where the images, or the table of their labels, are now, if moved; checked by digests",
    )
    verb.add_argument("--images", metavar="DIR", type=Path, help="with a table: the folder of its images now")


def get_moved_data(args: argparse.Namespace) -> "DataOptions | None":
    """Return what `add_moved_data` parsed, or None where the data were not moved."""
    from foveal.data.options import DataOptions
    from foveal.errors import RunError

    if args.data is None:
        if args.images is not None:
            raise RunError("--images has no effect without --data, which names the table of labels")
        return None
    return DataOptions(args.data, images=args.images)


def add_verify(verb: argparse.ArgumentParser) -> None:
    """Add `--verify`."""
    verb.add_argument(
        "--verify",
        action="store_true",
        help="read all image files and compare them with the decoded images; by default a sample, and the "
        "files whose inode or time has changed",
    )


def add_cache(verb: argparse.ArgumentParser, *, default: str) -> None:
    """Add `--cache`."""
    verb.add_argument(
        "--cache", metavar="DIR", type=Path, help=f"the folder for decoded images; default: {default}"
    )


def add_recipe(options: Any, *, default: str | None = None) -> None:  # noqa: ANN401 - a parser or a group of one
    """Add `--recipe`."""
    text = "a name (foveal recipes) or a .toml or .json file"
    options.add_argument("--recipe", metavar="NAME", help=text + (f"; default: {default}" if default else ""))


def add_budget(options: Any, text: str) -> None:  # noqa: ANN401 - a parser or a group of one
    """Add `--budget`, with what it means for the verb."""
    options.add_argument("--budget", metavar="TIME", help=f"such as 30s, 5m or 1h: {text}")


def add_settings(verb: argparse.ArgumentParser) -> None:
    """Add `--set`."""
    verb.add_argument(
        "--set", metavar="KEY=VALUE", dest="settings", action="append", default=[], help="change the recipe"
    )


def add_seed(verb: argparse.ArgumentParser) -> None:
    """Add `--seed`."""
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def add_out(verb: argparse.ArgumentParser, metavar: str, name: str) -> None:
    """Add `--out`, the folder that the verb makes."""
    verb.add_argument("--out", metavar=metavar, type=Path, help=f"default: runs/DATE-TIME-{name}")


def add_saving(verb: argparse.ArgumentParser) -> None:
    """Add `--save-every` and `--log`."""
    verb.add_argument(
        "--save-every",
        metavar="S",
        type=float,
        default=60.0,
        help="seconds between checkpoints within an epoch; default: 60; one follows each epoch",
    )
    add_log(verb)


def add_log(verb: argparse.ArgumentParser) -> None:
    """Add `--log`."""
    verb.add_argument(
        "--log",
        metavar="WHERE",
        action="append",
        default=[],
        help="also send every epoch's figures to tensorboard (RUN/tensorboard) or mlflow "
        "(MLFLOW_TRACKING_URI); may be given twice",
    )


def get_saving(args: argparse.Namespace) -> "TrainOptions":
    """Return what `add_saving` parsed."""
    from foveal.run.options import TrainOptions

    return TrainOptions(save_every=args.save_every, log=args.log)


def add_evaluate(verb: argparse.ArgumentParser) -> None:
    """Add `--evaluate`."""
    verb.add_argument("--evaluate", action="store_true", help="go on: test, and write the report")


def add_split(verb: argparse.ArgumentParser) -> None:
    """Add `--split`."""
    verb.add_argument("--split", choices=("test", "validation"), default="test", help="default: test")


def add_runs_folder(verb: argparse.ArgumentParser) -> None:
    """Add the folder of runs."""
    verb.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", default=Path("runs"), help="default: runs"
    )


def add_json(verb: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    verb.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
