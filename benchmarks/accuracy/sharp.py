"""A recipe for accuracy as whole processes: training and test, then the test once more with several views.

    foveal data get cifar10 cifar10
    python benchmarks/sharp.py cifar10
    python benchmarks/sharp.py cifar10 --recipe sharp-93 --runs 5 --cache CACHE
    python benchmarks/sharp.py --table

Every seed trains on all training folders, `foveal train DATA --recipe NAME --validation none --seed K
--evaluate`, and then judges again, `foveal evaluate RUN --views`. Both are timed from before the process is
started to its end, apart. Without `--cache` the training decodes all images anew.

Beside every seed the notebook trains for one epoch on TensorFlow 2.15, in a process that idles otherwise
(see `contender.py`); its first epoch, before the first seed, does not count. Its whole time is its start-up
plus 19 times such an epoch. `--tensorflow` alone leaves it out.

A line a seed is added to `benchmarks/results/sharp.jsonl` as soon as it is there; what is there already is
not run again. `--table` prints them as Markdown.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import journal
import record
from contender import Contender
from journal import Line
from process import EPOCHS


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = journal.arguments(__doc__, "sharp", runs=5)
    parser.add_argument("--recipe", default="sharp-93")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where decoded images are kept")
    parser.add_argument("--tensorflow", nargs="*", default=["2.15"], metavar="VERSION[=DIR]")
    parser.add_argument("--limit", type=int, help="only so many batches a folder for the notebook: a trial")
    asked, extra = journal.parse(parser)
    kept = journal.open_journal(asked)
    if asked.table:
        print(table(kept.lines()))
        return
    keys = [
        {
            "data": asked.data.name,
            "asked": asked.recipe,
            "seed": seed,
            "options": extra,
            "cached": asked.cache is not None,
        }
        for seed in range(asked.runs)
    ]
    with ExitStack() as living:
        notebooks = []
        if any(kept.find(key) is None for key in keys):
            for name, words in record.notebooks(asked, "epochs").items():
                notebooks.append(living.enter_context(Contender(name, words)))
                notebooks[-1].ask("epoch")
        for seed, key in enumerate(keys):
            run = partial(measure, asked.data, asked.recipe, seed, extra, notebooks, cache=asked.cache)
            if (line := kept.take(key, run)) is not None:
                print(told(line), flush=True)
    sys.exit(1 if kept.failed else 0)


def measure(
    data: Path,
    recipe: str,
    seed: int,
    extra: Sequence[str],
    notebooks: Sequence[Contender],
    *,
    cache: Path | None,
) -> Line:
    """Train and judge with one seed, judge again with views, and return everything about both.

    Then comes an epoch of every notebook.
    """
    options = ["--recipe", recipe, "--validation", "none", "--seed", str(seed), "--evaluate", *extra]
    with journal.scratch() as folder:
        line = journal.train(data, options, folder=Path(folder), cache=cache)
        run = str(Path(folder) / "run")
        words = [record.foveal(), "evaluate", run, "--views", "--json"]
        took, said = journal.run(words, folder=Path(folder), names={words[0]: "foveal", run: "RUN"})
    beside = [
        {"name": each.name, "start_up": each.start_up, "epoch": each.ask("epoch")["seconds"]}
        for each in notebooks
    ]
    views = {**said["views"], "accuracy_without": said["accuracy"], **took}
    return {**line, "views": views, "notebooks": beside}


def notebook_seconds(line: Line) -> float | None:
    """Return the faster notebook's whole time, as measured beside a seed; None if it was left out."""
    times = [each["start_up"] + EPOCHS * each["epoch"] for each in line["notebooks"]]
    return min(times, default=None)


def told(line: Line) -> str:
    """Say in one line what a seed measured."""
    views = line["views"]
    return (
        f"{line['asked']}, seed {line['seed']}: {line['test']['accuracy']:.2%} in {line['seconds']:.1f} s; "
        f"with views {views['accuracy']:.2%} in {views['seconds']:.1f} s more"
    )


def table(lines: Sequence[Line]) -> str:
    """Lay out what every recipe gave, without and with views."""
    header = ["data", "recipe", "options", "images", "judged", "n", "test accuracy", "seconds"]
    header += ["of the notebook's time"]
    rows = []
    for group, runs in journal.grouped(lines, ["data", "asked", "options", "cached"]).items():
        data, recipe, options, cached = group
        what = [
            data,
            f"`{recipe}`",
            f"`{options}`" if options else "",
            "cached" if cached else "decoded anew",
        ]
        plain = [run["seconds"] for run in runs]
        both = [run["seconds"] + run["views"]["seconds"] for run in runs]
        accuracies = [run["test"]["accuracy"] for run in runs]
        of_views = [run["views"]["accuracy"] for run in runs]
        for judged, found, seconds in (("once", accuracies, plain), ("with views, too", of_views, both)):
            ratios = [
                None if (whole := notebook_seconds(run)) is None else each / whole
                for run, each in zip(runs, seconds, strict=True)
            ]
            rows.append(
                [
                    *what,
                    judged,
                    len(runs),
                    journal.laid(found, ".2%"),
                    journal.laid(seconds, ".1f"),
                    journal.laid(ratios, ".2f"),
                ]
            )
        apart = journal.laid([run["views"]["seconds"] for run in runs], ".1f")
        rows.append([*what, "the views' process alone", len(runs), "", apart, ""])
    about = journal.laid(map(notebook_seconds, lines), ".0f")
    notebook = f"the notebook's whole time: {about} s" if about else "the notebook has not been measured"
    return f"{journal.table(header, rows)}\n\n{notebook}; {journal.described(lines)}"


if __name__ == "__main__":
    main()
