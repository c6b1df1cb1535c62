"""Decoding and packing CIFAR-10's 60,000 files, and opening the pack again: this checkout and an older one.

    foveal data get cifar10 cifar10
    git worktree add ../before COMMIT
    python -m benchmarks.speed.packing cifar10 --before ../before
    python -m benchmarks.speed.packing cifar10 --before ../before --quick

The two take turns. Each turn is a process that lists, decodes and packs all files into an empty cache, and
then opens the same data set again some times, as a later command does. Everything is imported before. A ratio
is of the two turns of a round, this checkout's seconds over the older one's: more than 1 means slower.

Writes `benchmarks/results/speed/packing.json`. About five minutes; `--quick` takes one.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import CHECKOUT
from benchmarks.measurement.child import run_process
from benchmarks.measurement.record import (
    Figures,
    Measurement,
    Record,
    create_timing_parser,
    summarise,
    summarise_ratios,
)

NOW, BEFORE = "this checkout", "the older one"
KINDS = ("first", "again")
OPENINGS = 9
"""The number of times that a process opens the pack again. Their median counts."""
PROGRAM = """
import json, sys, time
from foveal.data.dataset import open_dataset
from foveal.data.options import DataOptions
from foveal.recipe.recipe import Image

seconds = []
for _ in range(1 + int(sys.argv[3])):
    began = time.perf_counter()
    open_dataset(DataOptions(sys.argv[1], cache=sys.argv[2]), Image(size=32))
    seconds.append(time.perf_counter() - began)
print(json.dumps(seconds))
"""
"""What each process runs, with the folder of images, the cache and the number of openings."""


def main() -> None:
    """Measure, write and print."""
    parser = create_timing_parser(__doc__)
    parser.add_argument(
        "--before", type=Path, required=True, metavar="DIR", help="another checkout of Foveal"
    )
    parser.add_argument("--rounds", type=int, default=8, help="of turns, each checkout once")
    args = parser.parse_args()
    result = Record("packing", parser, args)
    checkouts = {NOW: CHECKOUT, BEFORE: args.before}
    for file in args.data.rglob("*.png"):
        file.read_bytes()  # so that both find the files in memory
    turns: list[Measurement] = []
    seconds: dict[tuple[str, str], list[float]] = {(name, kind): [] for name in checkouts for kind in KINDS}
    for number in range(2 if args.quick else args.rounds):
        for name in list(checkouts)[:: 1 if number % 2 == 0 else -1]:
            first, *again = measure(checkouts[name], args.data)
            turns.append({"checkout": name, "round": number, "first": first, "again": again})
            seconds[name, "first"].append(first)
            seconds[name, "again"].append(statistics.median(again))
        result.write(turns=turns)
    result.finish(compute_figures(seconds))


def measure(checkout: Path, data: Path) -> list[float]:
    """Return the seconds of the first opening, with an empty cache, and of those after it."""
    with tempfile.TemporaryDirectory() as cache:
        words = [sys.executable, "-c", PROGRAM, str(data.resolve()), cache, str(OPENINGS)]
        environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src")}
        output = run_process(words, environment=environment, folder=Path(cache)).output
        return [float(value) for value in json.loads(output)]


def compute_figures(seconds: dict[tuple[str, str], list[float]]) -> Figures:
    """Return the seconds of each checkout, and how many times as long this one takes."""
    labels = {"first": "decoding and packing", "again": "opening again"}
    figures: Figures = {}
    for kind in KINDS:
        now, before = seconds[NOW, kind], seconds[BEFORE, kind]
        figures[f"{labels[kind]}, {NOW}: seconds"] = summarise(now)
        figures[f"{labels[kind]}, {BEFORE}: seconds"] = summarise(before)
        figures[f"{labels[kind]}: ratio"] = summarise_ratios(before, now)
    return figures


if __name__ == "__main__":
    main()
