"""Foveal as a contender: `foveal train` itself, halted between two steps while there is no request.

Other scripts start it; see `contender.py`.

    python -m benchmarks.peers.contender_foveal DATA train --recipe model-s-02 --out FOLDER
    python -m benchmarks.peers.contender_foveal DATA pack --recipe model-s-02 --out FOLDER

`train` runs the command `foveal train` in this process, with all that the command sets up. After some steps
of warming up it answers `steps` (train that many steps, at most to the epoch's end), `evaluate` (evaluate the
test images from the pack) and `convolutions` (compute the network's convolutions alone, that many times).
`pack` answers `pack` alone: it lists, decodes and packs all images into an empty cache.
"""

import argparse
import runpy
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.measurement import machine
from benchmarks.measurement.command_line import add_cifar10, create_parser
from benchmarks.measurement.hook import replace_on_import
from benchmarks.peers.contender import Answer, Channel

if TYPE_CHECKING:
    from foveal.data.batches import Batch
    from foveal.data.dataset import Dataset
    from foveal.training.epoch import Step, TrainingState

WARM_UP_STEPS = 30
"""The number of steps before the first that counts."""


def main() -> None:
    """Read the command line, and answer requests until the input ends."""
    parser = create_parser(__doc__)
    add_cifar10(parser)
    parser.add_argument("work", choices=("train", "pack"))
    parser.add_argument("--recipe", default="model-s-02")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    channel = Channel()
    if args.work == "pack":
        answer_pack(channel, args)
    replace_on_import(
        "foveal.training.epoch", "run_epoch", lambda run_epoch: HaltingEpoch(run_epoch, channel, args)
    )
    sys.argv = ["foveal", "train", str(args.data), "--recipe", args.recipe, "--validation", "train2"]
    sys.argv += ["--out", str(args.out / "run"), "--set", "epochs=1000"]
    sys.argv += [] if args.cache is None else ["--cache", str(args.cache)]
    runpy.run_module("foveal", run_name="__main__")


class HaltingEpoch:
    """Replaces `run_epoch`: it stops between two steps and waits for requests.

    The first epoch ends after the warm-up. At the end of an epoch it waits before the training loop goes on
    to validate. So nothing is computed without a request, and validating never counts.
    """

    def __init__(
        self, run_epoch: Callable[..., Iterator["Step"]], channel: Channel, args: argparse.Namespace
    ) -> None:
        self._run_epoch, self._channel, self._args = run_epoch, channel, args
        self._warm = False
        self._pending: dict[str, Any] = {}
        """The request that was received at the end of the epoch before."""
        self._position = 0
        """The number of steps that this epoch has taken."""

    def __call__(
        self, state: "TrainingState", batches: Iterable["Batch"], **options: int
    ) -> Iterator["Step"]:
        """Train one epoch, as far as requests ask for it."""
        steps = self._run_epoch(state, batches, **options)
        if not self._warm:
            self._warm = True
            yield from islice(steps, WARM_UP_STEPS)
            self._channel.ready(**describe_process())
            self._pending = self._channel.wait()
            return
        self._position = 0
        while True:
            request, self._pending = self._pending or self._channel.wait(), {}
            match request["do"]:
                case "steps":
                    if (yield from self._answer_steps(steps, request)):
                        return
                case "evaluate":
                    self._channel.answer(**evaluate(state, self._args))
                case "convolutions":
                    self._channel.answer(**compute_convolutions(request["n"]))
                case unknown:
                    raise ValueError(unknown)

    def _answer_steps(
        self, steps: Iterator["Step"], request: dict[str, Any]
    ) -> Generator["Step", None, bool]:
        """Take the requested steps and answer; return whether the epoch has ended."""
        began, first, done, images = time.perf_counter(), self._position == 0, 0, 0
        for step in islice(steps, request["n"]):
            done += 1
            images += step.images
            yield step
        if done == 0:  # The epoch ended exactly with the request before.
            self._pending = request
            return True
        seconds = time.perf_counter() - began
        self._position += done
        self._channel.answer(seconds=seconds, steps=done, images=images, first=first)
        if done < request["n"]:
            self._pending = self._channel.wait()
            return True
        return False


def describe_process() -> dict[str, Any]:
    """Return the versions and the number of threads of this process."""
    import torch

    return {"versions": machine.describe_versions(), "threads": torch.get_num_threads()}


def evaluate(state: "TrainingState", args: argparse.Namespace) -> Answer:
    """Evaluate the test images from the pack, as `foveal evaluate` does."""
    from foveal.evaluation.metrics import cross_entropy
    from foveal.evaluation.predict import compute_logits

    dataset = open_once(args.data, args.recipe, args.cache)
    indices = dataset.splits.test
    began = time.perf_counter()
    logits, labels = compute_logits(state.network, dataset.pack.pixels, indices), dataset.labels[indices]
    loss, correct = cross_entropy(logits, labels), int((logits.argmax(axis=1) == labels).sum())
    return {"seconds": time.perf_counter() - began, "images": len(indices), "loss": loss, "correct": correct}


def compute_convolutions(n: int) -> Answer:
    """Compute the network's convolutions alone, with the threads and the allocator of this process."""
    from benchmarks.peers.contender_torch import Convolutions

    convolutions = Convolutions()
    convolutions.step()
    began = time.perf_counter()
    for _ in range(n):
        convolutions.step()
    return {"seconds": time.perf_counter() - began, "steps": n}


def answer_pack(channel: Channel, args: argparse.Namespace) -> None:
    """List, decode and pack at each request, every time into an empty cache."""
    from foveal.data.dataset import open_dataset
    from foveal.data.options import DataOptions
    from foveal.recipe import builtin

    image = builtin.load_recipe(args.recipe).image
    channel.ready()
    while True:
        channel.wait()
        with TemporaryDirectory(dir=args.out) as empty:
            began = time.perf_counter()
            dataset = open_dataset(DataOptions(args.data, validation="train2", cache=empty), image)
            channel.answer(seconds=time.perf_counter() - began, images=len(dataset.pack.decoded_indices))


@cache
def open_once(data: Path, recipe: str, cache_folder: Path | None) -> "Dataset":
    """Open a data set, or return the one that was opened before."""
    from foveal.data.dataset import open_dataset
    from foveal.data.options import DataOptions
    from foveal.recipe import builtin

    return open_dataset(
        DataOptions(data, validation="train2", cache=cache_folder), builtin.load_recipe(recipe).image
    )


if __name__ == "__main__":
    main()
