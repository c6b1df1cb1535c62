"""Whole runs of the `model-s-*` recipes on CIFAR-10, with the notebook's split.

    foveal data get cifar10 cifar10
    python -m benchmarks.accuracy.model_s cifar10
    python -m benchmarks.accuracy.model_s cifar10 --epochs 2
    python -m benchmarks.accuracy.series

Trains `model-s-02` with the seeds 0, 1 and 2, then `model-s-01` and `model-s-03` with seed 0, each in a
process of its own, and evaluates each once on the test folder. Every result is written as soon as it is
there to `benchmarks/results/accuracy/model-s/RECIPE-SEED.json`. What is there already is not run again. On
two idle cores all five take about two hours.

`--epochs 2` measures time alone: two epochs of `model-s-02` on an otherwise idle machine, to compare with
`python -m benchmarks.peers.notebook_keras DATA --epochs 2`.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import RESULTS
from benchmarks.measurement.command_line import add_cifar10, create_parser
from benchmarks.measurement.machine import describe_environment

if TYPE_CHECKING:
    import foveal

RUNS = [("model-s-02", 0), ("model-s-02", 1), ("model-s-02", 2), ("model-s-01", 0), ("model-s-03", 0)]
FOLDER = RESULTS / "accuracy" / "model-s"
COMMAND = "python -m benchmarks.accuracy.model_s"


def main() -> None:
    """Run what has no result yet."""
    parser = create_parser(__doc__)
    add_cifar10(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    parser.add_argument("--epochs", type=int, metavar="N", help="measure the time of N epochs, nothing else")
    parser.add_argument("--only", nargs=2, metavar=("RECIPE", "SEED"), help="one run, in this process")
    args = parser.parse_args()
    if args.epochs:
        measure_time(args.data, args.runs, args.epochs)
    elif args.only:
        measure(args.data, args.runs, args.only[0], int(args.only[1]))
    else:
        for recipe, seed in RUNS:
            if not result_file(recipe, seed).exists():
                command = [sys.executable, "-m", "benchmarks.accuracy.model_s", str(args.data)]
                command += ["--runs", str(args.runs), "--only", recipe, str(seed)]
                subprocess.run(command, check=True)


def result_file(recipe: str, seed: int) -> Path:
    """Return the file of a run's result."""
    return FOLDER / f"{recipe}-{seed}.json"


def measure(data: Path, runs: Path, recipe: str, seed: int) -> None:
    """Train, evaluate on the test folder, and write the result."""
    import foveal

    options, out = foveal.DataOptions(data, validation="train2"), runs / f"{recipe}-{seed}"
    run = foveal.train(options, recipe=recipe, seed=seed, out=out)
    run.evaluate("test")
    write(result_file(recipe, seed), {"command": f"{COMMAND} {data.name}", **describe(run)})


def measure_time(data: Path, runs: Path, epochs: int) -> None:
    """Train for some epochs, and write how long everything took."""
    began = time.perf_counter()
    import foveal

    options, settings = foveal.DataOptions(data, validation="train2"), [f"epochs={epochs}"]
    out = runs / f"{time.strftime('%H%M%S')}-model-s-02-{epochs}-epochs"
    run = foveal.train(options, recipe="model-s-02", settings=settings, out=out)
    trained = time.perf_counter()
    run.evaluate("test")
    evaluated = time.perf_counter()
    result = describe(run)
    result["seconds"] |= {
        "start-up": round(trained - began - sum(result["seconds"]["epochs"]), 2),
        "test": round(evaluated - trained, 2),
    }
    command = f"{COMMAND} {data.name} --epochs {epochs}"
    write(FOLDER / f"model-s-02-{epochs}-epochs.json", {"command": command, **result})


def describe(run: "foveal.Run") -> dict[str, Any]:
    """Return what a finished run measured."""
    from foveal.files.events import EpochEnded, Trained

    environment = run.folder.environment
    validation, test = run.evaluation("validation"), run.evaluation("test")
    assert validation is not None
    assert test is not None
    events = run.folder.events()
    epochs = [event.seconds for event in events if isinstance(event, EpochEnded)]
    training = sum(event.seconds for event in events if isinstance(event, Trained))
    return {
        "recipe": run.recipe.name,
        "seed": environment.seed,
        "split": run.folder.dataset.rule,
        "epochs": len(run.history),
        "best_epoch": run.history.best.epoch,
        "validation": {"n": validation.n, "loss": validation.loss, "accuracy": validation.accuracy},
        "test": {
            "n": test.n,
            "loss": test.loss,
            "accuracy": test.accuracy,
            "accuracy_interval": test.accuracy_interval,
        },
        "seconds": {"training": training, "median_epoch": statistics.median(epochs), "epochs": epochs},
        "history": [vars(record) for record in run.history],
        **describe_environment(environment),
    }


def write(file: Path, result: dict[str, Any]) -> None:
    """Write a result, and print its accuracy."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{file.name}: test accuracy {result['test']['accuracy']:.2%}, best epoch {result['best_epoch']}")


if __name__ == "__main__":
    main()
