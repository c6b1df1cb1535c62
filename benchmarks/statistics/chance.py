"""How often `foveal compare` calls what differs by chance alone different: on real runs, resampled.

    foveal data get cifar10 cifar10
    python benchmarks/chance.py cifar10 --work WORK
    python benchmarks/chance.py --table
    python benchmarks/chance.py --table --bounds

Trains `sprint` on CIFAR-10 with 40 seeds, as it is, and with 10 more for one epoch instead of two; half a
minute a run on one thread (OMP_NUM_THREADS=1). A line a run is added to `benchmarks/results/chance.jsonl`:
who got which test image right, 10,000 bits. What is there is not run again; WORK goes on where it stopped.

`--table` resamples these lines. Comparing recipes: 2,000 times two groups of 3, of 5 and of 10 seeds without
one in common are drawn from the 40 and compared as `foveal compare GROUP GROUP` does it; they differ in
nothing but seeds. Comparing models: 2,000 times two of the 40 are drawn and swapped image by image at random,
and compared as `foveal compare RUN RUN` does it.

The 2,000 draws share 40 runs and 10,000 images, so their rate need not be as near to 5 % as that of as many
independent ones. `--table --bounds` finds what the same resampling gives on 100 sets of 40 synthetic runs for
which the hypothesis holds exactly, and writes the middle 95 % of those rates to
`benchmarks/results/chance-bounds.json`; it takes some minutes.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import journal
import numpy as np
import record
from journal import Line
from scipy import stats

from foveal.comparison.crossed_effects import Bools, recipe_difference
from foveal.comparison.paired import mcnemar

AS_IT_IS = "epochs=2"
SHORTER = "epochs=1"
SIZES = (3, 5, 10)
DRAWS = 2000
LEVEL = 0.05
SETS = 100
BOUNDS = journal.RESULTS / "chance-bounds.json"


def main() -> None:
    """Run what has no result yet, or print the table, or simulate."""
    parser = journal.arguments(__doc__, "chance", runs=40)
    parser.add_argument("--shorter", type=int, default=10, metavar="N", help="runs of one epoch")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where the runs are trained and stay")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where decoded images are kept")
    parser.add_argument("--bounds", action="store_true", help="simulate what chance allows first")
    asked, extra = journal.parse(parser)
    kept = journal.open_journal(asked)
    if asked.table:
        if asked.bounds:
            found = bounds(outcomes(kept.lines(), AS_IT_IS))
            BOUNDS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(table(kept.lines(), json.loads(BOUNDS.read_text(encoding="utf-8"))))
        return
    with journal.scratch() as folder:
        work = Path(folder) if asked.work is None else asked.work.resolve()
        for setting, runs in ((AS_IT_IS, asked.runs), (SHORTER, 1 if asked.quick else asked.shorter)):
            options, group = ["--recipe", "sprint", "--set", setting, *extra], setting.replace("=", "-")
            for seed in range(runs):
                key = {"data": asked.data.name, "setting": setting, "options": extra, "seed": seed}
                measure_it = partial(measure, asked.data, work / group, seed, options, asked.cache)
                if (line := kept.take(key, measure_it)) is not None:
                    print(f"{setting}, seed {seed}: {line['accuracy']:.2%}", flush=True)
    sys.exit(1 if kept.failed else 0)


def measure(data: Path, group: Path, seed: int, options: Sequence[str], cache: Path | None) -> Line:
    """Train one more run of a group, unless it is there, and return who got which image right."""
    from foveal.experiments.repeat import load

    group.parent.mkdir(parents=True, exist_ok=True)
    words = [record.foveal(), "repeat", str(data), *options, "--runs", str(seed + 1), "--out", str(group)]
    words += ["--json", *(["--cache", str(cache.resolve())] if cache is not None else [])]
    names = {words[0]: "foveal", str(data): "DATA", str(group): "GROUP"}
    took, _ = journal.run(
        words, folder=group.parent, names=names if cache is None else names | {words[-1]: "CACHE"}
    )
    whole = load(group)
    assert whole.right is not None
    run, right = whole.runs[seed], whole.right[seed]
    return {
        "command": took["command"],
        "training_seconds": run.summary()["seconds"],
        "threads": run.folder.environment["threads"],
        "n": len(right),
        "images": hashlib.sha256(" ".join(whole.digests).encode()).hexdigest(),
        "accuracy": whole.accuracies[seed],
        "right": base64.b64encode(np.packbits(right).tobytes()).decode(),
    }


# ---- what the lines tell


def outcomes(lines: Sequence[Line], setting: str) -> Bools:
    """Return who got which image right, (runs, images), of the runs with a setting."""
    those = [line for line in lines if line["setting"] == setting]
    if len({line["images"] for line in those}) != 1:
        raise SystemExit(f"the runs with {setting} were not judged on the same images")
    packed = [np.frombuffer(base64.b64decode(line["right"]), dtype=np.uint8) for line in those]
    return np.unpackbits(np.stack(packed), axis=1, count=those[0]["n"]).astype(bool)


def of_recipes(right: Bools, size: int, draws: int, draw: np.random.Generator) -> tuple[float, float]:
    """Return the share of draws of two groups of this size, no run in common, that are called different.

    The second figure is the same of Welch's test on their accuracies alone, which knows nothing of images.
    """
    called, groups = 0, []
    for _ in range(draws):
        runs = draw.permutation(len(right))[: 2 * size]
        called += recipe_difference(right[runs[:size]], right[runs[size:]]).p < LEVEL
        groups.append(runs.reshape(2, size))
    accuracies = right.mean(axis=1)[np.stack(groups)]  # (draws, 2, size)
    means, deviations = accuracies.mean(axis=2).T, accuracies.std(axis=2, ddof=1).T
    welch = stats.ttest_ind_from_stats(
        means[0], deviations[0], size, means[1], deviations[1], size, equal_var=False
    )
    return called / draws, float((welch.pvalue < LEVEL).mean())


def of_models(right: Bools, draws: int, draw: np.random.Generator) -> float:
    """Return the share of draws of two runs, swapped image by image by a toss, that are called different."""
    called = 0
    for _ in range(draws):
        one, other = right[draw.permutation(len(right))[:2]]
        apart = one != other
        alone = one[apart] ^ (draw.random(int(apart.sum())) < 0.5)  # the first, not the second
        called += mcnemar(int(alone.sum()), int((~alone).sum())) < LEVEL
    return called / draws


def of_seeds(right: Bools) -> tuple[int, int]:
    """Return how many pairs of runs McNemar's test calls different models, as they are, and of how many."""
    one_alone = right.astype(np.int64) @ (~right).T.astype(np.int64)  # (runs, runs)
    rows, columns = np.triu_indices(len(right), k=1)
    called = sum(
        mcnemar(int(one_alone[i, j]), int(one_alone[j, i])) < LEVEL
        for i, j in zip(rows, columns, strict=True)
    )
    return called, len(rows)


def between(first: Bools, second: Bools, size: int, draws: int, draw: np.random.Generator) -> float:
    """Return the share of draws of a group of either recipe that are called different."""
    called = 0
    for _ in range(draws):
        ours, theirs = (each[draw.permutation(len(each))[:size]] for each in (first, second))
        called += recipe_difference(ours, theirs).p < LEVEL
    return called / draws


# ---- what chance allows


def synthetic(right: Bools, draw: np.random.Generator) -> Bools:
    """Draw as many runs that differ by chance alone, as hard images and as lucky seeds as the real ones.

    An image is right in each run with its own probability, which is drawn from what the real runs' counts
    leave open; a seed's luck moves all probabilities of its run, in the logit, by a normal number.
    """
    runs, images = right.shape
    hardness = draw.beta(right.sum(axis=0) + 0.1, runs - right.sum(axis=0) + 0.1)  # (images,)
    hardness = np.clip(hardness, 1e-9, 1 - 1e-9)
    slope = float((hardness * (1 - hardness)).mean())
    own = slope / images  # the variance of a run's accuracy if seeds had no luck
    luck = np.sqrt(max(0.0, float(right.mean(axis=1).var(ddof=1)) - own)) / slope
    logits = np.log(hardness / (1 - hardness)) + luck * draw.standard_normal((runs, 1))
    found: Bools = draw.random((runs, images)) < 1 / (1 + np.exp(-logits))
    return found


def bounds(right: Bools, *, sets: int = SETS, draws: int = DRAWS) -> dict[str, Any]:
    """Resample sets of synthetic runs; return the mean of the rates and where their middle 95 % lies."""
    draw = np.random.default_rng(0)
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(sets):
        runs = synthetic(right, draw)
        for size, found in rates.items():
            found.append(of_recipes(runs, size, draws, draw)[0])
    return {
        "command": "python benchmarks/chance.py --table --bounds",
        "sets": sets,
        "draws": draws,
        "sizes": {str(size): _bounds(found) for size, found in rates.items()},
    }


def _bounds(rates: Sequence[float]) -> dict[str, Any]:
    low, high = np.quantile(rates, [0.025, 0.975])
    return {"mean": float(np.mean(rates)), "low": float(low), "high": float(high), "rates": list(rates)}


def table(lines: Sequence[Line], allowed: dict[str, Any]) -> str:
    """Lay out how often chance is called a difference, and how often a difference is."""
    right, shorter = outcomes(lines, AS_IT_IS), outcomes(lines, SHORTER)
    draw = np.random.default_rng(0)
    runs = f"{len(right)} runs of `sprint`"
    rows: list[list[object]] = []
    for size in SIZES:
        (rate, welch), here = of_recipes(right, size, DRAWS, draw), allowed["sizes"][str(size)]
        what = f"recipes: two groups of {size} of {runs}"
        rows.append(
            [what, "seeds alone", f"{rate:.2%}", f"{here['low']:.1%} to {here['high']:.1%}", f"{welch:.2%}"]
        )
    rate = of_models(right, DRAWS, draw)
    spread = 1.96 * np.sqrt(LEVEL * (1 - LEVEL) / DRAWS)
    near = f"{LEVEL - spread:.1%} to {LEVEL + spread:.1%}"
    rows.append([f"models: two of {runs}, swapped image by image", "chance alone", f"{rate:.2%}", near, ""])
    for size in SIZES[:2]:
        rate = between(right, shorter, size, DRAWS, draw)
        what = f"recipes: {size} runs of two epochs, {size} of one"
        rows.append([what, f"{100 * (right.mean() - shorter.mean()):.2f} points", f"{rate:.2%}", "", ""])
    called, pairs = of_seeds(right)
    rows.append([f"models: two of {runs}, as they are", "the seed", f"{called / pairs:.2%}", "", ""])
    header = ["compared", "differ in", "called different", "chance allows", "Welch's test"]
    deviation = 100 * float(right.mean(axis=1).std(ddof=1))
    about = f"mean accuracy {right.mean():.2%}, from seed to seed ± {deviation:.2f} points"
    return f"{journal.table(header, rows)}\n\n{about}; {journal.described(lines)}"


if __name__ == "__main__":
    main()
