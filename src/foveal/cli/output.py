"""What verbs have in common: their results on standard output."""

import argparse


def add_json(verb: argparse.ArgumentParser) -> None:
    """Add `--json` to a verb."""
    verb.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def say(text: str) -> None:
    """Print a result."""
    print(text)  # noqa: T201 - the result, on standard output
