"""What a time budget achieves, and whether it is kept: whole processes of `foveal train DATA --budget TIME`.

    foveal data get cifar10 cifar10
    python -m benchmarks.accuracy.budgets cifar10
    python -m benchmarks.accuracy.budgets cifar10 --budgets 1m 5m --runs 5 --loaded
    python -m benchmarks.accuracy.budgets cifar10 --budgets 5m -- --validation none
    python -m benchmarks.accuracy.budgets --table

All budgets are run with seed 0, then all with seed 1, and so on, so that a slow change of the machine affects
all of them. A run trains, evaluates the test split and writes its report. Its wall seconds count from before
the process is started to its end. A budget is kept where they are no more than it.

With `--loaded` a second process starts when half of the budget is over, and keeps one core busy to the end:
the first of those that this process may use. Without `--cache` every run decodes all images again.

One line for each run is added to `benchmarks/results/accuracy/budgets.jsonl` as soon as it is there, with the
run's plan and the plan's corrections. What is there already is not run again. `--table` prints them as
Markdown. `--quick` runs the first budget once and keeps nothing. On an idle machine one seed of the default
budgets takes 39 minutes.
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

from benchmarks import RESULTS
from benchmarks.measurement.foveal_process import run_training, temporary_folder
from benchmarks.measurement.journal import Line, create_journal_parser, open_journal, parse_arguments
from benchmarks.measurement.markdown import (
    describe_conditions,
    format_code,
    format_table,
    format_values,
    group_lines,
)
from foveal.recipe.budget import Budget

BUDGETS = [Budget(seconds=seconds) for seconds in (30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)]
BUSY_SCRIPT = """
import os, sys
parent, core = map(int, sys.argv[1:])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
while os.getppid() == parent:  # It does not outlive the process that started it.
    for _ in range(1_000_000):
        pass
"""
"""The program of the second process."""


def main() -> None:
    """Run what has no result yet, or print the table."""
    parser = create_journal_parser(__doc__, RESULTS / "accuracy" / "budgets.jsonl", runs=3)
    parser.add_argument("--budgets", type=Budget.parse, nargs="+", default=BUDGETS, metavar="TIME")
    parser.add_argument("--loaded", action="store_true", help="one core is kept busy from half-way on")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where decoded images are kept")
    args, extra = parse_arguments(parser)
    journal = open_journal(args)
    if args.table:
        print(format_results(journal.read_lines()))
        return
    for seed in range(args.runs):
        for budget in args.budgets[:1] if args.quick else args.budgets:
            key = {
                "data": args.data.name,
                "budget": budget.seconds,
                "seed": seed,
                "loaded": args.loaded,
                "options": extra,
                "cached": args.cache is not None,
            }
            run = partial(measure, args.data, budget, seed, extra, loaded=args.loaded, cache=args.cache)
            if (line := journal.measure_once(key, run)) is not None:
                print(format_line(line), flush=True)
    sys.exit(1 if journal.failed else 0)


def measure(
    data: Path, budget: Budget, seed: int, extra: Sequence[str], *, loaded: bool, cache: Path | None
) -> Line:
    """Run one budget with one seed, and return everything about it."""
    options = ["--budget", str(budget), "--seed", str(seed), *extra]
    busy_after = budget.seconds / 2 if loaded else None
    with temporary_folder() as folder, keep_core_busy_after(busy_after) as load:
        line = run_training(data, options, folder=Path(folder), cache=cache)
    return {**line, "share": line["seconds"] / budget.seconds, "load": load or None}


@contextmanager
def keep_core_busy_after(seconds: float | None) -> Iterator[Line]:
    """Keep one core busy from some seconds after now to the end of the block. With None it stays idle.

    The yielded dictionary is filled at the end: the core, the time of the beginning and the seconds used.
    """
    load: Line = {}
    if seconds is None:
        yield load
        return
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
    core, began = min(allowed), time.perf_counter()
    processes: list[tuple[subprocess.Popen[bytes], float]] = []

    def begin() -> None:
        words = [sys.executable, "-c", BUSY_SCRIPT, str(os.getpid()), str(core)]
        processes.append((subprocess.Popen(words), time.perf_counter()))

    timer = threading.Timer(seconds, begin)
    timer.start()
    try:
        yield load
    finally:
        timer.cancel()
        timer.join()
        for process, since in processes:
            lasted = time.perf_counter() - since
            process.kill()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            load |= {
                "core": core,
                "from": round(since - began, 3),
                "seconds": round(lasted, 3),
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            }


def count_corrections(line: Line) -> int:
    """Return how often a run corrected its plan."""
    return sum(event["event"] == "budget" for event in line["events"])


def format_line(line: Line) -> str:
    """Return in one line what a run measured."""
    test = "no test" if line["test"] is None else f"{line['test']['accuracy']:.2%}"
    corrections = f"{count_corrections(line)} corrections"
    return (
        f"{line['budget']:g} s, seed {line['seed']}{', loaded' if line['loaded'] else ''}: {test}, "
        f"{line['seconds']:.1f} s ({line['share']:.1%}), {corrections}, {line['stopped']}"
    )


def format_results(lines: Sequence[Line]) -> str:
    """Return a table of every budget."""
    header = ["data", "budget", "core kept busy", "options", "images", "n", "test accuracy"]
    header += ["validation accuracy", "of the budget used", "kept", "corrections"]
    rows = []
    for group, runs in group_lines(lines, ["data", "loaded", "options", "cached", "budget"]).items():
        data, loaded, options, cached, budget = group
        shares = [run["share"] for run in runs]
        counts = [count_corrections(run) for run in runs]
        rows.append(
            [
                data,
                f"{budget:g} s",
                "from half-way on" if loaded else "no",
                format_code(options),
                "cached" if cached else "decoded anew",
                len(runs),
                format_values([run["test"] and run["test"]["accuracy"] for run in runs], ".2%"),
                format_values([run["validation"] and run["validation"]["accuracy"] for run in runs], ".2%"),
                f"{min(shares):.1%} to {max(shares):.1%}",
                f"{sum(share <= 1 for share in shares)} of {len(runs)}",
                f"{min(counts)} to {max(counts)}",
            ]
        )
    return f"{format_table(header, rows)}\n\n{describe_conditions(lines)}"


if __name__ == "__main__":
    main()
