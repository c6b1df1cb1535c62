"""What a time budget buys, and whether it is kept: whole processes of `foveal train DATA --seconds S`.

    foveal data get cifar10 cifar10
    python benchmarks/budgets.py cifar10
    python benchmarks/budgets.py cifar10 --seconds 60 300 --runs 5 --loaded
    python benchmarks/budgets.py cifar10 --seconds 300 -- --validation none
    python benchmarks/budgets.py --table

All budgets are run with seed 0, then all with seed 1, and so on, so that a machine that changes by and by
changes for all of them. A run trains, judges the test split and writes its report; its wall seconds count
from before the process is started to its end. A budget is kept where they are no more than it.

With `--loaded` a second process comes when half of the budget is over and keeps one core busy to the end:
the first of those that this process may use. Without `--cache` every run decodes all images anew.

A line a run is added to `benchmarks/results/budgets.jsonl` as soon as it is there, with the run's plan and
the plan's corrections; what is there already is not run again. `--table` prints them as Markdown. `--quick`
runs the first budget once and keeps nothing. On a machine for itself, one seed of the default budgets takes
39 minutes.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import journal
from journal import Line

BUDGETS = (30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
"""Seconds."""
BUSY = """
import os, sys
parent, core = map(int, sys.argv[1:])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
while os.getppid() == parent:  # it does not outlive who started it
    for _ in range(1_000_000):
        pass
"""
"""What the second process does."""


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = journal.arguments(__doc__, "budgets", runs=3)
    parser.add_argument("--seconds", type=float, nargs="+", default=BUDGETS, metavar="S", help="the budgets")
    parser.add_argument("--loaded", action="store_true", help="one core is kept busy from half-way on")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where decoded images are kept")
    asked, extra = journal.parse(parser)
    kept = journal.open_journal(asked)
    if asked.table:
        print(table(kept.lines()))
        return
    for seed in range(asked.runs):
        for seconds in asked.seconds[:1] if asked.quick else asked.seconds:
            key = {
                "data": asked.data.name,
                "budget": seconds,
                "seed": seed,
                "loaded": asked.loaded,
                "options": extra,
                "cached": asked.cache is not None,
            }
            run = partial(measure, asked.data, seconds, seed, extra, loaded=asked.loaded, cache=asked.cache)
            if (line := kept.take(key, run)) is not None:
                print(told(line), flush=True)
    sys.exit(1 if kept.failed else 0)


def measure(
    data: Path, budget: float, seed: int, extra: Sequence[str], *, loaded: bool, cache: Path | None
) -> Line:
    """Run one budget with one seed and return everything about it."""
    options = ["--seconds", f"{budget:g}", "--seed", str(seed), *extra]
    with journal.scratch() as folder, load_after(budget / 2 if loaded else None) as load:
        line = journal.train(data, options, folder=Path(folder), cache=cache)
    return {**line, "share": line["seconds"] / budget, "load": load or None}


@contextmanager
def load_after(seconds: float | None) -> Iterator[Line]:
    """Keep one core busy from so many seconds after now to the end of the block; None: never.

    What is given is filled in at the end: which core, from when on, and how much of its time was had.
    """
    load: Line = {}
    if seconds is None:
        yield load
        return
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
    core, began = min(allowed), time.perf_counter()
    busy: list[tuple[subprocess.Popen[bytes], float]] = []

    def begin() -> None:
        words = [sys.executable, "-c", BUSY, str(os.getpid()), str(core)]
        busy.append((subprocess.Popen(words), time.perf_counter()))

    timer = threading.Timer(seconds, begin)
    timer.start()
    try:
        yield load
    finally:
        timer.cancel()
        timer.join()
        for process, since in busy:
            took = time.perf_counter() - since
            process.kill()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            load |= {
                "core": core,
                "from": round(since - began, 3),
                "seconds": round(took, 3),
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            }


def corrections(line: Line) -> int:
    """Return how often a run corrected its plan."""
    return sum(event["event"] == "budget" for event in line["events"])


def told(line: Line) -> str:
    """Say in one line what a run measured."""
    test = "no test" if line["test"] is None else f"{line['test']['accuracy']:.2%}"
    return (
        f"{line['budget']:g} s, seed {line['seed']}{', loaded' if line['loaded'] else ''}: {test}, "
        f"{line['seconds']:.1f} s ({line['share']:.1%}), {corrections(line)} corrections, {line['stopped']}"
    )


def table(lines: Sequence[Line]) -> str:
    """Lay out what every budget gave."""
    header = ["data", "budget", "core kept busy", "options", "images", "n", "test accuracy"]
    header += ["validation accuracy", "of the budget used", "kept", "corrections"]
    rows = []
    for group, runs in journal.grouped(lines, ["data", "loaded", "options", "cached", "budget"]).items():
        data, loaded, options, cached, budget = group
        shares = [run["share"] for run in runs]
        counts = [corrections(run) for run in runs]
        rows.append(
            [
                data,
                f"{budget:g} s",
                "from half-way on" if loaded else "no",
                f"`{options}`" if options else "",
                "cached" if cached else "decoded anew",
                len(runs),
                journal.laid([run["test"] and run["test"]["accuracy"] for run in runs], ".2%"),
                journal.laid([run["validation"] and run["validation"]["accuracy"] for run in runs], ".2%"),
                f"{min(shares):.1%} to {max(shares):.1%}",
                f"{sum(share <= 1 for share in shares)} of {len(runs)}",
                f"{min(counts)} to {max(counts)}",
            ]
        )
    return f"{journal.table(header, rows)}\n\n{journal.described(lines)}"


if __name__ == "__main__":
    main()
