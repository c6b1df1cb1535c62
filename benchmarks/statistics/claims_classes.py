"""The notebook's claims on single classes, tested: see `claims.py`."""

import numpy as np

from benchmarks.measurement.markdown import format_table
from benchmarks.statistics.claims_runs import NOTEBOOK, ClaimData
from foveal.comparison.paired import mcnemar
from foveal.comparison.verdict import format_p_value, format_points
from foveal.evaluation.intervals import wilson_interval
from foveal.types import Bools

DifferenceInterval = tuple[float, float, float]
"""A difference of two shares, with the bounds of its interval."""
CLAIMED_RECALLS = {
    **dict.fromkeys(("airplane", "automobile", "frog", "ship", "truck"), "above"),
    **dict.fromkeys(("bird", "deer", "dog"), "below"),
    "cat": "very low",
}
"""The recall of each class against the average, in the notebook's words."""
VEHICLES = ("airplane", "automobile", "ship", "truck")
CLAIMED_LOWEST_AREAS = {"cat", "bird", "dog", "deer"}
"""The four classes that have the lowest areas by the notebook."""


def compare_shares(first: tuple[int, int], second: tuple[int, int]) -> DifferenceInterval:
    """Return how much greater the second of two shares, each (count, n), is, with its 95 % interval.

    The two shares are of different images.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10.
    """
    (first_share, second_share), (first_bounds, second_bounds) = zip(
        *((k / n, wilson_interval(k, n)) for k, n in (first, second)), strict=True
    )
    difference = second_share - first_share
    low = difference - np.hypot(second_share - second_bounds[0], first_bounds[1] - first_share)
    high = difference + np.hypot(second_bounds[1] - second_share, first_share - first_bounds[0])
    return difference, float(low), float(high)


def compare_groups(correct: Bools, group: Bools) -> DifferenceInterval:
    """Return how much greater the accuracy on a group of images is than on all others, with its interval."""
    others = int(correct[~group].sum()), int((~group).sum())
    return compare_shares(others, (int(correct[group].sum()), int(group.sum())))


def answer_hardest_pair(data: ClaimData) -> str:
    """Answer the claim that cat and dog are hard to distinguish."""
    rows, first, significant = [], 0, 0
    for run in data.runs:
        matrix = data.confusion_matrix(run)
        both = np.triu(matrix + matrix.T, k=1)
        errors = int(both.sum())
        (hardest, count), (runner_up, next_count) = (
            (
                " and ".join(data.classes[k] for k in divmod(int(index), len(data.classes))),
                int(both.flat[index]),
            )
            for index in np.argsort(-both, axis=None)[:2]
        )
        p = mcnemar(count, next_count)
        if run.recipe == NOTEBOOK:
            first += hardest == "cat and dog"
            significant += p < 0.05
        rows.append(
            [
                run.title,
                f"{hardest}: {count} of {errors:,} errors, {count / errors:.1%}",
                f"{runner_up}: {next_count}, {next_count / errors:.1%}",
                format_p_value(p),
            ]
        )
    n = len(data.runs_of(NOTEBOOK))
    table = format_table(["run", "most confused pair", "the next", "as frequent?"], rows)
    return (
        f"**{'Yes' if first == significant == n else 'Not with every seed'}.** Of all pairs of classes it is "
        f"the most confused in {first} of {n} runs of `{NOTEBOOK}`, ahead of the next beyond chance in "
        f"{significant}. The table shows how it is with the other recipes, which the notebook does not say."
        f"\n\n{table}"
    )


def answer_classes(data: ClaimData) -> str:
    """Answer the claims on classes above and below average."""
    confirmed: list[bool] = []
    rows: list[list[str]] = []
    for index, name in enumerate(data.classes):
        own = data.labels == index
        sides, recalls, false_positives = [], [], []
        for run in data.runs_of(NOTEBOOK):
            _, low, high = compare_groups(run.correct, own)
            sides.append("above" if low > 0 else "below" if high < 0 else "as the others")
            recalls.append(float(run.correct[own].mean()))
            false_positives.append(float((run.predicted[~own] == index).mean()))
        claim = CLAIMED_RECALLS.get(name, "–")
        agreeing = sides.count("below" if claim == "very low" else claim)
        verdict = ""
        if claim != "–":
            confirmed.append(agreeing == len(sides))
            verdict = "holds" if confirmed[-1] else f"holds in {agreeing} of {len(sides)}"
        rows.append(
            [
                name,
                claim,
                ", ".join(f"{recall:.1%}" for recall in recalls),
                ", ".join(f"{side} {sides.count(side)}" for side in dict.fromkeys(sides)),
                ", ".join(f"{share:.2%}" for share in false_positives),
                verdict,
            ]
        )
    header = ["class", "the notebook", "recall, three seeds", "against the other nine", "false positives"]
    return (
        f"**{sum(confirmed)} of {len(confirmed)} hold with every seed**: the recall of the class against "
        "that of the other nine, told apart if Newcombe's 95 % interval of the difference is without zero. "
        "False positives are shares of the images of other classes."
        f"\n\n{format_table([*header, 'claim'], rows)}"
    )


def answer_vehicles(data: ClaimData) -> str:
    """Answer the claims that vehicles are easier than animals, and cats the hardest."""
    vehicles = np.isin(data.labels, [data.classes.index(name) for name in VEHICLES])
    gaps, lowest = [], []
    for run in data.runs_of(NOTEBOOK):
        gaps.append(compare_groups(run.correct, vehicles))
        counts = [int(run.correct[data.labels == k].sum()) for k in range(len(data.classes))]
        hardest, runner_up = np.argsort(counts)[:2].tolist()
        difference = compare_shares((counts[hardest], 1000), (counts[runner_up], 1000))
        lowest.append((data.classes[hardest], data.classes[runner_up], difference))
    confirmed = all(low > 0 for _, low, _ in gaps)
    differences = "; ".join(
        f"{format_points(gap)} ({format_points(low)} to {format_points(high)})" for gap, low, high in gaps
    )
    cats = "; ".join(
        f"{hardest}, {100 * gap:.1f} points below {runner_up}, the next "
        f"({format_points(low)} to {format_points(high)})"
        for hardest, runner_up, (gap, low, high) in lowest
    )
    return (
        f"**{'Yes' if confirmed else 'Not with every seed'}.** Recall of the four vehicles less that of the "
        "six animals, in points with Newcombe's 95 % interval, seed by seed: "
        f"{differences}. The lowest recall: {cats}."
    )


def answer_areas(data: ClaimData) -> str:
    """Answer the claims on the lowest and the highest areas under the ROC curve."""
    rows, lowest_agree, highest_agrees = [], 0, 0
    for run in data.runs:
        order = np.argsort(run.line["roc_auc"]).tolist()
        names = [data.classes[k] for k in order]
        areas = [run.line["roc_auc"][k] for k in order]
        if run.recipe == NOTEBOOK:
            lowest_agree += set(names[:4]) == CLAIMED_LOWEST_AREAS
            highest_agrees += names[-1] == "automobile"
        rows.append(
            [
                run.title,
                ", ".join(f"{name} {area:.3f}" for name, area in zip(names[:4], areas, strict=False)),
                f"{names[-1]} {areas[-1]:.4f}, {names[-2]} {areas[-2]:.4f}",
            ]
        )
    n = len(data.runs_of(NOTEBOOK))
    return (
        f"**{'Yes' if lowest_agree == highest_agrees == n else 'Not with every seed'}.** The four least are "
        f"those in {lowest_agree} of {n} runs of `{NOTEBOOK}`, that of automobiles is the greatest in "
        f"{highest_agrees}.\n\n" + format_table(["run", "four least areas", "greatest"], rows)
    )


def answer_macro(data: ClaimData) -> str:
    """Answer the claim that the macro average is a good metric because the data are balanced."""
    gaps = []
    for run in data.runs_of(NOTEBOOK):
        matrix = data.confusion_matrix(run)
        recalls = np.diagonal(matrix) / matrix.sum(axis=1)
        gaps.append(abs(float(recalls.mean()) - float(np.diagonal(matrix).sum() / matrix.sum())))
    assert max(gaps) < 1e-12  # Rounding alone may make a difference.
    return (
        "**True, and it says nothing more.** With as many images of each class macro recall and accuracy "
        f"are the same number (in all {len(gaps)} runs of `{NOTEBOOK}`), and macro and weighted averages too."
    )
