"""What checkpoints cost: the share of a run's training time that goes into writing them.

    foveal data get cifar10 cifar10
    python benchmarks/saving.py cifar10
    python benchmarks/saving.py cifar10 --runs 5
    python benchmarks/saving.py --table

Trains in this process, images packed, with `Session.save` timed: `sprint` and one epoch of `model-s-02` on
CIFAR-10, the demo's recipe on its digits (epochs of half a second), and 20 seconds' budget on 300 of these
(epochs of a few hundredths). A line a run is added to `benchmarks/results/saving.jsonl`; what is there
already is not run again.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import journal
from foveal import Run, train
from foveal.data import sources
from foveal.training.session import Session
from journal import Line


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = journal.arguments(__doc__, "saving", runs=3)
    asked, _ = journal.parse(parser)
    kept = journal.open_journal(asked)
    if asked.table:
        print(table(kept.lines()))
        return
    with journal.scratch() as place:
        folder = Path(place)
        digits = sources.get("digits", folder / "digits")
        few = small(digits, folder / "few")
        cases: dict[str, Callable[..., Run]] = {
            "`sprint` on CIFAR-10": partial(train, asked.data, recipe="sprint"),
            "an epoch of `model-s-02` on CIFAR-10": partial(
                train, asked.data, recipe="model-s-02", settings=["epochs=1"]
            ),
            "`digits` on the digits": partial(train, digits, recipe="digits"),
            "20 seconds on 300 digits": partial(train, few, minutes=1 / 3),
        }
        for seed in range(asked.runs):
            for name, call in cases.items():
                out = folder / f"run-{seed}-{len(list(folder.iterdir()))}"
                run = partial(measure, partial(call, seed=seed, out=out, cache=folder / "cache"))
                line = kept.take({"case": name, "seed": seed}, run)
                if line is not None:
                    print(
                        f"{name}, seed {seed}: {line['saves']} in {line['share']:.2%} of the time", flush=True
                    )
    sys.exit(1 if kept.failed else 0)


def small(digits: Path, folder: Path) -> Path:
    """Lay out thirty training digits of each class."""
    for split, n in (("train", 30), ("test", 5)):
        for label in sorted((digits / split).iterdir()):
            (folder / split / label.name).mkdir(parents=True)
            for file in sorted(label.iterdir())[:n]:
                (folder / split / label.name / file.name).write_bytes(file.read_bytes())
    return folder


def measure(call: Callable[[], Run]) -> Line:
    """Train, timing each checkpoint."""
    seconds: list[float] = []
    real = Session.save

    def timed(session: Session) -> None:
        began = time.perf_counter()
        real(session)
        seconds.append(time.perf_counter() - began)

    with mock.patch.object(Session, "save", timed):
        run = call()
    environment: Any = run.folder.environment
    training = run.summary()["seconds"]
    return {
        "saves": len(seconds),
        "save_seconds": seconds,
        "training_seconds": training,
        "share": sum(seconds) / training,
        "bytes": max(file.stat().st_size for file in run.folder.checkpoints.iterdir()),
        "threads": environment["threads"],
    }


def table(lines: list[Line]) -> str:
    """Lay out what checkpoints cost."""
    rows = [
        [
            case,
            len(runs),
            journal.laid([run["training_seconds"] for run in runs], ".1f"),
            journal.laid([run["saves"] for run in runs], ".0f"),
            journal.laid([run["bytes"] / 1e6 for run in runs], ".1f"),
            journal.laid([run["share"] for run in runs], ".2%"),
        ]
        for (case,), runs in journal.grouped(lines, ["case"]).items()
    ]
    header = ["run", "n", "seconds of training", "checkpoints", "MB each", "share of the time"]
    return f"{journal.table(header, rows)}\n\n{journal.described(lines)}"


if __name__ == "__main__":
    main()
