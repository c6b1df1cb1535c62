"""Sentences about an evaluation, each computed and each with its numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from foveal.evaluation.class_groups import MIN_RATIO, Groups, find_groups
from foveal.evaluation.metrics import BALANCED_RATIO, ClassScores, Evaluation, format_percent
from foveal.progress import printable

MAX_PAIRS: Final = 3
"""At most so many confused pairs of classes have a sentence."""
MAX_GROUPS: Final = 4
"""At most so many groups of classes are listed in a sentence."""
MAX_NAMES: Final = 8
"""At most so many classes are named in a list."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One computed sentence."""

    kind: str
    sentence: str
    numbers: dict[str, Any]
    """The numbers in the sentence and those it follows from, as plain JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON."""
        return asdict(self)


def describe_evaluation(evaluation: Evaluation) -> list[Finding]:
    """Describe the accuracy, which average to read, and the weak, strong and confused classes."""
    findings = [_describe_accuracy(evaluation), _describe_averages(evaluation), *_describe_absent(evaluation)]
    if evaluation.errors == 0:
        return findings
    return [
        *findings,
        *_describe_extremes(evaluation),
        *_describe_confused_pairs(evaluation),
        *_describe_groups(evaluation),
    ]


def _describe_accuracy(e: Evaluation) -> Finding:
    accuracy, low, high = (format_percent(share, e.n) for share in (e.accuracy, *e.accuracy_interval))
    sentence = (
        f"{e.n - e.errors:,} of {e.n:,} {printable(e.split, 40)} images were classified correctly: accuracy "
        f"{accuracy}, with a 95 % interval from {low} to {high}."
    )
    interval = list(e.accuracy_interval)
    numbers = {"n": e.n, "errors": e.errors, "accuracy": e.accuracy, "accuracy_interval": interval}
    return Finding(kind="accuracy", sentence=sentence, numbers=numbers)


def _describe_averages(e: Evaluation) -> Finding:
    largest, smallest = max(scores.n for scores in e.classes), min(scores.n for scores in e.classes)
    macro, weighted = format_percent(e.macro.f1, e.n), format_percent(e.weighted.f1, e.n)
    sizes = f"{smallest:,} images" if smallest == largest else f"{smallest:,} to {largest:,} images"
    if e.balanced:
        sentence = (
            f"The classes are balanced ({sizes} each): read the macro average (F1 {macro}); the weighted one "
            f"({weighted}) cannot differ much then."
        )
    else:
        sentence = (
            f"The classes are not balanced ({sizes} each): read the macro average (F1 {macro}), where every "
            f"class counts alike. Accuracy and the weighted average (F1 {weighted}) favour large classes; "
            f"always naming the largest would be right in {format_percent(largest / e.n, e.n)} of cases."
        )
    numbers = {
        "balanced": e.balanced,
        "smallest_class": smallest,
        "largest_class": largest,
        "balanced_up_to_ratio": BALANCED_RATIO,
        "largest_class_share": largest / e.n,
        "read": "macro",
        "macro_f1": e.macro.f1,
        "weighted_f1": e.weighted.f1,
    }
    return Finding(kind="averages", sentence=sentence, numbers=numbers)


def _describe_absent(e: Evaluation) -> list[Finding]:
    """Name the classes without images, and those that were never predicted."""
    findings = []
    absent = [scores.name for scores in e.classes if scores.n == 0]
    if absent:
        sentence = f"No image of {_join_names(absent)} was tested, so nothing is known about recall there."
        findings.append(Finding(kind="absent_classes", sentence=sentence, numbers={"classes": absent}))
    unpredicted = [scores.name for scores in e.classes if scores.n > 0 and scores.precision is None]
    if unpredicted:
        sentence = (
            f"Never predicted: {_join_names(unpredicted)}. Precision is undefined there, and macro counts it "
            "as 0."
        )
        findings.append(Finding(kind="never_predicted", sentence=sentence, numbers={"classes": unpredicted}))
    return findings


def _describe_extremes(e: Evaluation) -> list[Finding]:
    """Describe the classes of the lowest and of the highest recall, unless all are equal."""
    ranked = sorted(
        (scores for scores in e.classes if scores.recall is not None), key=lambda scores: scores.recall or 0.0
    )
    if len(ranked) < 2 or ranked[0].recall == ranked[-1].recall:
        return []
    strongest_first = sorted(ranked, key=lambda scores: scores.recall or 0.0, reverse=True)
    return [_describe_extreme("weakest", ranked), _describe_extreme("strongest", strongest_first)]


def _describe_extreme(which: str, ranked: Sequence[ClassScores]) -> Finding:
    """Describe the first of the classes, and name those whose intervals overlap with its own."""
    first = ranked[0]
    tied = [scores for scores in ranked if scores.recall == first.recall]
    rest = ranked[len(tied) :]
    assert first.recall_interval is not None
    low, high = first.recall_interval
    overlapping = [
        scores
        for scores in rest
        if scores.recall_interval is not None
        and scores.recall_interval[0] <= high
        and scores.recall_interval[1] >= low
    ]
    share = format_percent(first.recall, first.n)
    if len(tied) > 1:
        names = _join_names([scores.name for scores in tied])
        sentence = f"The {which} classes are {names}, level with each other: {share} of their images found."
    else:
        precision = (
            "" if first.precision is None else f", precision {format_percent(first.precision, first.n)}"
        )
        sentence = (
            f"The {which} class is {_shorten(first.name)}: {share} of its {format_count(first.n, 'image')} "
            f"found (95 % interval {format_percent(low, first.n)} to {format_percent(high, first.n)})"
            f"{precision}, F1 {format_percent(first.f1, first.n)}.{_describe_overlap(overlapping, rest)}"
        )
    numbers = {
        "classes": [scores.name for scores in tied],
        "n": first.n,
        "recall": first.recall,
        "recall_interval": [low, high],
        "precision": first.precision,
        "f1": first.f1,
        "overlapping": [scores.name for scores in overlapping],
    }
    return Finding(kind=f"{which}_class", sentence=sentence, numbers=numbers)


def _describe_overlap(overlapping: Sequence[ClassScores], rest: Sequence[ClassScores]) -> str:
    """Say which of the other classes' intervals overlap with that of the first."""
    if len(overlapping) == len(rest):
        return " Its interval overlaps that of every other class, so the order is not certain."
    if overlapping:
        others = _join_names([scores.name for scores in overlapping])
        return f" Its interval overlaps that of {others}: the order is not certain."
    runner_up = f"{_shorten(rest[0].name)} is next, with {format_percent(rest[0].recall, rest[0].n)}"
    return f" No other interval overlaps; {runner_up}."


def _describe_confused_pairs(e: Evaluation) -> list[Finding]:
    """Describe the pairs with most errors in both directions, unless too many share the first place."""
    counts = np.array(e.confusion)
    pair_errors = np.triu(counts + counts.T, 1)  # (K, K), each pair once
    order = np.argsort(-pair_errors, axis=None, kind="stable")
    ranked = [divmod(int(flat), len(counts)) for flat in order[:MAX_PAIRS]]
    highest = int(pair_errors[ranked[0]])
    tied = int((pair_errors == highest).sum())
    if tied > MAX_PAIRS:
        sentence = (
            f"No pair of classes stands out: {tied} pairs share the first place, with "
            f"{format_count(highest, 'error')} each."
        )
        numbers = {"errors": e.errors, "most": highest, "tied": tied}
        return [Finding(kind="confused_pairs", sentence=sentence, numbers=numbers)]
    findings: list[Finding] = []
    previous = 0
    for place, (i, j) in enumerate(ranked, start=1):
        errors = int(pair_errors[i, j])
        n_tied = int((pair_errors == errors).sum())
        if errors == 0 or n_tied > sum(int(pair_errors[pair] == errors) for pair in ranked):
            break  # the place would be shared with pairs that are not listed
        rank = "Most confused" if place == 1 else "As often" if errors == previous else "Next"
        findings.append(_describe_pair(e, i, j, rank, place))
        previous = errors
    return findings


def _describe_pair(e: Evaluation, i: int, j: int, rank: str, place: int) -> Finding:
    first, second = e.classes[i].name, e.classes[j].name
    a, b = _shorten(first), _shorten(second)
    as_second, as_first = e.confusion[i][j], e.confusion[j][i]
    share = (as_second + as_first) / e.errors
    sentence = (
        f"{rank}: {a} and {b}, with {format_percent(share, e.errors)} of the "
        f"{format_count(e.errors, 'error')} ({a} taken for {b} {_format_times(as_second)}, {b} for {a} "
        f"{_format_times(as_first)})."
    )
    numbers = {
        "place": place,
        "classes": [first, second],
        "first_taken_for_second": as_second,
        "second_taken_for_first": as_first,
        "share_of_errors": share,
        "errors": e.errors,
    }
    return Finding(kind="confused_pair", sentence=sentence, numbers=numbers)


def _describe_groups(e: Evaluation) -> list[Finding]:
    division = find_groups(np.array(e.confusion))
    if division is None:
        return []
    groups = [[e.classes[i].name for i in group] for group in division.groups]
    if division.clear:
        sentence = _list_groups(e, division, groups)
    else:
        sentence = f"No groups of classes stand out: {_explain_no_groups(division)}."
    numbers = {"found": division.clear, **asdict(division), "groups": groups, "asked_ratio": MIN_RATIO}
    return [Finding(kind="groups", sentence=sentence, numbers=numbers)]


def _list_groups(e: Evaluation, division: Groups, groups: Sequence[Sequence[str]]) -> str:
    inside, even = (
        format_percent(division.inside, e.errors),
        format_percent(division.inside_if_even, e.errors),
    )
    larger = [group for group in groups if len(group) > 1]
    single = [group[0] for group in groups if len(group) == 1]
    listed = "; ".join(_join_names(group) for group in larger[:MAX_GROUPS])
    if len(larger) > MAX_GROUPS:
        listed += f"; and {len(larger) - MAX_GROUPS} more"
    if single:
        listed += f"; by themselves {_join_names(single)}"
    ratio = (
        ""
        if division.ratio is None
        else f"; two classes of a group are confused at least {division.ratio:.1f} times as often as one "
        "of them with a class outside"
    )
    return (
        f"{format_count(len(larger), 'group')} of classes confused among themselves: {listed}. {inside} of "
        f"the {format_count(e.errors, 'error')} stay inside a group ({even} if spread evenly){ratio}."
    )


def _explain_no_groups(division: Groups) -> str:
    if len(division.groups) == 1:
        return "no division of the classes keeps the errors together"
    if division.chance > 0.01:
        trials = format_percent(division.chance, 100)
        return f"errors spread evenly look as grouped as these in about {trials} of trials"
    if division.ratio is not None and division.ratio < MIN_RATIO:
        return (
            "in the best division, two classes of a group are confused only "
            f"{division.ratio:.1f} times as often as one of them with a class outside ({MIN_RATIO:.0f} is "
            "asked)"
        )
    return "beyond single pairs the errors keep to no division of the classes"


# ---- words


def format_count(n: int, noun: str) -> str:
    """Return a number with its noun, such as "1 image" or "1,000 images"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def join_words(words: Sequence[str]) -> str:
    """Return words as a list in a sentence, such as "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _join_names(names: Sequence[str]) -> str:
    words = [_shorten(name) for name in names[:MAX_NAMES]]
    if len(names) > MAX_NAMES:
        words.append(f"{len(names) - MAX_NAMES} more")
    return join_words(words)


def _shorten(name: str) -> str:
    return printable(name, 40)


def _format_times(n: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(n, f"{n:,} times")
