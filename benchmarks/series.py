"""Print what each step of the series bought, as the README's table.

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


def main() -> None:
    """Print the table."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((RESULTS / "model-s").glob("model-s-??-?.json")):
        result = json.loads(file.read_text())
        runs.setdefault(result["recipe"], []).append(result)
    print("| | runs | epochs | best epoch | test accuracy | against the step before |")
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


if __name__ == "__main__":
    main()
