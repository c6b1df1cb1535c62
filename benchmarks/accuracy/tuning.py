"""Tuning against the unchanged recipe, and against that recipe trained for as long as the search took.

    foveal data get digits digits
    python -m benchmarks.accuracy.tuning digits --budget 40s

Writes `benchmarks/results/accuracy/tuning.json`. Each seed has its own split, its search and its two other
runs. The long run has no early stopping, and as many epochs as fit into the time of the search. About five
minutes.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import foveal
from benchmarks import RESULTS
from benchmarks.measurement.command_line import create_parser
from benchmarks.measurement.machine import describe_environment

SEEDS = (0, 1, 2)


def main() -> None:
    """Search, train unchanged and train long, with every seed."""
    parser = create_parser(__doc__)
    parser.add_argument("data", type=Path, help="the digits as `foveal data get digits` writes them")
    parser.add_argument("--budget", default="40s")
    parser.add_argument("--recipe", default="digits")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            rows.append(measure(args.data, args.recipe, seed, args.budget, Path(folder) / str(seed)))
            print(json.dumps(rows[-1]), flush=True)
        environment = foveal.Run(Path(folder) / "0" / "plain").folder.environment
    result = {
        "command": f"{parser.prog} {args.data.name} --budget {args.budget}",
        "seeds": rows,
        **describe_environment(environment),
    }
    (RESULTS / "accuracy" / "tuning.json").write_text(json.dumps(result, indent=2) + "\n")


def measure(data: Path, recipe: str, seed: int, budget: str, folder: Path) -> dict[str, Any]:
    """Search, train unchanged and train long with one seed; return accuracies and seconds of each."""
    plain = foveal.train(data, recipe=recipe, seed=seed, out=folder / "plain")
    epoch_seconds = plain.summary()["seconds"] / len(plain.history)
    began = time.monotonic()
    study = foveal.tune(data, recipe=recipe, seed=seed, budget=budget, out=folder / "study")
    seconds = time.monotonic() - began
    epochs = max(1, int(seconds / epoch_seconds))
    settings = [f"epochs={epochs}", "early_stopping=none"]
    long = foveal.train(data, recipe=recipe, seed=seed, settings=settings, out=folder / "long")
    assert study.test is not None
    states = [trial.state for trial in study.trials]
    return {
        "seed": seed,
        "as_it_stands": plain.evaluate("test").accuracy,
        "as_it_stands_seconds": plain.summary()["seconds"],
        "long": long.evaluate("test").accuracy,
        "long_epochs": epochs,
        "long_seconds": long.summary()["seconds"],
        "tuned": study.test.accuracy,
        "tuned_seconds": round(seconds, 1),
        "trials": len(states),
        "pruned": states.count("pruned"),
        "winner": dict(study.winner.settings),
        "validation": study.to_json()["validation"],
        "test_images": study.test.n,
    }


if __name__ == "__main__":
    main()
