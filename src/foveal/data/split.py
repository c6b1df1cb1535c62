"""Records -> train, validation and test. Rows of a pack go in, rows come out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def split(listing: Listing, pack: Pack, *, validation: str | None, group: str | None, seed: int) -> Splits:
    """Divide a pack's readable images.

    Given folders are kept. What is missing is taken at random, stratified by class, from `seed`: a tenth of
    `train` validates; a flat layout is divided 80/10/10. Files with equal bytes stay on one side.

    Args:
        listing: the records, in the pack's order.
        pack: says which of them were readable.
        validation: the training folder that validates; "none" trains on all; None takes the default.
        group: a regular expression; images whose paths give the same match never part. Its first
            capturing group is the key if it has one, else the whole match.
        seed: of the random division.

    Raises:
        DataError: the test split named as validation, an unknown name, a group in two given splits, a
            class too small to be divided.
    """
    folders = _folders(listing, pack)
    chosen = _validation_folder(listing, folders, validation)
    units = _units(listing, pack, group)
    labels = np.array([listing.classes.index(record.label) for record in listing.records])
    nothing = np.empty(0, dtype=np.int64)
    if group is not None:
        _refuse_torn_groups(listing, folders, units)

    def divide(rows: Rows, shares: Sequence[int]) -> list[Rows]:
        parts = _divide(rows, labels, units, shares, np.random.default_rng(seed))
        _check_parts(listing, labels, rows, parts)
        return parts

    if listing.layout == "flat":
        everything = folders[""]
        if validation == "none":
            train, test = divide(everything, (9, 1))
            return Splits(train=(train,), validation=nothing, test=test, rule="9 to 1, stratified")
        train, validating, test = divide(everything, (8, 1, 1))
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


def _folders(listing: Listing, pack: Pack) -> dict[str, Rows]:
    """Return the readable rows of each given folder, training folders in the order of their numbers."""
    rows: dict[str, list[int]] = {}
    for row in pack.accepted:
        rows.setdefault(listing.records[row].folder, []).append(row)
    order = sorted(rows, key=lambda name: (not name.startswith("train"), len(name), name))
    return {name: np.array(rows[name], dtype=np.int64) for name in order}


def _validation_folder(listing: Listing, folders: dict[str, Rows], asked: str | None) -> str | None:
    """Return the given folder that validates, or None where none does."""
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


def _units(listing: Listing, pack: Pack, group: str | None) -> list[str]:
    """Return each row's unit: rows of the same unit never part."""
    if group is None:
        return list(pack.digests)
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise DataError(f"--group {group!r} is no regular expression: {error}") from error
    units = []
    for record in listing.records:
        match = pattern.search(record.path)
        if match is None:
            raise DataError(f"--group {group!r} matches nothing in the path {printable(record.path)}")
        units.append(match.group(1 if pattern.groups else 0) or "")
    return units


def _refuse_torn_groups(listing: Listing, folders: dict[str, Rows], units: list[str]) -> None:
    seen: dict[str, str] = {}
    for name, rows in folders.items():
        side = "train" if name.startswith("train") and listing.layout != "numbered" else name
        for row in rows.tolist():
            other = seen.setdefault(units[row], side)
            if other != side and "test" in (side, other):
                raise DataError(
                    f"the group {printable(units[row])} is in {other} and in {side}; "
                    f"move its images to one of them"
                )


def _divide(
    rows: Rows,
    labels: NDArray[np.int64],
    units: list[str],
    shares: Sequence[int],
    random: np.random.Generator,
) -> list[Rows]:
    """Divide rows by `shares`, alike within each class, whole units at a time.

    Units come in random order, large ones first; each goes where its classes are, relative to what is due,
    shortest of images. For single images that is an exactly stratified division.
    """
    members: dict[str, list[int]] = {}
    for row in random.permutation(rows).tolist():
        members.setdefault(units[row], []).append(row)
    classes = int(labels.max()) + 1
    due = np.outer(np.array(shares) / sum(shares), np.bincount(labels[rows], minlength=classes))
    due = np.maximum(due, 1e-9)  # classes that are not among these rows
    have = np.zeros_like(due)
    parts: list[list[int]] = [[] for _ in shares]
    for unit in sorted(members.values(), key=len, reverse=True):
        counts = np.bincount(labels[unit], minlength=classes)
        shortage = ((due - have) / due) @ counts
        part = int(shortage.argmax())
        have[part] += counts
        parts[part] += unit
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def _check_parts(listing: Listing, labels: NDArray[np.int64], rows: Rows, parts: list[Rows]) -> None:
    """Refuse a division that leaves a class out of a part."""
    for label, name in enumerate(listing.classes):
        for part in parts:
            if not (labels[part] == label).any():
                n = int((labels[rows] == label).sum())
                raise DataError(
                    f"the class {printable(name)} has {n} readable images, too few (or too closely "
                    f"grouped) to be divided into {len(parts)} splits; "
                    f"add images, or make the splits as folders yourself"
                )
