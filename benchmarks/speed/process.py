"""Whole processes: `foveal train --evaluate` from PNG folders, against the notebook's whole time.

    foveal data get cifar10 cifar10
    python -m benchmarks.speed.process cifar10 --recipe sprint
    python -m benchmarks.speed.process cifar10 --recipe sprint --quick
    python -m benchmarks.speed.process cifar10 --recipe model-s-02 --set epochs=1 --runs 2 --tensorflow 2.15
    python -m benchmarks.speed.process cifar10 --recipe sprint --tensorflow 2.15=DIR current=DIR

Every seed of `SEEDS`, which were fixed before any of them had been run, trains on the notebook's four
training folders, validates on train2 and evaluates the test folder, in four processes:

- cold: with nothing cached. Packed images, compiled kernels and matplotlib's list of fonts go into empty
  folders. The operating system decides which PNG files are in memory, as it does for the notebook.
- cached: the same command again, with the caches that the first has filled.
- both once more with compilers hidden: nothing on the PATH, and other empty folders.

Measured are the wall seconds from start to end, CPU seconds, the memory of the process and its children, the
test accuracy, and the seconds from the start to the end of each epoch with its validation accuracy.

The notebook's whole time is its start-up (from the process's start to `model.fit`: imports, listing,
building) plus 19 times the median of its epochs (training and validation, with its callbacks), on the faster
of TensorFlow 2.15 and the current one. After every seed one epoch of one of them is measured, in turn, in
processes that idle otherwise (see `peers/contender.py`).

With the recipe `sprint`, plain eager PyTorch runs after every seed with the same recipe and the packed
images: `benchmarks.peers.sprint`, a whole process.

`--others N` runs plain PyTorch and the hidden compilers with the first N seeds only.

Writes `benchmarks/results/speed/process-RECIPE.json` again after every process. About forty minutes for
`sprint` and ten seeds; `--quick` runs one seed, compilers found, and no notebook.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from benchmarks import CHECKOUT
from benchmarks.measurement import machine
from benchmarks.measurement.child import foveal_program, run_process
from benchmarks.measurement.record import Figures, Measurement, Record, create_timing_parser, summarise
from benchmarks.peers import launch
from benchmarks.peers.contender import Contender
from benchmarks.peers.launch import WITH_COMPILER, WITHOUT_COMPILER

SEEDS = (101, 102, 103, 104, 105, 106, 107, 108, 109, 110)
NOTEBOOK_EPOCHS = 19
"""The number of epochs in the notebook's own log."""
NOTEBOOK_ACCURACY = 0.8155
"""The accuracy of the notebook on the test folder."""


def main() -> None:
    """Measure, write and print."""
    parser = create_timing_parser(__doc__)
    parser.add_argument("--recipe", default="sprint")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--runs", type=int, default=len(SEEDS), help="only so many of the seeds")
    parser.add_argument(
        "--others", type=int, default=len(SEEDS), metavar="N", help="hidden compilers and the peer: N seeds"
    )
    parser.add_argument("--start-ups", type=int, default=3, help="of each notebook")
    args = parser.parse_args()
    args.data = args.data.resolve()
    result = Record(f"process-{args.recipe}", parser, args)
    runs: list[Measurement] = []
    peers: list[Measurement] = []
    epochs: list[Measurement] = []
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        commands = {} if args.quick else launch.notebook_commands(args, "epochs")
        start_ups = {name: measure_start_ups(name, words, args.start_ups) for name, words in commands.items()}
        notebooks = [stack.enter_context(Contender(name, words)) for name, words in commands.items()]
        contenders = launch.describe_contenders(notebooks)
        result.write(contenders=contenders, seeds=SEEDS, start_ups=start_ups)
        for number, seed in enumerate(SEEDS[: 1 if args.quick else args.runs]):
            others = number < args.others
            for compilers in (True, False) if others and not args.quick else (True,):
                folder = Path(temporary, f"{seed}-{'foveal' if compilers else 'hidden'}")
                for condition in ("cold", "cached"):
                    runs.append(train(args, seed, condition, folder, compilers=compilers))
                    result.write(runs=runs)
                if compilers and others and args.recipe == "sprint":
                    peers.append(train_peer(args, seed, folder))
                    result.write(peers=peers)
                shutil.rmtree(folder)
            if notebooks:
                epochs.append(measure_epoch(notebooks[number % len(notebooks)]))
                result.write(epochs=epochs)
    notebook = notebook_seconds(start_ups, epochs)
    result.write(notebook_seconds=notebook)
    result.finish(compute_figures(runs, peers, epochs, notebook, whole=not args.set))


def measure_start_ups(name: str, words: Sequence[str], n: int) -> list[float]:
    """Start the notebook n times, up to its first epoch, and return the seconds of each start."""
    times = []
    for _ in range(n):
        with Contender(name, words) as contender:
            times.append(contender.start_up)
    return times


def measure_epoch(notebook: Contender) -> Measurement:
    """Train one epoch of the notebook; print and return what it took."""
    epoch: Measurement = {"contender": notebook.name, **notebook.ask("epoch")}
    print(f"{notebook.name}: an epoch in {epoch['seconds']:.1f} s", flush=True)
    return epoch


def train(
    args: argparse.Namespace, seed: int, condition: str, folder: Path, *, compilers: bool
) -> Measurement:
    """Run `foveal train --evaluate` once; print a line about it, and return everything about it."""
    out = folder / condition
    words = [foveal_program(), "train", str(args.data), "--recipe", args.recipe, "--evaluate", "--json"]
    words += ["--validation", "train2", "--seed", str(seed)]
    words += ["--out", str(out), "--cache", str(folder / "packs")]
    words += [word for setting in args.set for word in ("--set", setting)]
    variables = launch.process_environment(folder, compilers=compilers)
    load = machine.load_average()
    finished = run_process(words, environment=variables, folder=folder)
    summary = json.loads(finished.output.splitlines()[-1])
    history = _read_json_lines(out / "history.jsonl")
    times = _read_event_times(out / "events.jsonl", finished.began)
    costs = asdict(finished)
    del costs["output"], costs["began"]
    run = {
        "contender": WITH_COMPILER if compilers else WITHOUT_COMPILER,
        "condition": condition,
        "seed": seed,
        "load_before": load,
        **costs,
        "peak_memory_bytes": finished.peak_memory_bytes,
        "validation": summary["validation"],
        "test": summary["test"],
        "threads": json.loads((out / "environment.json").read_text())["threads"],
        "seconds_until_training": times["training"][0],
        "seconds_until_trained": times["trained"][0],
        "epochs": [
            {"ended": ended, "validation_accuracy": epoch["validation_accuracy"]}
            for ended, epoch in zip(times["epoch"], history, strict=True)
        ],
    }
    print(
        f"{run['contender']}, {condition}, seed {seed}: {finished.seconds:.1f} s, "
        f"{summary['test']['accuracy']:.2%}, {finished.peak_memory_bytes / 1e6:,.0f} MB",
        flush=True,
    )
    return run


def _read_json_lines(file: Path) -> list[Measurement]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _read_event_times(file: Path, began: float) -> dict[str, list[float]]:
    """Return the seconds after the process's start at which events happened, by their names."""
    times: dict[str, list[float]] = {}
    for event in _read_json_lines(file):
        seconds = datetime.fromisoformat(event["time"]).timestamp() - began
        times.setdefault(event["event"], []).append(seconds)
    return times


def train_peer(args: argparse.Namespace, seed: int, folder: Path) -> Measurement:
    """Run plain PyTorch's recipe once; return its own seconds and those of the whole process."""
    words = [*launch.module_command("peers.sprint"), str(args.data), "--seed", str(seed)]
    words += ["--cache", str(folder / "packs")]
    variables = launch.process_environment(folder, compilers=True)
    finished = run_process(words, environment=variables, folder=CHECKOUT)
    answer = json.loads(finished.output.splitlines()[-1])
    costs = {"process_seconds": finished.seconds, "peak_memory_bytes": finished.peak_memory_bytes}
    print(f"plain PyTorch, seed {seed}: {finished.seconds:.1f} s, {answer['accuracy']:.2%}", flush=True)
    return {"seed": seed, **answer, **costs}


def notebook_seconds(start_ups: Mapping[str, list[float]], epochs: Sequence[Measurement]) -> dict[str, float]:
    """Return the notebook's whole time on each TensorFlow of which an epoch was measured."""
    totals = {}
    for name, times in start_ups.items():
        seconds = [epoch["seconds"] for epoch in epochs if epoch["contender"] == name]
        if seconds:
            totals[name] = statistics.median(times) + NOTEBOOK_EPOCHS * statistics.median(seconds)
    return totals


def time_to_accuracy(epochs: Sequence[Measurement], accuracy: float) -> float | None:
    """Return when the first epoch ended that reached a validation accuracy, or None if none did."""
    for epoch in epochs:
        if epoch["validation_accuracy"] is not None and epoch["validation_accuracy"] >= accuracy:
            ended: float = epoch["ended"]
            return ended
    return None


def compute_figures(
    runs: Sequence[Measurement],
    peers: Sequence[Measurement],
    epochs: Sequence[Measurement],
    notebook: Mapping[str, float],
    *,
    whole: bool,
) -> Figures:
    """Return the figures: seconds, accuracies and memory, and how much sooner than the notebook.

    A recipe that was changed, to fewer epochs for instance, is not compared with the notebook's whole time:
    `whole` is False.
    """
    figures: Figures = {}
    faster = min(notebook, key=lambda name: notebook[name]) if notebook else ""
    memory = [epoch["peak_memory_bytes"] for epoch in epochs if epoch["contender"] == faster]
    for contender in (WITH_COMPILER, WITHOUT_COMPILER):
        for condition in ("cold", "cached"):
            own = [run for run in runs if run["contender"] == contender and run["condition"] == condition]
            if not own:
                continue
            name = f"{contender}, {condition}"
            figures |= compute_run_figures(name, own)
            if notebook and whole:
                ratios = [notebook[faster] / run["seconds"] for run in own]
                figures[f"{name} against the notebook"] = summarise(ratios)
            if notebook:
                shares = [run["peak_memory_bytes"] / max(memory) for run in own]
                figures[f"{name} against the notebook, peak memory"] = summarise(shares)
    for name in notebook:
        times = [epoch["seconds"] for epoch in epochs if epoch["contender"] == name]
        figures[f"{name}: seconds an epoch"] = summarise(times)
    if peers:
        figures["plain PyTorch: seconds"] = summarise([peer["process_seconds"] for peer in peers])
        figures["plain PyTorch: test accuracy"] = summarise([peer["accuracy"] for peer in peers])
    return figures


def compute_run_figures(name: str, runs: Sequence[Measurement]) -> Figures:
    """Return the figures of runs of one contender under one condition, without any comparison."""
    figures: Figures = {
        f"{name}: seconds": summarise([run["seconds"] for run in runs]),
        f"{name}: test accuracy": summarise([run["test"]["accuracy"] for run in runs]),
        f"{name}: peak memory": summarise([run["peak_memory_bytes"] for run in runs]),
    }
    reached = [time_to_accuracy(run["epochs"], NOTEBOOK_ACCURACY) for run in runs]
    if all(reached):
        times = [time for time in reached if time is not None]
        figures[f"{name}: seconds to {NOTEBOOK_ACCURACY:.2%} on validation data"] = summarise(times)
    return figures


if __name__ == "__main__":
    main()
