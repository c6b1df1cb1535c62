"""Two classifiers on the same images: whether their errors fall on the same pairs of classes.

How many errors each makes is left to `paired`; here an error counts by its kind, (true class, predicted
class), and is asked whether the kinds have the same shares among the errors of both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from foveal.comparison.paired import holm, mcnemar

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

N_PERMUTATIONS = 1999
"""Random swaps: the smallest p-value is 1 in 2,000, and one of 5 % is known to within a point."""
_CELLS_AT_A_TIME = 4_000_000


@dataclass(frozen=True, kw_only=True)
class ErrorComparison:
    """How alike the errors of two classifiers are distributed over pairs of classes."""

    first: int
    """Errors of the first classifier,"""
    second: int
    """and of the second."""
    distance: float
    """Total variation: the share of its errors that the second would have to make elsewhere."""
    by_chance: float
    """What that distance is on average between classifiers that differ by chance alone."""
    p: float
    """Of the permutation test: how often chance alone makes as uneven a distribution."""


@dataclass(frozen=True, kw_only=True)
class ConfusionChange:
    """How often two classifiers take one class for another."""

    true: str
    predicted: str
    first: int
    """Images on which the first classifier does it,"""
    second: int
    """and the second."""
    p: float
    """McNemar's, corrected by Holm for all pairs of classes that were ever confused."""


def compare_errors(
    labels: Ints, first: Ints, second: Ints, classes: int, *, draws: int = N_PERMUTATIONS
) -> ErrorComparison | None:
    """Test whether the errors of two classifiers have the same distribution over pairs of classes.

    `labels`, `first` and `second` are class indices (N,), the last two as predicted. None where one of them
    makes no error.

    The statistic is Pearson's for homogeneity of the two rows of errors. The errors are paired (an image that
    is hard is hard for both), so its distribution is not chi-square's; it is found by swapping the two
    predictions of an image, by a toss for each image. The swaps make both equally accurate, which the two
    need not be: Pearson's statistic allows for the number of errors to first order, and simulations in the
    tests show how it keeps its level at 72 % against 83 %. The same predictions give the same p-value.

    Source: E. J. G. Pitman, Supplement to the Journal of the Royal Statistical Society 4 (1937), 119-130, for
    permutation tests; B. Phipson and G. K. Smyth, Statistical Applications in Genetics and Molecular Biology
    9 (2010), article 39, for the p-value, which is never zero.
    """
    kinds, of_first, of_second = _kinds(labels, first, second, classes)
    one, other = (_counts(each, kinds) for each in (of_first, of_second))
    if one.sum() == 0 or other.sum() == 0:
        return None
    found = _unevenness(one[None], other[None])[0]
    swapped, distances = [], []
    for ours, theirs in _swaps(of_first, of_second, kinds, draws):
        swapped.append(_unevenness(ours, theirs))
        # A distance by chance grows as errors become fewer: the harmonic mean of the two numbers counts.
        fewer = np.sqrt(ours.sum(axis=1) * theirs.sum(axis=1) / (one.sum() * other.sum()))
        distances.append(_distance(ours, theirs) * fewer)
    reached = int((np.concatenate(swapped) >= found * (1 - 1e-12)).sum())
    return ErrorComparison(
        first=int(one.sum()),
        second=int(other.sum()),
        distance=float(_distance(one[None], other[None])[0]),
        by_chance=min(1.0, float(np.concatenate(distances).mean())),
        p=(reached + 1) / (draws + 1),
    )


def compare_confusions(labels: Ints, first: Ints, second: Ints, classes: Sequence[str]) -> list[ConfusionChange]:
    """Count every confusion that either classifier makes, (N,) labels and predictions; most changed first.

    Each is tested by McNemar on the images with which one classifier alone makes it. Where there is none it
    could not be found changed, so it does not count among the tests that Holm corrects for (R. E. Tarone,
    Biometrics 46 (1990), 515-522).
    """
    k = len(classes)
    kinds, of_first, of_second = _kinds(labels, first, second, k)
    apart = of_first != of_second
    one, other = (_counts(each, kinds) for each in (of_first, of_second))
    alone, alone_too = (_counts(each[apart], kinds) for each in (of_first, of_second))
    tested = np.flatnonzero(alone + alone_too)
    p_values = np.ones(len(kinds))
    p_values[tested] = holm([mcnemar(int(alone[kind]), int(alone_too[kind])) for kind in tested])
    found = [
        ConfusionChange(
            true=classes[kinds[kind] // k],
            predicted=classes[kinds[kind] % k],
            first=int(one[kind]),
            second=int(other[kind]),
            p=float(p_values[kind]),
        )
        for kind in range(len(kinds))
    ]
    return sorted(found, key=lambda each: (each.p, -abs(each.second - each.first)))


def _kinds(labels: Ints, first: Ints, second: Ints, classes: int) -> tuple[Ints, Ints, Ints]:
    """Return the kinds of errors there are, and per image each classifier's: an index among them, or -1."""
    codes = np.stack([labels * classes + first, labels * classes + second])  # (2, N)
    wrong = np.stack([first != labels, second != labels])
    kinds = np.unique(codes[wrong])
    found = np.where(wrong, np.searchsorted(kinds, codes), -1)
    return kinds, found[0], found[1]


def _counts(kind: Ints, kinds: Ints) -> Ints:
    return np.bincount(kind[kind >= 0], minlength=len(kinds))


def _swaps(first: Ints, second: Ints, kinds: Ints, draws: int) -> Iterator[tuple[Floats, Floats]]:
    """Draw both classifiers' counts of each kind (draws, kinds), in pieces, were images swapped at random."""
    n = len(kinds)
    moved = first != second
    pairs, images = np.unique(np.stack([first[moved], second[moved]]), axis=1, return_counts=True)
    # What a swap of one image takes from the first classifier's counts, and gives: (pairs, kinds).
    rows = np.arange(pairs.shape[1])
    gives, takes = pairs[1] >= 0, pairs[0] >= 0
    change = sparse.csr_array(
        (
            np.concatenate([np.ones(gives.sum()), -np.ones(takes.sum())]),
            (np.concatenate([rows[gives], rows[takes]]), np.concatenate([pairs[1][gives], pairs[0][takes]])),
        ),
        shape=(len(rows), n),
    )
    ours, theirs = _counts(first, kinds), _counts(second, kinds)
    generator = np.random.default_rng(0)
    piece = max(1, _CELLS_AT_A_TIME // max(1, len(rows), n))
    for start in range(0, draws, piece):
        tosses = generator.binomial(images, 0.5, size=(min(piece, draws - start), len(rows)))
        by_swaps = tosses @ change  # (piece, kinds)
        yield ours + by_swaps, theirs - by_swaps


def _unevenness(one: Floats | Ints, other: Floats | Ints) -> Floats:
    """Pearson's statistic for the homogeneity of two rows of counts, (draws, kinds) each -> (draws,)."""
    n, m = one.sum(axis=1, keepdims=True), other.sum(axis=1, keepdims=True)
    both = np.maximum(one + other, 1)
    found: Floats = ((one * np.sqrt(m / n) - other * np.sqrt(n / m)) ** 2 / both).sum(axis=1)
    return found


def _distance(one: Floats | Ints, other: Floats | Ints) -> Floats:
    """Total variation distance of two rows of counts, (draws, kinds) each -> (draws,)."""
    shares = one / one.sum(axis=1, keepdims=True) - other / other.sum(axis=1, keepdims=True)
    found: Floats = np.abs(shares).sum(axis=1) / 2
    return found
