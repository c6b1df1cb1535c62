"""The recipes for accuracy as whole processes: training and test, then the test once more with several views.

    foveal data get cifar10 cifar10
    python -m benchmarks.accuracy.sharp cifar10
    python -m benchmarks.accuracy.sharp cifar10 --recipe sharp-93 --runs 5 --cache CACHE
    python -m benchmarks.accuracy.sharp --table

Every seed trains on all training folders, `foveal train DATA --recipe NAME --validation none --seed K
--evaluate`, and then evaluates again, `foveal evaluate RUN --views`. The two processes are timed apart, each
from before it is started to its end. Without `--cache` the training decodes all images again.

Beside every seed the notebook trains for one epoch on TensorFlow 2.15, in a process that idles otherwise
(see `peers/contender.py`). Its first epoch, before the first seed, does not count. Its whole time is its
start-up plus 19 times such an epoch. `--tensorflow` without a version leaves it out.

One line for each seed is added to `benchmarks/results/accuracy/sharp.jsonl` as soon as it is there. What is
there already is not run again. `--table` prints them as Markdown.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import RESULTS
from benchmarks.measurement.child import foveal_program
from benchmarks.measurement.foveal_process import run_json_command, run_training, temporary_folder
from benchmarks.measurement.journal import Line, create_journal_parser, open_journal, parse_arguments
from benchmarks.measurement.markdown import (
    describe_conditions,
    format_code,
    format_table,
    format_values,
    group_lines,
)
from benchmarks.peers.contender import Contender
from benchmarks.peers.launch import notebook_commands
from benchmarks.speed.process import NOTEBOOK_EPOCHS


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = create_journal_parser(__doc__, RESULTS / "accuracy" / "sharp.jsonl", runs=5)
    parser.add_argument("--recipe", default="sharp-93")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where decoded images are kept")
    parser.add_argument("--tensorflow", nargs="*", default=["2.15"], metavar="VERSION[=DIR]")
    parser.add_argument("--limit", type=int, help="only so many batches a folder for the notebook: a trial")
    args, extra = parse_arguments(parser)
    journal = open_journal(args)
    if args.table:
        print(format_results(journal.read_lines()))
        return
    keys = [create_key(args, extra, seed) for seed in range(args.runs)]
    with ExitStack() as stack:
        notebooks = []
        if any(journal.find(key) is None for key in keys):
            for name, words in notebook_commands(args, "epochs").items():
                notebooks.append(stack.enter_context(Contender(name, words)))
                notebooks[-1].ask("epoch")
        for key in keys:
            run = partial(measure, args, extra, key["seed"], notebooks)
            if (line := journal.measure_once(key, run)) is not None:
                print(format_line(line), flush=True)
    sys.exit(1 if journal.failed else 0)


def create_key(args: argparse.Namespace, extra: Sequence[str], seed: int) -> Line:
    """Return the key that identifies the line of a seed."""
    return {
        "data": args.data.name,
        "asked": args.recipe,
        "seed": seed,
        "options": extra,
        "cached": args.cache is not None,
    }


def measure(
    args: argparse.Namespace, extra: Sequence[str], seed: int, notebooks: Sequence[Contender]
) -> Line:
    """Train and evaluate with one seed, evaluate again with views, and return everything about both.

    After that every notebook trains for one epoch.
    """
    options = ["--recipe", args.recipe, "--validation", "none", "--seed", str(seed), "--evaluate", *extra]
    with temporary_folder() as name:
        folder = Path(name)
        line = run_training(args.data, options, folder=folder, cache=args.cache)
        run = str(folder / "run")
        words = [foveal_program(), "evaluate", run, "--views", "--json"]
        costs, evaluation = run_json_command(words, folder=folder, names={words[0]: "foveal", run: "RUN"})
    epochs = [
        {
            "name": notebook.name,
            "start_up": notebook.start_up,
            "epoch": notebook.ask("epoch")["seconds"],
        }
        for notebook in notebooks
    ]
    views = {**evaluation["views"], "accuracy_without": evaluation["accuracy"], **costs}
    return {**line, "views": views, "notebooks": epochs}


def notebook_seconds(line: Line) -> float | None:
    """Return the whole time of the faster notebook, as measured beside a seed, or None if there was none."""
    times = [notebook["start_up"] + NOTEBOOK_EPOCHS * notebook["epoch"] for notebook in line["notebooks"]]
    return min(times, default=None)


def format_line(line: Line) -> str:
    """Return in one line what a seed measured."""
    views = line["views"]
    return (
        f"{line['asked']}, seed {line['seed']}: {line['test']['accuracy']:.2%} in {line['seconds']:.1f} s; "
        f"with views {views['accuracy']:.2%} in {views['seconds']:.1f} s more"
    )


def format_results(lines: Sequence[Line]) -> str:
    """Return a table of every recipe, without and with views."""
    header = ["data", "recipe", "options", "images", "judged", "n", "test accuracy", "seconds"]
    header += ["of the notebook's time"]
    rows: list[list[object]] = []
    for group, runs in group_lines(lines, ["data", "asked", "options", "cached"]).items():
        data, recipe, options, cached = group
        images = "cached" if cached else "decoded anew"
        shared = [data, f"`{recipe}`", format_code(options), images]
        plain = [run["seconds"] for run in runs]
        both = [run["seconds"] + run["views"]["seconds"] for run in runs]
        once = [run["test"]["accuracy"] for run in runs]
        with_views = [run["views"]["accuracy"] for run in runs]
        rows.append([*shared, "once", len(runs), *format_measurements(runs, once, plain)])
        rows.append([*shared, "with views, too", len(runs), *format_measurements(runs, with_views, both)])
        apart = format_values([run["views"]["seconds"] for run in runs], ".1f")
        rows.append([*shared, "the views' process alone", len(runs), "", apart, ""])
    seconds = format_values(map(notebook_seconds, lines), ".0f")
    notebook = f"the notebook's whole time: {seconds} s" if seconds else "the notebook has not been measured"
    return f"{format_table(header, rows)}\n\n{notebook}; {describe_conditions(lines)}"


def format_measurements(
    runs: Sequence[Line], accuracies: Sequence[float], seconds: Sequence[float]
) -> list[str]:
    """Return the cells with accuracy, seconds and the share of the notebook's time."""
    shares = [
        None if (whole := notebook_seconds(run)) is None else own / whole
        for run, own in zip(runs, seconds, strict=True)
    ]
    return [
        format_values(accuracies, ".2%"),
        format_values(seconds, ".1f"),
        format_values(shares, ".2f"),
    ]


if __name__ == "__main__":
    main()
