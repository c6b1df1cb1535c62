"""Foveal as a contender: `foveal train` itself, halted between two steps whenever nobody asks for work.

Other scripts start it; see `contender.py`.

    python benchmarks/contender_foveal.py DATA train --recipe model-s-02 --out FOLDER
    python benchmarks/contender_foveal.py DATA pack --recipe model-s-02 --out FOLDER

`train` runs the command `foveal train` in this process, with all that the command sets up. After some steps
of warming up it answers to `steps` (train so many steps, at most to the epoch's end), `evaluate` (the test
images, from the pack) and `convolutions` (the network's convolutions alone, so many times). `pack` answers
to `pack` alone: list, decode and pack all images into an empty cache.
"""

import argparse
import runpy
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from contender import Channel
from hook import replace_on_import

if TYPE_CHECKING:
    from foveal.data.batches import Batch
    from foveal.data.dataset import Dataset
    from foveal.training.epoch import Step, TrainingState

WARM_UP = 30
"""Steps before the first that counts."""


def main() -> None:
    """Be this contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("work", choices=("train", "pack"))
    parser.add_argument("--recipe", default="model-s-02")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    channel = Channel()
    if asked.work == "pack":
        pack(channel, asked)
    replace_on_import(
        "foveal.training.epoch", "run_epoch", lambda run_epoch: halting(run_epoch, channel, asked)
    )
    sys.argv = ["foveal", "train", str(asked.data), "--recipe", asked.recipe, "--validation", "train2"]
    sys.argv += ["--out", str(asked.out / "run"), "--set", "epochs=1000"]
    sys.argv += [] if asked.cache is None else ["--cache", str(asked.cache)]
    runpy.run_module("foveal", run_name="__main__")


def halting(
    run_epoch: Callable[..., Iterator["Step"]], channel: Channel, asked: argparse.Namespace
) -> Callable[..., Iterator["Step"]]:
    """Make an epoch that stops between two steps and waits for requests.

    The first epoch ends after the warm-up. At the end of an epoch it waits before the training loop goes on
    to validate, so that nothing is computed unasked; validating is never counted.
    """
    warm = False
    pending: dict[str, Any] = {}

    def halting_epoch(state: "TrainingState", batches: Iterable["Batch"], **options: int) -> Iterator["Step"]:
        nonlocal warm, pending
        steps = run_epoch(state, batches, **options)
        if not warm:
            warm = True
            yield from islice(steps, WARM_UP)
            channel.ready(**about())
            pending = channel.wait()
            return
        position = 0
        while True:
            request, pending = pending or channel.wait(), {}
            match request["do"]:
                case "steps":
                    began, first, done, images = time.perf_counter(), position == 0, 0, 0
                    for step in islice(steps, request["n"]):
                        done += 1
                        images += step.images
                        yield step
                    if done == 0:  # the epoch ended exactly with the request before
                        pending = request
                        return
                    seconds = time.perf_counter() - began
                    position += done
                    channel.answer(seconds=seconds, steps=done, images=images, first=first)
                    if done < request["n"]:
                        pending = channel.wait()
                        return
                case "evaluate":
                    channel.answer(**evaluate(state, asked))
                case "convolutions":
                    channel.answer(**convolutions(request["n"]))
                case unknown:
                    raise ValueError(unknown)

    return halting_epoch


def about() -> dict[str, Any]:
    """Say what this process runs on."""
    from foveal.training.environment import describe

    found = describe(seed=0)
    names = ("foveal", "python", "torch", "numpy", "pillow")
    return {"versions": {name: found[name] for name in names}, "threads": found["threads"]}


def evaluate(state: "TrainingState", asked: argparse.Namespace) -> dict[str, Any]:
    """Judge the test images, which lie in the pack, as `foveal evaluate` does."""
    from foveal.evaluation.metrics import cross_entropy
    from foveal.evaluation.predict import compute_logits

    dataset = opened(asked.data, asked.recipe, asked.cache)
    rows = dataset.splits.test
    began = time.perf_counter()
    found, labels = compute_logits(state.network, dataset.pack.pixels, rows), dataset.labels[rows]
    loss, correct = cross_entropy(found, labels), int((found.argmax(axis=1) == labels).sum())
    return {"seconds": time.perf_counter() - began, "images": len(rows), "loss": loss, "correct": correct}


def convolutions(n: int) -> dict[str, Any]:
    """Compute the network's convolutions alone, in this process: with its threads and its allocator."""
    from contender_torch import Convolutions

    alone = Convolutions()
    alone.step()
    began = time.perf_counter()
    for _ in range(n):
        alone.step()
    return {"seconds": time.perf_counter() - began, "steps": n}


def pack(channel: Channel, asked: argparse.Namespace) -> None:
    """List, decode and pack, each time into an empty cache."""
    from foveal.data.dataset import open_dataset
    from foveal.data.options import DataOptions
    from foveal.recipe import builtin

    image = builtin.load(asked.recipe).image
    channel.ready()
    while True:
        channel.wait()
        with TemporaryDirectory(dir=asked.out) as empty:
            began = time.perf_counter()
            dataset = open_dataset(DataOptions(asked.data, validation="train2", cache=empty), image)
            channel.answer(seconds=time.perf_counter() - began, images=len(dataset.pack.accepted))


@cache
def opened(data: Path, recipe: str, kept: Path | None) -> "Dataset":
    """Open a data set, once."""
    from foveal.data.dataset import open_dataset
    from foveal.data.options import DataOptions
    from foveal.recipe import builtin

    return open_dataset(DataOptions(data, validation="train2", cache=kept), builtin.load(recipe).image)


if __name__ == "__main__":
    main()
