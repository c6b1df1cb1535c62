"""The cost of checkpoints: the share of a run's training time that goes into writing them.

    foveal data get cifar10 cifar10
    python -m benchmarks.speed.saving cifar10
    python -m benchmarks.speed.saving cifar10 --runs 5
    python -m benchmarks.speed.saving --table

Trains in this process, images packed, and measures `Session.save`: `sprint` and one epoch of `model-s-02` on
CIFAR-10, the demo's recipe on its digits (epochs of half a second), and a budget of 20 seconds on 300 of
these (epochs of a few hundredths). One line for each run is added to `benchmarks/results/speed/saving.jsonl`.
What is there already is not run again.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

from benchmarks import RESULTS
from benchmarks.measurement.foveal_process import temporary_folder
from benchmarks.measurement.journal import Line, create_journal_parser, open_journal, parse_arguments
from benchmarks.measurement.markdown import describe_conditions, format_table, format_values, group_lines
from foveal import DataOptions, Run, train
from foveal.data import named_datasets
from foveal.training.session import Session


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = create_journal_parser(__doc__, RESULTS / "speed" / "saving.jsonl", runs=3)
    args, _ = parse_arguments(parser)
    journal = open_journal(args)
    if args.table:
        print(format_results(journal.read_lines()))
        return
    with temporary_folder() as name:
        folder = Path(name)
        cases = create_cases(args.data, folder)
        for seed in range(args.runs):
            for case, call in cases.items():
                out = folder / f"run-{seed}-{len(list(folder.iterdir()))}"
                measure_case = partial(measure, partial(call, seed=seed, out=out))
                line = journal.measure_once({"case": case, "seed": seed}, measure_case)
                if line is not None:
                    share = f"{line['share']:.2%}"
                    print(f"{case}, seed {seed}: {line['saves']} in {share} of the time", flush=True)
    sys.exit(1 if journal.failed else 0)


def create_cases(cifar10: Path, folder: Path) -> dict[str, Callable[..., Run]]:
    """Return the trainings that are measured, by their names in results."""
    digits = named_datasets.get("digits", folder / "digits")
    few = copy_few(digits, folder / "few")
    packed = partial(DataOptions, cache=folder / "cache")
    return {
        "`sprint` on CIFAR-10": partial(train, packed(cifar10), recipe="sprint"),
        "an epoch of `model-s-02` on CIFAR-10": partial(
            train, packed(cifar10), recipe="model-s-02", settings=["epochs=1"]
        ),
        "`digits` on the digits": partial(train, packed(digits), recipe="digits"),
        "20 seconds on 300 digits": partial(train, packed(few), budget="20s"),
    }


def copy_few(digits: Path, folder: Path) -> Path:
    """Copy thirty training digits and five test digits of each class."""
    for split, n in (("train", 30), ("test", 5)):
        for label in sorted((digits / split).iterdir()):
            (folder / split / label.name).mkdir(parents=True)
            for file in sorted(label.iterdir())[:n]:
                (folder / split / label.name / file.name).write_bytes(file.read_bytes())
    return folder


def measure(call: Callable[[], Run]) -> Line:
    """Train, and measure the time of each checkpoint."""
    seconds: list[float] = []
    save = Session.save

    def save_and_measure(session: Session) -> None:
        began = time.perf_counter()
        save(session)
        seconds.append(time.perf_counter() - began)

    with mock.patch.object(Session, "save", save_and_measure):
        run = call()
    training = run.summary()["seconds"]
    return {
        "saves": len(seconds),
        "save_seconds": seconds,
        "training_seconds": training,
        "share": sum(seconds) / training,
        "bytes": max(file.stat().st_size for file in run.folder.checkpoints.iterdir()),
        "threads": run.folder.environment.threads,
    }


def format_results(lines: Sequence[Line]) -> str:
    """Return a table of the cost of checkpoints."""
    rows = [
        [
            case,
            len(runs),
            format_values([run["training_seconds"] for run in runs], ".1f"),
            format_values([run["saves"] for run in runs], ".0f"),
            format_values([run["bytes"] / 1e6 for run in runs], ".1f"),
            format_values([run["share"] for run in runs], ".2%"),
        ]
        for (case,), runs in group_lines(lines, ["case"]).items()
    ]
    header = ["run", "n", "seconds of training", "checkpoints", "MB each", "share of the time"]
    return f"{format_table(header, rows)}\n\n{describe_conditions(lines)}"


if __name__ == "__main__":
    main()
