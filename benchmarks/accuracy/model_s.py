"""Whole runs of the `model-s-*` recipes on CIFAR-10, with the notebook's split.

    foveal data get cifar10 cifar10
    python benchmarks/model_s.py cifar10
    python benchmarks/model_s.py cifar10 --epochs 2
    python benchmarks/series.py

Trains `model-s-02` with the seeds 0, 1 and 2, then `model-s-01` and `model-s-03` with seed 0, each in a
process of its own, and judges each once on the test folder. Every result is written as soon as it is
there to `benchmarks/results/model-s/RECIPE-SEED.json`; what is there already is not run again. On two
quiet cores all five take about two hours.

`--epochs 2` measures time alone: two epochs of `model-s-02` on an otherwise idle machine, to be put beside
`notebook_keras.py --epochs 2`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import foveal

RUNS = [("model-s-02", 0), ("model-s-02", 1), ("model-s-02", 2), ("model-s-01", 0), ("model-s-03", 0)]
RESULTS = Path(__file__).parent / "results" / "model-s"


def main() -> None:
    """Run what has no result yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="CIFAR-10 as `foveal data get cifar10` writes it")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    parser.add_argument("--epochs", type=int, metavar="N", help="measure the time of N epochs, nothing else")
    parser.add_argument("--only", nargs=2, metavar=("RECIPE", "SEED"), help="one run, in this process")
    asked = parser.parse_args()
    if asked.epochs:
        time_epochs(asked.data, asked.runs, asked.epochs)
    elif asked.only:
        measure(asked.data, asked.runs, asked.only[0], int(asked.only[1]))
    else:
        for recipe, seed in RUNS:
            if not result_file(recipe, seed).exists():
                command = [sys.executable, __file__, str(asked.data), "--runs", str(asked.runs)]
                subprocess.run([*command, "--only", recipe, str(seed)], check=True)


def result_file(recipe: str, seed: int) -> Path:
    """Return where a run's result goes."""
    return RESULTS / f"{recipe}-{seed}.json"


def measure(data: Path, runs: Path, recipe: str, seed: int) -> None:
    """Train, judge on the test folder, and write the result."""
    import foveal

    run = foveal.train(data, recipe=recipe, validation="train2", seed=seed, out=runs / f"{recipe}-{seed}")
    run.evaluate("test")
    write(
        result_file(recipe, seed), {"command": f"python benchmarks/model_s.py {data.name}", **describe(run)}
    )


def time_epochs(data: Path, runs: Path, epochs: int) -> None:
    """Train for some epochs and write how long everything took."""
    began = time.perf_counter()
    import foveal

    name = f"{time.strftime('%H%M%S')}-model-s-02-{epochs}-epochs"
    run = foveal.train(
        data, recipe="model-s-02", validation="train2", settings=[f"epochs={epochs}"], out=runs / name
    )
    trained = time.perf_counter()
    run.evaluate("test")
    judged = time.perf_counter()
    result = describe(run)
    result["seconds"] |= {
        "start-up": round(trained - began - sum(result["seconds"]["epochs"]), 2),
        "test": round(judged - trained, 2),
    }
    write(
        RESULTS / f"model-s-02-{epochs}-epochs.json",
        {"command": f"python benchmarks/model_s.py {data.name} --epochs {epochs}", **result},
    )


def describe(run: "foveal.Run") -> dict[str, Any]:
    """Gather what a finished run measured."""
    environment = run.folder.environment
    validation, test = run.evaluation("validation"), run.evaluation("test")
    assert validation is not None
    assert test is not None
    events = run.folder.events()
    epochs = [event["seconds"] for event in events if event["event"] == "epoch"]
    training = sum(event["seconds"] for event in events if event["event"] == "trained")
    return {
        "recipe": run.recipe.name,
        "seed": environment["seed"],
        "split": run.folder.dataset["rule"],
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
        "hardware": {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": environment["threads"],
        },
        "versions": {name: environment[name] for name in ("foveal", "python", "torch", "numpy", "pillow")},
    }


def write(file: Path, result: dict[str, Any]) -> None:
    """Write a result and say what it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{file.name}: test accuracy {result['test']['accuracy']:.2%}, best epoch {result['best_epoch']}")


if __name__ == "__main__":
    main()
