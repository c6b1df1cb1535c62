"""What each class is confused with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from foveal.evaluation.metrics import Evaluation

NAMED: Final = 3
"""Classes named of those that a class is confused with, the most frequent first."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """A class, and how often."""

    name: str
    n: int


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """What a class is confused with."""

    name: str
    missed: int
    """Images of the class that were taken for another,"""
    taken_for: tuple[Times, ...]
    """and for which classes most often."""
    wrong: int
    """Images of other classes that were taken for it,"""
    instead_of: tuple[Times, ...]
    """and of which classes most often."""


def mistakes(e: Evaluation) -> tuple[Mistakes, ...]:
    """List what each class is confused with."""
    names = [each.name for each in e.classes]
    columns = list(zip(*e.confusion, strict=True))

    def most(counts: Sequence[int], own: int) -> tuple[Times, ...]:
        ranked = sorted((-n, other) for other, n in enumerate(counts) if n and other != own)
        return tuple(Times(name=names[other], n=-n) for n, other in ranked[:NAMED])

    return tuple(
        Mistakes(
            name=name,
            missed=sum(e.confusion[k]) - e.confusion[k][k],
            taken_for=most(e.confusion[k], k),
            wrong=sum(columns[k]) - e.confusion[k][k],
            instead_of=most(columns[k], k),
        )
        for k, name in enumerate(names)
    )
