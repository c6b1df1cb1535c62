"""Training throughput of `model-s-02`: Foveal, plain eager PyTorch and the notebook, side by side.

    foveal data get cifar10 cifar10
    python -m benchmarks.speed.throughput cifar10
    python -m benchmarks.speed.throughput cifar10 --quick
    python -m benchmarks.speed.throughput cifar10 --tensorflow 2.15=DIR current=DIR

Batch 64, fp32, on the notebook's four training folders. Each contender is a process that has warmed up (see
`peers/contender.py`). In turn each trains a slice of an epoch, until all have trained whole epochs. Foveal
takes part twice, once with compilers hidden. The notebook's tf.data decodes all images before the first step
of every epoch. So throughput "input included" is that of whole epochs: images over the sum of the seconds of
their slices; validation does not count. "Steps alone" leaves out each epoch's first slice, and with it the
notebook's decoding.

After the slices, our steps are compared with the network's convolutions alone, computed by plain PyTorch
(`Convolutions` in `peers/contender_torch.py`): in our own process, with the same threads and allocator, and
in the peer's.

Writes `benchmarks/results/speed/throughput.json`. About a quarter of an hour; `--quick` takes one and a
half minutes.
"""

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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

STEPS_PER_EPOCH = 628
"""The steps in an epoch of the notebook and of Foveal. Plain PyTorch does not cut by folder and has 625."""
TRAINING_IMAGES = 40_000
"""The number of images in the notebook's four training folders."""


def main() -> None:
    """Measure, write and print."""
    parser = create_timing_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=3, help="that each contender trains")
    parser.add_argument("--slices", type=int, default=6, help="an epoch's; the last may be shorter")
    parser.add_argument("--pairs", type=int, default=20, help="of steps with convolutions alone")
    parser.add_argument("--paired-steps", type=int, default=20, help="in each of them")
    args = parser.parse_args()
    result = Record("throughput", parser, args)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ours = launch.start_foveal(args, "train", Path(folder))
        torch = launch.start_torch(args)
        notebooks = launch.notebook_commands(args, "steps")
        contenders = [*ours, torch, *(Contender(name, words) for name, words in notebooks.items())]
        for contender in contenders:
            stack.enter_context(contender)
        result.write(contenders=launch.describe_contenders(contenders))
        slices = measure_slices(result, args, contenders)
        pairs = measure_pairs(result, args, ours, torch)
    names = [contender.name for contender in contenders]
    result.finish(compute_figures(slices, pairs, names, whole=not args.quick))


def measure_slices(
    result: Record, args: argparse.Namespace, contenders: Sequence[Contender]
) -> list[Measurement]:
    """Train slices of epochs with all contenders in turn. The quick look trains three short ones."""
    slices: list[Measurement] = []
    count = 3 if args.quick else args.epochs * args.slices
    n = 15 if args.quick else -(-STEPS_PER_EPOCH // args.slices)
    for number in range(count):
        epoch = number // args.slices
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            answer = contender.ask("steps", n=n)
            slices.append({"contender": contender.name, "slice": number, "epoch": epoch, **answer})
        result.write(slices=slices)
    return slices


def measure_pairs(
    result: Record, args: argparse.Namespace, ours: Sequence[Contender], torch: Contender
) -> list[Measurement]:
    """Measure our steps beside convolutions alone, in our processes and in plain PyTorch's."""
    pairs: list[Measurement] = []
    for number in range(5 if args.quick else args.pairs):
        pair: dict[str, Any] = {"pair": number}
        for contender in ours:
            pair[contender.name] = contender.ask("steps", n=args.paired_steps)
            answer = contender.ask("convolutions", n=args.paired_steps)
            pair[f"{contender.name}: convolutions"] = answer
        pair[f"{torch.name}: convolutions"] = torch.ask("convolutions", n=args.paired_steps)
        pairs.append(pair)
        result.write(pairs=pairs)
    return pairs


def compute_figures(
    slices: list[Measurement], pairs: list[Measurement], names: list[str], *, whole: bool
) -> Figures:
    """Return the figures: images per second, ours against the others, steps against convolutions.

    With `whole` False the slices are no whole epochs, and throughput with input is left out.
    """
    alone = {
        name: [step_seconds(piece) for piece in slices if piece["contender"] == name and not piece["first"]]
        for name in names
    }
    rates = {name: epoch_rates(slices, name) if whole else [] for name in names}
    figures: Figures = {}
    for name in names:
        if whole:
            figures[f"{name}: images a second, input included"] = summarise(rates[name])
        figures[f"{name}: seconds a step, steps alone"] = summarise(alone[name])
    for name in (WITH_COMPILER, WITHOUT_COMPILER):
        for other in names[2:]:
            if whole:
                ratios = [our / their for our, their in zip(rates[name], rates[other], strict=True)]
                figures[f"{name} against {other}, input included"] = summarise(ratios)
            figures[f"{name} against {other}, steps alone"] = summarise_ratios(alone[name], alone[other])
        steps = [step_seconds(pair[name]) for pair in pairs]
        for process in (name, "plain PyTorch"):
            convolutions = [step_seconds(pair[f"{process}: convolutions"]) for pair in pairs]
            where = "its own process" if process == name else process
            figures[f"{name}: a step against convolutions alone in {where}"] = summarise_ratios(
                convolutions, steps
            )
    return figures


def step_seconds(answer: Measurement) -> float:
    """Return the mean seconds of a step."""
    seconds: float = answer["seconds"] / answer["steps"]
    return seconds


def epoch_rates(slices: list[Measurement], name: str) -> list[float]:
    """Return the images per second of each epoch that a contender has trained."""
    own = [piece for piece in slices if piece["contender"] == name]
    epochs = sorted({piece["epoch"] for piece in own})
    return [
        TRAINING_IMAGES / sum(piece["seconds"] for piece in own if piece["epoch"] == epoch)
        for epoch in epochs
    ]


if __name__ == "__main__":
    main()
