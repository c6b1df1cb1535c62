"""A confusion matrix -> groups of classes that are confused among themselves."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESOLUTION: Final = 0.8
"""Below 1, modularity favours fewer and larger groups. Chosen on three networks' CIFAR-10 error rates,
scaled to accuracies of 81, 90 and 95 % and drawn anew 450 times: animals and vehicles came out every time
with 1,000 images a class and in 75 % of draws with 100; at 1.0 in 95 % and 44 %."""
MIN_RATIO: Final = 2.0
"""Two classes of a group must be confused this many times as often as one of them with a class outside."""
MAX_CLASSES: Final = 200
"""Above this the search is left out: it takes time with the cube of the classes."""
_CHANCE_DRAWS: Final = 99


@dataclass(frozen=True, kw_only=True)
class Groups:
    """A division of the classes, and how strongly the errors keep to it."""

    groups: tuple[tuple[int, ...], ...]
    """Class indices, ascending; larger groups first. A class may stand alone."""
    inside: float
    """The share of all errors that stay inside a group."""
    inside_if_even: float
    """That share if each class's errors were spread evenly over the other classes."""
    ratio: float | None
    """How many times as often two classes of a group are confused as one of them with a class outside: the
    least over groups of two or more; None where nothing is confused across."""
    chance: float
    """How probable a division as marked as this is if errors are spread evenly, by simulation."""

    @property
    def found(self) -> bool:
        """Whether these are groups worth naming, by the rule of `find_groups`."""
        sizes = sorted((len(group) for group in self.groups), reverse=True)
        shaped = len(sizes) > 1 and (sizes[0] >= 3 or sizes[1] >= 2)
        return shaped and self.chance <= 0.01 and (self.ratio is None or self.ratio >= MIN_RATIO)


def find_groups(confusion: NDArray[np.integer]) -> Groups | None:
    """Divide the classes of a (K, K) count matrix so that errors stay inside groups; None where it cannot.

    The rates at which two classes are taken for each other, both ways averaged, are a network, and the
    division is the one of high modularity: merged greedily from single classes, then classes are moved while
    that helps. It counts as found (`Groups.found`) if it is no mere pair of classes, if `ratio` reaches
    `MIN_RATIO`, and if none of 99 matrices, in which each class makes as many errors but spreads them evenly,
    can be divided with as high a modularity.

    Without errors, with fewer than 4 classes or with more than `MAX_CLASSES`, there is nothing to divide.

    Source: M. E. J. Newman, Fast algorithm for detecting community structure in networks, Physical Review E
    69 (2004), 066133; the resolution of J. Reichardt and S. Bornholdt, Physical Review E 74 (2006), 016110.
    """
    counts = np.array(confusion, dtype=np.int64)
    k, sizes = len(counts), counts.sum(axis=1)
    errors = sizes - np.diagonal(counts)
    if not 4 <= k <= MAX_CLASSES or errors.sum() == 0:
        return None
    rates = _rates(counts, sizes)
    labels, modularity = _divide(rates)
    same = labels[:, None] == labels[None, :]  # (K, K)
    within = same & ~np.eye(k, dtype=bool)
    np.fill_diagonal(counts, 0)
    groups = _listed(labels)
    return Groups(
        groups=groups,
        inside=float(counts[within].sum() / errors.sum()),
        inside_if_even=float((errors * within.sum(axis=1)).sum() / (k - 1) / errors.sum()),
        ratio=_least_ratio(rates, groups),
        chance=_chance(modularity, errors, sizes),
    )


def _rates(counts: Ints, sizes: Ints) -> Floats:
    """How often two classes are taken for each other: (K, K), symmetric, zero on the diagonal."""
    rates: Floats = counts / np.maximum(sizes, 1)[:, None]
    np.fill_diagonal(rates, 0)
    return (rates + rates.T) / 2


def _least_ratio(rates: Floats, groups: tuple[tuple[int, ...], ...]) -> float | None:
    ratios = []
    for group in groups:
        inside = np.array(group)
        outside = np.setdiff1d(np.arange(len(rates)), inside)
        across = rates[np.ix_(inside, outside)].mean() if len(outside) else 0.0
        if len(group) > 1 and across > 0:
            within = rates[np.ix_(inside, inside)].sum() / (len(group) * (len(group) - 1))
            ratios.append(float(within / across))
    return min(ratios, default=None)


def _divide(rates: Floats) -> tuple[Ints, float]:
    """Give each class a group label (K,) so that the modularity, also returned, is high."""
    k = len(rates)
    network = rates / rates.sum()
    volume = network.sum(axis=1)
    benefit = network - RESOLUTION * np.outer(volume, volume)  # of having two classes in one group
    labels = np.arange(k)
    merged, alive = 2 * benefit, np.arange(k)  # between the groups that are left
    while len(alive) > 1:
        np.fill_diagonal(merged, -np.inf)
        i, j = sorted(divmod(int(merged.argmax()), len(alive)))
        if merged[i, j] <= 0:
            break
        labels[labels == alive[j]] = alive[i]
        merged[i] += merged[j]
        merged[:, i] += merged[:, j]
        merged = np.delete(np.delete(merged, j, axis=0), j, axis=1)
        alive = np.delete(alive, j)
    others = benefit - np.diag(np.diagonal(benefit))
    for _ in range(k):
        moved = False
        for one in range(k):
            gains = np.bincount(labels, weights=others[one], minlength=k)
            best = int(gains.argmax())
            if gains[best] > gains[labels[one]] + 1e-12:  # rounding must not move a class to and fro
                labels[one], moved = best, True
        if not moved:
            break
    return labels, float(benefit[labels[:, None] == labels[None, :]].sum())


def _chance(modularity: float, errors: Ints, sizes: Ints) -> float:
    """Estimate how often evenly spread errors give this modularity or more: at best 1 in 100."""
    generator = np.random.default_rng(0)  # the same matrix gives the same finding
    k, reached = len(errors), 0
    evenly = np.full((k, k), 1 / (k - 1))
    np.fill_diagonal(evenly, 0)
    for draw in range(_CHANCE_DRAWS):
        counts = np.stack([generator.multinomial(n, p) for n, p in zip(errors, evenly, strict=True)])
        reached += _divide(_rates(counts, sizes))[1] >= modularity
        if reached == 10:  # clearly no structure: enough draws
            return (reached + 1) / (draw + 2)
    return (reached + 1) / (_CHANCE_DRAWS + 1)


def _listed(labels: Ints) -> tuple[tuple[int, ...], ...]:
    members = [tuple(int(one) for one in np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return tuple(sorted(members, key=lambda group: (-len(group), group)))
