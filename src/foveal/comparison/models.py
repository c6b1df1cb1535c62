"""Several classifiers on the same images: which is better, and whether these images suffice to say so."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.comparison.confusion_tests import compare_confusions, compare_errors
from foveal.comparison.paired import accuracy_difference, estimate_images_needed, holm, mcnemar
from foveal.comparison.result import ClassChange, Comparison, Disagreement, Pair
from foveal.comparison.verdict import decide
from foveal.evaluation.intervals import wilson_interval

MOST_CONFUSIONS = 200
"""Of a pair that are kept; with many classes there are as many as errors."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A classifier with what it predicted, and what it cost."""

    name: str
    predicted: NDArray[np.int64]
    """(N,), the class it gives to each image."""
    seconds: float | None
    """Of training."""
    parameters: int
    about: dict[str, Any]
    """What else is to be told of it, as JSON values."""
    of_truth: NDArray[np.float64] | None = None
    """(N,), the probability that it gives to each image's true class, where that is known."""


def compare_models(
    contenders: Sequence[Contender],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    split: str,
    recipes: str,
    paths: Sequence[str] = (),
) -> Comparison:
    """Compare classifiers that predicted the same images, in the same order, of true `labels` (N,).

    Every two are compared, in the order given, the second against the first. Without the images' `paths` none
    is named.
    """
    right = [contender.predicted == labels for contender in contenders]
    found = [
        _pair(contenders[one], contenders[other], labels, classes)
        for one, other in combinations(range(len(contenders)), 2)
    ]
    corrected = holm([pair["p"] for pair in found])
    of_mistakes = iter(holm([pair["mistakes"].p for pair in found if pair["mistakes"] is not None]))
    pairs = [
        Pair(
            **pair,
            p_corrected=p,
            verdict=decide(pair["difference"], p),
            mistakes_p_corrected=None if pair["mistakes"] is None else next(of_mistakes),
        )
        for pair, p in zip(found, corrected, strict=True)
    ]
    n = len(labels)
    described = tuple(
        {
            "name": each.name,
            **each.about,
            "accuracy": int(correct.sum()) / n,
            "accuracy_interval": list(wilson_interval(int(correct.sum()), n)),
            "seconds": each.seconds,
            "parameters": each.parameters,
        }
        for each, correct in zip(contenders, right, strict=True)
    )
    return Comparison(
        split=split,
        n=n,
        contenders=described,
        pairs=tuple(pairs),
        images=_apart(contenders, right, labels, classes, paths),
        recipes=recipes,
    )


def _apart(
    contenders: Sequence[Contender],
    right: Sequence[NDArray[np.bool_]],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    paths: Sequence[str],
) -> tuple[Disagreement, ...]:
    """List the images that some get right and others do not, those first where they are furthest apart."""
    if not paths:
        return ()
    those = np.array(right)  # (contenders, N)
    rows = np.flatnonzero(those.any(axis=0) & ~those.all(axis=0))
    known = [each.of_truth for each in contenders if each.of_truth is not None]
    sure = np.array(known) if len(known) == len(contenders) else None  # (contenders, N)
    if sure is not None:
        rows = rows[np.argsort(-np.ptp(sure[:, rows], axis=0), kind="stable")]
    return tuple(
        Disagreement(
            path=paths[row],
            label=classes[labels[row]],
            predicted=tuple(classes[each.predicted[row]] for each in contenders),
            of_truth=None if sure is None else tuple(round(float(each), 6) for each in sure[:, row]),
        )
        for row in rows.tolist()
    )


def _pair(
    first: Contender, second: Contender, labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    one, other = (each.predicted == labels for each in (first, second))
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    gap, *interval = accuracy_difference(only_first, only_second, len(labels))
    changes: list[dict[str, Any]] = []
    for label, name in enumerate(classes):
        mine = labels == label
        n = int(mine.sum())
        if n == 0:
            continue
        alone, alone_too = int((one & ~other & mine).sum()), int((other & ~one & mine).sum())
        by, *within = accuracy_difference(alone, alone_too, n)
        changes.append(
            {
                "name": name,
                "n": n,
                "only_first": alone,
                "only_second": alone_too,
                "difference": by,
                "interval": tuple(within),
            }
        )
    p_values = holm([mcnemar(each["only_first"], each["only_second"]) for each in changes])
    return {
        "first": first.name,
        "second": second.name,
        "both": int((one & other).sum()),
        "only_first": only_first,
        "only_second": only_second,
        "neither": int((~one & ~other).sum()),
        "difference": gap,
        "interval": tuple(interval),
        "p": mcnemar(only_first, only_second),
        "needed": estimate_images_needed(only_first, only_second, len(labels)),
        "classes": tuple(ClassChange(**each, p=p) for each, p in zip(changes, p_values, strict=True)),
        "confusions": tuple(compare_confusions(labels, first.predicted, second.predicted, classes)[:MOST_CONFUSIONS]),
        "mistakes": compare_errors(labels, first.predicted, second.predicted, len(classes)),
    }
