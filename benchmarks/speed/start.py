"""What a person waits for before training: `foveal --help`, the first step, decoding and packing the images.

    foveal data get cifar10 cifar10
    python benchmarks/start.py cifar10 --recipe sprint
    python benchmarks/start.py cifar10 --recipe sprint --quick
    python benchmarks/start.py cifar10 --recipe sprint --tensorflow 2.15=DIR current=DIR

- `foveal --help`, the whole process; beside it a Python that does nothing.
- From the process's start until the first training step is done (`first_step.py`), with the images packed and
  kernels compiled by a run before; also with compilers hidden, by that run as well.
- Listing, decoding and packing all 60,000 images into an empty cache, by a living process as a notebook's
  kernel is one; against what Keras does on its first pass: `image_dataset_from_directory` on the same six
  folders, and once through all batches. Both have imported everything before. All files are read once
  beforehand, so that no contender finds them on the disk and the next in memory.

Writes `benchmarks/results/speed/start.json`. About five minutes; `--quick` takes one.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import child
import record
from contender import Contender, script
from record import FOUND, HIDDEN, Record, spread, times_as_fast


def main() -> None:
    """Measure, write and print."""
    parser = record.arguments(__doc__)
    parser.add_argument("--recipe", default="sprint")
    parser.add_argument("--helps", type=int, default=10, help="starts of `foveal --help`")
    parser.add_argument("--first-steps", type=int, default=10, help="starts until the first training step")
    parser.add_argument("--packs", type=int, default=6, help="rounds of decoding")
    asked = parser.parse_args()
    result = Record("start", parser, asked)
    figures = {
        **helps(result, 3 if asked.quick else asked.helps),
        **first_steps(result, asked, 2 if asked.quick else asked.first_steps),
        **packs(result, asked, 1 if asked.quick else asked.packs),
    }
    result.finish(figures)


def helps(result: Record, n: int) -> dict[str, dict[str, Any]]:
    """Time `foveal --help`, and Python alone."""
    seconds: dict[str, list[float]] = {"foveal --help": [], "python -c pass": []}
    commands = {
        "foveal --help": [record.foveal(), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    with tempfile.TemporaryDirectory() as folder:
        variables = record.environment(Path(folder), compilers=True)
        for number in range(n + 1):
            for name, words in commands.items():
                finished = child.run(words, environment=variables, folder=Path(folder))
                if number:  # the first brings the files into memory
                    seconds[name].append(finished.seconds)
    result.write(helps=seconds)
    return {f"{name}: seconds": spread(each) for name, each in seconds.items()}


def first_steps(result: Record, asked: argparse.Namespace, n: int) -> dict[str, dict[str, Any]]:
    """Time the way to the first training step with everything cached, compilers found and hidden in turn."""
    starts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(n + 1):
            for name, compilers in ((FOUND, True), (HIDDEN, False)):
                folder = Path(temporary, "found" if compilers else "hidden")
                variables = record.environment(folder, compilers=compilers)
                words = [sys.executable, script("first_step.py"), "train", str(asked.data.resolve())]
                words += ["--recipe", asked.recipe, "--validation", "train2", "--seed", str(number)]
                words += ["--out", str(folder / f"run-{number}"), "--cache", str(folder / "packs")]
                finished = child.run(words, environment=variables, folder=folder)
                told = json.loads(finished.output.splitlines()[-1])
                if number:  # the first filled the caches
                    measured = {name: at - finished.began for name, at in told.items()}
                    starts.append({"contender": name, "number": number, **measured})
            result.write(first_steps=starts)
    figures = {}
    for name in (FOUND, HIDDEN):
        done = [each["done"] for each in starts if each["contender"] == name]
        began = [each["began"] for each in starts if each["contender"] == name]
        figures[f"{name}: seconds until the first step is done"] = spread(done)
        figures[f"{name}: seconds until training begins"] = spread(began)
    return figures


def packs(result: Record, asked: argparse.Namespace, n: int) -> dict[str, dict[str, Any]]:
    """Time decoding and packing everything, and Keras' first pass."""
    for file in asked.data.rglob("*.png"):
        file.read_bytes()
    answers: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_contenders:
        contenders = record.start_foveal(asked, "pack", Path(folder))
        contenders += [Contender(name, words) for name, words in record.notebooks(asked, "read").items()]
        for each in contenders:
            open_contenders.enter_context(each)
        result.write(contenders=record.about(contenders))
        seconds: dict[str, list[float]] = {each.name: [] for each in contenders}
        for number in range(n):
            for each in contenders if number % 2 == 0 else reversed(contenders):
                answer = each.ask("pack" if each.name in (FOUND, HIDDEN) else "read")
                answers.append({"contender": each.name, "round": number, **answer})
                seconds[each.name].append(answer["seconds"])
            result.write(packs=answers)
    figures = {f"{name}: seconds to decode": spread(each) for name, each in seconds.items()}
    for name in (FOUND, HIDDEN):
        for other in list(seconds)[2:]:
            figures[f"{name} against {other}, decoding"] = times_as_fast(seconds[name], seconds[other])
    return figures


if __name__ == "__main__":
    main()
