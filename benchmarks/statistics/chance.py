"""How often `foveal compare` finds a difference where there is only chance: real runs, resampled.

    foveal data get cifar10 cifar10
    python -m benchmarks.statistics.chance cifar10 --work WORK
    python -m benchmarks.statistics.chance --table
    python -m benchmarks.statistics.chance --table --bounds

Trains `sprint` on CIFAR-10 with 40 seeds, and with 10 more for one epoch instead of two; half a minute a run
on one thread (OMP_NUM_THREADS=1). One line for each run is added to
`benchmarks/results/statistics/chance.jsonl`: which test images it classifies correctly, 10,000 bits. What is
there is not run again. WORK continues where it stopped.

`--table` resamples these lines. Comparing recipes: 2,000 times two groups of 3, of 5 and of 10 seeds, without
one in common, are drawn from the 40 and compared as `foveal compare GROUP GROUP` does it; they differ in
nothing but seeds. Comparing models: 2,000 times two of the 40 are drawn and swapped image by image at random,
and compared as `foveal compare RUN RUN` does it.

The 2,000 draws share 40 runs and 10,000 images. So their rate need not be as near to 5 % as that of as many
independent draws. `--table --bounds` resamples 100 sets of 40 synthetic runs, for which the hypothesis holds
exactly, in the same way, and writes the middle 95 % of those rates to
`benchmarks/results/statistics/chance-bounds.json`; it takes some minutes.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import RESULTS
from benchmarks.measurement import foveal_process
from benchmarks.measurement.child import foveal_program
from benchmarks.measurement.journal import (
    Journal,
    Line,
    create_journal_parser,
    open_journal,
    parse_arguments,
)
from benchmarks.measurement.markdown import describe_conditions, format_table
from foveal.comparison.crossed_effects import recipe_difference
from foveal.comparison.paired import mcnemar
from foveal.comparison.verdict import SIGNIFICANCE_LEVEL
from foveal.types import Bools

RECIPE_SETTING = "epochs=2"
"""The setting that the recipe has already."""
SHORTER_SETTING = "epochs=1"
GROUP_SIZES = (3, 5, 10)
N_DRAWS = 2000
N_SETS = 100
"""The number of sets of synthetic runs."""
FILE = RESULTS / "statistics" / "chance.jsonl"
BOUNDS_FILE = RESULTS / "statistics" / "chance-bounds.json"
Bounds = dict[str, Any]
"""The content of `chance-bounds.json`."""


def main() -> None:
    """Run what has no result yet, or print the table, or simulate."""
    parser = create_journal_parser(__doc__, FILE, runs=40)
    parser.add_argument("--shorter", type=int, default=10, metavar="N", help="runs of one epoch")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where the runs are trained and stay")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where decoded images are kept")
    parser.add_argument("--bounds", action="store_true", help="simulate what chance allows first")
    args, extra = parse_arguments(parser)
    journal = open_journal(args)
    if args.table:
        lines = journal.read_lines()
        if args.bounds:
            bounds = simulate_bounds(unpack_correct(lines, RECIPE_SETTING))
            BOUNDS_FILE.write_text(json.dumps(bounds, indent=1) + "\n", encoding="utf-8")
        print(format_results(lines, read_bounds()))
        return
    with foveal_process.temporary_folder() as folder:
        work = Path(folder) if args.work is None else args.work.resolve()
        run_groups(args, extra, journal, work)
    sys.exit(1 if journal.failed else 0)


def run_groups(args: argparse.Namespace, extra: list[str], journal: Journal, work: Path) -> None:
    """Run the recipe and its shorter variant with all seeds that have no result yet."""
    for setting, runs in ((RECIPE_SETTING, args.runs), (SHORTER_SETTING, 1 if args.quick else args.shorter)):
        options, group = ["--recipe", "sprint", "--set", setting, *extra], setting.replace("=", "-")
        for seed in range(runs):
            key = {"data": args.data.name, "setting": setting, "options": extra, "seed": seed}
            run = partial(measure, args.data, work / group, seed, options, args.cache)
            if (line := journal.measure_once(key, run)) is not None:
                print(f"{setting}, seed {seed}: {line['accuracy']:.2%}", flush=True)


def measure(data: Path, group: Path, seed: int, options: Sequence[str], cache: Path | None) -> Line:
    """Train one more run of a group, unless it is there; return which images it classifies correctly."""
    from foveal.experiments.repeat import load_group

    group.parent.mkdir(parents=True, exist_ok=True)
    words = [foveal_program(), "repeat", str(data), *options, "--runs", str(seed + 1), "--out", str(group)]
    words += ["--json", *(["--cache", str(cache.resolve())] if cache is not None else [])]
    names = {words[0]: "foveal", str(data): "DATA", str(group): "GROUP"}
    names |= {} if cache is None else {words[-1]: "CACHE"}
    costs, _ = foveal_process.run_json_command(words, folder=group.parent, names=names)
    result = load_group(group)
    assert result.correct is not None
    run, correct = result.runs[seed], result.correct[seed]
    return {
        "command": costs["command"],
        "training_seconds": run.summary()["seconds"],
        "threads": run.folder.environment.threads,
        "n": len(correct),
        "images": hashlib.sha256(" ".join(result.digests).encode()).hexdigest(),
        "accuracy": result.accuracies[seed],
        "right": base64.b64encode(np.packbits(correct).tobytes()).decode(),
    }


def read_bounds() -> Bounds:
    """Return the committed bounds."""
    bounds: Bounds = json.loads(BOUNDS_FILE.read_text(encoding="utf-8"))
    return bounds


# ---- rates on real runs


def unpack_correct(lines: Sequence[Line], setting: str) -> Bools:
    """Return which run classifies which image correctly, (runs, images), of the runs with a setting."""
    own = [line for line in lines if line["setting"] == setting]
    if len({line["images"] for line in own}) != 1:
        raise SystemExit(f"the runs with {setting} were not judged on the same images")
    packed = [np.frombuffer(base64.b64decode(line["right"]), dtype=np.uint8) for line in own]
    return np.unpackbits(np.stack(packed), axis=1, count=own[0]["n"]).astype(bool)


def recipe_rates(correct: Bools, size: int, draws: int, random: np.random.Generator) -> tuple[float, float]:
    """Return how often two groups of seeds of one recipe, without a common seed, are called different.

    The second figure is the rate of Welch's test on the accuracies alone, which knows nothing of images.
    """
    significant, groups = 0, []
    for _ in range(draws):
        runs = random.permutation(len(correct))[: 2 * size]
        p = recipe_difference(correct[runs[:size]], correct[runs[size:]]).p
        significant += p < SIGNIFICANCE_LEVEL
        groups.append(runs.reshape(2, size))
    accuracies = correct.mean(axis=1)[np.stack(groups)]  # (draws, 2, size)
    means, deviations = accuracies.mean(axis=2).T, accuracies.std(axis=2, ddof=1).T
    welch = stats.ttest_ind_from_stats(
        means[0], deviations[0], size, means[1], deviations[1], size, equal_var=False
    )
    return significant / draws, float((welch.pvalue < SIGNIFICANCE_LEVEL).mean())


def swapped_model_rate(correct: Bools, draws: int, random: np.random.Generator) -> float:
    """Return how often two runs are called different after swapping them image by image at random."""
    significant = 0
    for _ in range(draws):
        first, second = correct[random.permutation(len(correct))[:2]]
        differs = first != second
        first_alone = first[differs] ^ (random.random(int(differs.sum())) < 0.5)
        p = mcnemar(int(first_alone.sum()), int((~first_alone).sum()))
        significant += p < SIGNIFICANCE_LEVEL
    return significant / draws


def count_significant_pairs(correct: Bools) -> tuple[int, int]:
    """Return how many pairs of runs are different models by McNemar's test, and the number of pairs."""
    first_alone = correct.astype(np.int64) @ (~correct).T.astype(np.int64)  # (runs, runs)
    rows, columns = np.triu_indices(len(correct), k=1)
    significant = sum(
        mcnemar(int(first_alone[i, j]), int(first_alone[j, i])) < SIGNIFICANCE_LEVEL
        for i, j in zip(rows, columns, strict=True)
    )
    return significant, len(rows)


def detection_rate(first: Bools, second: Bools, size: int, draws: int, random: np.random.Generator) -> float:
    """Return how often groups of two different recipes are called different."""
    significant = 0
    for _ in range(draws):
        ours, theirs = (runs[random.permutation(len(runs))[:size]] for runs in (first, second))
        significant += recipe_difference(ours, theirs).p < SIGNIFICANCE_LEVEL
    return significant / draws


# ---- rates on synthetic runs


def draw_synthetic_runs(correct: Bools, random: np.random.Generator) -> Bools:
    """Draw as many runs as there are, that differ by chance alone.

    Images are as hard, and seeds as lucky, as in the real runs. In each run an image is correct with its own
    probability, which is drawn from its posterior given the real counts. The luck of a seed moves all
    probabilities of its run, on the logit scale, by a normal number.
    """
    runs, images = correct.shape
    probabilities = random.beta(correct.sum(axis=0) + 0.1, runs - correct.sum(axis=0) + 0.1)  # (images,)
    probabilities = np.clip(probabilities, 1e-9, 1 - 1e-9)
    derivative = float((probabilities * (1 - probabilities)).mean())
    variance = derivative / images  # of a run's accuracy, if seeds had no luck
    excess = float(correct.mean(axis=1).var(ddof=1)) - variance
    luck = np.sqrt(max(0.0, excess)) / derivative
    logits = np.log(probabilities / (1 - probabilities)) + luck * random.standard_normal((runs, 1))
    synthetic: Bools = random.random((runs, images)) < 1 / (1 + np.exp(-logits))
    return synthetic


def simulate_bounds(correct: Bools, *, sets: int = N_SETS, draws: int = N_DRAWS) -> Bounds:
    """Resample sets of synthetic runs; return the mean and the middle 95 % of the rates."""
    random = np.random.default_rng(0)
    rates: dict[int, list[float]] = {size: [] for size in GROUP_SIZES}
    for _ in range(sets):
        runs = draw_synthetic_runs(correct, random)
        for size, own in rates.items():
            own.append(recipe_rates(runs, size, draws, random)[0])
    return {
        "command": "python -m benchmarks.statistics.chance --table --bounds",
        "sets": sets,
        "draws": draws,
        "sizes": {str(size): _summarise_rates(own) for size, own in rates.items()},
    }


def _summarise_rates(rates: Sequence[float]) -> Bounds:
    low, high = np.quantile(rates, [0.025, 0.975])
    return {"mean": float(np.mean(rates)), "low": float(low), "high": float(high), "rates": list(rates)}


# ---- the table


def format_results(lines: Sequence[Line], bounds: Bounds) -> str:
    """Return a table of how often chance is called a difference, and how often a difference is."""
    correct, shorter = unpack_correct(lines, RECIPE_SETTING), unpack_correct(lines, SHORTER_SETTING)
    random = np.random.default_rng(0)
    runs = f"{len(correct)} runs of `sprint`"
    rows: list[list[object]] = []
    for size in GROUP_SIZES:
        (rate, welch), own = recipe_rates(correct, size, N_DRAWS, random), bounds["sizes"][str(size)]
        allowed = f"{own['low']:.1%} to {own['high']:.1%}"
        what = f"recipes: two groups of {size} of {runs}"
        rows.append([what, "seeds alone", f"{rate:.2%}", allowed, f"{welch:.2%}"])
    rate = swapped_model_rate(correct, N_DRAWS, random)
    half_width = 1.96 * np.sqrt(SIGNIFICANCE_LEVEL * (1 - SIGNIFICANCE_LEVEL) / N_DRAWS)
    allowed = f"{SIGNIFICANCE_LEVEL - half_width:.1%} to {SIGNIFICANCE_LEVEL + half_width:.1%}"
    what = f"models: two of {runs}, swapped image by image"
    rows.append([what, "chance alone", f"{rate:.2%}", allowed, ""])
    for size in GROUP_SIZES[:2]:
        rate = detection_rate(correct, shorter, size, N_DRAWS, random)
        what = f"recipes: {size} runs of two epochs, {size} of one"
        points = f"{100 * (correct.mean() - shorter.mean()):.2f} points"
        rows.append([what, points, f"{rate:.2%}", "", ""])
    significant, pairs = count_significant_pairs(correct)
    rows.append([f"models: two of {runs}, as they are", "the seed", f"{significant / pairs:.2%}", "", ""])
    header = ["compared", "differ in", "called different", "chance allows", "Welch's test"]
    deviation = 100 * float(correct.mean(axis=1).std(ddof=1))
    note = f"mean accuracy {correct.mean():.2%}, from seed to seed ± {deviation:.2f} points"
    return f"{format_table(header, rows)}\n\n{note}; {describe_conditions(lines)}"


if __name__ == "__main__":
    main()
