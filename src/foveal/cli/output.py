"""What verbs have in common: their results on standard output."""

import argparse


def add_json(verb: argparse.ArgumentParser) -> None:
    """Add `--json` to a verb."""
    verb.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def say(text: str) -> None:
    """Print a result."""
    print(text)  # noqa: T201 - the result, on standard output


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
