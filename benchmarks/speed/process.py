"""Whole processes: `foveal train --evaluate` from PNG folders, against the notebook's whole time.

    foveal data get cifar10 cifar10
    python benchmarks/process.py cifar10 --recipe sprint
    python benchmarks/process.py cifar10 --recipe sprint --quick
    python benchmarks/process.py cifar10 --recipe model-s-02 --set epochs=1 --runs 2 --tensorflow 2.15
    python benchmarks/process.py cifar10 --recipe sprint --tensorflow 2.15=DIR current=DIR

Every seed of `SEEDS`, which were fixed before any of them had been run, trains the notebook's four training
folders, validates on train2 and judges the test folder, in four processes:

- cold: with nothing cached. Packed images, compiled kernels and matplotlib's list of fonts go into empty
  folders. What is in memory of the PNG files the operating system decides, as it does for the notebook.
- cached: the same command again, with what the first has left there.
- both once more with compilers hidden: nothing on the PATH, and other empty folders.

Measured are the wall seconds from start to end, CPU seconds, the memory of the process and its children, the
test accuracy, and the seconds from the start to the end of each epoch with its validation accuracy.

The notebook's whole time is its start-up (from the process's start to `model.fit`: imports, listing,
building) plus 19 times the median of its epochs (training and validation, with its callbacks), on the faster
of TensorFlow 2.15 and the current one. After every seed one epoch of one of them is taken, in turn, from
living processes (see `contender.py`) that idle otherwise.

After every seed runs plain eager PyTorch with the same recipe, if it is there: `peer_sprint.py DATA --seed S
--cache DIR`, a whole process that finds the images packed and prints one JSON line with "seconds" and
"accuracy".

`--others N` runs plain PyTorch and the hidden compilers with the first N seeds only.

Writes `benchmarks/results/speed/process-RECIPE.json`, after every process anew. About forty minutes for
`sprint` and ten seeds; `--quick` runs one seed, compilers found, and no notebook.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import child
import notebook_keras
import record
from contender import Contender, script
from record import FOUND, HIDDEN, Record, spread

SEEDS = (101, 102, 103, 104, 105, 106, 107, 108, 109, 110)
EPOCHS = 19
"""What the notebook's own log took."""
ACCURACY = 0.8155
"""What the notebook reached on the test folder."""


def main() -> None:
    """Measure, write and print."""
    parser = record.arguments(__doc__)
    parser.add_argument("--recipe", default="sprint")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--runs", type=int, default=len(SEEDS), help="only so many of the seeds")
    parser.add_argument(
        "--others", type=int, default=len(SEEDS), metavar="N", help="hidden compilers and the peer: N seeds"
    )
    parser.add_argument("--start-ups", type=int, default=3, help="of each notebook")
    parser.add_argument("--peer", default="peer_sprint.py", help="a script in this folder")
    asked = parser.parse_args()
    asked.data = asked.data.resolve()
    result = Record(f"process-{asked.recipe}", parser, asked)
    runs: list[dict[str, Any]] = []
    peers: list[dict[str, Any]] = []
    epochs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as open_contenders:
        commands = {} if asked.quick else record.notebooks(asked, "epochs")
        start_ups = {name: start_up_times(name, words, asked.start_ups) for name, words in commands.items()}
        notebooks = [open_contenders.enter_context(Contender(*each)) for each in commands.items()]
        result.write(contenders=record.about(notebooks), seeds=SEEDS, start_ups=start_ups)
        for number, seed in enumerate(SEEDS[: 1 if asked.quick else asked.runs]):
            others = number < asked.others
            for compilers in (True, False) if others and not asked.quick else (True,):
                folder = Path(temporary, f"{seed}-{FOUND if compilers else 'hidden'}")
                for condition in ("cold", "cached"):
                    measured = train(asked, seed, condition, folder, compilers=compilers)
                    runs.append(measured)
                    print(told(measured), flush=True)
                    result.write(runs=runs)
                if compilers and others and asked.recipe == "sprint" and Path(script(asked.peer)).exists():
                    peers.append(train_peer(asked, seed, folder))
                    result.write(peers=peers)
                shutil.rmtree(folder)
            if notebooks:
                notebook = notebooks[number % len(notebooks)]
                epochs.append({"contender": notebook.name, **notebook.ask("epoch")})
                print(f"{notebook.name}: an epoch in {epochs[-1]['seconds']:.1f} s", flush=True)
                result.write(epochs=epochs)
    result.write(notebook_seconds=notebook_seconds(start_ups, epochs))
    result.finish(figures(runs, peers, epochs, notebook_seconds(start_ups, epochs), whole=not asked.set))


def start_up_times(name: str, words: list[str], n: int) -> list[float]:
    """Start the notebook some times, up to its first epoch, and return the seconds of each."""
    times = []
    for _ in range(n):
        with Contender(name, words) as contender:
            times.append(contender.start_up)
    return times


def train(
    asked: argparse.Namespace, seed: int, condition: str, folder: Path, *, compilers: bool
) -> dict[str, Any]:
    """Run `foveal train --evaluate` once and return everything about it."""
    words = [record.foveal(), "train", str(asked.data), "--recipe", asked.recipe, "--evaluate", "--json"]
    words += ["--validation", "train2", "--seed", str(seed)]
    words += ["--out", str(folder / condition), "--cache", str(folder / "packs")]
    words += [word for setting in asked.set for word in ("--set", setting)]
    variables = record.environment(folder, compilers=compilers)
    load = notebook_keras.load()
    finished = child.run(words, environment=variables, folder=folder)
    summary = json.loads(finished.output.splitlines()[-1])
    events = [json.loads(line) for line in (folder / condition / "events.jsonl").read_text().splitlines()]
    history = [json.loads(line) for line in (folder / condition / "history.jsonl").read_text().splitlines()]
    times = {
        name: [
            datetime.fromisoformat(each["time"]).timestamp() - finished.began
            for each in events
            if each["event"] == name
        ]
        for name in ("training", "epoch", "trained")
    }
    environment = json.loads((folder / condition / "environment.json").read_text())
    measured = asdict(finished)
    del measured["output"], measured["began"]
    return {
        "contender": FOUND if compilers else HIDDEN,
        "condition": condition,
        "seed": seed,
        "load_before": load,
        **measured,
        "peak_memory_bytes": finished.peak_memory_bytes,
        "validation": summary["validation"],
        "test": summary["test"],
        "threads": environment["threads"],
        "seconds_until_training": times["training"][0],
        "seconds_until_trained": times["trained"][0],
        "epochs": [
            {"ended": ended, "validation_accuracy": row["validation_accuracy"]}
            for ended, row in zip(times["epoch"], history, strict=True)
        ],
    }


def train_peer(asked: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Run plain PyTorch's recipe once; it says itself how long it took, and so does the clock outside."""
    words = [sys.executable, script(asked.peer), str(asked.data), "--seed", str(seed)]
    words += ["--cache", str(folder / "packs")]
    finished = child.run(words, environment=record.environment(folder, compilers=True), folder=folder)
    said = json.loads(finished.output.splitlines()[-1])
    measured = {"process_seconds": finished.seconds, "peak_memory_bytes": finished.peak_memory_bytes}
    print(f"plain PyTorch, seed {seed}: {finished.seconds:.1f} s, {said['accuracy']:.2%}", flush=True)
    return {"seed": seed, **said, **measured}


def told(run: dict[str, Any]) -> str:
    """Say in one line what a run measured."""
    return (
        f"{run['contender']}, {run['condition']}, seed {run['seed']}: {run['seconds']:.1f} s, "
        f"{run['test']['accuracy']:.2%}, {run['peak_memory_bytes'] / 1e6:,.0f} MB"
    )


def notebook_seconds(start_ups: dict[str, list[float]], epochs: list[dict[str, Any]]) -> dict[str, float]:
    """Return the notebook's whole time on each TensorFlow of which an epoch was measured."""
    found = {}
    for name, times in start_ups.items():
        seconds = [each["seconds"] for each in epochs if each["contender"] == name]
        if seconds:
            found[name] = statistics.median(times) + EPOCHS * statistics.median(seconds)
    return found


def first_reaching(epochs: list[dict[str, Any]], accuracy: float) -> float | None:
    """Return when the first epoch ended whose validation accuracy reached one; None if none did."""
    for each in epochs:
        if each["validation_accuracy"] is not None and each["validation_accuracy"] >= accuracy:
            ended: float = each["ended"]
            return ended
    return None


def figures(
    runs: list[dict[str, Any]],
    peers: list[dict[str, Any]],
    epochs: list[dict[str, Any]],
    notebook: dict[str, float],
    *,
    whole: bool,
) -> dict[str, dict[str, Any]]:
    """Make the figures: seconds, accuracies and memory, and how much sooner than the notebook.

    A recipe that was changed, to fewer epochs say, is no whole run: its time is not compared.
    """
    found: dict[str, dict[str, Any]] = {}
    faster = min(notebook, key=lambda name: notebook[name]) if notebook else ""
    memory = [each["peak_memory_bytes"] for each in epochs if each["contender"] == faster]
    for contender in (FOUND, HIDDEN):
        for condition in ("cold", "cached"):
            own = [run for run in runs if run["contender"] == contender and run["condition"] == condition]
            if not own:
                continue
            name = f"{contender}, {condition}"
            seconds = [run["seconds"] for run in own]
            found[f"{name}: seconds"] = spread(seconds)
            found[f"{name}: test accuracy"] = spread([run["test"]["accuracy"] for run in own])
            found[f"{name}: peak memory"] = spread([run["peak_memory_bytes"] for run in own])
            reached = [first_reaching(run["epochs"], ACCURACY) for run in own]
            if all(reached):
                times = [time for time in reached if time is not None]
                found[f"{name}: seconds to {ACCURACY:.2%} on validation data"] = spread(times)
            if notebook and whole:
                found[f"{name} against the notebook"] = spread([notebook[faster] / each for each in seconds])
            if notebook:
                shares = [run["peak_memory_bytes"] / max(memory) for run in own]
                found[f"{name} against the notebook, peak memory"] = spread(shares)
    for name in notebook:
        times = [each["seconds"] for each in epochs if each["contender"] == name]
        found[f"{name}: seconds an epoch"] = spread(times)
    if peers:
        found["plain PyTorch: seconds"] = spread([each["process_seconds"] for each in peers])
        found["plain PyTorch: test accuracy"] = spread([each["accuracy"] for each in peers])
    return found


if __name__ == "__main__":
    main()
