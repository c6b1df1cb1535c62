"""A recipe for accuracy as whole processes: training and test, then the test once more with several views.

    foveal data get cifar10 cifar10
    python benchmarks/sharp.py cifar10
    python benchmarks/sharp.py cifar10 --recipe sharp-93 --runs 5 --cache CACHE
    python benchmarks/sharp.py --table

Every seed trains on all training folders, `foveal train DATA --recipe NAME --validation none --seed K
--evaluate`, and then judges again, `foveal evaluate RUN --views`. Both are timed from before the process is
started to its end, apart. Without `--cache` the training decodes all images anew.

A line a seed is added to `benchmarks/results/sharp.jsonl` as soon as it is there; what is there already is
not run again. `--table` prints them as Markdown, beside the notebook's whole time on TensorFlow 2.15: its
start-up and 19 median epochs, from what `process.py` measured and wrote to
`benchmarks/results/speed/process-sprint.json`.
"""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import journal
import process
import record
import speed
from journal import Line

NOTEBOOK = f"{speed.NOTEBOOK} 2.15"
MEASURED = record.RESULTS / "process-sprint.json"
"""Where the notebook's start-ups and epochs are."""


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = journal.arguments(__doc__, "sharp", runs=5)
    parser.add_argument("--recipe", default="sharp-93")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where decoded images are kept")
    asked, extra = journal.parse(parser)
    kept = journal.open_journal(asked)
    if asked.table:
        print(table(kept.lines(), notebook_seconds()))
        return
    for seed in range(asked.runs):
        key = {
            "data": asked.data.name,
            "asked": asked.recipe,
            "seed": seed,
            "options": extra,
            "cached": asked.cache is not None,
        }
        run = partial(measure, asked.data, asked.recipe, seed, extra, cache=asked.cache)
        if (line := kept.take(key, run)) is not None:
            print(told(line), flush=True)
    sys.exit(1 if kept.failed else 0)


def measure(data: Path, recipe: str, seed: int, extra: Sequence[str], *, cache: Path | None) -> Line:
    """Train and judge with one seed, judge again with views, and return everything about both."""
    options = ["--recipe", recipe, "--validation", "none", "--seed", str(seed), "--evaluate", *extra]
    with journal.scratch() as folder:
        line = journal.train(data, options, folder=Path(folder), cache=cache)
        run = str(Path(folder) / "run")
        words = [record.foveal(), "evaluate", run, "--views", "--json"]
        took, said = journal.run(words, folder=Path(folder), names={words[0]: "foveal", run: "RUN"})
    return {**line, "views": {**said["views"], "accuracy_without": said["accuracy"], **took}}


def notebook_seconds() -> float | None:
    """Return the notebook's whole time on TensorFlow 2.15, as measured; None if it has not been."""
    if not MEASURED.exists():
        return None
    stored = json.loads(MEASURED.read_text(encoding="utf-8"))
    return process.notebook_seconds(stored["start_ups"], stored["epochs"]).get(NOTEBOOK)


def told(line: Line) -> str:
    """Say in one line what a seed measured."""
    views = line["views"]
    return (
        f"{line['asked']}, seed {line['seed']}: {line['test']['accuracy']:.2%} in {line['seconds']:.1f} s; "
        f"with views {views['accuracy']:.2%} in {views['seconds']:.1f} s more"
    )


def table(lines: Sequence[Line], notebook: float | None) -> str:
    """Lay out what every recipe gave, without and with views."""
    header = ["data", "recipe", "options", "images", "judged", "n", "test accuracy", "seconds"]
    header += ["the notebook takes so many times as long"]
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
            ratios = [None if notebook is None else notebook / each for each in seconds]
            rows.append(
                [
                    *what,
                    judged,
                    len(runs),
                    journal.laid(found, ".2%"),
                    journal.laid(seconds, ".1f"),
                    journal.laid(ratios, ".1f"),
                ]
            )
        apart = journal.laid([run["views"]["seconds"] for run in runs], ".1f")
        rows.append([*what, "the views' process alone", len(runs), "", apart, ""])
    about = "the notebook has not been measured" if notebook is None else f"{NOTEBOOK}: {notebook:.0f} s"
    return f"{journal.table(header, rows)}\n\n{about}; {journal.described(lines)}"


if __name__ == "__main__":
    main()
