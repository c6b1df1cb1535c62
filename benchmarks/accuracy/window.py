"""Whether the notebook's way to shuffle explains its final accuracy: `model-s-02` with that way.

    python -m benchmarks.accuracy.window cifar10 --seed 0

The notebook shuffles each folder's files once, and in every epoch only within a window of 512 images. Foveal
shuffles each folder fully in every epoch, its one stated deviation. Writes
`benchmarks/results/accuracy/model-s/window-SEED.json`. About twenty-five minutes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import foveal
from benchmarks.accuracy import model_s
from benchmarks.measurement.command_line import add_cifar10, create_parser
from foveal.data import batches
from foveal.types import Ints

WINDOW = 512
"""The number of images in the buffer that tf.data draws from."""


def order_in_window(parts: Sequence[Ints], batch_size: int, *, seed: int, epoch: int) -> list[Ints]:
    """Return the image indices of each batch of an epoch, in the order of tf.data's shuffle buffer."""
    random = np.random.default_rng([seed, epoch, 0])
    batched = []
    for number, part in enumerate(parts):
        once = np.random.default_rng([seed, 777, number]).permutation(part)
        buffer, waiting, drawn = list(once[:WINDOW]), WINDOW, []
        while buffer:
            index = int(random.integers(len(buffer)))
            drawn.append(buffer[index])
            if waiting < len(once):
                buffer[index] = once[waiting]
                waiting += 1
            else:
                buffer[index] = buffer[-1]
                buffer.pop()
        starts = range(0, len(drawn), batch_size)
        batched += [np.array(drawn[start : start + batch_size]) for start in starts]
    return [batched[index] for index in random.permutation(len(batched))]


def main() -> None:
    """Train and evaluate one seed."""
    parser = create_parser(__doc__)
    add_cifar10(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folder goes")
    args = parser.parse_args()
    batches.shuffle_into_batches = order_in_window
    name = f"window-{args.seed}"
    data = foveal.DataOptions(args.data, validation="train2")
    run = foveal.train(data, seed=args.seed, out=args.runs / name)
    run.evaluate("test")
    command = f"{parser.prog} {args.data.name} --seed {args.seed}"
    model_s.write(model_s.FOLDER / f"{name}.json", {"command": command, **model_s.describe(run)})


if __name__ == "__main__":
    main()
