"""`foveal` as whole processes, each in a temporary folder of its own."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measurement.child import foveal_program, run_process
from benchmarks.measurement.journal import Line


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Create a folder for one process. It is removed at the end of the `with` block."""
    return tempfile.TemporaryDirectory(prefix="foveal-benchmark-")


def run_json_command(words: Sequence[str], *, folder: Path, names: Mapping[str, str]) -> tuple[Line, Line]:
    """Run a command to its end; return what it took, and the JSON object in its last line.

    In the command that is kept, the words in `names` are replaced. So it names no folder of this machine.

    Raises:
        RuntimeError: The command failed.
    """
    finished = run_process(words, environment=dict(os.environ), folder=folder)
    if not finished.output.strip():
        raise RuntimeError(f"{words} printed nothing")
    answer: Line = json.loads(finished.output.splitlines()[-1])
    costs = {
        "seconds": round(finished.seconds, 3),
        "cpu_seconds": round(finished.cpu_user + finished.cpu_system, 3),
        "peak_memory_bytes": finished.peak_memory_bytes,
        "command": " ".join(names.get(word, word) for word in words),
    }
    return costs, answer


def run_training(data: Path, options: Sequence[str], *, folder: Path, cache: Path | None) -> Line:
    """Run `foveal train --json` as a whole process; return everything about it.

    The run's folder is `folder/run`. Without `cache` the process finds no decoded images. "decoded" tells
    whether it wrote any. Only the events on plans, their corrections and the end are kept.
    """
    out, images = folder / "run", folder / "cache" if cache is None else cache.resolve()
    images.mkdir(parents=True, exist_ok=True)
    before = list_files(images)
    words = [foveal_program(), "train", str(data), *options, "--json"]
    words += ["--out", str(out), "--cache", str(images)]
    names = {words[0]: "foveal", str(data): "DATA", str(out): "RUN", str(images): "CACHE"}
    costs, summary = run_json_command(words, folder=folder, names=names)
    environment = json.loads((out / "environment.json").read_text(encoding="utf-8"))
    return {
        **costs,
        "decoded": list_files(images) != before,
        "recipe": summary["recipe"],
        "epochs": summary["epochs"],
        "stopped": summary["stopped"],
        "training_seconds": summary["seconds"],
        "validation": summary["validation"],
        "test": summary["test"],
        "threads": environment["threads"],
        "events": read_plan_events(out),
    }


def read_plan_events(run_folder: Path) -> list[Line]:
    """Return a run's events on planning, correcting and having trained, without the time of day."""
    text = (run_folder / "events.jsonl").read_text(encoding="utf-8")
    events = [json.loads(line) for line in text.splitlines()]
    return [
        {name: value for name, value in event.items() if name != "time"}
        for event in events
        if event["event"] in ("plan", "budget", "trained")
    ]


def list_files(folder: Path) -> set[Path]:
    """Return all files below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}
