"""Several classifiers on the same images: which is better, and whether the images suffice to tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from foveal.comparison.confusion_tests import compare_confusions, compare_errors
from foveal.comparison.paired import accuracy_difference, estimate_images_needed, holm, mcnemar
from foveal.comparison.result import ClassChange, ComparedModel, Comparison, Disagreement, Pair
from foveal.comparison.verdict import decide
from foveal.evaluation.intervals import wilson_interval
from foveal.types import Bools, Floats, Ints

MAX_CONFUSIONS = 200
"""At most so many confusions of a pair are kept. With many classes there are as many as errors."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A classifier with its predictions and its costs."""

    name: str
    """The name by which it is called in the comparison."""
    y_pred: Ints
    """The predicted class of each image, (N,)."""
    seconds: float | None
    """The seconds of training, where they are known."""
    parameters: int
    """The number of parameters of the network."""
    details: Mapping[str, object]
    """Further JSON values that the comparison repeats."""
    true_class_probability: Floats | None = None
    """The probability of each image's true class, (N,), where it is known."""


def compare_models(
    contenders: Sequence[Contender],
    y_true: Ints,
    class_names: Sequence[str],
    *,
    split: str,
    recipes: str,
    paths: Sequence[str] = (),
) -> Comparison:
    """Compare every two classifiers on the same images, in the given order, the second against the first.

    Args:
        contenders: The classifiers. All have predicted the same images in the same order.
        y_true: The true classes of the images, (N,).
        class_names: The names of the classes.
        split: The name of the images' split.
        recipes: A sentence on what the comparison tells about recipes.
        paths: The paths of the images. Without them no single image is listed.
    """
    n = len(y_true)
    correct = [contender.y_pred == y_true for contender in contenders]
    models = []
    for contender, is_correct in zip(contenders, correct, strict=True):
        n_correct = int(is_correct.sum())
        models.append(
            ComparedModel(
                name=contender.name,
                details=contender.details,
                accuracy=n_correct / n,
                accuracy_interval=wilson_interval(n_correct, n),
                seconds=contender.seconds,
                parameters=contender.parameters,
            )
        )
    pairs = [
        _compare_two(first, second, y_true, class_names) for first, second in combinations(contenders, 2)
    ]
    return Comparison(
        split=split,
        n=n,
        contenders=tuple(models),
        pairs=_correct_p_values(pairs),
        images=_list_disagreements(contenders, correct, y_true, class_names, paths),
        recipes=recipes,
    )


def _compare_two(first: Contender, second: Contender, y_true: Ints, class_names: Sequence[str]) -> Pair:
    """Compare two classifiers. The p-values are not corrected for several pairs."""
    one, other = first.y_pred == y_true, second.y_pred == y_true
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    difference, *interval = accuracy_difference(only_first, only_second, len(y_true))
    p = mcnemar(only_first, only_second)
    mistakes = compare_errors(y_true, first.y_pred, second.y_pred, len(class_names))
    confusions = compare_confusions(y_true, first.y_pred, second.y_pred, class_names)
    return Pair(
        first=first.name,
        second=second.name,
        both=int((one & other).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~one & ~other).sum()),
        difference=difference,
        interval=(interval[0], interval[1]),
        p=p,
        p_corrected=p,
        verdict=decide(difference, p),
        needed=estimate_images_needed(only_first, only_second, len(y_true)),
        classes=_compare_classes(one, other, y_true, class_names),
        confusions=tuple(confusions[:MAX_CONFUSIONS]),
        mistakes=mistakes,
        mistakes_p_corrected=None if mistakes is None else mistakes.p,
    )


def _compare_classes(
    first: Bools, second: Bools, y_true: Ints, class_names: Sequence[str]
) -> tuple[ClassChange, ...]:
    """Compare the recall of each class that has images, by the correct predictions (N,) of both."""
    changes = []
    for label, name in enumerate(class_names):
        of_class = y_true == label
        n = int(of_class.sum())
        if n == 0:
            continue
        only_first, only_second = (
            int((first & ~second & of_class).sum()),
            int((second & ~first & of_class).sum()),
        )
        difference, low, high = accuracy_difference(only_first, only_second, n)
        changes.append(
            ClassChange(
                name=name,
                n=n,
                only_first=only_first,
                only_second=only_second,
                difference=difference,
                interval=(low, high),
                p=mcnemar(only_first, only_second),
            )
        )
    corrected = holm([change.p for change in changes])
    return tuple(replace(change, p=p) for change, p in zip(changes, corrected, strict=True))


def _correct_p_values(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Correct the p-values of all pairs by Holm, and decide by the corrected ones."""
    corrected = holm([pair.p for pair in pairs])
    of_mistakes = iter(holm([pair.mistakes.p for pair in pairs if pair.mistakes is not None]))
    return tuple(
        replace(
            pair,
            p_corrected=p,
            verdict=decide(pair.difference, p),
            mistakes_p_corrected=None if pair.mistakes is None else next(of_mistakes),
        )
        for pair, p in zip(pairs, corrected, strict=True)
    )


def _list_disagreements(
    contenders: Sequence[Contender],
    correct: Sequence[Bools],
    y_true: Ints,
    class_names: Sequence[str],
    paths: Sequence[str],
) -> tuple[Disagreement, ...]:
    """List the images that only some classify correctly, the largest gaps in probability first."""
    if not paths:
        return ()
    is_correct = np.array(correct)  # (contenders, N)
    indices = np.flatnonzero(is_correct.any(axis=0) & ~is_correct.all(axis=0))
    known = [each.true_class_probability for each in contenders if each.true_class_probability is not None]
    probabilities = np.array(known) if len(known) == len(contenders) else None  # (contenders, N)
    if probabilities is not None:
        indices = indices[np.argsort(-np.ptp(probabilities[:, indices], axis=0), kind="stable")]
    return tuple(
        Disagreement(
            path=paths[index],
            label=class_names[y_true[index]],
            predicted=tuple(class_names[contender.y_pred[index]] for contender in contenders),
            true_class_probabilities=None
            if probabilities is None
            else tuple(round(float(p), 6) for p in probabilities[:, index]),
        )
        for index in indices.tolist()
    )
