"""The notebook's claims about its results, tested: the figures of `docs/comparisons.md`.

    foveal data get cifar10 cifar10
    python -m benchmarks.accuracy.model_s cifar10 --runs runs
    foveal train cifar10 --recipe sprint --evaluate --out runs/sprint-0
    python -m benchmarks.statistics.claims --collect runs/model-s-* runs/sprint-0
    python -m benchmarks.statistics.claims

`--collect` reads evaluated runs and writes `benchmarks/results/statistics/claims.jsonl`. The first line has
the images with their true classes. Each run has one line with the class that it predicts for each image, one
digit per image, with its areas under the ROC curves and its history. From these lines, and from
`chance.jsonl`, the 40 seeds of `sprint`, the tables and sentences of the page are made and put between the
marks that name them. No figure there is typed.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

from scipy import stats

from benchmarks import CHECKOUT
from benchmarks.measurement.command_line import create_parser
from benchmarks.measurement.journal import Journal
from benchmarks.measurement.markdown import format_table
from benchmarks.statistics import chance
from benchmarks.statistics.claims_classes import (
    answer_areas,
    answer_classes,
    answer_hardest_pair,
    answer_macro,
    answer_vehicles,
)
from benchmarks.statistics.claims_runs import (
    AFTER,
    BEFORE,
    FILE,
    NOTEBOOK,
    OURS,
    ClaimData,
    collect,
    format_title,
    swap_pair,
)
from foveal.comparison.confusion_tests import N_PERMUTATIONS
from foveal.comparison.result import Pair
from foveal.comparison.verdict import SIGNIFICANCE_LEVEL, format_p_value, format_points
from foveal.evaluation.intervals import wilson_interval

PAGE = CHECKOUT / "docs" / "comparisons.md"


def main() -> None:
    """Collect runs if asked to, and write the page."""
    parser = create_parser(__doc__)
    parser.add_argument("--collect", type=Path, nargs="+", metavar="RUN")
    args = parser.parse_args()
    if args.collect:
        FILE.write_text("".join(json.dumps(line) + "\n" for line in collect(args.collect)), "utf-8")
    PAGE.write_text(fill_page(PAGE.read_text("utf-8"), ClaimData.read()), "utf-8")


# ---- tables


def format_runs(data: ClaimData) -> str:
    """Return the table of the runs."""
    n = len(data.labels)
    rows = []
    for run in data.runs:
        low, high = wilson_interval(int(run.correct.sum()), n)
        rows.append(
            [
                run.title,
                run.line["rule"].partition(" train, ")[2].removesuffix(" validates"),
                f"{run.accuracy:.2%}",
                f"{low:.2%} to {high:.2%}",
                f"{run.line['parameters']:,}",
                f"{run.line['seconds']:,.0f}",
            ]
        )
    header = ["run", "validates", "test accuracy", "95 % interval", "parameters", "seconds of training"]
    return format_table(header, rows)


def format_steps(data: ClaimData) -> str:
    """Return the table of the comparisons of models."""
    rows = []
    for first, second in ((BEFORE, NOTEBOOK), (NOTEBOOK, AFTER), (NOTEBOOK, OURS), (OURS, AFTER)):
        for pair in data.pairs(first, second) or map(swap_pair, data.pairs(second, first)):
            low, high = map(format_points, pair.interval)
            rows.append(
                [
                    format_title(pair.first),
                    format_title(pair.second),
                    f"{pair.only_first:,}",
                    f"{pair.only_second:,}",
                    f"{format_points(pair.difference)} ({low} to {high})",
                    format_p_value(pair.p_corrected),
                    pair.verdict,
                ]
            )
    header = ["first", "second", "first alone", "second alone", "points (95 %)", "McNemar, Holm"]
    return format_table([*header, "the second is"], rows)


def format_recipes(data: ClaimData) -> str:
    """Return what several seeds say about the recipes."""
    (pair,) = data.recipe_comparison.pairs
    rows: list[list[object]] = []
    for group in data.recipe_comparison.groups:
        assert group.deviation is not None
        assert group.interval is not None
        bounds = " to ".join(f"{bound:.2%}" for bound in group.interval)
        name, deviation = f"`{group.name}`", f"{100 * group.deviation:.2f}"
        rows.append([name, group.runs, f"{group.mean:.2%}", deviation, bounds])
    header = ["recipe", "seeds", "mean accuracy", "deviation, points", "95 % interval of the mean"]
    low, high = predict_accuracy(data)
    single = [
        f"`{recipe}` ({accuracy:.2%}) {'is outside' if not low <= accuracy <= high else 'is within'}"
        for recipe in (BEFORE, AFTER)
        for accuracy in [data.runs_of(recipe)[0].accuracy]
    ]
    return (
        f"{format_table(header, rows)}\n\n**{pair.describe()}**\n\n"
        f"`{BEFORE}` and `{AFTER}` were trained once. One more run of `{NOTEBOOK}` is expected between "
        f"{low:.2%} and {high:.2%} (95 %, Student's t, from {len(data.runs_of(NOTEBOOK))} seeds): "
        f"{', '.join(single)}."
    )


def predict_accuracy(data: ClaimData) -> tuple[float, float]:
    """Return the 95 % prediction interval for the accuracy of one more run of the notebook's recipe."""
    accuracies = [run.accuracy for run in data.runs_of(NOTEBOOK)]
    n = len(accuracies)
    half_width = float(stats.t.ppf(0.975, n - 1)) * stdev(accuracies) * (1 + 1 / n) ** 0.5
    return mean(accuracies) - half_width, mean(accuracies) + half_width


# ---- answers


def describe_gain(pairs: list[Pair]) -> str:
    """Return by how many points a step raised the accuracy, over all comparisons of that step."""
    low, high = min(pair.interval[0] for pair in pairs), max(pair.interval[1] for pair in pairs)
    gains = sorted(100 * pair.difference for pair in pairs)
    better = sum(pair.verdict == "better" for pair in pairs)
    return (
        f"**{'Yes' if better == len(pairs) else 'Not in every comparison'}.** "
        f"`{pairs[0].second.partition(',')[0]}` is better than `{pairs[0].first.partition(',')[0]}` in "
        f"{better} of {len(pairs)} comparisons, by {gains[0]:.1f} to {gains[-1]:.1f} points (their 95 % "
        f"intervals lie within {format_points(low)} to {format_points(high)})"
    )


def answer_improvement(data: ClaimData) -> str:
    """Answer the claim of a noticeable improvement."""
    notebook = wilson_interval(round(0.8155 * len(data.labels)), len(data.labels))
    low, high = predict_accuracy(data)
    return (
        f"{describe_gain(data.pairs(BEFORE, NOTEBOOK))}. The notebook's own 81.55 % has the interval "
        f"{notebook[0]:.2%} to {notebook[1]:.2%}; one more of our runs is expected between {low:.2%} and "
        f"{high:.2%}."
    )


def answer_error_distribution(data: ClaimData) -> str:
    """Answer the claim of the same error distribution with higher accuracy."""
    pairs = [
        *(("another recipe", pair) for pair in data.pairs(BEFORE, NOTEBOOK)),
        *(("another seed", pair) for pair in data.pairs(NOTEBOOK, NOTEBOOK)),
        *(("another recipe", pair) for pair in data.pairs(NOTEBOOK, AFTER)),
        *(("another recipe", pair) for pair in data.pairs(NOTEBOOK, OURS)),
    ]
    rows: list[list[object]] = []
    distances: dict[tuple[str, str], list[float]] = {}
    differing = 0
    for kind, pair in pairs:
        errors, p = pair.mistakes, pair.mistakes_p_corrected
        assert errors is not None
        assert p is not None
        differing += p < SIGNIFICANCE_LEVEL
        recipes = (pair.first.partition(",")[0], pair.second.partition(",")[0])
        distances.setdefault(recipes, []).append(errors.distance)
        rows.append(
            [
                f"{format_title(pair.first)} → {format_title(pair.second)}",
                kind,
                f"{errors.first:,} → {errors.second:,}",
                f"{errors.distance:.1%}",
                f"{errors.by_chance:.1%}",
                format_p_value(p),
            ]
        )
    header = ["models", "differ in", "errors", "on other pairs", "by chance alone", "permutation test, Holm"]
    n_pairs = len(data.comparison.pairs)
    smallest_p = format_p_value(1 / (N_PERMUTATIONS + 1) * n_pairs)
    seeds, step = distances[NOTEBOOK, NOTEBOOK], distances[BEFORE, NOTEBOOK]
    verdict = "Not always"
    if differing == len(pairs):
        verdict = "No; but nor has the same recipe with another seed"
    return (
        f"**{verdict}.** From `{BEFORE}` to `{NOTEBOOK}`, {min(step):.1%} to {max(step):.1%} of the errors "
        f"(mean {mean(step):.1%}) fall on other pairs of classes; from one seed of `{NOTEBOOK}` to another, "
        f"{min(seeds):.1%} to {max(seeds):.1%} (mean {mean(seeds):.1%}). {differing} of these {len(pairs)} "
        "pairs of models differ by more than chance in where their errors "
        f"fall.\n\n{format_table(header, rows)}\n\n{smallest_p} is the least that {N_PERMUTATIONS:,} random "
        f"swaps and Holm's correction for {n_pairs} pairs can give.\n\n{format_changes(data)}"
    )


def format_changes(data: ClaimData) -> str:
    """Return the confusions that changed in every comparison of the notebook's step."""
    changes = [
        {(change.true, change.predicted): change for change in pair.confusions}
        for pair in data.pairs(BEFORE, NOTEBOOK)
    ]
    keys = [key for key in changes[0] if all(key in own and own[key].p < 0.05 for own in changes)]
    rows = [
        [
            f"{true} → {predicted}",
            changes[0][true, predicted].first,
            ", ".join(str(own[true, predicted].second) for own in changes),
            format_p_value(max(own[true, predicted].p for own in changes)),
        ]
        for true, predicted in keys
    ]
    more = sum(changes[0][key].second > changes[0][key].first for key in keys)
    header = ["true → predicted", f"`{BEFORE}`", f"`{NOTEBOOK}`, three seeds", "largest p (Holm)"]
    return (
        f"{len(keys)} of {len(data.classes) * (len(data.classes) - 1)} confusions changed beyond chance with "
        f"every seed, {more} of them became more frequent:\n\n{format_table(header, rows)}"
    )


def answer_overfitting(data: ClaimData) -> str:
    """Answer the claims of overfitting after the tenth epoch, and of the sixteenth as the best."""
    log = data.notebook_log
    histories = [("the notebook's log", log)]
    histories += [(run.title, run.line["history"]) for run in data.runs_of(NOTEBOOK)]
    rows: list[list[object]] = []
    rises = []
    for name, history in histories:
        losses = [epoch[2] for epoch in history]
        best = losses.index(min(losses)) + 1
        rises.append(losses[-1] / min(losses) - 1)
        gaps = [f"{epoch[2] - epoch[0]:+.2f}" for epoch in (history[9], history[best - 1], history[-1])]
        cells = [f"{min(losses):.4f}", f"{losses[-1]:.4f}", f"{rises[-1]:+.1%}", *gaps]
        rows.append([name, best, len(history), *cells])
    best_epoch, *bests = [row[1] for row in rows]
    later, tenth = max(epoch[3] for epoch in log[10:]), log[9][3]
    low, high = wilson_interval(round(tenth * len(data.labels)), len(data.labels))
    header = ["run", "best epoch", "epochs", "best validation loss", "last", "rise", "gap at epoch 10"]
    header += ["at the best", "at the last"]
    return (
        f"**The best epoch is {best_epoch} by the notebook's own log, not 16.** After "
        f"epoch 10 its training accuracy gains {100 * (log[-1][1] - log[9][1]):.1f} points, its "
        f"validation accuracy {100 * (later - tenth):.1f} at best, {'less' if later < high else 'more'} than "
        f"the 95 % interval of {tenth:.2%} leaves open ({low:.2%} to {high:.2%}): that it “stops improving "
        f"significantly” {'agrees with' if later < high else 'contradicts'} the log. The validation loss "
        f"ends {rises[0]:.1%} above its best; with our seeds it ends {min(rises[1:]):.1%} to "
        f"{max(rises[1:]):.1%} above, after the best epochs {', '.join(map(str, bests))}. In the table the "
        "gap is validation less training loss; the latter is taken with dropout."
        f"\n\n{format_table(header, rows)}"
    )


def answer_augmentation(data: ClaimData) -> str:
    """Answer the claim that augmentation, L2 and Adam would improve the performance."""
    gain = describe_gain(data.pairs(NOTEBOOK, AFTER))
    return f"{gain}. Which of the three does it these runs cannot say."


def format_false_alarms(_: ClaimData) -> str:
    """Return the table of how often chance is called a difference."""
    return chance.format_results(Journal(chance.FILE).read_lines(), chance.read_bounds())


BLOCKS: dict[str, Callable[[ClaimData], str]] = {
    "runs": format_runs,
    "steps": format_steps,
    "over_seeds": format_recipes,
    "improvement": answer_improvement,
    "mistakes": answer_error_distribution,
    "hardest_pair": answer_hardest_pair,
    "classes": answer_classes,
    "kinds": answer_vehicles,
    "areas": answer_areas,
    "overfitting": answer_overfitting,
    "macro": answer_macro,
    "augmented": answer_augmentation,
    "false_alarms": format_false_alarms,
}
"""The blocks of the page by the names in its marks."""


def fill_page(page: str, data: ClaimData) -> str:
    """Return the page with every block made again: from `<!-- name -->` to `<!-- end -->`."""

    def fill_block(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{BLOCKS[match[1]](data)}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", fill_block, page, flags=re.DOTALL)


if __name__ == "__main__":
    main()
