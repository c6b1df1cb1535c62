"""Whole runs of the `model-s-*` recipes on CIFAR-10, with the notebook's split.

    foveal data get cifar10 cifar10
    python benchmarks/model_s.py cifar10

Trains `model-s-02` with the seeds 0, 1 and 2, then `model-s-01` and `model-s-03` with seed 0, each in a
process of its own, and judges each once on the test folder. Every result is written as soon as it is
there to `benchmarks/results/model-s/RECIPE-SEED.json`; what is there already is not run again. On two
cores all five take about two hours.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

RUNS = [("model-s-02", 0), ("model-s-02", 1), ("model-s-02", 2), ("model-s-01", 0), ("model-s-03", 0)]
RESULTS = Path(__file__).parent / "results" / "model-s"


def main() -> None:
    """Run what has no result yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="CIFAR-10 as `foveal data get cifar10` writes it")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    parser.add_argument("--only", nargs=2, metavar=("RECIPE", "SEED"), help="one run, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        measure(arguments.data, arguments.runs, arguments.only[0], int(arguments.only[1]))
        return
    for recipe, seed in RUNS:
        if not result_file(recipe, seed).exists():
            command = [sys.executable, __file__, str(arguments.data), "--runs", str(arguments.runs)]
            subprocess.run([*command, "--only", recipe, str(seed)], check=True)


def result_file(recipe: str, seed: int) -> Path:
    """Return where a run's result goes."""
    return RESULTS / f"{recipe}-{seed}.json"


def measure(data: Path, runs: Path, recipe: str, seed: int) -> None:
    """Train, judge on validation and test, and write the result."""
    began = time.perf_counter()
    import foveal

    run = foveal.train(data, recipe=recipe, validation="train2", seed=seed, out=runs / f"{recipe}-{seed}")
    trained = time.perf_counter()
    validation, test = run.evaluate("validation"), run.evaluate("test")
    ended = time.perf_counter()
    environment = run.folder.environment
    result = {
        "command": f"python benchmarks/model_s.py {data.name}",
        "recipe": recipe,
        "seed": seed,
        "split": "train1, train3, train4, train5 train; train2 validates; test",
        "epochs": len(run.history),
        "best_epoch": run.history.best.epoch,
        "validation": {"n": validation.n, "loss": validation.loss, "accuracy": validation.accuracy},
        "test": {
            "n": test.n,
            "loss": test.loss,
            "accuracy": test.accuracy,
            "accuracy_interval": test.accuracy_interval,
        },
        "seconds": {
            "import, data and training": round(trained - began, 1),
            "judging": round(ended - trained, 1),
        },
        "history": [vars(record) for record in run.history],
        "hardware": {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": environment["threads"],
        },
        "versions": {name: environment[name] for name in ("foveal", "python", "torch", "numpy", "pillow")},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    result_file(recipe, seed).write_text(json.dumps(result, indent=2) + "\n")
    print(f"{recipe}, seed {seed}: test accuracy {test.accuracy:.2%}, best epoch {run.history.best.epoch}")


if __name__ == "__main__":
    main()
