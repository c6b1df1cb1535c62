import inspect
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.layout_questions import fold_class_name
from foveal.data.scan import MIN_FILES_IN_SAMPLE, Listing, draw_sample, scan
from foveal.errors import DataError


def lay(root: Path, *files: str) -> Path:
    """Make empty files; `scan` opens none."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def splits(listing: Listing) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in listing.records:
        found.setdefault(record.folder, []).append(record.path)
    return found


def each(folders: Iterable[str], classes: Iterable[str] = ("cat", "dog")) -> list[str]:
    return [f"{folder}/{label}/1.png" for folder in folders for label in classes]


def test_a_flat_layout(tmp_path: Path) -> None:
    listing = scan(lay(tmp_path, "dog/2.png", "cat/1.png", "cat/0.png"))

    assert listing.layout == "flat"
    assert listing.classes == ("cat", "dog")
    assert splits(listing) == {"": ["cat/0.png", "cat/1.png", "dog/2.png"]}
    assert [record.label for record in listing.records] == ["cat", "cat", "dog"]
    assert listing.strays == ()


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_named_splits_whatever_validation_is_called(tmp_path: Path, name: str) -> None:
    listing = scan(lay(tmp_path, *each(["train", name, "test"])))

    assert listing.layout == "named"
    assert splits(listing) == {
        "train": ["train/cat/1.png", "train/dog/1.png"],
        "validation": [f"{name}/cat/1.png", f"{name}/dog/1.png"],
        "test": ["test/cat/1.png", "test/dog/1.png"],
    }


@pytest.mark.parametrize("folders", [["train"], ["train", "test"], ["train", "val"]])
def test_named_splits_need_only_train(tmp_path: Path, folders: list[str]) -> None:
    assert scan(lay(tmp_path, *each(folders))).layout == "named"


@pytest.mark.parametrize("folders", [["train1", "train2", "train10", "test"], ["train1", "train2"]])
def test_numbered_splits(tmp_path: Path, folders: list[str]) -> None:
    listing = scan(lay(tmp_path, *each(folders)))

    assert listing.layout == "numbered"
    assert set(splits(listing)) == set(folders)


def test_splits_are_recognised_in_capitals(tmp_path: Path) -> None:
    """Else `Train` and `Test` would be the two classes of a flat layout."""
    named = scan(lay(tmp_path / "named", *each(["Train", "Valid", "TEST"])))
    numbered = scan(lay(tmp_path / "numbered", *each(["Train1", "Train2", "Test"])))

    assert (named.layout, set(splits(named))) == ("named", {"train", "validation", "test"})
    assert (numbered.layout, set(splits(numbered))) == ("numbered", {"train1", "train2", "test"})
    assert named.records[0].path == "TEST/cat/1.png"


def test_classes_are_sorted_by_code_point(tmp_path: Path) -> None:
    names = ["b", "B", "a", "ä", "10", "9", "_", "éa", "Z"]
    assert scan(lay(tmp_path, *(f"{name}/1.png" for name in names))).classes == tuple(sorted(names))


def test_subfolders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    listing = scan(lay(tmp_path, "cat/1.png", "cat/paris/2020/2.png", "dog/rome/3.png"))

    assert listing.layout == "flat"
    assert [(record.path, record.label) for record in listing.records] == [
        ("cat/1.png", "cat"),
        ("cat/paris/2020/2.png", "cat"),
        ("dog/rome/3.png", "dog"),
    ]


def test_subfolders_may_nest_deeper_than_python_recurses(tmp_path: Path) -> None:
    place = lay(tmp_path, "cat/1.png", "dog/1.png") / "cat"
    for _ in range(150):
        place /= "a"
        place.mkdir()
    (place / "2.png").touch()

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        listing = scan(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert f"cat/{'a/' * 150}2.png" in [record.path for record in listing.records]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    hidden = [
        "cat/.DS_Store",
        "cat/.thumbnails/1.png",
        ".git/config",
        ".ipynb_checkpoints/x/1.png",
        ".hidden",
    ]
    listing = scan(lay(tmp_path, "cat/1.png", "dog/1.png", *hidden))

    assert [record.path for record in listing.records] == ["cat/1.png", "dog/1.png"]
    assert listing.strays == ()


@pytest.mark.parametrize("name", ["test", "train", "validation", "train1", "Test"])
def test_a_class_may_be_called_like_a_split(tmp_path: Path, name: str) -> None:
    listing = scan(lay(tmp_path, f"{name}/1.png", "control/1.png"))

    assert listing.layout == "flat"
    assert listing.classes == tuple(sorted([name, "control"]))


def test_files_outside_class_folders_are_told(tmp_path: Path) -> None:
    listing = scan(lay(tmp_path, *each(["train", "test"]), "README.md", "train/labels.csv"))

    assert listing.strays == ("README.md", "train/labels.csv")
    assert len(listing.records) == 4


def test_a_record_knows_size_and_time(tmp_path: Path) -> None:
    lay(tmp_path, *each(["."]))
    (tmp_path / "cat/1.png").write_bytes(b"12345")
    os.utime(tmp_path / "cat/1.png", ns=(0, 1_600_000_000_123_456_700))

    first = scan(tmp_path).records[0]
    assert (first.size, first.modified // 1000) == (5, 1_600_000_000_123_456)


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_links(tmp_path: Path) -> None:
    """A linked file or class is as good as its target; a broken link is listed, so that it is missed."""
    away = lay(tmp_path / "away", "dog/1.png", "fish.png")
    root = lay(tmp_path / "root", "cat/1.png")
    (away / "fish.png").write_bytes(b"123")
    (root / "dog").symlink_to(away / "dog")
    (root / "cat/fish.png").symlink_to(away / "fish.png")
    (root / "cat/broken.png").symlink_to(away / "nowhere.png")
    (root / "cat/loop").symlink_to(root / "cat")
    os.mkfifo(root / "cat/pipe.png")

    listing = scan(root)
    records = {record.path: record for record in listing.records}
    assert set(records) == {"cat/1.png", "cat/fish.png", "cat/broken.png", "dog/1.png"}
    assert listing.unusable == {
        "cat/loop": "is a link to a folder inside a class folder, which is not followed",
        "cat/pipe.png": "is neither a file nor a folder",
    }
    assert records["cat/fish.png"].size == 3


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.png", "dog/1.png")
    Path(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/\xff\xfe.png")).touch()

    assert "cat/\udcff\udcfe.png" in [record.path for record in scan(tmp_path).records]


REFUSED = {
    "an empty folder": ([], r"^\S+ holds no class folders; each class needs a folder of its own"),
    "only loose files": (["1.png", "2.png"], "holds no class folders"),
    "one class": (["cat/1.png"], "has one class only, cat; a classifier needs two or more"),
    "one class in splits": (["train/cat/1.png", "test/cat/1.png"], "has one class only, cat"),
    "an empty class": (["cat/1.png", "dog/"], "the class folder .*dog holds no image; add some or remove"),
    "an empty class in a split": (
        [*each(["train"]), "test/cat/1.png", "test/dog/"],
        "test.dog holds no image",
    ),
    "a class of hidden files": (["cat/1.png", "dog/.1.png"], "dog holds no image"),
    "test lacks a class": (
        [*each(["train"]), "test/cat/1.png"],
        "the class dog is in .*train but not in .*test; every split needs images of every class",
    ),
    "test has one more": (
        [*each(["train"]), *each(["test"], ["ant", "cat", "dog"])],
        "the class ant is in .*test but not in .*train;",
    ),
    "a numbered folder lacks a class": (
        [*each(["train1", "test"]), "train2/cat/1.png"],
        "dog .* not in .*train2",
    ),
    "splits and classes": (
        [*each(["train", "test"]), "cat/1.png"],
        "two layouts: test is a split, cat is none",
    ),
    "numbered and named": (
        each(["train1", "train2", "train"]),
        r"mixes two layouts: train1 and train; .*\(--validation train2\)",
    ),
    "numbered and validation": (each(["train1", "train2", "val"]), "mixes two layouts: train1 and val"),
    "one number twice": (each(["train1", "train01"]), "two training folders of the same number; rename one"),
    "val and valid": (each(["train", "val", "valid"]), "two folders for validation: val and valid; keep one"),
    "no train": (each(["val", "test"]), "has test but no train folder; add .*train"),
    "test alone": (each(["test"]), "has test but no train folder"),
    "loose images in splits": (["train/1.png", "test/1.png"], "test holds no class folders; give each class"),
    "an unlabelled validation": (
        [*each(["train"]), "val/1.png"],
        "val holds no class folders; .* move val elsewhere",
    ),
    "an empty split": ([*each(["train"]), "val/"], "val holds no class folders"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    files, message = REFUSED[case]
    root = tmp_path / "data"
    root.mkdir()
    for file in files:
        if file.endswith("/"):
            (root / file).mkdir(parents=True)
        else:
            lay(root, file)

    with pytest.raises(DataError) as refused:
        scan(root)
    assert re.search(message, str(refused.value))
    assert str(root) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist; name a folder"):
        scan(tmp_path / "nowhere")


def test_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set\.zip is a file; name a folder"):
        scan(lay(tmp_path, "set.zip") / "set.zip")


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, "cat/1.png", "dog/1.png")
    listed = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cannot list .*dog: Permission denied"):
        scan(tmp_path)


def test_a_sample_keeps_its_share_of_every_class_in_every_split(tmp_path: Path) -> None:
    counts = {("train", "cat"): 200, ("train", "dog"): 100, ("test", "cat"): 40, ("test", "dog"): 4}
    lay(tmp_path, *(f"{split}/{label}/{i}.png" for (split, label), n in counts.items() for i in range(n)))
    whole = scan(tmp_path)

    sample = draw_sample(whole, 0.25, seed=3)

    kept = {place: sum((r.folder, r.label) == place for r in sample.records) for place in counts}
    assert kept == {
        ("train", "cat"): 50,
        ("train", "dog"): 25,
        ("test", "cat"): MIN_FILES_IN_SAMPLE,
        ("test", "dog"): 4,
    }
    assert set(sample.records) <= set(whole.records)
    assert sample.records == tuple(sorted(sample.records))
    assert sample == draw_sample(whole, 0.25, seed=3)
    assert sample != draw_sample(whole, 0.25, seed=4)
    assert (sample.root, sample.classes, sample.layout) == (whole.root, whole.classes, whole.layout)


NAME = st.text(st.sampled_from("abcXYZ019._- é\u202e'\"=$<"), min_size=1, max_size=12).filter(
    lambda name: (
        not name.startswith(".")
        and name.lower() not in ("train", "val", "valid", "validation", "test")
        and not re.fullmatch(r"train[0-9]+", name.lower())
        and name == " ".join(name.split())  # names that differ in spaces only are questioned
    )
)


@settings(deadline=None)
@given(
    st.dictionaries(NAME, st.sets(NAME, min_size=1, max_size=4), min_size=2, max_size=4).filter(
        lambda classes: len({fold_class_name(name) for name in classes}) == len(classes)
    ),
    st.sets(NAME, max_size=2),
    st.sampled_from([("",), ("train", "test"), ("train1", "train2", "test")]),
)
def test_every_file_is_listed_once_with_its_class(
    classes: dict[str, set[str]], strays: set[str], folders: tuple[str, ...]
) -> None:
    strays -= set(classes)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        expected = {
            f"{folder}/{label}/{file}".removeprefix("/"): (folder, label)
            for folder in folders
            for label, files in classes.items()
            for file in files
        }
        loose = {f"{folders[0]}/{file}".removeprefix("/") for file in strays}
        listing = scan(lay(root, *expected, *loose))
        found = {record.path: (record.folder, record.label) for record in listing.records}
        assert found == expected
        assert [record.path for record in listing.records] == sorted(expected)
        assert listing.strays == tuple(sorted(loose))
        assert listing.classes == tuple(sorted(classes))
