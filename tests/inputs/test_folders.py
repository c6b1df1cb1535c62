"""What folders mean: trees as people bring them, and what is made of each."""

import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import foveal
from foveal.data.dataset import Dataset, open_dataset
from foveal.data.junk import is_junk, is_named_as_image
from foveal.data.options import DataOptions
from foveal.data.scan import Listing, scan
from foveal.errors import DataError
from foveal.recipe import recipe
from foveal.run.report import build_report

POSIX = pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")


def plant(root: Path, files: Iterable[str]) -> Path:
    """Make empty files, and folders where a name ends with a slash. `scan` opens no file."""
    root.mkdir(exist_ok=True)
    for file in files:
        place = root / file
        if file.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"")
    return root


def each(folders: Iterable[str], classes: Iterable[str] = ("cat", "dog")) -> list[str]:
    return [f"{folder}/{label}/{n}.png" for folder in folders for label in classes for n in (1, 2)]


def read(listing: Listing) -> dict[str, tuple[str, str]]:
    """Return the split and the class of each file."""
    return {record.path: (record.folder, record.label) for record in listing.records}


def refuse(root: Path, pattern: str) -> str:
    with pytest.raises(DataError) as refused:
        scan(root)
    message = str(refused.value)
    assert "\n" not in message
    assert re.search(pattern, message), message
    return message


# ---- split folders under other names

SPLITS = [
    {"Training": "train", "Testing": "test"},
    {"TRAINING": "train", "VALIDATION": "validation", "TESTING": "test"},
    {"train_set": "train", "test_set": "test"},
    {"training_set": "train", "test_set": "test"},
    {"trainset": "train", "valset": "validation", "testset": "test"},
    {"TrainSet": "train", "TestSet": "test"},
    {"train-set": "train", "test-set": "test"},
    {"Train Set": "train", "Test Set": "test"},
    {"train.set": "train", "test.set": "test"},
    {"my_train": "train", "my_test": "test"},
    {"01_train": "train", "02_val": "validation", "03_test": "test"},
    {"1. train": "train", "2. test": "test"},
    {"train_images": "train", "test_images": "test"},
    {"imagesTrain": "train", "imagesTest": "test"},
    {"cifar10-train": "train", "cifar10-test": "test"},
    {"birds_train": "train", "birds_val": "validation"},
    {"ILSVRC2012_img_train": "train", "ILSVRC2012_img_val": "validation"},
    {"train2017": "train", "val2017": "validation"},
    {"train_80": "train", "val_10": "validation", "test_10": "test"},
    {"train": "train", "dev": "validation", "test": "test"},
    {"train": "train", "eval": "test"},
    {"train": "train", "eval": "validation", "test": "test"},
    {"train": "train", "holdout": "test"},
    {"train": "train", "hold-out": "test"},
    {"train": "train", "held_out": "test"},
    {"trn": "train", "tst": "test"},
    {"trainval": "train", "test": "test"},
    {"Train_1": "train1", "Train_2": "train2", "Test": "test"},
    {"train (1)": "train1", "train (2)": "train2"},
    {"Trainingsdaten": "train", "Testdaten": "test"},
    {"Trainingsset": "train", "Validierungsset": "validation", "Testset": "test"},
    {"entraînement": "train", "validation": "validation", "test": "test"},
    {"Apprentissage": "train", "Évaluation": "test"},
    {"entrenamiento": "train", "validación": "validation", "prueba": "test"},
    {"conjunto_de_entrenamiento": "train", "conjunto_de_pruebas": "test"},
    {"addestramento": "train", "validazione": "validation", "test": "test"},
    {"treino": "train", "validação": "validation", "teste": "test"},
    {"training": "train", "validatie": "validation", "toets": "test"},
    {"zbiór treningowy": "train", "zbiór testowy": "test"},
    {"eğitim": "train", "doğrulama": "validation", "test": "test"},
    {"EĞİTİM": "train", "SINAMA": "test"},
    {"обучение": "train", "валидация": "validation", "тест": "test"},
    {"обучающая выборка": "train", "тестовая выборка": "test"},
    {"训练集": "train", "验证集": "validation", "测试集": "test"},
    {"訓練": "train", "測試": "test"},
    {"訓練データ": "train", "検証データ": "validation", "テストデータ": "test"},
    {"学習用": "train", "評価用": "test"},
    {"훈련": "train", "검증": "validation", "시험": "test"},
    {"학습 데이터": "train", "테스트 데이터": "test"},
    {"학습셋": "train", "검증셋": "validation", "테스트셋": "test"},
    {"训练样本": "train", "测试样本": "test"},
    {"Lernmenge": "train", "Prüfmenge": "test"},
    {"träning": "train", "validering": "validation", "test": "test"},
    {"Ｔｒａｉｎ": "train", "Ｔｅｓｔ": "test"},
]


@pytest.mark.parametrize("split_of", SPLITS, ids=lambda split_of: " ".join(split_of))
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_split_folders_by_any_usual_name(tmp_path: Path, split_of: dict[str, str], form: str) -> None:
    root = plant(tmp_path / "data", each(unicodedata.normalize(form, name) for name in split_of))
    listing = scan(root)

    assert listing.classes == ("cat", "dog")
    normalised = {unicodedata.normalize("NFC", path): split for path, (split, _) in read(listing).items()}
    assert normalised == {
        f"{unicodedata.normalize('NFC', name)}/{label}/{n}.png": split
        for name, split in split_of.items()
        for label in ("cat", "dog")
        for n in (1, 2)
    }


def test_unusual_names_of_splits_are_told(tmp_path: Path) -> None:
    assert scan(plant(tmp_path / "data", each(["Training", "Testing"]))).notes == (
        "folders read as splits: Testing as test, Training as train",
    )
    assert scan(plant(tmp_path / "usual", each(["Train", "val", "test"]))).notes == ()


CLASSES = [
    ["train", "plane", "ship"],
    ["test", "control"],
    ["train_station", "bus_station"],
    ["train_station", "test_tube"],
    ["test_tube", "beaker"],
    ["constrained", "detested"],
    ["latest", "contest", "protest"],
    ["trains", "planes"],
    ["validated", "interval"],
    ["dev", "ops"],
    ["0", "1", "10"],
    ["mytrainer", "sneaker"],
    ["Trainee", "Tester"],
    ["recycled", "organic"],
    ["RECYCLED", "ORGANIC"],
    ["data", "noise"],
]


@pytest.mark.parametrize("classes", CLASSES, ids=" ".join)
def test_classes_may_be_called_like_splits(tmp_path: Path, classes: list[str]) -> None:
    listing = scan(plant(tmp_path / "data", [f"{label}/{n}.png" for label in classes for n in range(3)]))

    assert listing.layout == "flat"
    assert listing.classes == tuple(sorted(classes))


@pytest.mark.parametrize("classes", CLASSES[2:6], ids=" ".join)
def test_such_classes_in_splits_stay_classes(tmp_path: Path, classes: list[str]) -> None:
    listing = scan(plant(tmp_path / "data", each(["train", "test"], classes)))
    assert listing.classes == tuple(sorted(classes))
    assert {split for split, _ in read(listing).values()} == {"train", "test"}


def test_a_class_that_could_be_a_split_is_warned_of(tmp_path: Path) -> None:
    listing = scan(plant(tmp_path / "data", ["cat/1.png", "dog/1.png", "test/1.png"]))
    assert listing.classes == ("cat", "dog", "test")
    assert listing.warnings == (
        "test is read as a class, because it holds no folders; if it is a split, give it class folders, "
        "or move it elsewhere",
    )


# ---- trees that could mean two things

QUESTIONS = {
    "folds": (
        each(["fold_a", "fold_b"]),
        r"hold the same folders, .*: fold_a/\{cat, dog\}, fold_b/\{cat, dog\}; rename splits to train, val "
        r"and test, or say --layout classes .* or --layout subfolders",
    ),
    "years": (
        each(["2019", "2020", "2021", "2022"], "abcde"),
        r"2019/\{a, b, c, …\}, .*2021/\{a, b, c, …\}, …;",
    ),
    "sites, one lacking a class": (
        [*each(["berlin"], "abc"), *each(["rome"], "ab")],
        "hold the same folders",
    ),
    "sites beside loose images": ([*each(["berlin", "rome"]), "more/1.png"], "hold the same folders"),
    "unknown words": (each(["seen", "unseen"]), "hold the same folders"),
    "a known and an unknown word": (each(["train", "unseen"]), "hold the same folders"),
    "words that do not fit": (each(["train_station", "test_tube"]), "hold the same folders"),
    "letters in another case": (
        [*each(["A", "B"], ["Cat", "Dog"]), *each(["C"], ["cat", "dog"])],
        "hold the same folders",
    ),
    "splits below splits": (
        each(["train/train", "train/test", "test/train", "test/test"]),
        "is a split and holds splits",
    ),
    "sites in splits": (
        each(["train/a", "train/b", "test/a", "test/b"]),
        r"if a is a class, say --layout splits",
    ),
    "splits and a class": ([*each(["train", "test"]), "fox/1.png"], "mixes two layouts"),
    "one class divided": (
        [*each(["cat"], ["train", "test"]), "dog/1.png"],
        r"cat is divided into test, train, but dog holds no folders; divide every class alike",
    ),
    "classes divided otherwise": (
        [*each(["cat"], ["train", "test"]), *each(["dog"], ["train", "val"])],
        r"cat is divided into test, train, but dog holds train, val",
    ),
    "a divided class with loose images": (
        [*each(["cat", "dog"], ["train", "test"]), "cat/9.png"],
        r"cat holds test, train and images beside them; move these images",
    ),
    "a divided class with another folder": (
        [*each(["cat", "dog"], ["train", "test"]), "cat/old/9.png"],
        r"cat holds splits and other folders: old, test, train",
    ),
    "a class with the name of a split that holds folders": (
        [*each(["train", "test"]), *each(["train/train", "test/train"])],
        "test is a split and holds train, which is the name of a split and holds folders",
    ),
    "a test set aside in one class": (
        ["cat/1.png", "cat/test/2.png", "dog/1.png"],
        "cat holds test and images beside them",
    ),
    "splits in the names of classes": (
        [f"{name}/1.png" for name in ("cat_train", "cat_test", "dog_train", "dog_test")],
        r"cat_test and cat_train, which seem to be one class in two splits",
    ),
    "images and labels": (["images/1.png", "labels/1.txt"], "look like images with annotations"),
    "images and masks in splits": (each(["train", "val"], ["images", "masks"]), "images with annotations"),
    "images and labels above splits": (
        each(["images", "labels"], ["train", "val"]),
        "images with annotations",
    ),
    "two training folders": (
        each(["train", "training", "test"]),
        "two folders for train: train and training",
    ),
    "two tests": (each(["train", "public_test", "test"]), "hold the same folders"),
    "names that differ in case": (
        ["Cat/1.png", "cat/1.png", "dog/1.png"],
        r"'Cat' and 'cat' .* differ only in case",
    ),
    "names that differ in case over splits": (
        [*each(["train"], ["Cat", "dog"]), *each(["test"], ["cat", "dog"])],
        r"'Cat' and 'cat' .* differ only in case",
    ),
    "names that differ in a space": (["cat/1.png", "cat /1.png", "dog/1.png"], r"'cat' and 'cat ' .* spaces"),
    "names joined otherwise": (["big_cat/1.png", "big-cat/1.png"], "'big-cat' and 'big_cat' .* are joined"),
    "names with a mark that nobody sees": (
        ["cat/1.png", "cat\u200b/1.png"],
        r"'cat' and 'cat\\u200b' .* differ only",
    ),
    "names of wide letters": (["cat/1.png", "ｃａｔ/1.png"], "'cat' and 'ｃａｔ' .* differ only"),
    "a wrapper": (
        ["data/cat/1.png", "data/dog/1.png"],
        r"holds one folder only, and \S+/data/data in it holds cat, dog; name \S+/data/data instead",
    ),
    "a wrapper beside another folder": (
        ["images/cat/1.png", "images/dog/1.png", "docs/1.png"],
        r"data/images holds cat, dog, which look like classes or splits; name \S+/data/images instead of",
    ),
    "loose images and a table": (
        ["train/1.png", "test/2.png", "train.csv"],
        r"holds no class folders; .*; if train.csv has the labels, name \S+/data/train.csv instead",
    ),
    "two wrappers": (each(["a/b/train", "a/b/test"]), r"name \S+/data/a/b instead"),
    "wrapped splits": (
        each(["train/train", "test/test"]),
        r"test holds one folder only, test; move the class folders in it one level up",
    ),
    "only images": (["1.png", "2.png"], "holds no class folders, only 2 images; each class needs a folder"),
    "split folders of loose images": (["Training/1.png", "Testing/1.png"], "Testing holds no class folders"),
    "only hidden folders": ([".cat/1.png", ".dog/1.png"], r"no class folders \(2 hidden files"),
    "an unlabelled validation": ([*each(["train"]), "val/1.png"], "val holds no class folders"),
    "a class that the test lacks": (
        [*each(["train"]), *each(["test"], ["cat"])],
        "dog is in .*train but not in .*test",
    ),
    "a class that a divided class lacks": (
        [*each(["cat"], ["train", "test"]), *each(["dog"], ["train"])],
        "cat is divided",
    ),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_what_could_mean_two_things_is_asked(tmp_path: Path, case: str) -> None:
    files, pattern = QUESTIONS[case]
    refuse(plant(tmp_path / "data", files), pattern)


def test_the_user_can_answer(tmp_path: Path) -> None:
    root = plant(tmp_path / "folds", [*each(["fold_a", "fold_b"]), "fold_a/0.png"])
    classes, subfolders = scan(root, "classes"), scan(root, "subfolders")
    assert (classes.layout, classes.classes) == ("flat", ("fold_a", "fold_b"))
    assert (subfolders.layout, subfolders.classes) == ("flat", ("cat", "dog"))
    assert len(classes.records) == len(subfolders.records) + 1 == 9
    assert subfolders.strays == ("fold_a/0.png",)

    nested = plant(tmp_path / "nested", each(["train/a", "train/b", "test/a", "test/b"]))
    assert scan(nested, "splits").classes == ("a", "b")
    with pytest.raises(DataError, match=r"unknown layout 'folders'; choose from classes, splits, subfolders"):
        scan(root, "folders")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"no folder in .* has the name of a split: fold_a, fold_b"):
        scan(root, "splits")


@pytest.mark.parametrize("inner", ["images", "img", "data"])
def test_one_folder_that_says_nothing_is_no_question(tmp_path: Path, inner: str) -> None:
    listing = scan(
        plant(tmp_path / "data", [f"{label}/{inner}/1.png" for label in ("n01443537", "n01629819")])
    )
    assert listing.classes == ("n01443537", "n01629819")


def test_a_taxonomy_is_no_question(tmp_path: Path) -> None:
    listing = scan(
        plant(
            tmp_path / "data",
            ["animal/cat/1.png", "animal/dog/1.png", "vehicle/train/1.png", "vehicle/car/1.png"],
        )
    )
    assert listing.classes == ("animal", "vehicle")


@pytest.mark.parametrize(
    "names", [("-1", "1"), ("+", "-"), ("a", "á"), ("1.0", "10"), ("_", "__"), ("x1", "x-1")]
)
def test_names_that_people_tell_apart_are_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    assert scan(plant(tmp_path / "data", [f"{name}/1.png" for name in names])).classes == tuple(sorted(names))


def test_single_letters_in_two_cases_are_classes(tmp_path: Path) -> None:
    assert scan(plant(tmp_path / "data", ["A/1.png", "a/1.png"])).classes == ("A", "a")


# ---- splits below classes


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("Training", "Testing"), ("train_images", "holdout")]
)
def test_splits_below_classes(tmp_path: Path, train: str, test: str) -> None:
    root = plant(tmp_path / "data", [*each(["cat", "dog"], [train, test]), "cat/notes.txt"])
    listing = scan(root)

    assert (listing.layout, listing.classes, listing.strays) == ("named", ("cat", "dog"), ("cat/notes.txt",))
    assert read(listing) == {
        f"{label}/{folder}/{n}.png": (split, label)
        for label in ("cat", "dog")
        for folder, split in ((train, "train"), (test, "test"))
        for n in (1, 2)
    }
    assert (
        listing.notes[0]
        == f"the splits are the folders in the class folders: {', '.join(sorted([train, test]))}"
    )


def test_numbered_splits_below_classes(tmp_path: Path) -> None:
    listing = scan(plant(tmp_path / "data", each(["cat", "dog"], ["train1", "train2", "test"])))
    assert (listing.layout, {split for split, _ in read(listing).values()}) == (
        "numbered",
        {"train1", "train2", "test"},
    )


# ---- what programs leave

JUNK = [
    "@eaDir/1.png/SYNOPHOTO_THUMB_S.jpg",
    "@eaDir/1.png",
    "__MACOSX/cat/._1.png",
    "$RECYCLE.BIN/1.png",
    "$Recycle.Bin/S-1-5/1.png",
    "System Volume Information/1.png",
    "lost+found/1.png",
    "#recycle/1.png",
    "@Recycle/1.png",
    "@tmp/1.png",
    "#snapshot/1.png",
    ".ipynb_checkpoints/1-checkpoint.png",
    ".Trash-1000/files/1.png",
    ".git/objects/1.png",
    ".thumbnails/1.png",
    "__pycache__/1.png",
    "Thumbs.db",
    "THUMBS.DB",
    "ehthumbs.db",
    "desktop.ini",
    "Desktop.ini",
    ".DS_Store",
    "._1.png",
    "~$1.png",
    ".hidden.png",
    "Icon\r",
    "1.png:Zone.Identifier",
    "1.png@SynoResource",
    "RECYCLER/S-1-5-21",
]


@pytest.mark.parametrize("junk", JUNK)
def test_what_programs_leave_is_passed_over_and_counted(tmp_path: Path, junk: str) -> None:
    flat, splits = ["cat/1.png", "dog/1.png"], each(["train", "test"])
    for plain, places in ((flat, ("", "cat/", "cat/deeper/")), (splits, ("", "train/", "train/cat/"))):
        root = plant(tmp_path / str(len(plain)), [*plain, *(f"{place}{junk}" for place in places)])
        listing = scan(root)

        assert sorted(read(listing)) == sorted(plain)
        assert listing.classes == ("cat", "dog")
        assert (listing.strays, listing.unusable, listing.warnings) == ((), {}, ())
        assert list(listing.passed_over.values()) == [3]


def test_names_of_what_is_passed_over_are_counted_together(tmp_path: Path) -> None:
    junk = [f"{label}/@eaDir/{n}.png" for label in ("cat", "dog") for n in range(3)]
    junk += ["cat/._1.png", "dog/._2.png", ".DS_Store", "cat/.DS_Store"]
    listing = scan(plant(tmp_path / "data", ["cat/1.png", "dog/1.png", *junk]))
    assert listing.passed_over == {"@eaDir": 6, "._…": 2, ".DS_Store": 2}


def test_runs_of_foveal_are_passed_over(tmp_path: Path) -> None:
    root = plant(tmp_path / "data", ["cat/1.png", "dog/1.png"])
    for run in ("runs/first", "runs/group/seed-0", "my-run"):
        names = ("recipe.json", "dataset.json", "environment.json", "pictures/1.png")
        plant(root, [f"{run}/{name}" for name in names])
    listing = scan(root)
    assert listing.classes == ("cat", "dog")
    assert listing.passed_over == {"runs": 8, "my-run": 4}


def test_a_class_may_be_called_runs(tmp_path: Path) -> None:
    assert scan(plant(tmp_path / "data", ["runs/1.png", "stands/1.png"])).classes == ("runs", "stands")


def test_folders_without_images_beside_splits_are_left_out(tmp_path: Path) -> None:
    listing = scan(plant(tmp_path / "data", [*each(["train", "test"]), "annotations/1.xml"]))
    assert listing.classes == ("cat", "dog")
    assert listing.unusable == {"annotations": "is no split and holds no images"}


# ---- the wrong folder


@pytest.mark.parametrize(
    ("files", "named", "advised"),
    [
        (["cat/1.png", "dog/1.png"], "cat", ""),
        (each(["train", "test"]), "train/cat", ""),
        (each(["Training", "Testing"]), "Testing/dog", ""),
        (each(["train"]), "train/cat", "train"),
    ],
)
def test_a_folder_one_level_too_deep_names_the_one_above(
    tmp_path: Path, files: list[str], named: str, advised: str
) -> None:
    root = plant(tmp_path / "data", files)
    message = refuse(
        root / named, r"holds no class folders, only [12] images; if it is one class of several, name"
    )
    assert message.endswith(f"name {root / advised} instead")


# ---- links and folders that cannot be listed


@POSIX
def test_a_link_to_itself_costs_its_own_name_only(tmp_path: Path) -> None:
    root = plant(tmp_path / "data", ["cat/1.png", "dog/1.png"])
    (root / "cat/self.png").symlink_to("self.png")
    (root / "cat/away.png").symlink_to("nowhere.png")
    (root / "cat/long.png").symlink_to("x" * 300)  # no place has such a name, and asking for it fails
    (root / "self").symlink_to("self")
    listing = scan(root)

    assert sorted(read(listing)) == ["cat/1.png", "cat/away.png", "cat/long.png", "cat/self.png", "dog/1.png"]
    assert listing.strays == ("self",)  # the files are tried, fail and are named when images are decoded


@POSIX
@pytest.mark.parametrize("target", [".", "..", "../data/cat", "cat"])
def test_a_link_into_the_data_set_is_left_out(tmp_path: Path, target: str) -> None:
    root = plant(tmp_path / "data", ["cat/1.png", "dog/1.png"])
    (root / "loop").symlink_to(target)
    listing = scan(root)

    assert sorted(read(listing)) == ["cat/1.png", "dog/1.png"]
    assert re.fullmatch(
        "is a link to (a folder that holds this data set|cat, which belongs to this data set already)",
        listing.unusable["loop"],
    )


@POSIX
def test_a_validation_folder_that_is_a_link_to_test_is_left_out(tmp_path: Path) -> None:
    root = plant(tmp_path / "data", each(["train", "test"]))
    (root / "val").symlink_to("test")
    listing = scan(root)
    assert {split for split, _ in read(listing).values()} == {"train", "test"}
    assert "val" in listing.unusable


@POSIX
def test_linked_classes_and_splits_are_followed(tmp_path: Path) -> None:
    away = plant(tmp_path / "away", [*each(["test"]), "fox/1.png"])
    root = plant(tmp_path / "data", [*each(["train"]), "train/fox/1.png"])
    (root / "test").symlink_to(away / "test")
    (away / "test/fox").symlink_to(away / "fox")
    assert scan(root).classes == ("cat", "dog", "fox")


@POSIX
def test_two_links_to_one_folder_are_refused(tmp_path: Path) -> None:
    root = plant(tmp_path / "data", ["cat/1.png"])
    plant(tmp_path / "away", ["1.png"])
    for name in ("dog", "fox"):
        (root / name).symlink_to(tmp_path / "away")
    refuse(root, "dog and .*fox are links to the same folder")


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of folders that cannot be listed."""
    names: set[str] = set()
    scandir = os.scandir

    def refuse_some(path: Path) -> object:
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_some)
    return names


def test_a_subfolder_that_cannot_be_listed_is_left_out(tmp_path: Path, locked: set[str]) -> None:
    locked.add("deep")
    listing = scan(plant(tmp_path / "data", ["cat/1.png", "cat/deep/2.png", "cat/a/deep/3.png", "dog/1.png"]))
    assert sorted(read(listing)) == ["cat/1.png", "dog/1.png"]
    assert listing.unusable == dict.fromkeys(
        ["cat/a/deep", "cat/deep"], "cannot be listed: Permission denied"
    )


def test_a_class_that_cannot_be_listed_is_left_out_while_two_stay(tmp_path: Path, locked: set[str]) -> None:
    locked.add("fox")
    root = plant(tmp_path / "data", ["cat/1.png", "dog/1.png", "fox/1.png"])
    assert scan(root).classes == ("cat", "dog")
    assert scan(root).unusable == {"fox": "cannot be listed: Permission denied"}
    locked.add("dog")
    refuse(root, "cannot list .*dog: Permission denied")


def test_a_split_that_cannot_be_listed_is_refused(tmp_path: Path, locked: set[str]) -> None:
    locked.add("test")
    refuse(plant(tmp_path / "data", each(["train", "test"])), "test")


# ---- classes without images, and images without classes


def test_an_empty_class_is_left_out_while_two_stay(tmp_path: Path) -> None:
    listing = scan(plant(tmp_path / "data", ["cat/1.png", "dog/1.png", "fox/", "owl/.DS_Store"]))
    assert listing.classes == ("cat", "dog")
    assert listing.unusable == dict.fromkeys(["fox", "owl"], "is a class folder without images")
    assert listing.warnings[0] == "the class folder fox holds no image, so it is left out"


@pytest.mark.parametrize("test", ["test", "Testing", "test_images"])
@pytest.mark.parametrize("inner", ["", "images/", "unknown/", "test/"])
def test_images_without_classes_in_the_test_folder(tmp_path: Path, test: str, inner: str) -> None:
    files = [*each(["train"]), *(f"{test}/{inner}{n}.jpg" for n in range(5))]
    listing = scan(plant(tmp_path / "data", files))

    assert {split for split, _ in read(listing).values()} == {"train"}
    assert (listing.unlabelled, listing.n_unlabelled, listing.strays) == (test, 5, ())


# ---- names in two forms of Unicode


def test_two_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    beside = scan(plant(tmp_path / "beside", [f"{one}/1.png", f"{other}/2.png", "tea/1.png"]))
    splits = scan(
        plant(tmp_path / "splits", [*each(["train"], [one, "tea"]), *each(["test"], [other, "tea"])])
    )
    for listing in (beside, splits):
        assert listing.classes == (one, "tea")
        assert listing.notes == (
            "folders of the class café write its name in two Unicode forms; they are one class",
        )


# ---- any tree

FILES = [
    "1.png",
    "2.JPG",
    "3.tiff",
    "notes.txt",
    ".hidden.png",
    "._4.png",
    "Thumbs.db",
    "lost.png ->",
    "self.png @",
]
FOLDERS = [
    "cat",
    "dog",
    "fox",
    "train",
    "test",
    "val",
    "Testing",
    "images",
    "@eaDir",
    ".git",
    "lost+found",
    "up ->",
]
SPLIT_OF = {"train": "train", "test": "test", "Testing": "test", "val": "validation"}

Tree = dict[str, "Tree | None"]


def grow(depth: int) -> st.SearchStrategy[Tree]:
    """Draw trees of folders: a file is None."""
    files = st.dictionaries(st.sampled_from(FILES), st.none(), max_size=3)
    if depth == 0:
        return files
    folders = st.dictionaries(st.sampled_from(FOLDERS), grow(depth - 1), max_size=4)
    alike = st.builds(
        lambda names, inner: dict.fromkeys(names, inner),
        st.lists(st.sampled_from(FOLDERS), min_size=2, max_size=3, unique=True),
        grow(depth - 1),
    )
    return st.builds(lambda some, more: {**some, **more}, files, st.one_of(folders, alike))


def write(tree: Tree, place: Path) -> None:
    place.mkdir()
    for name, inner in tree.items():
        if name.endswith((" ->", " @")):
            stem = name.split(" ")[0]
            (place / stem).symlink_to({"lost.png": "nowhere", "self.png": "self.png", "up": ".."}[stem])
        elif inner is None:
            (place / name).write_bytes(b"")
        else:
            write(inner, place / name)


def list_files(root: Path) -> list[str]:
    return [
        (Path(folder) / name).relative_to(root).as_posix()
        for folder, _, files in os.walk(root)
        for name in files
    ]


def check_accounts(listing: Listing, files: list[str]) -> None:
    """Check that every file is used, named, counted or has no class, and none of them twice."""
    used = {record.path for record in listing.records}
    n_passed_over = n_unlabelled = 0
    for path in files:
        parts = path.split("/")
        above = {"/".join(parts[: depth + 1]) for depth in range(len(parts))}
        fates = {
            "used": path in used,
            "passed over": any(map(is_junk, parts)),
            "named": path in listing.strays or bool(above & set(listing.unusable)),
            "without class": bool(listing.unlabelled) and path.startswith(f"{listing.unlabelled}/"),
        }
        if fates["passed over"]:  # also in folders that are left out or have no classes
            fates |= {"named": False, "without class": False}
        fates["without class"] &= is_named_as_image(path)
        n_passed_over += fates["passed over"]
        n_unlabelled += fates["without class"]
        if is_named_as_image(path):
            assert sum(fates.values()) == 1, (path, fates)
    assert listing.n_unlabelled == n_unlabelled
    assert sum(listing.passed_over.values()) == n_passed_over


def check_labels(listing: Listing, tree: Tree) -> None:
    """Check that each image has the class and the split that a person reads in its path."""
    for path, (split, label) in read(listing).items():
        *folders, _ = path.split("/")
        upper = folders[:2]
        assert label in upper
        # What is in a folder of a split is of that split, unless the folder itself is the class.
        named = [SPLIT_OF[folder] for folder in upper if folder in SPLIT_OF and folder != label]
        assert named in ([], [split]) or (named == ["train"] and split == ""), (path, split, label)
        if label in SPLIT_OF:
            place = tree[folders[0]] if split else tree
            inner = None if place is None else place[label]
            assert inner is not None
            assert not any(content is not None for name, content in inner.items() if not is_junk(name))
    if listing.layout == "flat":
        visible = {name: inner for name, inner in tree.items() if inner is not None and not is_junk(name)}
        below = [
            {name for name, content in inner.items() if content is not None and not is_junk(name)}
            for name, inner in visible.items()
            if not name.endswith("->")
        ]
        assert not (len(below) > 1 and len(below[0]) > 1 and all(names == below[0] for names in below))


@POSIX
@settings(deadline=None, max_examples=150)
@given(grow(3))
@example(
    {
        "train": {"cat": {"1.png": None}, "dog": {"1.png": None}},
        "test": {"images": {"1.png": None, "._4.png": None}},
    }
)
@example(
    {"train": {"cat": {"1.png": None}, "dog": {"1.png": None}}, "test": {"train": {"cat": {"._4.png": None}}}}
)
@example({"cat": {"1.png": None}, "dog": {"1.png": None, "up ->": None}, "up ->": None})
@example(
    {
        "train": {"cat": {"1.png": None}, "dog": {"1.png": None}},
        "test": {"1.png": None, "@eaDir": {"1.png": None}},
    }
)
def test_any_tree_is_read_as_a_person_reads_it_or_refused(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "data"
        write(tree, root)
        try:
            listing = scan(root)
        except DataError as error:
            refusal = str(error)
        else:
            assert len(listing.classes) >= 2
            check_accounts(listing, list_files(root))
            check_labels(listing, tree)
            return
    assert str(root) in refusal
    assert "\n" not in refusal


# ---- with images


def draw(root: Path, files: Iterable[str]) -> Path:
    """Make tiny images of noise, different ones, in files of these names."""
    random = np.random.default_rng(0)
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / file)
    return root


def open_(root: Path, **options: object) -> Dataset:
    data = DataOptions(root, cache=root.parent / "cache", **options)  # type: ignore[arg-type]
    return open_dataset(data, recipe.Image(size=8))


def sizes(**n_of: int) -> list[str]:
    return [f"{place.replace('_', '/')}/{n}.png" for place, count in n_of.items() for n in range(count)]


@pytest.mark.parametrize(
    ("files", "validation", "left_out", "reason"),
    [
        (sizes(a=12, b=12, c=1), None, ["c"], "it has 1 different image, and needs 3"),
        (sizes(a=12, b=12, c=2, d=1), None, ["c", "d"], "it has 2 different images, and needs 3"),
        (sizes(a=12, b=12, c=3), None, [], ""),
        (sizes(train_a=9, train_b=9, train_c=1), None, ["c"], "it has 1 different image, and needs 2"),
        (sizes(train_a=9, train_b=9, train_c=1), "none", [], ""),
        (sizes(train_a=2, train_b=2, train_c=1, val_a=1, val_b=1, val_c=1), None, [], ""),
        (sizes(train1_a=2, train1_b=1, train2_a=1, train2_b=1), None, [], ""),
    ],
)
def test_classes_too_small_to_be_divided_are_left_out(
    tmp_path: Path, files: list[str], validation: str | None, left_out: list[str], reason: str
) -> None:
    dataset = open_(draw(tmp_path / "data", files), validation=validation)

    assert dataset.listing is not None
    everything = {record.label for record in dataset.listing.records}
    assert dataset.classes == tuple(sorted(everything - set(left_out)))
    assert {path.split("/")[-2] for path in dataset.left_out} == set(left_out)
    assert [warning.split()[2] for warning in dataset.listing.warnings] == left_out
    assert not left_out or dataset.listing.warnings[0] == f"the class {left_out[0]} is left out: {reason}"
    used = np.concatenate([*dataset.splits.train, dataset.splits.validation, dataset.splits.test])
    for index in used.tolist():
        assert dataset.classes[dataset.labels[index]] == dataset.listing.records[index].label
    assert len(used) + len(dataset.left_out) == len(files)


def test_copies_of_one_image_are_one_image_of_a_class(tmp_path: Path) -> None:
    root = draw(tmp_path / "data", sizes(a=12, b=12, c=1))
    for n in range(1, 9):
        shutil.copy(root / "c/0.png", root / f"c/{n}.png")
    assert open_(root).classes == ("a", "b")


def test_a_class_without_readable_images_is_left_out(tmp_path: Path) -> None:
    root = draw(tmp_path / "data", sizes(a=9, b=9))
    plant(root, ["notes/1.txt", "notes/2.xml"])
    dataset = open_(root)
    assert dataset.classes == ("a", "b")
    assert set(dataset.left_out) == {"notes/1.txt", "notes/2.xml"}


def test_two_classes_have_to_stay(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the class b has 2 readable images, too few"):
        open_(draw(tmp_path / "data", sizes(a=12, b=2)))


@pytest.mark.usefixtures("one_thread")
def test_a_run_remembers_what_the_user_said_of_the_folders(tmp_path: Path, small: tuple[str, ...]) -> None:
    root = draw(tmp_path / "data", sizes(berlin_cat=6, berlin_dog=6, rome_cat=6, rome_dog=6))
    options = DataOptions(root, layout="subfolders", cache=tmp_path / "cache")
    run = foveal.train(options, recipe="model-s-02", settings=[*small, "epochs=1"], out=tmp_path / "run")
    assert run.bundle.classes == ("cat", "dog")
    assert foveal.Run(run.path).evaluate("test").n > 0
    assert "--layout subfolders" in build_report(run).command


@POSIX
def test_links_that_lead_nowhere_are_named_with_their_reason(tmp_path: Path) -> None:
    root = draw(tmp_path / "data", sizes(a=9, b=9))
    (root / "a/self.png").symlink_to("self.png")
    (root / "a/lost.png").symlink_to("nowhere.png")
    (root / "a/folder").symlink_to(root / "b")
    left_out = open_(root).left_out
    assert sorted(left_out) == ["a/folder", "a/lost.png", "a/self.png"]
    assert all(left_out.values())
