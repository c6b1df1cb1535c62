"""Print the gain of each step of the series, and `model-s-02` beside the notebook's log.

    python -m benchmarks.accuracy.series

Reads `benchmarks/results/accuracy/model-s/`, which `benchmarks.accuracy.model_s` writes.
"""

import json
import statistics
from typing import Any

from benchmarks import RESULTS
from benchmarks.measurement.command_line import create_parser

Result = dict[str, Any]
NOTEBOOK = {"accuracy": 0.8155, "epochs": 19, "best_epoch": 13}
"""What the notebook's own log says."""
NOTEBOOK_LOSSES = (1.7873, 1.3130, 1.1322, 1.0178, 0.9234, 0.8560, 0.7856, 0.7346)
"""The training losses in the notebook's log, epoch by epoch, up to its first cut of the learning rate."""


def main() -> None:
    """Print the tables."""
    create_parser(__doc__).parse_args()
    runs: dict[str, list[Result]] = {}
    for file in sorted((RESULTS / "accuracy" / "model-s").glob("model-s-??-?.json")):
        result = json.loads(file.read_text())
        runs.setdefault(result["recipe"], []).append(result)
    print_steps(runs)
    print()
    print_losses(runs.get("model-s-02", []))


def print_steps(runs: dict[str, list[Result]]) -> None:
    """Print each recipe's test accuracy, and its gain over the recipe before."""
    print("| CIFAR-10, test folder | runs | epochs | best epoch | test accuracy | against the step before |")
    print("|---|---|---|---|---|---|")
    print(
        f"| the notebook (its log) | 1 | {NOTEBOOK['epochs']} | {NOTEBOOK['best_epoch']} "
        f"| {NOTEBOOK['accuracy']:.2%} | |"
    )
    before: float | None = None
    for recipe, results in sorted(runs.items()):
        accuracies = [result["test"]["accuracy"] for result in results]
        mean = statistics.mean(accuracies)
        if len(results) == 1:
            low, high = results[0]["test"]["accuracy_interval"]
            spread = f"{mean:.2%} (95 % interval {low:.2%} to {high:.2%})"
        else:
            single = ", ".join(f"{accuracy:.2%}" for accuracy in accuracies)
            spread = f"{mean:.2%} ± {statistics.stdev(accuracies):.2%} ({single})"
        gain = "" if before is None else f"{(mean - before) * 100:+.2f} points"
        epochs = ", ".join(str(result["epochs"]) for result in results)
        best = ", ".join(str(result["best_epoch"]) for result in results)
        print(f"| `{recipe}` | {len(results)} | {epochs} | {best} | {spread} | {gain} |")
        before = mean


def print_losses(results: list[Result]) -> None:
    """Print the training losses of the first epochs, beside the notebook's."""
    print("| training loss in epoch | " + " | ".join(map(str, range(1, 9))) + " |")
    print("|---|" + "---|" * 8)
    print("| the notebook | " + " | ".join(f"{loss:.3f}" for loss in NOTEBOOK_LOSSES) + " |")
    for result in results:
        losses = " | ".join(f"{epoch['loss']:.3f}" for epoch in result["history"][:8])
        print(f"| `model-s-02`, seed {result['seed']} | {losses} |")


if __name__ == "__main__":
    main()
