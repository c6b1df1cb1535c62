from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.decode import Decoding
from foveal.data.options import DataOptions
from foveal.data.pack import Pack
from foveal.data.scan import Layout, Listing, Record
from foveal.data.split import Splits, check_options, split
from foveal.errors import DataError

LAYOUTS: dict[str, Layout] = {"": "flat", "train": "named"}


def listed(paths: Sequence[str]) -> Listing:
    """List files that are nowhere: `CLASS/file`, or `SPLIT/CLASS/file` in given splits."""
    records = []
    for path in sorted(paths):
        folder = path.split("/")[0] if path.startswith(("train", "validation", "test")) else ""
        label = path.split("/")[1 if folder else 0]
        records.append(Record(path=path, size=1, modified=1, inode=1, changed=1, label=label, folder=folder))
    return Listing(
        root=Path("data"),
        layout=LAYOUTS.get(records[-1].folder if records[-1].folder != "validation" else "train", "numbered"),
        records=tuple(records),
        classes=tuple(sorted({record.label for record in records})),
        strays=(),
    )


def packed(listing: Listing, *, equal: Mapping[str, str] | None = None, bad: Sequence[str] = ()) -> Pack:
    """Pack them: files have equal bytes if `equal` names the same for them; those in `bad` are rejected."""
    paths = [record.path for record in listing.records]
    return Pack(
        pixels=np.zeros((len(paths), 8, 8, 3), dtype=np.uint8),
        paths=tuple(paths),
        digests=tuple("" if path in bad else (equal or {}).get(path, path) for path in paths),
        errors={row: "bad" for row, path in enumerate(paths) if path in bad},
        clipped=0,
        decoding=Decoding(size=8, channels=3, fit="stretch", background="black"),
        retry=False,
    )


def divide(
    paths: Sequence[str],
    *,
    validation: str | None = None,
    group: str | None = None,
    seed: int = 0,
    equal: Mapping[str, str] | None = None,
    bad: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Return the paths in train (of all parts), validation and test."""
    listing = listed(paths)
    options = DataOptions("data", validation=validation, group=group)
    found = split(listing, packed(listing, equal=equal, bad=bad), options, seed=seed)
    return sides(listing, found)


def sides(listing: Listing, found: Splits) -> dict[str, list[str]]:
    rows = {
        "train": np.concatenate(found.train),
        "validation": found.validation,
        "test": found.test,
    }
    assert all(each.dtype == np.int64 for each in rows.values())
    return {name: [listing.records[row].path for row in each.tolist()] for name, each in rows.items()}


def files(folder: str, n: int, classes: str = "ab") -> list[str]:
    return [f"{folder}{label}/{number:04}" for label in classes for number in range(n)]


def every(found: Mapping[str, list[str]]) -> list[str]:
    return [path for side in found.values() for path in side]


def counts(paths: Sequence[str]) -> Counter[str]:
    return Counter(path.split("/")[-2] for path in paths)


# ---- given splits

NUMBERED = [*files("train1/", 3), *files("train2/", 4), *files("train10/", 5), *files("test/", 2)]
NAMED = [*files("train/", 5), *files("validation/", 3), *files("test/", 2)]


def test_the_last_numbered_folder_validates() -> None:
    listing = listed(NUMBERED)
    found = split(listing, packed(listing), DataOptions("data"), seed=0)
    parts = [{listing.records[row].folder for row in part.tolist()} for part in found.train]

    assert parts == [{"train1"}, {"train2"}]
    assert found.rule == "train1, train2 train, train10 validates"
    assert sides(listing, found) == {
        "train": files("train1/", 3) + files("train2/", 4),
        "validation": files("train10/", 5),
        "test": files("test/", 2),
    }


@pytest.mark.parametrize("name", ["train2", "Train2"])
def test_another_numbered_folder_validates_if_named(name: str) -> None:
    found = divide(NUMBERED, validation=name)
    assert found["validation"] == files("train2/", 4)
    assert found["train"] == files("train1/", 3) + files("train10/", 5)


def test_numbered_folders_may_be_written_with_zeros() -> None:
    paths = [*files("train001/", 2), *files("train9/", 2), *files("train02/", 2)]
    assert divide(paths)["validation"] == files("train9/", 2)


def test_numbered_folders_without_validation_all_train() -> None:
    listing = listed(NUMBERED)
    found = split(listing, packed(listing), DataOptions("data", validation="none"), seed=0)
    assert [len(part) for part in found.train] == [6, 8, 10]
    assert len(found.validation) == 0
    assert len(found.test) == 4


def test_numbered_folders_without_a_test() -> None:
    assert divide([*files("train1/", 3), *files("train2/", 3)])["test"] == []


@pytest.mark.parametrize("name", [None, "validation", "val", "valid"])
def test_named_splits_are_kept(name: str | None) -> None:
    assert divide(NAMED, validation=name) == {
        "train": files("train/", 5),
        "validation": files("validation/", 3),
        "test": files("test/", 2),
    }


def test_a_tenth_of_train_validates_where_nothing_else_does() -> None:
    paths = [*files("train/", 50), *files("test/", 3)]
    found = divide(paths)
    assert counts(found["validation"]) == {"a": 5, "b": 5}
    assert sorted(found["train"] + found["validation"]) == files("train/", 50)
    assert found["test"] == files("test/", 3)

    everything = divide(paths, validation="none")
    assert everything == {"train": files("train/", 50), "validation": [], "test": files("test/", 3)}


def test_rejected_files_are_in_no_split() -> None:
    bad = ["train1/a/0000", "train10/b/0001", "test/a/0000"]
    found = divide(NUMBERED, bad=bad)
    assert sorted(every(found)) == sorted(set(NUMBERED) - set(bad))


@pytest.mark.parametrize("name", ["test", "Test"])
@pytest.mark.parametrize("paths", [NUMBERED, NAMED, files("", 10)])
def test_the_test_split_never_validates(paths: list[str], name: str) -> None:
    with pytest.raises(DataError, match=r"--validation test is refused: .* name another split, or `none`"):
        divide(paths, validation=name)


@pytest.mark.parametrize(
    ("paths", "name", "message"),
    [
        (
            NUMBERED,
            "train3",
            "--validation train3: data has no such split; choose from train1, train2, train10, none",
        ),
        (NUMBERED, "val", "--validation val: data has no such split"),
        (NAMED, "train", "--validation train: data has no such split; choose from validation, none"),
        (NAMED, "none", "has a validation folder; --validation none would leave it unused"),
        (files("", 10), "train", "--validation train: data has no such split; choose from none"),
        (files("train1/", 5), None, "has one training folder only, train1; rename it to train"),
        (files("train1/", 5), "train1", "--validation train1 would leave no folder to train on"),
        (files("", 10), "\x1b[31m", r"--validation \\x1b\[31m: data has no such split"),
    ],
)
def test_refused_validation(paths: list[str], name: str | None, message: str) -> None:
    listing = listed(paths)
    with pytest.raises(DataError, match=message):
        split(listing, packed(listing), DataOptions("data", validation=name), seed=0)
    with pytest.raises(DataError, match=message):
        check_options(listing, DataOptions("data", validation=name))


# ---- random division


def test_a_flat_layout_is_divided_80_10_10() -> None:
    found = divide(files("", 70, "abc"))
    assert counts(found["train"]) == {"a": 56, "b": 56, "c": 56}
    assert counts(found["validation"]) == counts(found["test"]) == {"a": 7, "b": 7, "c": 7}
    assert sorted(every(found)) == files("", 70, "abc")


def test_without_validation_the_same_images_test() -> None:
    paths = files("", 33, "abc")
    with_one, without = divide(paths), divide(paths, validation="none")
    assert without["test"] == with_one["test"]
    assert without["train"] == sorted(with_one["train"] + with_one["validation"])
    assert without["validation"] == []


@given(st.lists(st.integers(3, 60), min_size=1, max_size=4), st.integers(0, 2**40), st.booleans())
def test_division_is_a_stratified_partition(sizes: list[int], seed: int, flat: bool) -> None:
    """No class is off by a whole image in any part, except that each part has one at least."""
    prefix = "" if flat else "train/"
    paths = [path for label, n in zip("abcd", sizes, strict=False) for path in files(prefix, n, label)]
    found = divide(paths, seed=seed)

    assert sorted(every(found)) == paths
    shares = {"train": 8, "validation": 1, "test": 1} if flat else {"train": 9, "validation": 1}
    for name, share in shares.items():
        for label, n in zip("abcd", sizes, strict=False):
            due = n * share / 10
            have = counts(found[name])[label]
            assert have >= 1
            assert abs(have - due) < 1 if n >= 10 else have == max(1, n - sum(shares.values()) + share)


def test_the_seed_decides() -> None:
    paths = files("", 50)
    assert divide(paths, seed=5) == divide(paths, seed=5)
    assert divide(paths, seed=5)["test"] != divide(paths, seed=6)["test"]


def test_division_is_no_matter_of_names() -> None:
    """The first tenth would be the first patient, or the first day."""
    found = divide(files("", 500, "a"))["test"]
    numbers = [int(path.split("/")[-1]) for path in found]
    assert 150 < np.mean(numbers) < 350
    assert len(set(np.diff(numbers))) > 5


@pytest.mark.parametrize(("prefix", "least"), [("", 3), ("train/", 2)])
def test_a_class_too_small_to_be_divided_is_refused(prefix: str, least: int) -> None:
    enough = [*files(prefix, 20, "a"), *files(prefix, least, "b")]
    found = divide(enough)
    assert all(counts(paths)["b"] == 1 for paths in found.values() if paths)

    with pytest.raises(DataError) as refused:
        divide(enough[:-1])
    assert str(refused.value) == (
        f"the class b has {least - 1} readable images, too few (or too closely grouped) to be divided into "
        f"{least} splits; add images, or make the splits as folders yourself"
    )


# ---- units


@given(st.data())
def test_equal_files_and_groups_stay_on_one_side(data: st.DataObject) -> None:
    """Whatever is equal or of one group, also by way of a third image, is never on two sides."""
    n = data.draw(st.integers(30, 60))
    paths = []
    for number in range(n):
        patient = data.draw(st.integers(0, 40)) if number > 6 else 50 + number
        paths.append(f"{'ab'[number % 2]}/p{patient}-{number:02}")
    equal = {
        path: str(data.draw(st.integers(0, 60)) if row > 6 else 99 + row) for row, path in enumerate(paths)
    }
    grouped = data.draw(st.booleans())

    found = divide(paths, equal=equal, group=r"/(p\d+)-" if grouped else None)
    assert sorted(every(found)) == sorted(paths)
    for one in found.values():
        others = set(paths) - set(one)
        assert not {equal[path] for path in one} & {equal[path] for path in others}
        if grouped:
            assert not {path[2:].split("-")[0] for path in one} & {path[2:].split("-")[0] for path in others}


def test_groups_are_divided_as_nearly_as_their_sizes_allow() -> None:
    sizes = [50, 40, *[1] * 10]
    paths = [f"train/a/g{group:02}/{number}" for group, n in enumerate(sizes) for number in range(n)]
    found = divide(paths, group=r"g\d+")
    assert (len(found["train"]), len(found["validation"])) == (90, 10)


@pytest.mark.parametrize(
    ("groups", "sizes"), [(3, (1, 1, 1)), (5, (3, 1, 1)), (10, (8, 1, 1)), (20, (16, 2, 2))]
)
def test_few_groups_are_enough_if_there_is_one_for_each_side(groups: int, sizes: tuple[int, ...]) -> None:
    paths = [f"a/g{group:02}/{number}" for group in range(groups) for number in range(7)]
    found = divide(paths, group=r"g\d+")
    assert tuple(len(side) // 7 for side in found.values()) == sizes


@pytest.mark.parametrize("seed", range(8))
def test_the_largest_group_trains(seed: int) -> None:
    paths = ["a/g0/0", "a/g1/0", "a/g1/1", "a/g1/2", "a/g2/0"]
    assert divide(paths, group=r"g\d", seed=seed)["train"] == paths[1:4]


def test_a_group_is_the_first_parenthesis_or_the_whole_match() -> None:
    paths = [f"{label}/day{day}-p{day % 5}-{n}" for label in "ab" for day in range(10) for n in range(4)]
    by_day, by_patient = divide(paths, group=r"day\d"), divide(paths, group=r"day\d-(p\d)")
    for found, pattern in ((by_day, slice(2, 6)), (by_patient, slice(7, 9))):
        keys = [{path[pattern] for path in side} for side in found.values()]
        assert sum(map(len, keys)) == len(set().union(*keys))


def test_rejected_files_tie_no_groups_together() -> None:
    paths = [f"{label}/g{group}-{n}" for label in "ab" for group in range(10) for n in range(3)]
    bad = [path for path in paths if path.endswith("-0")]
    assert len(divide(paths, group=r"g\d", bad=bad)["test"]) == 4


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("(", r"--group '\(' is no regular expression: missing \)"),
        ("patient", "--group 'patient' matches nothing in the path a/0000"),
        ("(x)?", r"--group '\(x\)\?' matches nothing in the path a/0000"),
        (".", "the class a has 20 readable images, too few .or too closely grouped"),
    ],
)
def test_refused_groups(group: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        divide(files("", 20), group=group)


TORN = {
    "train and test": (["train/a/p1-0", "train/b/p2-0", "test/a/p1-1", "test/b/p3-0"], None, "train", "test"),
    "train and validation": (
        ["train/a/p1-0", "train/b/p2-0", "validation/a/p4-0", "validation/b/p2-1"],
        None,
        "train",
        "validation",
    ),
    "validation and test": (
        [f"{folder}/{label}/{folder}{label}" for folder in ("train", "validation", "test") for label in "ab"]
        + ["validation/a/p1", "test/b/p1"],
        None,
        "test",
        "validation",
    ),
    "a numbered folder and the one that validates": (
        ["train1/a/p1-0", "train1/b/p2-0", "train2/a/p3-0", "train2/b/p1-1"],
        None,
        "train1",
        "train2",
    ),
    "numbered folders and test": (
        ["train1/a/p1-0", "train1/b/p2-0", "train2/a/p3-0", "train2/b/p4-1", "test/a/p4-3", "test/b/p5-0"],
        "none",
        "train2",
        "test",
    ),
}


@pytest.mark.parametrize("case", TORN)
def test_a_group_in_two_given_splits_is_refused(case: str) -> None:
    paths, validation, one, other = TORN[case]
    with pytest.raises(
        DataError, match=rf"the group \w+ is in {one} and in {other}, which are different splits"
    ):
        divide(paths, validation=validation, group=r"[^/-]+(?=-|$)")


def test_a_group_may_lie_in_two_folders_that_train() -> None:
    paths = [
        "train1/a/p1-0",
        "train1/b/p2-0",
        "train2/a/p1-1",
        "train2/b/p2-1",
        "train3/a/p3-0",
        "train3/b/p4-0",
    ]
    assert divide(paths, group=r"p\d")["validation"] == ["train3/a/p3-0", "train3/b/p4-0"]
    with pytest.raises(DataError, match="the group p1 is in train1 and in train2"):
        divide(paths, group=r"p\d", validation="train2")
