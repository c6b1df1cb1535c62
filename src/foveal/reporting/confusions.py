"""What each class is confused with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from foveal.evaluation.metrics import Evaluation

MAX_NAMED_CLASSES: Final = 3
"""At most so many classes are named that a class is confused with, the most frequent first."""


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """The name of a class and a number of images."""

    name: str
    n: int


@dataclass(frozen=True, kw_only=True)
class ClassConfusions:
    """What one class is confused with."""

    name: str
    missed: int
    """The number of images of this class that were predicted as another class."""
    taken_for: tuple[ClassCount, ...]
    """The classes predicted for those images, the most frequent first."""
    wrong: int
    """The number of images of other classes that were predicted as this class."""
    instead_of: tuple[ClassCount, ...]
    """The true classes of those images, the most frequent first."""


def find_confusions(evaluation: Evaluation) -> tuple[ClassConfusions, ...]:
    """Return for each class what it is confused with, in the order of the classes."""
    names = [scores.name for scores in evaluation.classes]
    rows, columns = evaluation.confusion, list(zip(*evaluation.confusion, strict=True))

    def rank_others(counts: Sequence[int], own: int) -> tuple[ClassCount, ...]:
        ranked = sorted((-n, other) for other, n in enumerate(counts) if n and other != own)
        return tuple(ClassCount(name=names[other], n=-n) for n, other in ranked[:MAX_NAMED_CLASSES])

    return tuple(
        ClassConfusions(
            name=name,
            missed=sum(rows[k]) - rows[k][k],
            taken_for=rank_others(rows[k], k),
            wrong=sum(columns[k]) - rows[k][k],
            instead_of=rank_others(columns[k], k),
        )
        for k, name in enumerate(names)
    )
