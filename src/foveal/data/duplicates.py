"""Files that hold the same bytes, where that is a mistake: in two classes, or in two splits."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from foveal.files.run_records import EqualFiles
from foveal.progress import printable
from foveal.types import Ints

MAX_PAIRS = 5
"""The number of pairs of files that are kept as examples."""
_SPLIT_PAIRS = (("test", "train"), ("validation", "train"), ("test", "validation"))
_EXAMPLES_IN_SENTENCE = 2
_NAMES = {"train": "training", "validation": "validation", "test": "test"}


def find_equal_files(
    paths: Sequence[str], digests: Sequence[str], labels: Ints, splits: Mapping[str, Ints]
) -> tuple[EqualFiles, ...]:
    """Find the files whose bytes lie in another class or in another split too, by their digests.

    Args:
        paths: The relative path of each file.
        digests: The digest of each file's bytes.
        labels: The index of each file's class, int64 (N,).
        splits: The indices of the files of "train", "validation" and "test".

    Returns:
        What was found: nothing, or an entry for the classes and one for each pair of splits.
    """
    counts = Counter(digests)
    repeated = np.array([index for index, digest in enumerate(digests) if counts[digest] > 1], dtype=np.int64)
    split_of = {
        index: name
        for name, indices in splits.items()
        for index in np.intersect1d(indices, repeated).tolist()
    }
    group_of: dict[str, list[int]] = {}
    for index in sorted(split_of):
        group_of.setdefault(digests[index], []).append(index)
    groups = list(group_of.values())
    entries = [_compare_classes(paths, labels, groups)]
    entries += [_compare_splits(paths, split_of, groups, *pair) for pair in _SPLIT_PAIRS]
    return tuple(entry for entry in entries if entry.n)


def _compare_classes(paths: Sequence[str], labels: Ints, groups: Sequence[list[int]]) -> EqualFiles:
    mixed = [group for group in groups if len({int(labels[index]) for index in group}) > 1]
    pairs = []
    for group in mixed[:MAX_PAIRS]:
        other = next(index for index in group if labels[index] != labels[group[0]])
        pairs.append((paths[group[0]], paths[other]))
    return EqualFiles(kind="classes", between=(), n=sum(map(len, mixed)), pairs=tuple(pairs))


def _compare_splits(
    paths: Sequence[str], split_of: Mapping[int, str], groups: Sequence[list[int]], one: str, other: str
) -> EqualFiles:
    n = 0
    pairs = []
    for group in groups:
        here = [index for index in group if split_of[index] == one]
        there = [index for index in group if split_of[index] == other]
        if here and there:
            n += len(here)
            pairs.append((paths[here[0]], paths[there[0]]))
    return EqualFiles(kind="splits", between=(one, other), n=n, pairs=tuple(pairs[:MAX_PAIRS]))


def describe_equal_files(equal: EqualFiles) -> str:
    """Say in a sentence without a full stop what was found, and what to do."""
    shown = [f"{printable(one)} and {printable(two)}" for one, two in equal.pairs[:_EXAMPLES_IN_SENTENCE]]
    examples = "; ".join(shown) + ("; …" if equal.n > len(shown) else "")
    if equal.kind == "classes":
        return (
            f"{equal.n:,} files hold the same bytes as a file of another class ({examples}): at most one of "
            f"their labels is right; correct the labels, or remove the files"
        )
    one, other = (_NAMES.get(name, name) for name in equal.between)
    if equal.n == 1:
        same = f"1 {one} image is a {other} image too"
    else:
        same = f"{equal.n:,} {one} images are {other} images too"
    return (
        f"{same}, byte for byte ({examples}): figures of the {one} split look better than they are; "
        f"remove such files from one of the two"
    )
