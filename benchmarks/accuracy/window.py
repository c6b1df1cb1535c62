"""Does the notebook's way to shuffle explain where it ends? `model-s-02` with that way, otherwise as it is.

    python benchmarks/window.py cifar10 --seed 0

The notebook shuffles each folder's files once, and in every epoch only within a window of 512 images; Foveal
shuffles each folder fully in every epoch, its one stated deviation. Writes
`benchmarks/results/model-s/window-SEED.json`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import foveal
import model_s
from foveal.data import batches
from foveal.data.split import Rows

WINDOW = 512


def windowed_order(parts: Sequence[Rows], batch_size: int, *, seed: int, epoch: int) -> list[Rows]:
    """Order an epoch's batches as tf.data's shuffle buffer of `WINDOW` images does."""
    random = np.random.default_rng([seed, epoch, 0])
    made = []
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
        made += [np.array(drawn[start : start + batch_size]) for start in range(0, len(drawn), batch_size)]
    return [made[index] for index in random.permutation(len(made))]


def main() -> None:
    """Train and judge one seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="CIFAR-10 as `foveal data get cifar10` writes it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folder goes")
    asked = parser.parse_args()
    batches.epoch_order = windowed_order
    run = foveal.train(
        asked.data, validation="train2", seed=asked.seed, out=asked.runs / f"window-{asked.seed}"
    )
    run.evaluate("test")
    command = f"python benchmarks/window.py {asked.data.name} --seed {asked.seed}"
    model_s.write(
        model_s.RESULTS / f"window-{asked.seed}.json", {"command": command, **model_s.describe(run)}
    )


if __name__ == "__main__":
    main()
