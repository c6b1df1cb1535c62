"""Records -> train, validation and test. Rows of a pack go in, rows come out."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.data.arrays import Arrays
from foveal.data.options import DataOptions
from foveal.data.pack import Pack
from foveal.data.scan import Listing
from foveal.errors import DataError
from foveal.progress import printable

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Which rows of a pack train, validate and test."""

    train: tuple[Rows, ...]
    """A part for each training folder: batches never mix parts."""
    validation: Rows
    """Empty where nothing validates."""
    test: Rows
    """Empty where the data set has no test images."""
    rule: str
    """How the splits came about, in words."""


def split(listing: Listing, pack: Pack, options: DataOptions, *, seed: int) -> Splits:
    """Divide a pack's readable images.

    Given folders are kept. What is missing is taken at random, stratified by class, from `seed`: a tenth of
    `train` validates; a flat layout is divided 80/10/10. Files with equal bytes stay on one side.

    Args:
        listing: the records, in the pack's order.
        pack: says which of them were readable.
        options: the split that validates, and the expression that groups images.
        seed: of the random division.

    Raises:
        DataError: the test split named as validation, an unknown name, a group in two given splits, a
            class too small to be divided.
    """
    folders = _folders(listing, pack)
    chosen, groups = check_options(listing, options)
    validation = options.validation_split
    if groups is not None:
        _refuse_torn_groups(folders, chosen, groups)
    number = {name: label for label, name in enumerate(listing.classes)}
    labels = [number[record.label] for record in listing.records]
    nothing = np.empty(0, dtype=np.int64)

    def divide(rows: Rows, shares: Sequence[int]) -> list[Rows]:
        units = _units(rows.tolist(), pack.digests, groups)
        parts = _divide(rows, labels, units, shares, np.random.default_rng(seed))
        _check_parts(listing, labels, rows, parts)
        return parts

    if listing.layout == "flat":
        train, validating, test = divide(folders[""], (8, 1, 1))
        if validation == "none":  # the same images test as where some validate
            train = np.sort(np.concatenate([train, validating]))
            return Splits(train=(train,), validation=nothing, test=test, rule="9 to 1, stratified")
        return Splits(train=(train,), validation=validating, test=test, rule="8 to 1 to 1, stratified")
    training = [name for name in folders if name.startswith("train") and name != chosen]
    test = folders.get("test", nothing)
    parts = tuple(folders[name] for name in training)
    if chosen is not None:
        rule = f"{', '.join(training)} train, {chosen} validates"
        return Splits(train=parts, validation=folders[chosen], test=test, rule=rule)
    if validation == "none":
        return Splits(train=parts, validation=nothing, test=test, rule="all train, nothing validates")
    train, validating = divide(parts[0], (9, 1))
    return Splits(
        train=(train,), validation=validating, test=test, rule="a tenth of train validates, stratified"
    )


def check_options(listing: Listing, options: DataOptions) -> tuple[str | None, list[str] | None]:
    """Refuse options that do not suit a listing, before anything is decoded.

    Returns:
        The given folder that validates, if one does, and each record's group, if there are groups.
    """
    return _validation_folder(listing, options.validation_split), _groups(listing, options.group)


def split_arrays(arrays: Arrays, pack: Pack, options: DataOptions, *, seed: int) -> Splits:
    """Set a share of images in memory aside for validation, stratified, equal images on one side.

    Raises:
        DataError: too few images, or an option that needs folders.
    """
    if options.validation_split not in (None, "none") or options.group is not None:
        raise DataError("images in memory have neither split folders nor groups; leave both out")
    rows: Rows = np.arange(len(arrays.images), dtype=np.int64)
    nothing = rows[:0]
    if options.validation_split == "none":
        return Splits(train=(rows,), validation=nothing, test=nothing, rule="all train, nothing validates")
    share = arrays.validation_share
    train, validating = split_off(rows, arrays.labels.tolist(), pack.digests, share=share, seed=seed)
    return Splits(
        train=(train,), validation=validating, test=nothing, rule=f"{share:.0%} validate, stratified"
    )


def split_off(
    rows: Rows, labels: Sequence[int], digests: Sequence[str], *, share: float, seed: int
) -> tuple[Rows, Rows]:
    """Divide rows into those that train and a share that validates, stratified, equal images on one side.

    `labels` and `digests` are those of every row from 0 on. A class of one image trains: unlike a split that
    tests, one that validates can do without it.

    Raises:
        DataError: the share is none, or no image is left to validate.
    """
    if not 0 < share <= 0.5:  # above, a class of one image might not train
        raise DataError(f"the share that validates is {share:g}; it must be above 0 and at most 0.5")
    units = _units(rows.tolist(), digests, None)
    train, validating = _divide(rows, labels, units, (1 - share, share), np.random.default_rng(seed))
    if len(validating) == 0 or len(train) == 0:
        raise DataError(
            f"{len(rows)} images are too few to set {share:.0%} aside for validation; "
            f"take more, or let nothing validate"
        )
    return train, validating


def _folders(listing: Listing, pack: Pack) -> dict[str, Rows]:
    """Return the readable rows of each given folder."""
    rows: dict[str, list[int]] = {}
    for row in pack.accepted:
        rows.setdefault(listing.records[row].folder, []).append(row)
    return {name: np.array(rows[name], dtype=np.int64) for name in _in_order(rows)}


def _in_order(folders: Iterable[str]) -> list[str]:
    """Sort folders: those that train come first, by number."""

    def place(name: str) -> tuple[bool, int, str]:
        number = name.removeprefix("train")
        return not name.startswith("train"), int(number) if number.isdecimal() else 0, name

    return sorted(folders, key=place)


def _validation_folder(listing: Listing, asked: str | None) -> str | None:
    """Return the given folder that validates, or None where none does."""
    folders = _in_order({record.folder for record in listing.records})
    if asked == "test":
        raise DataError(
            "--validation test is refused: choosing by the test split would make its score worthless; "
            "name another split, or `none`"
        )
    if asked == "none":
        if "validation" in folders:
            raise DataError(
                f"{listing.root} has a validation folder; --validation none would leave it unused"
            )
        return None
    candidates = [name for name in folders if name not in ("", "train", "test")]
    if asked is not None:
        name = "validation" if asked in ("val", "valid") else asked
        if name not in candidates:
            known = ", ".join([*candidates, "none"])
            raise DataError(
                f"--validation {printable(asked)}: {listing.root} has no such split; choose from {known}"
            )
        if not any(other.startswith("train") for other in folders if other != name):
            raise DataError(
                f"--validation {asked} would leave no folder to train on; {listing.root} has no other"
            )
        return name
    if listing.layout == "numbered" and len(candidates) < 2:
        raise DataError(f"{listing.root} has one training folder only, {candidates[0]}; rename it to train")
    return candidates[-1] if candidates else None


def _groups(listing: Listing, group: str | None) -> list[str] | None:
    if group is None:
        return None
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise DataError(f"--group {group!r} is no regular expression: {error}") from error
    groups = []
    for record in listing.records:
        match = pattern.search(record.path)
        key = match and match.group(1 if pattern.groups else 0)
        if key is None:
            raise DataError(f"--group {group!r} matches nothing in the path {printable(record.path)}")
        groups.append(key)
    return groups


def _refuse_torn_groups(folders: dict[str, Rows], chosen: str | None, groups: list[str]) -> None:
    """Refuse given splits if a group is in two of them."""
    seen: dict[str, tuple[str, str]] = {}
    for name, rows in folders.items():
        split = name if name in (chosen, "test") else "train"
        for row in rows.tolist():
            other, place = seen.setdefault(groups[row], (split, name))
            if other != split:
                raise DataError(
                    f"the group {printable(groups[row])} is in {place} and in {name}, which are different "
                    f"splits; move its images to one of them"
                )


def _units(rows: list[int], digests: Sequence[str], groups: list[str] | None) -> dict[int, int]:
    """Return each row's unit, named by one of its rows: equal files and rows of one group share a unit."""
    parent = {row: row for row in rows}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for keys in (digests,) if groups is None else (digests, groups):
        first: dict[str, int] = {}
        for row in rows:
            parent[root(row)] = root(first.setdefault(keys[row], row))
    return {row: root(row) for row in rows}


def _divide(
    rows: Rows,
    labels: Sequence[int],
    units: dict[int, int],
    shares: Sequence[float],
    random: np.random.Generator,
) -> list[Rows]:
    """Divide rows by `shares`, alike within each class, whole units at a time.

    Units come in random order, large ones first; each goes where it leaves its classes nearest to what is
    due. For single images that is Webster's apportionment: no part of a class is off by a whole image. But
    the last units of a class go to the parts that lack it, so that a small class is everywhere.
    """
    members: dict[int, list[int]] = {}
    for row in random.permutation(rows).tolist():
        members.setdefault(units[row], []).append(row)
    largest_first = sorted(members.values(), key=len, reverse=True)
    contents = [Counter(labels[row] for row in unit) for unit in largest_first]
    left = Counter(label for content in contents for label in content)  # units that hold a class
    images = Counter(labels[row] for row in rows.tolist())
    have = [Counter[int]() for _ in shares]

    def need(part: int, content: Counter[int]) -> tuple[int, float]:
        due = shares[part] / sum(shares)
        urgent, missing = 0, 0.0
        for label, n in content.items():
            lacking = sum(label not in each for each in have)
            urgent += label not in have[part] and left[label] <= lacking
            missing += n * (1 - (have[part][label] + n / 2) / (due * images[label]))
        return urgent, missing

    parts: list[list[int]] = [[] for _ in shares]
    for unit, content in zip(largest_first, contents, strict=True):
        part = max(range(len(shares)), key=lambda part: need(part, content))
        have[part].update(content)
        left.subtract(content.keys())
        parts[part] += unit
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def _check_parts(listing: Listing, labels: Sequence[int], rows: Rows, parts: list[Rows]) -> None:
    """Refuse a division that leaves a class out of a part."""
    images = Counter(labels[row] for row in rows.tolist())
    for part in parts:
        there = {labels[row] for row in part.tolist()}
        for label, name in enumerate(listing.classes):
            if label not in there:
                n = images[label]
                raise DataError(
                    f"the class {printable(name)} has {n} readable images, too few (or too closely "
                    f"grouped) to be divided into {len(parts)} splits; "
                    f"add images, or make the splits as folders yourself"
                )
