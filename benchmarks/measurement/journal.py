"""Results with one line for each run: a run is added when it ends, and never measured again.

A file `benchmarks/results/FOLDER/NAME.jsonl` holds one JSON object for each run: the key that identifies it,
how it came about, and what was measured. A run that was cut short or failed leaves no line.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measurement import machine
from benchmarks.measurement.command_line import create_parser

UNRELATED_PREFIX = "TF_CLI_"
"""The prefix of Terraform's variables. It resembles TensorFlow's, and they name files of this machine."""

Line = dict[str, Any]
"""One run, as it stands in the file."""


class Journal:
    """The results of one script.

    Args:
        file: The file of the results. None keeps nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.failed = 0
        """The number of runs that have failed since this object was made."""

    def read_lines(self) -> list[Line]:
        """Return all results. A last line that a crash has cut short does not count."""
        if self._file is None or not self._file.exists():
            return []
        whole = self._file.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def find(self, key: Mapping[str, object]) -> Line | None:
        """Return the line with this key, or None."""
        for line in self.read_lines():
            if all(name in line and line[name] == value for name, value in key.items()):
                return line
        return None

    def measure_once(self, key: Mapping[str, object], measure: Callable[[], Line]) -> Line | None:
        """Return the line with this key. If there is none, measure now and add it.

        Returns None if measuring failed; the failure is printed, because the other runs still count.
        """
        if (known := self.find(key)) is not None:
            return known
        before = describe_circumstances()
        try:
            measured = measure()
        except RuntimeError as error:
            self.failed += 1
            print(f"failed: {format_key(key)}\n{error}", file=sys.stderr, flush=True)
            return None
        line = {**key, **measured, **before, "load_after": machine.load_average()}
        self._add(line)
        return line

    def _add(self, line: Line) -> None:
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as file:
            torn = len(self._file.read_bytes().rpartition(b"\n")[2])
            file.truncate(file.tell() - torn)
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def describe_circumstances() -> Line:
    """Return when a run takes place, on which machine, and beside which load."""
    variables = machine.timing_variables()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": machine.describe_hardware(),
        "load_before": machine.load_average(),
        "versions": machine.describe_versions(),
        "environment": {
            name: value for name, value in variables.items() if not name.startswith(UNRELATED_PREFIX)
        },
    }


def format_key(key: Mapping[str, object]) -> str:
    """Return a key as words for people."""
    return ", ".join(f"{name} {' '.join(v) if isinstance(v, list) else v}" for name, v in key.items() if v)


# ---- command lines


def create_journal_parser(description: str | None, file: Path, runs: int) -> argparse.ArgumentParser:
    """Create a parser with the options that all scripts with a journal have."""
    parser = create_parser(description)
    parser.add_argument("data", type=Path, nargs="?", help="CIFAR-10 as `foveal data get cifar10` writes it")
    parser.add_argument(
        "--runs", type=int, default=runs, metavar="N", help=f"seeds 0 to N − 1; default: {runs}"
    )
    parser.add_argument("--quick", action="store_true", help="one run: prints, and writes nothing")
    parser.add_argument("--write", type=Path, default=file, metavar="FILE")
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    parser.epilog = "What stands after -- is passed on to `foveal train`."
    return parser


def parse_arguments(
    parser: argparse.ArgumentParser, words: Sequence[str] | None = None
) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; return the script's own arguments, and the words after `--` for Foveal."""
    own = list(sys.argv[1:] if words is None else words)
    extra: list[str] = []
    if "--" in own:
        index = own.index("--")
        own, extra = own[:index], own[index + 1 :]
    args = parser.parse_args(own)
    if not args.table:
        if args.data is None or not args.data.is_dir():
            parser.error("name DATA, a folder that is there")
        args.data = args.data.resolve()  # Processes run in folders of their own.
    if args.quick:
        args.runs = 1
    return args, extra


def open_journal(args: argparse.Namespace) -> Journal:
    """Open the file that the command line names. With `--quick` nothing is kept."""
    return Journal(None if args.quick and not args.table else args.write)
