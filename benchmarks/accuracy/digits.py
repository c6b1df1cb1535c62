"""The demo's recipe on scikit-learn's digits, with several seeds.

    foveal data get digits digits
    python -m benchmarks.accuracy.digits digits

Writes `benchmarks/results/accuracy/digits.json`. All seeds have the same test images; each draws its own
tenth of the others for validation. About a minute.
"""

import json
import statistics
import tempfile
from pathlib import Path

import foveal
from benchmarks import RESULTS
from benchmarks.measurement.command_line import create_parser
from benchmarks.measurement.machine import describe_environment

SEEDS = (0, 1, 2, 3, 4)


def main() -> None:
    """Train and evaluate with every seed."""
    parser = create_parser(__doc__)
    parser.add_argument("data", type=Path, help="the digits as `foveal data get digits` writes them")
    args = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            run = foveal.train(args.data, recipe="digits", seed=seed, out=Path(folder) / str(seed))
            accuracy, summary = run.evaluate("test").accuracy, run.summary()
            runs.append({"seed": seed, "test_accuracy": accuracy, "seconds": summary["seconds"]})
        environment = run.folder.environment
    accuracies = [run["test_accuracy"] for run in runs]
    result = {
        "command": f"{parser.prog} {args.data.name}",
        "mean": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "runs": runs,
        **describe_environment(environment),
    }
    (RESULTS / "accuracy" / "digits.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"test accuracy {result['mean']:.2%} ± {result['standard_deviation']:.2%}, {len(runs)} seeds")


if __name__ == "__main__":
    main()
