"""Results of speed: how each came about, every single measurement, and the figures made of them."""

import argparse
import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from benchmarks import RESULTS
from benchmarks.measurement import machine
from benchmarks.measurement.command_line import add_cifar10, create_parser, running_module

Measurement = dict[str, Any]
"""One measurement, as it goes into a JSON file."""


class Figure(TypedDict):
    """Repeated measurements of one quantity."""

    median: float
    lowest: float
    highest: float
    n: int
    each: list[float]


Figures = dict[str, Figure]
"""Figures by their names."""


class Record:
    """A result in progress. It is written again after every measurement.

    Args:
        name: The result goes to `results/speed/NAME.json`.
        parser: The script's parser, made by `create_timing_parser`.
        args: The arguments that the parser has read.
    """

    def __init__(self, name: str, parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
        default = None if args.quick else RESULTS / "speed" / f"{name}.json"
        self._file: Path | None = args.write or default
        self.content: dict[str, Any] = {
            "command": format_command(parser, args),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "hardware": machine.describe_hardware(),
            "load_before": machine.load_average(),
            "versions": machine.describe_versions(),
            "environment": machine.timing_variables(),
        }

    def write(self, **parts: object) -> None:
        """Add what is measured so far, and write everything."""
        self.content |= parts
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")

    def finish(self, figures: Figures) -> None:
        """Write the figures and print them."""
        self.write(load_after=machine.load_average(), figures=figures)
        for name, figure in figures.items():
            low, high = figure["lowest"], figure["highest"]
            print(f"{name}: {figure['median']:.4g} ({low:.4g} to {high:.4g}, n = {figure['n']})")
        print("nothing was written" if self._file is None else f"everything is in {self._file}")


def create_timing_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the options that all scripts on speed have."""
    parser = create_parser(description)
    add_cifar10(parser)
    parser.add_argument("--quick", action="store_true", help="a short look: prints, and writes nothing")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the result's file")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where Foveal's decoded images are kept")
    parser.add_argument(
        "--tensorflow",
        nargs="*",
        default=["2.15", "current"],
        metavar="VERSION[=DIR]",
        help="2.15, current or both, each with its environment; nothing leaves the notebook out",
    )
    parser.add_argument("--limit", type=int, help="only so many batches a folder for the notebook: a trial")
    return parser


def format_command(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """Return the command that makes this result again, without the names of folders."""
    words = ["python", "-m", running_module(), "DATA"]
    for name, value in vars(args).items():
        if name == "tensorflow":
            value = [choice.partition("=")[0] for choice in value]
        if isinstance(value, Path) or value == parser.get_default(name):
            continue
        option = f"--{name.replace('_', '-')}"
        if name == "tensorflow":
            words += [option, *value]
        elif isinstance(value, list):  # The option is given once for each item.
            words += [word for item in value for word in (option, str(item))]
        else:
            words += [option] if value is True else [option, str(value)]
    return " ".join(words)


def summarise(values: Sequence[float]) -> Figure:
    """Return the median and range of measurements, their number, and each of them."""
    return {
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
        "n": len(values),
        "each": list(values),
    }


def summarise_ratios(ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Return how many times as long theirs took, from pairs of seconds that were measured side by side."""
    return summarise([their / our for our, their in zip(ours, theirs, strict=True)])
