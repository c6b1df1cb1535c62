"""What the notebook says of single classes, put to the test: see `claims.py`."""

import journal
import numpy as np
from claimed import NOTEBOOK, Runs

from foveal.comparison.paired import mcnemar
from foveal.comparison.verdict import format_p_value, format_points
from foveal.evaluation.intervals import wilson_interval

Shares = tuple[float, float, float]
SAID = {
    **dict.fromkeys(("airplane", "automobile", "frog", "ship", "truck"), "above"),
    **dict.fromkeys(("bird", "deer", "dog"), "below"),
    "cat": "very low",
}
"""Against the average, in the notebook's words."""
VEHICLES = ("airplane", "automobile", "ship", "truck")
LEAST_AREAS = {"cat", "bird", "dog", "deer"}


def shares_apart(first: tuple[int, int], second: tuple[int, int]) -> Shares:
    """Return how much the second of two shares, each (count, of), is greater, and a 95 % interval.

    The images are different ones.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10.
    """
    (one, other), (one_within, other_within) = zip(
        *((k / n, wilson_interval(k, n)) for k, n in (first, second)), strict=True
    )
    gap = other - one
    low = gap - np.hypot(other - other_within[0], one_within[1] - one)
    high = gap + np.hypot(other_within[1] - other, one - one_within[0])
    return gap, float(low), float(high)


def hardest_pair(m: Runs) -> str:
    """Answer: a hard time distinguishing cat and dog."""
    rows, first, sure = [], 0, 0
    for run in m.each:
        matrix = m.confusion(run)
        both = np.triu(matrix + matrix.T, k=1)
        errors = int(both.sum())
        order = np.argsort(-both, axis=None)[:2]
        (one, count), (other, next_count) = (
            (" and ".join(m.classes[k] for k in divmod(int(at), len(m.classes))), int(both.flat[at]))
            for at in order
        )
        p = mcnemar(count, next_count)
        if run.line["recipe"] == NOTEBOOK:
            first += one == "cat and dog"
            sure += p < 0.05
        rows.append(
            [
                run.title,
                f"{one}: {count} of {errors:,} errors, {count / errors:.1%}",
                f"{other}: {next_count}, {next_count / errors:.1%}",
                format_p_value(p),
            ]
        )
    n = len(m.of(NOTEBOOK))
    return (
        f"**{'Yes' if first == sure == n else 'Not with every seed'}.** Of all pairs of classes it is the "
        f"most confused in {first} of {n} runs of `{NOTEBOOK}`, ahead of the next beyond chance in {sure}. "
        "The table shows how it is with the other recipes, which the notebook does not say.\n\n"
        + journal.table(["run", "most confused pair", "the next", "as frequent?"], rows)
    )


def classes(m: Runs) -> str:
    """Answer: which classes are above and below average."""
    held, rows = [], []
    for index, name in enumerate(m.classes):
        mine = m.labels == index
        sides, recalls, false = [], [], []
        for run in m.of(NOTEBOOK):
            right = run.predicted == m.labels
            _, low, high = shares_apart(
                (int(right[~mine].sum()), int((~mine).sum())), (int(right[mine].sum()), int(mine.sum()))
            )
            sides.append("above" if low > 0 else "below" if high < 0 else "as the others")
            recalls.append(float(right[mine].mean()))
            false.append(float((run.predicted[~mine] == index).mean()))
        said = SAID.get(name, "–")
        wanted = "below" if said == "very low" else said
        agreeing = sides.count(wanted)
        if said != "–":
            held.append(agreeing == len(sides))
        found = ", ".join(f"{side} {sides.count(side)}" for side in dict.fromkeys(sides))
        rows.append(
            [
                name,
                said,
                ", ".join(f"{recall:.1%}" for recall in recalls),
                found,
                ", ".join(f"{share:.2%}" for share in false),
                "" if said == "–" else "holds" if held[-1] else f"holds in {agreeing} of {len(sides)}",
            ]
        )
    header = [
        "class",
        "the notebook",
        "recall, three seeds",
        "against the other nine",
        "false positives",
        "claim",
    ]
    return (
        f"**{sum(held)} of {len(held)} hold with every seed**: the recall of the class against that of the "
        "other nine, told apart if Newcombe's 95 % interval of the difference is without zero. False "
        f"positives are shares of the images of other classes.\n\n{journal.table(header, rows)}"
    )


def kinds(m: Runs) -> str:
    """Answer: better on vehicles than on animals, and lowest on cats."""
    vehicles = np.isin(m.labels, [m.classes.index(name) for name in VEHICLES])
    gaps, lowest = [], []
    for run in m.of(NOTEBOOK):
        right = run.predicted == m.labels
        gaps.append(
            shares_apart(
                (int(right[~vehicles].sum()), int((~vehicles).sum())),
                (int(right[vehicles].sum()), int(vehicles.sum())),
            )
        )
        counts = [int(right[m.labels == k].sum()) for k in range(len(m.classes))]
        one, other = np.argsort(counts)[:2].tolist()
        lowest.append(
            (m.classes[one], m.classes[other], shares_apart((counts[one], 1000), (counts[other], 1000)))
        )
    told = all(low > 0 for _, low, _ in gaps)
    text = "; ".join(
        f"{format_points(gap)} ({format_points(low)} to {format_points(high)})" for gap, low, high in gaps
    )
    cats = "; ".join(
        f"{one}, {100 * gap:.1f} points below {other}, the next ({format_points(low)} to {format_points(high)})"
        for one, other, (gap, low, high) in lowest
    )
    return (
        f"**{'Yes' if told else 'Not with every seed'}.** Recall of the four vehicles less that of the six "
        f"animals, in points with Newcombe's 95 % interval, seed by seed: {text}. The lowest recall: {cats}."
    )


def areas(m: Runs) -> str:
    """Answer: which areas under the ROC curve are the least and the greatest."""
    rows, worst, best = [], 0, 0
    for run in m.each:
        order = np.argsort(run.line["roc_auc"])
        names = [m.classes[k] for k in order.tolist()]
        if run.line["recipe"] == NOTEBOOK:
            worst += set(names[:4]) == LEAST_AREAS
            best += names[-1] == "automobile"
        values = [run.line["roc_auc"][k] for k in order.tolist()]
        rows.append(
            [
                run.title,
                ", ".join(f"{name} {value:.3f}" for name, value in zip(names[:4], values, strict=False)),
                f"{names[-1]} {values[-1]:.4f}, {names[-2]} {values[-2]:.4f}",
            ]
        )
    n = len(m.of(NOTEBOOK))
    return (
        f"**{'Yes' if worst == best == n else 'Not with every seed'}.** The four least are those in {worst} "
        f"of {n} runs of `{NOTEBOOK}`, that of automobiles is the greatest in {best}.\n\n"
        + journal.table(["run", "four least areas", "greatest"], rows)
    )


def macro(m: Runs) -> str:
    """Answer: the macro average is a good metric as the data are balanced."""
    gaps = []
    for run in m.of(NOTEBOOK):
        matrix = m.confusion(run)
        recall = np.diagonal(matrix) / matrix.sum(axis=1)
        gaps.append(abs(float(recall.mean()) - float(np.diagonal(matrix).sum() / matrix.sum())))
    assert max(gaps) < 1e-12  # rounding
    return (
        "**True, and it says nothing more.** With as many images of each class macro recall and accuracy "
        f"are the same number (in all {len(gaps)} runs of `{NOTEBOOK}`), and macro and weighted averages too."
    )
