"""Records -> indices of the images that train, validate and test."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foveal.data.arrays import Arrays
from foveal.data.options import DataOptions
from foveal.data.pack import Pack
from foveal.data.scan import Listing
from foveal.errors import DataError
from foveal.progress import printable
from foveal.types import Ints


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The indices of the images that train, validate and test."""

    train: tuple[Ints, ...]
    """The training images, in a part for each training folder. Batches never mix parts."""
    validation: Ints
    """The validation images. It is empty if nothing validates."""
    test: Ints
    """The test images. It is empty if the data set has none."""
    rule: str
    """The rule that made the splits, in words."""


def split(listing: Listing, pack: Pack, options: DataOptions, *, seed: int) -> Splits:
    """Divide a pack's readable images.

    Split folders are kept. Missing splits are drawn at random, stratified by class: a tenth of `train`
    validates, and a flat layout is divided 80/10/10. Files with equal bytes stay in one split.

    Args:
        listing: The records, in the pack's order.
        pack: The decoded images, of which the readable ones are divided.
        options: The split that validates, and the expression that groups images.
        seed: The seed of the random division.

    Raises:
        DataError: The test split named as validation, an unknown name, a group in two given splits, a
            class too small to be divided.
    """
    folders = _group_by_folder(listing, pack)
    validation_folder, groups = check_options(listing, options)
    if groups is not None:
        _refuse_torn_groups(folders, validation_folder, groups)
    label_of = {name: label for label, name in enumerate(listing.classes)}
    # Files of classes that are left out have an error in the pack, so their labels are never used.
    labels = [label_of.get(record.label, 0) for record in listing.records]
    empty = np.empty(0, dtype=np.int64)

    def divide(indices: Ints, shares: Sequence[int]) -> list[Ints]:
        units = _find_units(indices.tolist(), pack.digests, groups)
        parts = _divide(indices, labels, units, shares, np.random.default_rng(seed))
        _check_parts(listing, labels, indices, parts)
        return parts

    if listing.layout == "flat":
        train, validation, test = divide(folders[""], (8, 1, 1))
        if options.validation_split == "none":  # the test images are the same with and without validation
            train = np.sort(np.concatenate([train, validation]))
            return Splits(train=(train,), validation=empty, test=test, rule="9 to 1, stratified")
        return Splits(train=(train,), validation=validation, test=test, rule="8 to 1 to 1, stratified")
    train_folders = [name for name in folders if name.startswith("train") and name != validation_folder]
    train_parts = tuple(folders[name] for name in train_folders)
    test = folders.get("test", empty)
    if validation_folder is not None:
        rule = f"{', '.join(train_folders)} train, {validation_folder} validates"
        return Splits(train=train_parts, validation=folders[validation_folder], test=test, rule=rule)
    if options.validation_split == "none":
        return Splits(train=train_parts, validation=empty, test=test, rule="all train, nothing validates")
    train, validation = divide(train_parts[0], (9, 1))
    rule = "a tenth of train validates, stratified"
    return Splits(train=(train,), validation=validation, test=test, rule=rule)


def leave_out_small_classes(listing: Listing, pack: Pack, options: DataOptions) -> tuple[Listing, Pack]:
    """Leave out the classes that cannot be learned or divided, as long as two classes stay.

    A class is left out if none of its files can be read, or if it has fewer different images than there are
    splits to be drawn: three in a flat layout, two where a tenth of `train` validates.

    Returns:
        The listing without these classes, and the pack with a reason for each of their files.
    """
    needed = _count_drawn_parts(listing, options)
    contents: dict[str, set[str]] = {label: set() for label in listing.classes}
    for index in pack.decoded_indices:
        record = listing.records[index]
        if needed == 1 or record.folder in ("", "train"):
            contents[record.label].add(pack.digests[index])
    small = {label: len(digests) for label, digests in contents.items() if len(digests) < needed}
    if not small or len(listing.classes) - len(small) < 2:
        return listing, pack
    reasons = {
        label: f"the class {printable(label)} is left out: it has {_count(n)}, and needs {needed}"
        for label, n in small.items()
    }
    errors = {
        index: pack.errors[index] if index in pack.errors else reasons[record.label]
        for index, record in enumerate(listing.records)
        if index in pack.errors or record.label in small
    }
    classes = tuple(label for label in listing.classes if label not in small)
    warnings = (*listing.warnings, *reasons.values())
    return replace(listing, classes=classes, warnings=warnings), replace(pack, errors=errors)


def _count(n_images: int) -> str:
    return "no readable image" if n_images == 0 else f"{n_images} different image{'s' * (n_images > 1)}"


def _count_drawn_parts(listing: Listing, options: DataOptions) -> int:
    """Return into how many parts the training images are divided at random."""
    if listing.layout == "flat":
        return 3
    has_validation = _find_validation_folder(listing, options.validation_split) is not None
    return 1 if has_validation or options.validation_split == "none" else 2


def check_options(listing: Listing, options: DataOptions) -> tuple[str | None, list[str] | None]:
    """Refuse options that do not suit a listing, before anything is decoded.

    Returns:
        The folder that validates, or None, and the group of each record, or None.

    Raises:
        DataError: The options name no split of the listing, the test split, or no valid groups.
    """
    validation_folder = _find_validation_folder(listing, options.validation_split)
    if options.group is None and listing.groups is not None:
        return validation_folder, [listing.groups[record.path] for record in listing.records]
    return validation_folder, _match_groups(listing, options.group)


def split_arrays(arrays: Arrays, pack: Pack, options: DataOptions, *, seed: int) -> Splits:
    """Divide images in memory into training and validation, stratified by class.

    Raises:
        DataError: There are too few images, or an option needs folders.
    """
    if options.validation_split not in (None, "none") or options.group is not None:
        raise DataError("images in memory have neither split folders nor groups; leave both out")
    indices: Ints = np.arange(len(arrays.images), dtype=np.int64)
    empty = indices[:0]
    if options.validation_split == "none":
        return Splits(train=(indices,), validation=empty, test=empty, rule="all train, nothing validates")
    share = arrays.validation_share
    train, validation = _split_off(indices, arrays.labels.tolist(), pack.digests, share=share, seed=seed)
    rule = f"{share:.0%} validate, stratified"
    return Splits(train=(train,), validation=validation, test=empty, rule=rule)


def _split_off(
    indices: Ints, labels: Sequence[int], digests: Sequence[str], *, share: float, seed: int
) -> tuple[Ints, Ints]:
    """Divide images into training and a share for validation, stratified, equal images in one part.

    `labels` and `digests` are those of all images. A class of one image trains, because validation can do
    without it, while a test cannot.

    Raises:
        DataError: The share is out of range, or no image is left to train or to validate.
    """
    if not 0 < share <= 0.5:  # above, a class of one image might not train
        raise DataError(f"the share that validates is {share:g}; it must be above 0 and at most 0.5")
    units = _find_units(indices.tolist(), digests, None)
    train, validation = _divide(indices, labels, units, (1 - share, share), np.random.default_rng(seed))
    if len(validation) == 0 or len(train) == 0:
        raise DataError(
            f"{len(indices)} images are too few to set {share:.0%} aside for validation; "
            f"take more, or let nothing validate"
        )
    return train, validation


def _group_by_folder(listing: Listing, pack: Pack) -> dict[str, Ints]:
    """Return the indices of the readable images in each split folder."""
    indices: dict[str, list[int]] = {}
    for index in pack.decoded_indices:
        indices.setdefault(listing.records[index].folder, []).append(index)
    return {name: np.array(indices[name], dtype=np.int64) for name in _sort_folders(indices)}


def _sort_folders(folders: Iterable[str]) -> list[str]:
    """Sort split folders: training folders first, by their number."""

    def sort_key(name: str) -> tuple[bool, int, str]:
        number = name.removeprefix("train")
        return not name.startswith("train"), int(number) if number.isdecimal() else 0, name

    return sorted(folders, key=sort_key)


def _find_validation_folder(listing: Listing, name: str | None) -> str | None:
    """Return the split folder that validates, or None if no folder does. `name` is the user's choice."""
    folders = _sort_folders({record.folder for record in listing.records})
    if name == "none":
        if "validation" in folders:
            raise DataError(
                f"{listing.root} has a validation folder; --validation none would leave it unused"
            )
        return None
    candidates = [folder for folder in folders if folder not in ("", "train", "test")]
    if name is not None:
        return _check_validation_name(listing, name, folders, candidates)
    if listing.layout == "numbered" and len(candidates) < 2:
        raise DataError(f"{listing.root} has one training folder only, {candidates[0]}; rename it to train")
    return candidates[-1] if candidates else None


def _check_validation_name(listing: Listing, name: str, folders: list[str], candidates: list[str]) -> str:
    """Return the split folder that a user's choice stands for, if it can validate."""
    if name == "test":
        raise DataError(
            "--validation test is refused: choosing by the test split would make its score worthless; "
            "name another split, or `none`"
        )
    folder = "validation" if name in ("val", "valid") else name
    if folder not in candidates:
        known = ", ".join([*candidates, "none"])
        raise DataError(
            f"--validation {printable(name)}: {listing.root} has no such split; choose from {known}"
        )
    if not any(other.startswith("train") for other in folders if other != folder):
        raise DataError(f"--validation {name} would leave no folder to train on; {listing.root} has no other")
    return folder


def _match_groups(listing: Listing, group: str | None) -> list[str] | None:
    """Return the part of each record's path that a regular expression matches: the record's group.

    It is the expression's first capturing group if there is one, and else the whole match.
    """
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


def _refuse_torn_groups(folders: dict[str, Ints], validation_folder: str | None, groups: list[str]) -> None:
    """Refuse split folders if two splits have images of one group."""
    place_of: dict[str, tuple[str, str]] = {}
    for folder, indices in folders.items():
        split_name = folder if folder in (validation_folder, "test") else "train"
        for index in indices.tolist():
            other_split, other_folder = place_of.setdefault(groups[index], (split_name, folder))
            if other_split != split_name:
                raise DataError(
                    f"the group {printable(groups[index])} is in {other_folder} and in {folder}, which are "
                    f"different splits; move its images to one of them (a table's own groups are left out by "
                    f"--columns group=none)"
                )


def _find_units(indices: list[int], digests: Sequence[str], groups: list[str] | None) -> dict[int, int]:
    """Return the unit of each image, named by one of its images.

    Equal files share a unit, and so do images of one group. A unit is never divided.
    """
    parent = {index: index for index in indices}

    def find_root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for keys in (digests,) if groups is None else (digests, groups):
        first: dict[str, int] = {}
        for index in indices:
            parent[find_root(index)] = find_root(first.setdefault(keys[index], index))
    return {index: find_root(index) for index in indices}


def _divide(
    indices: Ints,
    labels: Sequence[int],
    units: dict[int, int],
    shares: Sequence[float],
    random: np.random.Generator,
) -> list[Ints]:
    """Divide images into parts by `shares`, the same within each class, whole units at a time.

    Units come in random order, large ones first. Each goes to the part where its classes lack most of their
    share. For single images that is Webster's apportionment: no part of a class is off by a whole image. But
    the last units of a class go to the parts that lack the class, so that every part has small classes too.
    """
    indices_of_unit: dict[int, list[int]] = {}
    for index in random.permutation(indices).tolist():
        indices_of_unit.setdefault(units[index], []).append(index)
    largest_first = sorted(indices_of_unit.values(), key=len, reverse=True)
    contents = [Counter(labels[index] for index in unit) for unit in largest_first]
    units_left = Counter(label for content in contents for label in content)
    class_sizes = Counter(labels[index] for index in indices.tolist())
    counts = [Counter[int]() for _ in shares]  # the images of each class in each part

    def compute_need(part: int, content: Counter[int]) -> tuple[int, float]:
        share = shares[part] / sum(shares)
        urgent, missing = 0, 0.0
        for label, n in content.items():
            n_parts_without = sum(label not in count for count in counts)
            urgent += label not in counts[part] and units_left[label] <= n_parts_without
            missing += n * (1 - (counts[part][label] + n / 2) / (share * class_sizes[label]))
        return urgent, missing

    parts: list[list[int]] = [[] for _ in shares]
    for unit, content in zip(largest_first, contents, strict=True):
        part = max(range(len(shares)), key=lambda part: compute_need(part, content))
        counts[part].update(content)
        units_left.subtract(content.keys())
        parts[part] += unit
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def _check_parts(listing: Listing, labels: Sequence[int], indices: Ints, parts: list[Ints]) -> None:
    """Refuse a division if a part lacks a class."""
    class_sizes = Counter(labels[index] for index in indices.tolist())
    way_out = "make the splits as folders yourself"
    if listing.table is not None:
        way_out = "write a column of splits yourself"
        way_out += ", or leave the groups out: --columns group=none" if listing.groups is not None else ""
    for part in parts:
        part_labels = {labels[index] for index in part.tolist()}
        for label, name in enumerate(listing.classes):
            if label not in part_labels:
                raise DataError(
                    f"the class {printable(name)} has {class_sizes[label]} readable images, too few (or too "
                    f"closely grouped) to be divided into {len(parts)} splits; "
                    f"add images, or {way_out}"
                )
