"""Training throughput of `model-s-02`: Foveal, plain eager PyTorch and the notebook, side by side.

    foveal data get cifar10 cifar10
    python benchmarks/throughput.py cifar10
    python benchmarks/throughput.py cifar10 --quick
    python benchmarks/throughput.py cifar10 --tensorflow 2.15=DIR current=DIR

Batch 64, fp32, on the notebook's four training folders. Each contender is a living process that has warmed
up (see `contender.py`); in turn each trains a slice of an epoch, until all have trained whole epochs. Foveal
is there twice, once with compilers hidden. The notebook's tf.data decodes all images before the first step
of every epoch; so throughput "input included" is that of whole epochs: images over the sum of its slices'
seconds, validation not counted. "Steps alone" leaves out each epoch's first slice and with it the notebook's
decoding.

After the slices, steps of ours are put beside the network's convolutions alone, computed by plain PyTorch
(`Convolutions` in `contender_torch.py`): in our own process, with the same threads and allocator, and in
the peer's.

Writes `benchmarks/results/speed/throughput.json`. About a quarter of an hour; `--quick` takes one and a
half minutes.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import record
from contender import Contender
from record import FOUND, HIDDEN, Record, spread, times_as_fast

STEPS = 628
"""Of an epoch of the notebook's, and of ours; plain PyTorch, which cuts no folders, has 625."""
IMAGES = 40_000
"""Of the notebook's four training folders."""


def main() -> None:
    """Measure, write and print."""
    parser = record.arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=3, help="that each contender trains")
    parser.add_argument("--slices", type=int, default=6, help="an epoch's; the last may be shorter")
    parser.add_argument("--pairs", type=int, default=20, help="of steps with convolutions alone")
    parser.add_argument("--paired-steps", type=int, default=20, help="in each of them")
    asked = parser.parse_args()
    result = Record("throughput", parser, asked)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_contenders:
        ours = record.start_foveal(asked, "train", Path(folder))
        contenders = [*ours, record.start_torch(asked)]
        contenders += [Contender(name, words) for name, words in record.notebooks(asked, "steps").items()]
        for each in contenders:
            open_contenders.enter_context(each)
        result.write(contenders=record.about(contenders))

        slices: list[dict[str, Any]] = []
        # The quick look trains three short slices, no whole epoch.
        count = 3 if asked.quick else asked.epochs * asked.slices
        n = 15 if asked.quick else -(-STEPS // asked.slices)
        for number in range(count):
            epoch = number // asked.slices
            for each in contenders if number % 2 == 0 else reversed(contenders):
                answer = each.ask("steps", n=n)
                slices.append({"contender": each.name, "slice": number, "epoch": epoch, **answer})
            result.write(slices=slices)

        pairs: list[dict[str, Any]] = []
        for number in range(5 if asked.quick else asked.pairs):
            pair: dict[str, Any] = {"pair": number}
            for each in ours:
                pair[each.name] = each.ask("steps", n=asked.paired_steps)
                pair[f"{each.name}: convolutions"] = each.ask("convolutions", n=asked.paired_steps)
            pair["plain PyTorch: convolutions"] = contenders[2].ask("convolutions", n=asked.paired_steps)
            pairs.append(pair)
            result.write(pairs=pairs)
    names = [each.name for each in contenders]
    result.finish(figures(slices, pairs, names, whole=not asked.quick))


def figures(
    slices: list[dict[str, Any]], pairs: list[dict[str, Any]], names: list[str], *, whole: bool
) -> dict[str, dict[str, Any]]:
    """Make the figures: images a second, ours against the others, steps against convolutions."""
    found: dict[str, dict[str, Any]] = {}
    alone = {
        name: [a_step(each) for each in slices if each["contender"] == name and not each["first"]]
        for name in names
    }
    epochs = {name: epoch_seconds(slices, name) if whole else [] for name in names}
    for name in names:
        if whole:
            found[f"{name}: images a second, input included"] = spread(
                [images / seconds for images, seconds in epochs[name]]
            )
        found[f"{name}: seconds a step, steps alone"] = spread(alone[name])
    for name in (FOUND, HIDDEN):
        for other in names[2:]:
            if whole:
                found[f"{name} against {other}, input included"] = spread(
                    [
                        (our[0] / our[1]) / (their[0] / their[1])
                        for our, their in zip(epochs[name], epochs[other], strict=True)
                    ]
                )
            found[f"{name} against {other}, steps alone"] = times_as_fast(alone[name], alone[other])
        steps = [a_step(pair[name]) for pair in pairs]
        for where in (name, "plain PyTorch"):
            convolutions = [a_step(pair[f"{where}: convolutions"]) for pair in pairs]
            told = "its own process" if where == name else where
            found[f"{name}: a step against convolutions alone in {told}"] = times_as_fast(convolutions, steps)
    return found


def a_step(answer: dict[str, Any]) -> float:
    """Return the mean seconds of a step."""
    seconds: float = answer["seconds"] / answer["steps"]
    return seconds


def epoch_seconds(slices: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    """Return images and seconds of each epoch that a contender has trained."""
    own = [each for each in slices if each["contender"] == name]
    numbers = sorted({each["epoch"] for each in own})
    return [(IMAGES, sum(each["seconds"] for each in own if each["epoch"] == number)) for number in numbers]


if __name__ == "__main__":
    main()
