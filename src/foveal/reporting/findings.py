"""Facts -> the sentences of a report: each computed, each with its numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from foveal.evaluation.class_groups import MIN_RATIO, Groups, find_groups
from foveal.evaluation.metrics import BALANCED_RATIO, ClassScores, Evaluation, format_percent
from foveal.progress import printable

SHOWN_PAIRS: Final = 3
SHOWN_GROUPS: Final = 4
SHOWN_NAMES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One computed statement."""

    kind: str
    sentence: str
    numbers: dict[str, Any]
    """The numbers of the sentence and those it follows from, as plain JSON."""

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON."""
        return asdict(self)


# ---- what an evaluation tells


def findings_of_evaluation(evaluation: Evaluation) -> list[Finding]:
    """Say how accurate it is, which average to read, and which classes are weak, strong and confused."""
    findings = [_accuracy(evaluation), _averages(evaluation), *_absent(evaluation)]
    if evaluation.errors == 0:
        return findings
    return [
        *findings,
        *_weakest_and_strongest(evaluation),
        *_confused_pairs(evaluation),
        *_groups(evaluation),
    ]


def _accuracy(e: Evaluation) -> Finding:
    low, high = e.accuracy_interval
    sentence = (
        f"{e.n - e.errors:,} of {e.n:,} {printable(e.split, 40)} images were classified correctly: accuracy "
        f"{format_percent(e.accuracy, e.n)}, with a 95 % interval from {format_percent(low, e.n)} to {format_percent(high, e.n)}."
    )
    numbers = {"n": e.n, "errors": e.errors, "accuracy": e.accuracy, "accuracy_interval": [low, high]}
    return Finding(kind="accuracy", sentence=sentence, numbers=numbers)


def _averages(e: Evaluation) -> Finding:
    largest, smallest = max(c.n for c in e.classes), min(c.n for c in e.classes)
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


def _absent(e: Evaluation) -> list[Finding]:
    findings = []
    absent = [c.name for c in e.classes if c.n == 0]
    if absent:
        sentence = f"No image of {_names(absent)} was tested, so nothing is known about recall there."
        findings.append(Finding(kind="absent_classes", sentence=sentence, numbers={"classes": absent}))
    unnamed = [c.name for c in e.classes if c.n > 0 and c.precision is None]
    if unnamed:
        sentence = (
            f"Never predicted: {_names(unnamed)}. Precision is undefined there, and macro counts it as 0."
        )
        findings.append(Finding(kind="never_predicted", sentence=sentence, numbers={"classes": unnamed}))
    return findings


def _weakest_and_strongest(e: Evaluation) -> list[Finding]:
    tested = sorted((c for c in e.classes if c.recall is not None), key=lambda c: c.recall or 0.0)
    if len(tested) < 2 or tested[0].recall == tested[-1].recall:
        return []
    strongest_first = sorted(tested, key=lambda c: c.recall or 0.0, reverse=True)
    return [_extreme("weakest", tested), _extreme("strongest", strongest_first)]


def _extreme(which: str, ranked: Sequence[ClassScores]) -> Finding:
    """Name the first of the classes, and those whose intervals overlap."""
    first = ranked[0]
    level = [c for c in ranked if c.recall == first.recall]
    rest = ranked[len(level) :]
    assert first.recall_interval is not None
    low, high = first.recall_interval
    rivals = [
        c
        for c in rest
        if c.recall_interval is not None and c.recall_interval[0] <= high and c.recall_interval[1] >= low
    ]
    share = format_percent(first.recall, first.n)
    if len(level) > 1:
        names = _names([c.name for c in level])
        sentence = f"The {which} classes are {names}, level with each other: {share} of their images found."
    else:
        precision = (
            "" if first.precision is None else f", precision {format_percent(first.precision, first.n)}"
        )
        sentence = (
            f"The {which} class is {_name(first.name)}: {share} of its {count(first.n, 'image')} found (95 % "
            f"interval {format_percent(low, first.n)} to {format_percent(high, first.n)}){precision}, F1 "
            f"{format_percent(first.f1, first.n)}."
        )
        if len(rivals) == len(rest):
            sentence += " Its interval overlaps that of every other class, so the order is not certain."
        elif rivals:
            others = _names([c.name for c in rivals])
            sentence += f" Its interval overlaps that of {others}: the order is not certain."
        else:
            sentence += f" No other interval overlaps; {_name(rest[0].name)} is next, with "
            sentence += f"{format_percent(rest[0].recall, rest[0].n)}."
    numbers = {
        "classes": [c.name for c in level],
        "n": first.n,
        "recall": first.recall,
        "recall_interval": [low, high],
        "precision": first.precision,
        "f1": first.f1,
        "overlapping": [c.name for c in rivals],
    }
    return Finding(kind=f"{which}_class", sentence=sentence, numbers=numbers)


def _confused_pairs(e: Evaluation) -> list[Finding]:
    """Name the pairs with most errors, both ways taken together, unless too many share the first place."""
    counts = np.array(e.confusion)
    both = np.triu(counts + counts.T, 1)  # (K, K), each pair once
    order = np.argsort(-both, axis=None, kind="stable")
    ranked = [divmod(int(flat), len(counts)) for flat in order[: SHOWN_PAIRS + 1]]
    most = int(both[ranked[0]])
    tied = int((both == most).sum())
    if tied > SHOWN_PAIRS:
        sentence = (
            f"No pair of classes stands out: {tied} pairs share the first place, with "
            f"{count(most, 'error')} each."
        )
        numbers: dict[str, Any] = {"errors": e.errors, "most": most, "tied": tied}
        return [Finding(kind="confused_pairs", sentence=sentence, numbers=numbers)]
    findings, before = [], 0
    for place, (i, j) in enumerate(ranked[:SHOWN_PAIRS], start=1):
        errors = int(both[i, j])
        unshown = int((both == errors).sum()) - sum(
            int(both[pair] == errors) for pair in ranked[:SHOWN_PAIRS]
        )
        if errors == 0 or unshown > 0:
            break  # the place would be shared with pairs that are not shown
        a, b = e.classes[i].name, e.classes[j].name
        rank = "Most confused" if place == 1 else "As often" if errors == before else "Next"
        before = errors
        sentence = (
            f"{rank}: {_name(a)} and {_name(b)}, with {format_percent(errors / e.errors, e.errors)} of the "
            f"{count(e.errors, 'error')} ({_name(a)} taken for {_name(b)} {_times(counts[i, j])}, "
            f"{_name(b)} for {_name(a)} {_times(counts[j, i])})."
        )
        numbers = {
            "place": place,
            "classes": [a, b],
            "first_taken_for_second": int(counts[i, j]),
            "second_taken_for_first": int(counts[j, i]),
            "share_of_errors": errors / e.errors,
            "errors": e.errors,
        }
        findings.append(Finding(kind="confused_pair", sentence=sentence, numbers=numbers))
    return findings


def _groups(e: Evaluation) -> list[Finding]:
    division = find_groups(np.array(e.confusion))
    if division is None:
        return []
    groups = [[e.classes[i].name for i in group] for group in division.groups]
    inside, even = (
        format_percent(division.inside, e.errors),
        format_percent(division.inside_if_even, e.errors),
    )
    if division.found:
        real = [group for group in groups if len(group) > 1]
        alone = [group[0] for group in groups if len(group) == 1]
        more = f"; and {len(real) - SHOWN_GROUPS} more" if len(real) > SHOWN_GROUPS else ""
        shown = "; ".join(_names(group) for group in real[:SHOWN_GROUPS]) + more
        apart = f"; by themselves {_names(alone)}" if alone else ""
        sentence = (
            f"{count(len(real), 'group')} of classes confused among themselves: {shown}{apart}. {inside} of "
            f"the {count(e.errors, 'error')} stay inside a group ({even} if spread evenly)"
        )
        if division.ratio is not None:
            sentence += (
                f"; two classes of a group are confused at least {division.ratio:.1f} times as often as one "
                "of them with a class outside"
            )
        sentence += "."
    else:
        sentence = f"No groups of classes stand out: {_why_no_groups(division)}."
    numbers = {"found": division.found, **asdict(division), "groups": groups, "asked_ratio": MIN_RATIO}
    return [Finding(kind="groups", sentence=sentence, numbers=numbers)]


def _why_no_groups(division: Groups) -> str:
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


def count(n: int, noun: str) -> str:
    """Write a number of things."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _times(n: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(int(n), f"{n:,} times")


def _name(name: str) -> str:
    return printable(name, 40)


def _names(names: Sequence[str]) -> str:
    shown = [_name(name) for name in names[:SHOWN_NAMES]]
    if len(names) > SHOWN_NAMES:
        shown.append(f"{len(names) - SHOWN_NAMES} more")
    return listing(shown)


def listing(items: Sequence[str]) -> str:
    """Write items as a list in a sentence."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
