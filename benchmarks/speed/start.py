"""The waiting before training: `foveal --help`, the first step, decoding and packing the images.

    foveal data get cifar10 cifar10
    python -m benchmarks.speed.start cifar10 --recipe sprint
    python -m benchmarks.speed.start cifar10 --recipe sprint --quick
    python -m benchmarks.speed.start cifar10 --recipe sprint --tensorflow 2.15=DIR current=DIR

- `foveal --help`, the whole process; beside it a Python that does nothing.
- From the process's start until the first training step is done (`first_step.py`), with the images packed and
  kernels compiled by a run before; also with compilers hidden, from that run as well.
- Listing, decoding and packing all 60,000 images into an empty cache, in a process that is already running,
  as a notebook's kernel is. The comparison is Keras' first pass: `image_dataset_from_directory` on the same
  six folders, and once through all batches. Both have imported everything before. All files are read once
  beforehand, so that all contenders find them in memory.

Writes `benchmarks/results/speed/start.json`. About five minutes; `--quick` takes one.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import CHECKOUT
from benchmarks.measurement.child import foveal_program, run_process
from benchmarks.measurement.record import (
    Figures,
    Measurement,
    Record,
    create_timing_parser,
    summarise,
    summarise_ratios,
)
from benchmarks.peers import launch
from benchmarks.peers.contender import Contender
from benchmarks.peers.launch import WITH_COMPILER, WITHOUT_COMPILER


def main() -> None:
    """Measure, write and print."""
    parser = create_timing_parser(__doc__)
    parser.add_argument("--recipe", default="sprint")
    parser.add_argument("--helps", type=int, default=10, help="starts of `foveal --help`")
    parser.add_argument("--first-steps", type=int, default=10, help="starts until the first training step")
    parser.add_argument("--packs", type=int, default=6, help="rounds of decoding")
    args = parser.parse_args()
    result = Record("start", parser, args)
    figures = {
        **measure_help(result, 3 if args.quick else args.helps),
        **measure_first_step(result, args, 2 if args.quick else args.first_steps),
        **measure_packing(result, args, 1 if args.quick else args.packs),
    }
    result.finish(figures)


def measure_help(result: Record, n: int) -> Figures:
    """Measure `foveal --help`, and Python alone."""
    seconds: dict[str, list[float]] = {"foveal --help": [], "python -c pass": []}
    commands = {
        "foveal --help": [foveal_program(), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    with tempfile.TemporaryDirectory() as folder:
        variables = launch.process_environment(Path(folder), compilers=True)
        for number in range(n + 1):
            for name, words in commands.items():
                finished = run_process(words, environment=variables, folder=Path(folder))
                if number:  # The first start brings the files into memory.
                    seconds[name].append(finished.seconds)
    result.write(helps=seconds)
    return {f"{name}: seconds": summarise(values) for name, values in seconds.items()}


def measure_first_step(result: Record, args: argparse.Namespace, n: int) -> Figures:
    """Measure the time until the first training step, everything cached, with and without compilers."""
    starts: list[Measurement] = []
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(n + 1):
            for name, compilers in ((WITH_COMPILER, True), (WITHOUT_COMPILER, False)):
                folder = Path(temporary, "found" if compilers else "hidden")
                variables = launch.process_environment(folder, compilers=compilers)
                words = [*launch.module_command("speed.first_step"), "train", str(args.data.resolve())]
                words += ["--recipe", args.recipe, "--validation", "train2", "--seed", str(number)]
                words += ["--out", str(folder / f"run-{number}"), "--cache", str(folder / "packs")]
                finished = run_process(words, environment=variables, folder=CHECKOUT)
                times = json.loads(finished.output.splitlines()[-1])
                if number:  # The first start filled the caches.
                    seconds = {event: time - finished.began for event, time in times.items()}
                    starts.append({"contender": name, "number": number, **seconds})
            result.write(first_steps=starts)
    figures: Figures = {}
    for name in (WITH_COMPILER, WITHOUT_COMPILER):
        own = [start for start in starts if start["contender"] == name]
        done = summarise([start["done"] for start in own])
        figures[f"{name}: seconds until the first step is done"] = done
        figures[f"{name}: seconds until training begins"] = summarise([start["began"] for start in own])
    return figures


def measure_packing(result: Record, args: argparse.Namespace, n: int) -> Figures:
    """Measure decoding and packing everything, and Keras' first pass."""
    for file in args.data.rglob("*.png"):
        file.read_bytes()
    answers: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        contenders = launch.start_foveal(args, "pack", Path(folder))
        notebooks = launch.notebook_commands(args, "read")
        contenders += [Contender(name, words) for name, words in notebooks.items()]
        for contender in contenders:
            stack.enter_context(contender)
        result.write(contenders=launch.describe_contenders(contenders))
        seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        for number in range(n):
            for contender in contenders if number % 2 == 0 else reversed(contenders):
                answer = contender.ask("read" if contender.name in notebooks else "pack")
                answers.append({"contender": contender.name, "round": number, **answer})
                seconds[contender.name].append(answer["seconds"])
            result.write(packs=answers)
    figures: Figures = {f"{name}: seconds to decode": summarise(values) for name, values in seconds.items()}
    for name in (WITH_COMPILER, WITHOUT_COMPILER):
        for other in notebooks:
            ratios = summarise_ratios(seconds[name], seconds[other])
            figures[f"{name} against {other}, decoding"] = ratios
    return figures


if __name__ == "__main__":
    main()
