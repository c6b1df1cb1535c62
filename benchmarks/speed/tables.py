"""Print the tables of speed, from what `throughput.py`, `evaluation.py`, `start.py` and `process.py` wrote.

    python benchmarks/speed.py
    python benchmarks/speed.py --short

Each figure is a median, with the lowest and highest of n measurements; a ratio's are those of pairs taken
side by side. What has not been measured stays empty.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
NOTEBOOK = "the notebook, TensorFlow"
OURS = ("foveal", "foveal, compilers hidden")
ACCURACY = 0.8155


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table of figures."""

    what: str
    must: str
    aim: str
    file: str
    key: str
    """The figure's name, "{us}" standing for ours and "{notebook}" for the faster TensorFlow."""
    unit: str = "×"


def rows(recipe: str) -> list[Row]:
    """Return the lines of the table of figures."""
    process = f"process-{recipe}"
    return [
        Row(
            what="training throughput of `model-s-02`, batch 64, input included, against the notebook's",
            must="1.3 ×",
            aim="1.6 ×",
            file="throughput",
            key="{us} against {notebook}, input included",
        ),
        Row(
            what="the same, steps alone",
            must="",
            aim="",
            file="throughput",
            key="{us} against {notebook}, steps alone",
        ),
        Row(
            what="the same against plain eager PyTorch, input included",
            must="",
            aim="",
            file="throughput",
            key="{us} against plain PyTorch, input included",
        ),
        Row(
            what="a `model-s-02` step against its convolutions alone, in the same process",
            must="≤ 1.35 ×",
            aim="1.15 ×",
            file="throughput",
            key="{us}: a step against convolutions alone in its own process",
        ),
        Row(
            what="the same against convolutions in a process of plain PyTorch",
            must="",
            aim="",
            file="throughput",
            key="{us}: a step against convolutions alone in plain PyTorch",
        ),
        Row(
            what=f"`foveal train --recipe {recipe} --evaluate`, nothing cached, against the whole notebook",
            must="35 × sooner",
            aim="60 ×",
            file=process,
            key="{us}, cold against the notebook",
        ),
        Row(
            what="its test accuracy, mean over seeds",
            must="≥ 81.55 %",
            aim="",
            file=process,
            key="{us}, cold: test accuracy",
            unit="mean %",
        ),
        Row(
            what="the same with the pack cached",
            must="42 ×",
            aim="75 ×",
            file=process,
            key="{us}, cached against the notebook",
        ),
        Row(
            what="decoding and packing 60,000 PNG against Keras' first pass over the same folders",
            must="2 ×",
            aim="5 ×",
            file="start",
            key="{us} against {notebook}, decoding",
        ),
        Row(
            what=f"peak memory of a CIFAR-10 run (`{recipe}`) against the notebook's",
            must="≤ 0.7 ×",
            aim="0.5 ×",
            file=process,
            key="{us}, cold against the notebook, peak memory",
        ),
        Row(
            what="peak memory of a CIFAR-10 run (`model-s-02`) against the notebook's",
            must="≤ 0.7 ×",
            aim="0.5 ×",
            file="process-model-s-02",
            key="{us}, cold against the notebook, peak memory",
        ),
        Row(
            what="`foveal --help`",
            must="≤ 0.25 s",
            aim="0.1 s",
            file="start",
            key="foveal --help: seconds",
            unit="s",
        ),
        Row(
            what="from start to first training step, pack cached",
            must="≤ 3 s",
            aim="2 s",
            file="start",
            key="{us}: seconds until the first step is done",
            unit="s",
        ),
        Row(
            what="evaluating 10,000 test images with `model-s-02` against Keras on the folder",
            must="1.3 ×",
            aim="2 ×",
            file="evaluation",
            key="{us} against {notebook}, folder",
        ),
        Row(
            what="the same against Keras with the images in memory",
            must="",
            aim="",
            file="evaluation",
            key="{us} against {notebook}, in memory",
        ),
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="sprint")
    parser.add_argument("--short", action="store_true", help="the README's table and nothing else")
    asked = parser.parse_args()
    results = {file.stem: json.loads(file.read_text()) for file in sorted((RESULTS / "speed").glob("*.json"))}
    figures = {name: result.get("figures", {}) for name, result in results.items()}
    goals = "" if asked.short else " must | aim for |"
    print(
        f"| figure |{goals} measured | without a compiler |\n|---|---|---|{'' if asked.short else '---|---|'}"
    )
    for row in rows(asked.recipe):
        cells = [cell(row, figures.get(row.file, {}), us) for us in OURS]
        if "{us}" not in row.key:
            cells[1] = ""
        goals = "" if asked.short else f" {row.must} | {row.aim} |"
        print(f"| {row.what} |{goals} {cells[0]} | {cells[1]} |")
    if asked.short:
        return
    print_accuracy(asked.recipe, results.get(f"process-{asked.recipe}", {}))
    print_seeds(results.get(f"process-{asked.recipe}", {}))
    print_everything(figures)
    for name, result in results.items():
        hardware, versions = result["hardware"], result["versions"]
        print(
            f"\n`{name}.json`: `{result['command']}`, {result['started']}, {hardware['processor']}, "
            f"{hardware['cores']} cores, load before {result['load_before']}, Foveal {versions['commit']}, "
            f"torch {versions['torch']}"
        )


def cell(row: Row, figures: dict[str, Any], us: str) -> str:
    """Lay out a figure; against the notebook, that on the TensorFlow which comes off best."""
    found = [
        (figures[key], tensorflow)
        for tensorflow in ("2.15", "current")
        if (key := row.key.format(us=us, notebook=f"{NOTEBOOK} {tensorflow}")) in figures
    ]
    if not found:
        return ""
    figure, tensorflow = min(found, key=lambda pair: pair[0]["median"])
    told = f" (TensorFlow {tensorflow})" if "{notebook}" in row.key else ""
    return lay(figure, row.unit) + told


def lay(figure: dict[str, Any], unit: str) -> str:
    """Lay out a median with its range."""
    n = figure["n"]
    match unit:
        case "mean %":
            deviation = f" ± {statistics.stdev(figure['each']):.2%}" if n > 1 else ""
            return (
                f"{statistics.mean(figure['each']):.2%}{deviation} "
                f"({figure['lowest']:.2%} to {figure['highest']:.2%}, n = {n})"
            )
        case _:
            middle, low, high = (f"{figure[name]:.3g}" for name in ("median", "lowest", "highest"))
            return f"{middle} {unit} ({low} to {high}, n = {n})"


def print_accuracy(recipe: str, result: dict[str, Any]) -> None:
    """Print when each method first reaches the notebook's accuracy."""
    figures = result.get("figures", {})
    print(f"\n| {ACCURACY:.2%} for the first time | seconds | by what |\n|---|---|---|")
    for us in OURS:
        for condition in ("cold", "cached"):
            key = f"{us}, {condition}: seconds to {ACCURACY:.2%} on validation data"
            if key in figures:
                seconds = lay(figures[key], "s")
                print(f"| `{recipe}`: {us}, {condition} | {seconds} | validation, after an epoch |")
    if "plain PyTorch: seconds" in figures:
        accuracy = lay(figures["plain PyTorch: test accuracy"], "mean %")
        print(
            f"| plain PyTorch, the same recipe | {lay(figures['plain PyTorch: seconds'], 's')} | {accuracy} |"
        )
    epochs = [first_epoch(json.loads(file.read_text())) for file in model_s_02()]
    if epochs:
        numbers = ", ".join(map(str, epochs))
        print(f"| `model-s-02` | epochs {numbers} | validation, seeds 0 to {len(epochs) - 1} |")
    for name, whole in result.get("notebook_seconds", {}).items():
        print(f"| {name} | {whole:.0f} | test, by its log: after 19 epochs; validation never (81.33 %) |")


def print_seeds(result: dict[str, Any]) -> None:
    """Print every whole process, a line a seed."""
    runs = {(run["contender"], run["condition"], run["seed"]): run for run in result.get("runs", [])}
    columns = [(us, condition) for us in OURS for condition in ("cold", "cached")]
    titles = [f"{us}, {condition}: seconds" for us, condition in columns]
    print(f"\n| seed | {' | '.join(titles)} | validation | test |\n|---|{'---|' * (len(titles) + 2)}")
    for seed in sorted({seed for _, _, seed in runs}):
        own = [runs.get((us, condition, seed)) for us, condition in columns]
        seconds = ["" if run is None else f"{run['seconds']:.1f}" for run in own]
        accuracies = [
            # One number where all four processes agree, as the same seed should make them.
            ", ".join(sorted({f"{run[split]['accuracy']:.2%}" for run in own if run is not None}))
            for split in ("validation", "test")
        ]
        print(f"| {seed} | {' | '.join(seconds)} | {' | '.join(accuracies)} |")


def model_s_02() -> list[Path]:
    """Return the results of whole runs of `model-s-02`, which `model_s.py` wrote."""
    return sorted((RESULTS / "model-s").glob("model-s-02-?.json"))


def first_epoch(result: dict[str, Any]) -> int | None:
    """Return the first epoch of a run that reached the accuracy on validation data."""
    reached = [each["epoch"] for each in result["history"] if each["validation_accuracy"] >= ACCURACY]
    return min(reached, default=None)


def print_everything(figures: dict[str, dict[str, Any]]) -> None:
    """Print every figure there is."""
    print("\n| everything measured | median | lowest | highest | n |\n|---|---|---|---|---|")
    for name, each in figures.items():
        for key, figure in each.items():
            numbers = " | ".join(f"{figure[part]:.4g}" for part in ("median", "lowest", "highest"))
            print(f"| {name}: {key} | {numbers} | {figure['n']} |")


if __name__ == "__main__":
    main()
