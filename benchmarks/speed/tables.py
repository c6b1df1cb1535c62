"""Print the tables of speed, from what `throughput`, `evaluation`, `start` and `process` wrote.

    python -m benchmarks.speed.tables
    python -m benchmarks.speed.tables --short

Each figure is a median, with the lowest and highest of n measurements. A ratio is made of pairs that were
measured side by side. What has not been measured stays empty.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import RESULTS
from benchmarks.measurement.command_line import create_parser
from benchmarks.measurement.record import Figure, Figures
from benchmarks.peers.launch import WITH_COMPILER, WITHOUT_COMPILER
from benchmarks.speed.process import NOTEBOOK_ACCURACY

NOTEBOOK = "the notebook, TensorFlow"
CONTENDERS = (WITH_COMPILER, WITHOUT_COMPILER)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table of figures."""

    what: str
    """The description of the figure, in Markdown."""
    required: str = ""
    """The value that the project requires."""
    goal: str = ""
    """The value that the project aims for."""
    file: str
    """The name of the result that has the figure."""
    key: str
    """The figure's name. "{us}" stands for our contender, "{notebook}" for the faster TensorFlow."""
    unit: str = "×"
    """The unit, or "mean %" for a mean of shares."""


def list_rows(recipe: str) -> list[Row]:
    """Return the rows of the table of figures."""
    return [*list_throughput_rows(), *list_run_rows(recipe), *list_short_rows()]


def list_throughput_rows() -> list[Row]:
    """Return the rows on training steps."""
    return [
        Row(
            what="training throughput of `model-s-02`, batch 64, input included, against the notebook's",
            required="1.3 ×",
            goal="1.6 ×",
            file="throughput",
            key="{us} against {notebook}, input included",
        ),
        Row(
            what="the same, steps alone",
            file="throughput",
            key="{us} against {notebook}, steps alone",
        ),
        Row(
            what="the same against plain eager PyTorch, input included",
            file="throughput",
            key="{us} against plain PyTorch, input included",
        ),
        Row(
            what="a `model-s-02` step against its convolutions alone, in the same process",
            required="≤ 1.35 ×",
            goal="1.15 ×",
            file="throughput",
            key="{us}: a step against convolutions alone in its own process",
        ),
        Row(
            what="the same against convolutions in a process of plain PyTorch",
            file="throughput",
            key="{us}: a step against convolutions alone in plain PyTorch",
        ),
    ]


def list_run_rows(recipe: str) -> list[Row]:
    """Return the rows on whole runs, with the decoding that they begin with."""
    process = f"process-{recipe}"
    return [
        Row(
            what=f"`foveal train --recipe {recipe} --evaluate`, nothing cached, against the whole notebook",
            required="35 × sooner",
            goal="60 ×",
            file=process,
            key="{us}, cold against the notebook",
        ),
        Row(
            what="its test accuracy, mean over seeds",
            required="≥ 81.55 %",
            file=process,
            key="{us}, cold: test accuracy",
            unit="mean %",
        ),
        Row(
            what="the same with the pack cached",
            required="42 ×",
            goal="75 ×",
            file=process,
            key="{us}, cached against the notebook",
        ),
        Row(
            what="decoding and packing 60,000 PNG against Keras' first pass over the same folders",
            required="2 ×",
            goal="5 ×",
            file="start",
            key="{us} against {notebook}, decoding",
        ),
        Row(
            what=f"peak memory of a CIFAR-10 run (`{recipe}`) against the notebook's",
            required="≤ 0.7 ×",
            goal="0.5 ×",
            file=process,
            key="{us}, cold against the notebook, peak memory",
        ),
        Row(
            what="peak memory of a CIFAR-10 run (`model-s-02`) against the notebook's",
            required="≤ 0.7 ×",
            goal="0.5 ×",
            file="process-model-s-02",
            key="{us}, cold against the notebook, peak memory",
        ),
    ]


def list_short_rows() -> list[Row]:
    """Return the rows on what takes seconds: starting and evaluating."""
    return [
        Row(
            what="`foveal --help`",
            required="≤ 0.25 s",
            goal="0.1 s",
            file="start",
            key="foveal --help: seconds",
            unit="s",
        ),
        Row(
            what="from start to first training step, pack cached",
            required="≤ 3 s",
            goal="2 s",
            file="start",
            key="{us}: seconds until the first step is done",
            unit="s",
        ),
        Row(
            what="evaluating 10,000 test images with `model-s-02` against Keras on the folder",
            required="1.3 ×",
            goal="2 ×",
            file="evaluation",
            key="{us} against {notebook}, folder",
        ),
        Row(
            what="the same against Keras with the images in memory",
            file="evaluation",
            key="{us} against {notebook}, in memory",
        ),
    ]


def main() -> None:
    """Print the tables."""
    parser = create_parser(__doc__)
    parser.add_argument("--recipe", default="sprint")
    parser.add_argument("--short", action="store_true", help="the README's table and nothing else")
    args = parser.parse_args()
    results = {file.stem: json.loads(file.read_text()) for file in sorted((RESULTS / "speed").glob("*.json"))}
    figures = {name: result.get("figures", {}) for name, result in results.items()}
    goals = "" if args.short else " must | aim for |"
    print(
        f"| figure |{goals} measured | without a compiler |\n|---|---|---|{'' if args.short else '---|---|'}"
    )
    for row in list_rows(args.recipe):
        cells = [format_cell(row, figures.get(row.file, {}), us) for us in CONTENDERS]
        if "{us}" not in row.key:
            cells[1] = ""
        goals = "" if args.short else f" {row.required} | {row.goal} |"
        print(f"| {row.what} |{goals} {cells[0]} | {cells[1]} |")
    if args.short:
        return
    print_accuracy(args.recipe, results.get(f"process-{args.recipe}", {}))
    print_seeds(results.get(f"process-{args.recipe}", {}))
    print_all_figures(figures)
    for name, result in results.items():
        hardware, versions = result["hardware"], result["versions"]
        print(
            f"\n`{name}.json`: `{result['command']}`, {result['started']}, {hardware['processor']}, "
            f"{hardware['cores']} cores, load before {result['load_before']}, Foveal {versions['commit']}, "
            f"torch {versions['torch']}"
        )


def format_cell(row: Row, figures: Figures, us: str) -> str:
    """Return a figure as text. Against the notebook it is that on the TensorFlow which compares best."""
    candidates = [
        (figures[key], tensorflow)
        for tensorflow in ("2.15", "current")
        if (key := row.key.format(us=us, notebook=f"{NOTEBOOK} {tensorflow}")) in figures
    ]
    if not candidates:
        return ""
    figure, tensorflow = min(candidates, key=lambda pair: pair[0]["median"])
    note = f" (TensorFlow {tensorflow})" if "{notebook}" in row.key else ""
    return format_figure(figure, row.unit) + note


def format_figure(figure: Figure, unit: str) -> str:
    """Return a figure's middle with its range, as text."""
    n = figure["n"]
    if unit == "mean %":
        deviation = f" ± {statistics.stdev(figure['each']):.2%}" if n > 1 else ""
        return (
            f"{statistics.mean(figure['each']):.2%}{deviation} "
            f"({figure['lowest']:.2%} to {figure['highest']:.2%}, n = {n})"
        )
    return f"{figure['median']:.3g} {unit} ({figure['lowest']:.3g} to {figure['highest']:.3g}, n = {n})"


def print_accuracy(recipe: str, result: dict[str, Any]) -> None:
    """Print when each contender first reaches the notebook's accuracy."""
    figures = result.get("figures", {})
    print(f"\n| {NOTEBOOK_ACCURACY:.2%} for the first time | seconds | by what |\n|---|---|---|")
    for us in CONTENDERS:
        for condition in ("cold", "cached"):
            key = f"{us}, {condition}: seconds to {NOTEBOOK_ACCURACY:.2%} on validation data"
            if key in figures:
                seconds = format_figure(figures[key], "s")
                print(f"| `{recipe}`: {us}, {condition} | {seconds} | validation, after an epoch |")
    if "plain PyTorch: seconds" in figures:
        seconds = format_figure(figures["plain PyTorch: seconds"], "s")
        accuracy = format_figure(figures["plain PyTorch: test accuracy"], "mean %")
        print(f"| plain PyTorch, the same recipe | {seconds} | {accuracy} |")
    epochs = [find_first_epoch(json.loads(file.read_text())) for file in list_model_s_02()]
    if epochs:
        numbers = ", ".join(map(str, epochs))
        print(f"| `model-s-02` | epochs {numbers} | validation, seeds 0 to {len(epochs) - 1} |")
    for name, whole in result.get("notebook_seconds", {}).items():
        print(f"| {name} | {whole:.0f} | test, by its log: after 19 epochs; validation never (81.33 %) |")


def print_seeds(result: dict[str, Any]) -> None:
    """Print every whole process, one row for each seed."""
    runs = {(run["contender"], run["condition"], run["seed"]): run for run in result.get("runs", [])}
    columns = [(us, condition) for us in CONTENDERS for condition in ("cold", "cached")]
    titles = [f"{us}, {condition}: seconds" for us, condition in columns]
    print(f"\n| seed | {' | '.join(titles)} | validation | test |\n|---|{'---|' * (len(titles) + 2)}")
    for seed in sorted({seed for _, _, seed in runs}):
        own = [runs.get((us, condition, seed)) for us, condition in columns]
        seconds = ["" if run is None else f"{run['seconds']:.1f}" for run in own]
        accuracies = [
            # There is one number if all four processes agree, as they should with the same seed.
            ", ".join(sorted({f"{run[split]['accuracy']:.2%}" for run in own if run is not None}))
            for split in ("validation", "test")
        ]
        print(f"| {seed} | {' | '.join(seconds)} | {' | '.join(accuracies)} |")


def list_model_s_02() -> list[Path]:
    """Return the result files of whole runs of `model-s-02`, which `benchmarks.accuracy.model_s` wrote."""
    return sorted((RESULTS / "accuracy" / "model-s").glob("model-s-02-?.json"))


def find_first_epoch(result: dict[str, Any]) -> int | None:
    """Return the first epoch of a run that reached the notebook's accuracy on validation data, or None."""
    reached = [
        epoch["epoch"] for epoch in result["history"] if epoch["validation_accuracy"] >= NOTEBOOK_ACCURACY
    ]
    return min(reached, default=None)


def print_all_figures(figures: dict[str, Figures]) -> None:
    """Print every figure."""
    print("\n| everything measured | median | lowest | highest | n |\n|---|---|---|---|---|")
    for file, own in figures.items():
        for name, figure in own.items():
            numbers = f"{figure['median']:.4g} | {figure['lowest']:.4g} | {figure['highest']:.4g}"
            print(f"| {file}: {name} | {numbers} | {figure['n']} |")


if __name__ == "__main__":
    main()
