"""What the notebook says of its results in words, put to the test: the figures of `docs/comparisons.md`.

    foveal data get cifar10 cifar10
    python benchmarks/model_s.py cifar10 --runs runs
    foveal train cifar10 --recipe sprint --evaluate --out runs/sprint-0
    python benchmarks/claims.py --collect runs/model-s-* runs/sprint-0
    python benchmarks/claims.py

`--collect` reads evaluated runs and writes `benchmarks/results/claims.jsonl`: first the images with their
true classes, then a line a run with the class it gives to each image, a digit an image, its areas under the
ROC curves and its history. From these lines, and from `chance.jsonl`, the 40 seeds of `sprint`, tables and
sentences of the page are made, and put between the marks that name them; no figure there is typed.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import chance
import journal
from claimed import AFTER, BEFORE, LINES, NOTEBOOK, OURS, Runs, backwards, collect, title
from claims_classes import areas, classes, hardest_pair, kinds, macro
from scipy import stats

from foveal.comparison.confusion_tests import N_PERMUTATIONS
from foveal.comparison.result import Pair
from foveal.comparison.verdict import SIGNIFICANCE_LEVEL, format_p_value, format_points
from foveal.evaluation.intervals import wilson_interval

PAGE = Path(__file__).parents[1] / "docs" / "comparisons.md"


def main() -> None:
    """Collect runs, or write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--collect", type=Path, nargs="+", metavar="RUN")
    asked = parser.parse_args()
    if asked.collect:
        LINES.write_text("".join(json.dumps(line) + "\n" for line in collect(asked.collect)), "utf-8")
    PAGE.write_text(filled(PAGE.read_text("utf-8"), Runs.read()), "utf-8")


# ---- tables


def runs(m: Runs) -> str:
    """Lay out the runs."""
    rows = []
    for each in m.each:
        right = int((each.predicted == m.labels).sum())
        low, high = wilson_interval(right, len(m.labels))
        rows.append(
            [
                each.title,
                each.line["rule"].partition(" train, ")[2].removesuffix(" validates"),
                f"{right / len(m.labels):.2%}",
                f"{low:.2%} to {high:.2%}",
                f"{each.line['parameters']:,}",
                f"{each.line['seconds']:,.0f}",
            ]
        )
    header = ["run", "validates", "test accuracy", "95 % interval", "parameters", "seconds of training"]
    return journal.table(header, rows)


def steps(m: Runs) -> str:
    """Lay out the comparisons of models."""
    rows = [
        [
            title(pair.first),
            title(pair.second),
            f"{pair.only_first:,}",
            f"{pair.only_second:,}",
            f"{format_points(pair.difference)} ({format_points(pair.interval[0])} to {format_points(pair.interval[1])})",
            format_p_value(pair.p_corrected),
            pair.verdict,
        ]
        for first, second in ((BEFORE, NOTEBOOK), (NOTEBOOK, AFTER), (NOTEBOOK, OURS), (OURS, AFTER))
        for pair in m.pairs(first, second) or [backwards(each) for each in m.pairs(second, first)]
    ]
    header = [
        "first",
        "second",
        "first alone",
        "second alone",
        "points (95 %)",
        "McNemar, Holm",
        "the second is",
    ]
    return journal.table(header, rows)


def over_seeds(m: Runs) -> str:
    """Say what seeds tell of the recipes."""
    (pair,) = m.recipes.pairs
    rows = [
        [
            f"`{each['name']}`",
            each["runs"],
            f"{each['mean']:.2%}",
            f"{100 * each['deviation']:.2f}",
            " to ".join(f"{bound:.2%}" for bound in each["interval"]),
        ]
        for each in m.recipes.groups
    ]
    laid = journal.table(
        ["recipe", "seeds", "mean accuracy", "deviation, points", "95 % interval of the mean"], rows
    )
    low, high = another(m)
    single = [
        f"`{recipe}` ({accuracy:.2%}) {'is outside' if not low <= accuracy <= high else 'is within'}"
        for recipe in (BEFORE, AFTER)
        for accuracy in [float((m.of(recipe)[0].predicted == m.labels).mean())]
    ]
    return (
        f"{laid}\n\n**{pair.sentence()}**\n\n`{BEFORE}` and `{AFTER}` were trained once. One more run of "
        f"`{NOTEBOOK}` is expected between {low:.2%} and {high:.2%} (95 %, Student's t, from "
        f"{len(m.of(NOTEBOOK))} seeds): {', '.join(single)}."
    )


def another(m: Runs) -> tuple[float, float]:
    """Return where the accuracy of one more run of the notebook's recipe is expected, 95 %."""
    found = [float((each.predicted == m.labels).mean()) for each in m.of(NOTEBOOK)]
    half = float(stats.t.ppf(0.975, len(found) - 1)) * stdev(found) * (1 + 1 / len(found)) ** 0.5
    return mean(found) - half, mean(found) + half


def gained(pairs: list[Pair]) -> str:
    """Say of comparisons of the same step by how many points it made the accuracy greater."""
    low, high = min(pair.interval[0] for pair in pairs), max(pair.interval[1] for pair in pairs)
    gains = sorted(100 * pair.difference for pair in pairs)
    better = sum(pair.verdict == "better" for pair in pairs)
    return (
        f"**{'Yes' if better == len(pairs) else 'Not in every comparison'}.** "
        f"`{pairs[0].second.partition(',')[0]}` is better than `{pairs[0].first.partition(',')[0]}` in "
        f"{better} of {len(pairs)} comparisons, by {gains[0]:.1f} to {gains[-1]:.1f} points (their 95 % "
        f"intervals lie within {format_points(low)} to {format_points(high)})"
    )


def improvement(m: Runs) -> str:
    """Answer: a noticeable improvement."""
    within = wilson_interval(round(0.8155 * len(m.labels)), len(m.labels))
    low, high = another(m)
    return (
        f"{gained(m.pairs(BEFORE, NOTEBOOK))}. The notebook's own 81.55 % has the interval {within[0]:.2%} "
        f"to {within[1]:.2%}; one more of our runs is expected between {low:.2%} and {high:.2%}."
    )


def mistakes(m: Runs) -> str:
    """Answer: the same error distribution, with higher accuracy."""
    chosen = [
        *(("another recipe", pair) for pair in m.pairs(BEFORE, NOTEBOOK)),
        *(("another seed", pair) for pair in m.pairs(NOTEBOOK, NOTEBOOK)),
        *(("another recipe", pair) for pair in m.pairs(NOTEBOOK, AFTER)),
        *(("another recipe", pair) for pair in m.pairs(NOTEBOOK, OURS)),
    ]
    rows: list[list[object]] = []
    distances: dict[tuple[str, str], list[float]] = {}
    for kind, pair in chosen:
        found = pair.mistakes
        assert found is not None
        assert pair.mistakes_p_corrected is not None
        what = (pair.first.partition(",")[0], pair.second.partition(",")[0])
        distances.setdefault(what, []).append(found.distance)
        rows.append(
            [
                f"{title(pair.first)} → {title(pair.second)}",
                kind,
                f"{found.first:,} → {found.second:,}",
                f"{found.distance:.1%}",
                f"{found.by_chance:.1%}",
                format_p_value(pair.mistakes_p_corrected),
            ]
        )
    header = ["models", "differ in", "errors", "on other pairs", "by chance alone", "permutation test, Holm"]
    least = 1 / (N_PERMUTATIONS + 1) * len(m.comparison.pairs)
    seeds, step = distances[NOTEBOOK, NOTEBOOK], distances[BEFORE, NOTEBOOK]
    told = [
        pair.mistakes_p_corrected
        for _, pair in chosen
        if (pair.mistakes_p_corrected or 0) < SIGNIFICANCE_LEVEL
    ]
    verdict = (
        "No; but nor has the same recipe with another seed" if len(told) == len(chosen) else "Not always"
    )
    return (
        f"**{verdict}.** From `{BEFORE}` to `{NOTEBOOK}`, {min(step):.1%} to {max(step):.1%} of the errors "
        f"(mean {mean(step):.1%}) fall on other pairs of classes; from one seed of `{NOTEBOOK}` to another, "
        f"{min(seeds):.1%} to {max(seeds):.1%} (mean {mean(seeds):.1%}). {len(told)} of these {len(chosen)} "
        "pairs of models differ by more than chance in where their errors "
        f"fall.\n\n{journal.table(header, rows)}\n\n{format_p_value(least)} is the least that {N_PERMUTATIONS:,} random "
        f"swaps and Holm's correction for {len(m.comparison.pairs)} pairs can give.\n\n{changed(m)}"
    )


def changed(m: Runs) -> str:
    """Lay out the confusions that changed in every comparison of the notebook's step."""
    pairs = m.pairs(BEFORE, NOTEBOOK)
    by_pair = [{(each.true, each.predicted): each for each in pair.confusions} for pair in pairs]
    keys = [key for key in by_pair[0] if all(key in each and each[key].p < 0.05 for each in by_pair)]
    rows = [
        [
            f"{true} → {predicted}",
            by_pair[0][true, predicted].first,
            ", ".join(str(each[true, predicted].second) for each in by_pair),
            format_p_value(max(each[true, predicted].p for each in by_pair)),
        ]
        for true, predicted in keys
    ]
    more = sum(each[key].second > each[key].first for key in keys for each in by_pair[:1])
    header = ["true → predicted", f"`{BEFORE}`", f"`{NOTEBOOK}`, three seeds", "largest p (Holm)"]
    return (
        f"{len(keys)} of {len(m.classes) * (len(m.classes) - 1)} confusions changed beyond chance with every "
        f"seed, {more} of them became more frequent:\n\n{journal.table(header, rows)}"
    )


def overfitting(m: Runs) -> str:
    """Answer: overfitting after the tenth epoch, and the sixteenth as the best."""
    logs = [("the notebook's log", m.log), *((run.title, run.line["history"]) for run in m.of(NOTEBOOK))]
    rows: list[list[object]] = []
    rises = []
    for name, log in logs:
        losses = [record[2] for record in log]
        best = losses.index(min(losses)) + 1
        rises.append(losses[-1] / min(losses) - 1)
        gap = [f"{record[2] - record[0]:+.2f}" for record in (log[9], log[best - 1], log[-1])]
        told = [f"{min(losses):.4f}", f"{losses[-1]:.4f}", f"{rises[-1]:+.1%}", *gap]
        rows.append([name, best, len(log), *told])
    bests = ", ".join(str(row[1]) for row in rows[1:])
    losses = [record[2] for record in m.log]
    later, then = max(record[3] for record in m.log[10:]), m.log[9][3]
    low, high = wilson_interval(round(then * len(m.labels)), len(m.labels))
    header = ["run", "best epoch", "epochs", "best validation loss", "last", "rise", "gap at epoch 10"]
    header += ["at the best", "at the last"]
    return (
        f"**The best epoch is {losses.index(min(losses)) + 1} by the notebook's own log, not 16.** After "
        f"epoch 10 its training accuracy gains {100 * (m.log[-1][1] - m.log[9][1]):.1f} points, its "
        f"validation accuracy {100 * (later - then):.1f} at best, {'less' if later < high else 'more'} than "
        f"the 95 % interval of {then:.2%} leaves open ({low:.2%} to {high:.2%}): that it “stops improving "
        f"significantly” {'agrees with' if later < high else 'contradicts'} the log. The validation loss "
        f"ends {rises[0]:.1%} above its best; with our seeds it ends {min(rises[1:]):.1%} to "
        f"{max(rises[1:]):.1%} above, after the best epochs {bests}. In the table the gap is validation less "
        f"training loss; the latter is taken with dropout.\n\n{journal.table(header, rows)}"
    )


def augmented(m: Runs) -> str:
    """Answer: augmentation, L2 and Adam would improve the performance."""
    return f"{gained(m.pairs(NOTEBOOK, AFTER))}. Which of the three does it these runs cannot say."


def false_alarms(_: Runs) -> str:
    """Lay out how often chance is called a difference."""
    bounds = json.loads(chance.BOUNDS.read_text("utf-8"))
    return chance.table(journal.Journal(journal.RESULTS / "chance.jsonl").lines(), bounds)


BLOCKS: dict[str, Callable[[Runs], str]] = {
    each.__name__: each
    for each in (runs, steps, over_seeds, improvement, mistakes, hardest_pair, classes, kinds, areas)
} | {each.__name__: each for each in (overfitting, macro, augmented, false_alarms)}


def filled(page: str, m: Runs) -> str:
    """Return the page with every block made anew: `<!-- name -->` to `<!-- end -->`."""

    def block(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{BLOCKS[found[1]](m)}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


if __name__ == "__main__":
    main()
