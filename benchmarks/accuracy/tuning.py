"""Tuning against the recipe as it stands, and against the same recipe trained for as long as the search took.

    foveal data get digits digits
    python benchmarks/tuning.py digits --seconds 40

Writes `benchmarks/results/tuning.json`. One seed: its split, its search, its two other runs. The long run has
no early stopping, and as many epochs as the budget's share for training has room for.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import foveal

SEEDS = (0, 1, 2)
RESULT = Path(__file__).parent / "results" / "tuning.json"


def main() -> None:
    """Search, train as it stands, and train long, with every seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the digits as `foveal data get digits` writes them")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--recipe", default="digits")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            place = Path(folder) / str(seed)
            options = {"recipe": asked.recipe, "seed": seed}
            plain = foveal.train(asked.data, out=place / "plain", **options)
            epoch = plain.summary()["seconds"] / len(plain.history)
            began = time.monotonic()
            study = foveal.tune(asked.data, minutes=asked.seconds / 60, out=place / "study", **options)
            took = time.monotonic() - began
            epochs = max(1, int(took / epoch))
            settings = [f"epochs={epochs}", "early_stopping=none"]
            long = foveal.train(asked.data, settings=settings, out=place / "long", **options)
            assert study.test is not None
            states = [each.state for each in study.trials]
            rows.append(
                {
                    "seed": seed,
                    "as_it_stands": plain.evaluate("test").accuracy,
                    "as_it_stands_seconds": plain.summary()["seconds"],
                    "long": long.evaluate("test").accuracy,
                    "long_epochs": epochs,
                    "long_seconds": long.summary()["seconds"],
                    "tuned": study.test.accuracy,
                    "tuned_seconds": round(took, 1),
                    "trials": len(states),
                    "pruned": states.count("pruned"),
                    "winner": dict(study.winner.settings),
                    "validation": study.to_json()["validation"],
                    "test_images": study.test.n,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
            environment = plain.folder.environment
    result = {
        "command": f"python benchmarks/tuning.py {asked.data.name} --seconds {asked.seconds:g}",
        "seeds": rows,
        "hardware": {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": environment["threads"],
        },
        "versions": {name: environment[name] for name in ("foveal", "python", "torch", "numpy", "pillow")},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
