"""Print what each step of the series bought, and how `model-s-02` compares with the notebook's log.

    python benchmarks/series.py

Reads `benchmarks/results/`, which `model_s.py` and `notebook_keras.py` write.
"""

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
NOTEBOOK = {"accuracy": 0.8155, "epochs": 19, "best_epoch": 13}
"""What the notebook's own log says."""
NOTEBOOK_LOSSES = (1.7873, 1.3130, 1.1322, 1.0178, 0.9234, 0.8560, 0.7856, 0.7346)
"""Its training losses, epoch by epoch, up to its first cut of the learning rate."""


def main() -> None:
    """Print the table."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((RESULTS / "model-s").glob("model-s-??-?.json")):
        result = json.loads(file.read_text())
        runs.setdefault(result["recipe"], []).append(result)
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
            each = ", ".join(f"{accuracy:.2%}" for accuracy in accuracies)
            spread = f"{mean:.2%} ± {statistics.stdev(accuracies):.2%} ({each})"
        gain = "" if before is None else f"{(mean - before) * 100:+.2f} points"
        epochs = ", ".join(str(result["epochs"]) for result in results)
        best = ", ".join(str(result["best_epoch"]) for result in results)
        print(f"| `{recipe}` | {len(results)} | {epochs} | {best} | {spread} | {gain} |")
        before = mean
    print("\n| training loss in epoch | " + " | ".join(map(str, range(1, 9))) + " |")
    print("|---|" + "---|" * 8)
    print("| the notebook | " + " | ".join(f"{loss:.3f}" for loss in NOTEBOOK_LOSSES) + " |")
    for result in runs.get("model-s-02", []):
        losses = [record["loss"] for record in result["history"][:8]]
        print(
            f"| `model-s-02`, seed {result['seed']} | " + " | ".join(f"{loss:.3f}" for loss in losses) + " |"
        )


if __name__ == "__main__":
    main()
