"""The demo's recipe on scikit-learn's digits, with several seeds.

    foveal data get digits digits
    python benchmarks/digits.py digits

Writes `benchmarks/results/digits.json`. The split is the same for all seeds; the tenth that validates is not.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path

import foveal

SEEDS = (0, 1, 2, 3, 4)
RESULT = Path(__file__).parent / "results" / "digits.json"


def main() -> None:
    """Train and judge with every seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the digits as `foveal data get digits` writes them")
    asked = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            run = foveal.train(asked.data, recipe="digits", seed=seed, out=Path(folder) / str(seed))
            accuracy, summary = run.evaluate("test").accuracy, run.summary()
            runs.append({"seed": seed, "test_accuracy": accuracy, "seconds": summary["seconds"]})
        environment = run.folder.environment
    accuracies = [each["test_accuracy"] for each in runs]
    result = {
        "command": f"python benchmarks/digits.py {asked.data.name}",
        "mean": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "runs": runs,
        "hardware": {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": environment["threads"],
        },
        "versions": {name: environment[name] for name in ("foveal", "python", "torch", "numpy", "pillow")},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"test accuracy {result['mean']:.2%} ± {result['standard_deviation']:.2%}, {len(runs)} seeds")


if __name__ == "__main__":
    main()
