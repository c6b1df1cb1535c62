"""Results kept a line a run: added as soon as they are there, not measured again, laid out as tables.

A file `benchmarks/results/NAME.jsonl` holds one JSON object a run: what it is known by (its key), how it came
about, what was measured. A measurement cut short leaves no line, and neither does a run that failed.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import child
import notebook_keras
import record
from contender import VARIABLES

RESULTS = Path(__file__).parent / "results"
NOT_OURS = "TF_CLI_"
"""Terraform's variables begin as TensorFlow's do; they name files of this machine and change nothing."""

Line = dict[str, Any]


class Journal:
    """The results of one script.

    Args:
        file: where they are kept; None keeps nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.failed = 0
        """Runs that failed since."""

    def lines(self) -> list[Line]:
        """Read what is there. A last line that was cut short by a crash is none."""
        if self._file is None or not self._file.exists():
            return []
        whole = self._file.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def find(self, key: Mapping[str, object]) -> Line | None:
        """Return the line known by `key`, if it is there."""
        for line in self.lines():
            if all(name in line and line[name] == value for name, value in key.items()):
                return line
        return None

    def take(self, key: Mapping[str, object], measure: Callable[[], Line]) -> Line | None:
        """Return the line known by `key`; if it is not there, measure now and add it. None: that failed."""
        if (found := self.find(key)) is not None:
            return found
        before = circumstances()
        try:
            measured = measure()
        except RuntimeError as error:  # one run's fault; the others are wanted all the same
            self.failed += 1
            print(f"failed: {told(key)}\n{error}", file=sys.stderr, flush=True)
            return None
        line = {**key, **measured, **before, "load_after": notebook_keras.load()}
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


def circumstances() -> Line:
    """Say when, on what and beside what a run takes place."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": notebook_keras.hardware(),
        "load_before": notebook_keras.load(),
        "versions": record.versions(),
        "environment": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(VARIABLES) and not name.startswith(NOT_OURS)
        },
    }


def told(key: Mapping[str, object]) -> str:
    """Write a key for people."""
    return ", ".join(f"{name} {' '.join(v) if isinstance(v, list) else v}" for name, v in key.items() if v)


# ---- command lines


def arguments(description: str | None, name: str, runs: int) -> argparse.ArgumentParser:
    """Make a parser with what these benchmarks understand; their results go to `results/NAME.jsonl`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", help="CIFAR-10 as `foveal data get cifar10` writes it")
    parser.add_argument(
        "--runs", type=int, default=runs, metavar="N", help=f"seeds 0 to N − 1; default: {runs}"
    )
    parser.add_argument("--quick", action="store_true", help="one run: prints, and writes nothing")
    parser.add_argument("--write", type=Path, default=RESULTS / f"{name}.jsonl", metavar="FILE")
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    parser.epilog = "What stands after -- is passed on to `foveal train`."
    return parser


def parse(
    parser: argparse.ArgumentParser, words: Sequence[str] | None = None
) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; return what was asked, and the words after `--`, which are Foveal's."""
    own = list(sys.argv[1:] if words is None else words)
    extra: list[str] = []
    if "--" in own:
        at = own.index("--")
        own, extra = own[:at], own[at + 1 :]
    asked = parser.parse_args(own)
    if not asked.table:
        if asked.data is None or not asked.data.is_dir():
            parser.error("name DATA, a folder that is there")
        asked.data = asked.data.resolve()  # processes run in folders of their own
    if asked.quick:
        asked.runs = 1
    return asked, extra


def open_journal(asked: argparse.Namespace) -> Journal:
    """Open the file that the command line names; `--quick` keeps nothing."""
    return Journal(None if asked.quick and not asked.table else asked.write)


# ---- whole processes


def run(words: Sequence[str], *, folder: Path, names: Mapping[str, str]) -> tuple[Line, Line]:
    """Run a command to its end; return what it took, and the JSON object in its last line.

    In the command that is kept, the words in `names` are replaced: no folder of this machine is in it.

    Raises:
        RuntimeError: it failed.
    """
    finished = child.run(words, environment=dict(os.environ), folder=folder)
    if not finished.output.strip():
        raise RuntimeError(f"{words} printed nothing")
    said: Line = json.loads(finished.output.splitlines()[-1])
    took = {
        "seconds": round(finished.seconds, 3),
        "cpu_seconds": round(finished.cpu_user + finished.cpu_system, 3),
        "peak_memory_bytes": finished.peak_memory_bytes,
        "command": " ".join(names.get(word, word) for word in words),
    }
    return took, said


def train(data: Path, options: Sequence[str], *, folder: Path, cache: Path | None) -> Line:
    """Run `foveal train --json` as a whole process; return everything about it.

    The run is `folder/run`. Without `cache` it finds no decoded images; "decoded" tells whether it wrote any.
    Of its events those are kept that tell of plans and their corrections, and of the end.
    """
    out, kept = folder / "run", folder / "cache" if cache is None else cache.resolve()
    kept.mkdir(parents=True, exist_ok=True)
    before = files(kept)
    words = [record.foveal(), "train", str(data), *options, "--json", "--out", str(out), "--cache", str(kept)]
    names = {words[0]: "foveal", str(data): "DATA", str(out): "RUN", str(kept): "CACHE"}
    took, said = run(words, folder=folder, names=names)
    environment = json.loads((out / "environment.json").read_text(encoding="utf-8"))
    return {
        **took,
        "decoded": files(kept) != before,
        "recipe": said["recipe"],
        "epochs": said["epochs"],
        "stopped": said["stopped"],
        "training_seconds": said["seconds"],
        "validation": said["validation"],
        "test": said["test"],
        "threads": environment["threads"],
        "events": events(out),
    }


def events(run_folder: Path) -> list[Line]:
    """Read a run's events of planning, correcting and having trained, without the time of day."""
    text = (run_folder / "events.jsonl").read_text(encoding="utf-8")
    every = [json.loads(line) for line in text.splitlines()]
    return [
        {name: value for name, value in event.items() if name != "time"}
        for event in every
        if event["event"] in ("plan", "budget", "trained")
    ]


def files(folder: Path) -> set[Path]:
    """List all files below a folder."""
    return {each for each in folder.rglob("*") if each.is_file()}


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """Make a folder for one process, to be removed after it."""
    return tempfile.TemporaryDirectory(prefix="foveal-benchmark-")


# ---- tables


def laid(values: Iterable[float | None], form: str) -> str:
    """Lay out a mean with its standard deviation and range, each number in the given format.

    Values that are None were not measured; if all are, the cell is empty. A single value stands alone.
    """
    found = [value for value in values if value is not None]
    if not found:
        return ""
    if len(found) == 1:
        return format(found[0], form)
    mean, deviation = statistics.mean(found), statistics.stdev(found)
    unsigned = form.removeprefix("+")
    return (
        f"{format(mean, form)} ± {format(deviation, unsigned)} "
        f"({format(min(found), form)} to {format(max(found), form)})"
    )


def grouped(lines: Iterable[Line], names: Sequence[str]) -> dict[tuple[Any, ...], list[Line]]:
    """Group lines by some of their values, in the order of these; lists count as their words."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        values = (line[name] for name in names)
        key = tuple(" ".join(value) if isinstance(value, list) else value for value in values)
        groups.setdefault(key, []).append(line)
    return dict(sorted(groups.items()))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay out a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def described(lines: Sequence[Line]) -> str:
    """Say on what lines were measured, and by which versions."""

    def several(values: Iterable[object]) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    if not lines:
        return "nothing is measured yet"
    return (
        f"{several(each['hardware']['processor'] for each in lines)}, "
        f"cores {several(each['hardware']['cores'] for each in lines)}, "
        f"threads {several(each['threads'] for each in lines)}; "
        f"Foveal {several(each['versions']['commit'] for each in lines)}, "
        f"torch {several(each['versions']['torch'] for each in lines)}"
    )
