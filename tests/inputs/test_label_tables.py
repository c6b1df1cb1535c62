"""Labels from CSV, TSV and Parquet files: what is understood, what is left out by name, what is refused."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image as PillowImage
from pyarrow import parquet

import foveal
from foveal.cli.main import main
from foveal.data.dataset import list_source, open_dataset
from foveal.data.options import DataOptions
from foveal.data.scan import Listing
from foveal.errors import DataError, RunError
from foveal.recipe.recipe import Image


def png(seed: int, value: int | None = None) -> bytes:
    """An image of 8 × 8 pixels, different for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    if value is not None:
        pixels[1:] = value
    stream = io.BytesIO()
    PillowImage.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write images named 000.png to 009.png (or others), and a table beside them."""

    def write(
        table: str | bytes, *, name: str = "labels.csv", images: Sequence[str] = NAMES, folder: str = ""
    ) -> Path:
        for seed, image in enumerate(images):
            path = tmp_path / folder / image
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(seed))
        (tmp_path / name).write_bytes(table.encode() if isinstance(table, str) else table)
        return tmp_path / name

    return write


NAMES = [f"{number:03d}.png" for number in range(6)]
ROWS = [("000.png", "cat"), ("001.png", "dog"), ("002.png", "cat"), ("003.png", "dog"), ("004.png", "cat")]
ROWS += [("005.png", "dog")]


def csv(header: str, rows: Sequence[Sequence[str]] = ROWS, delimiter: str = ",", end: str = "\n") -> str:
    return end.join([header.replace(",", delimiter), *(delimiter.join(row) for row in rows), ""])


def listed(path: Path, **options: Any) -> Listing:
    return list_source(DataOptions(path, cache=path.parent / "cache", **options))


def labels(listing: Listing) -> dict[str, str]:
    return {record.path: record.label for record in listing.records}


EXPECTED = dict(ROWS)


# ---- how a table is written


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.txt", "labels"])
def test_the_delimiter_is_found_whatever_the_name(make: Make, delimiter: str, name: str) -> None:
    assert labels(listed(make(csv("path,label", delimiter=delimiter), name=name))) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_in_every_form(make: Make, encoding: str) -> None:
    text = csv("path,label", [(path, label.replace("cat", "Katze ä ń 猫")) for path, label in ROWS])
    assert set(labels(listed(make(text.encode(encoding)))).values()) == {"Katze ä ń 猫", "dog"}


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("latin-1", "Latin-1"),
        ("windows-1252", "Windows-1252"),
        ("shift_jis", "Shift JIS"),
        ("gb18030", "East Asian"),
    ],
)
def test_another_encoding_is_refused_by_name_and_line(make: Make, encoding: str, named: str) -> None:
    label = {"latin-1": "Bär", "windows-1252": "Bär – „groß“", "shift_jis": "ネコとイヌのしゃしん"}.get(
        encoding, "猫和狗的照片以及其他动物"
    )
    text = csv("path,label", [*ROWS[:2], ("002.png", label), *ROWS[3:]])
    with pytest.raises(
        DataError, match=rf"is not UTF-8: line 4 holds the byte 0x..\. It looks like .*{named}"
    ):
        listed(make(text.encode(encoding)))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(make: Make, end: str) -> None:
    assert labels(listed(make(csv("path,label", end=end)))) == EXPECTED


def test_quotes_commas_blank_lines_and_spaces(make: Make) -> None:
    text = 'path,label\n\n"000.png","cat, big"\n 001.png , dog \n\n002.png,"cat, big"\n003.png,"dog"\n,\n'
    assert set(labels(listed(make(text))).values()) == {"cat, big", "dog"}


def test_the_line_with_which_excel_names_its_delimiter(make: Make) -> None:
    assert labels(listed(make("sep=;\r\n" + csv("path,label", delimiter=";")))) == EXPECTED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("path,label\n", "has a header, path, label, but no rows"),
        ("path\n000.png\n", "has one column only, 'path'"),
        ("path,label\n000.png,cat\n001.png,dog,big\n", r"line 3: 3 cells in place of 2"),
        ("path,label\n000.png,cat\n001.png\n", r"line 3: 1 cells in place of 2"),
        ('path,label\n000.png,"cat\n001.png,dog\n', r"line 2: .*is a quotation mark missing"),
        ("path;label,x\n000.png;a,b\n001.png;a,c\n", "may be separated by commas or semicolons"),
        ("000.png,cat\n001.png,dog\n", r"has no header: its first line has the path '000.png'"),
        ('{"path": "000.png", "label": "cat"}\n', "holds JSON"),
        ("<html><table>", "HTML"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(make: Make, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        listed(make(text))


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"PK\x03\x04....", r"ZIP file, as Excel workbooks"),
        (b"\xd0\xcf\x11\xe0...", "old Excel"),
        (b"\x1f\x8b....", "gzip"),
        (png(0), r"one image \(PNG\)"),
        (b"\xff\xd8\xff\xe0....", r"one image \(JPEG\)"),
        (b"\x93NUMPY....", "NumPy array"),
        (b"%PDF-1.7", "PDF"),
        (b"abc\x00\x01\x02def", "binary data"),
        (b"PAR1....", "cannot be read as Parquet"),
    ],
)
def test_another_kind_of_file_is_named(make: Make, start: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        listed(make(start))


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os = pytest.importorskip("os")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"is no ordinary file; name a folder .* or a table"):
        listed(tmp_path / "pipe")


# ---- texts stay what they are


@pytest.mark.parametrize(
    "label", ["NA", "nan", "None", "null", "true", "007", "1e5", "1.0", "-", "N/A", "=1+1"]
)
def test_a_label_is_a_text_and_nothing_else(make: Make, label: str) -> None:
    listing = listed(
        make(csv("path,label", [(path, label if text == "cat" else text) for path, text in ROWS]))
    )
    assert set(listing.classes) == {label, "dog"}


def test_an_empty_label_is_refused_by_line(make: Make) -> None:
    text = csv("path,label", [*ROWS[:2], ("002.png", ""), ("003.png", "  "), *ROWS[4:]])
    with pytest.raises(DataError, match=r"has no label in line 4, line 5 \(column 'label'\)"):
        listed(make(text))


def test_an_empty_path_is_refused_by_line(make: Make) -> None:
    with pytest.raises(DataError, match="line 4 has no path"):
        listed(make(csv("path,label", [*ROWS[:2], ("", "cat"), *ROWS[3:]])))


def test_two_unicode_forms_of_a_label_are_one(make: Make) -> None:
    text = csv("path,label", [("000.png", "é"), ("001.png", "é"), *ROWS[2:4]])
    assert listed(make(text)).classes == ("cat", "dog", "é")


@pytest.mark.parametrize(("one", "other"), [("cat", "Cat"), ("1", "1.0"), ("big cat", "big_cat")])
def test_labels_that_look_alike_are_warned_of(
    make: Make, one: str, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listed(make(csv("path,label", [("000.png", one), ("001.png", other), *ROWS[2:4]])))
    assert "look alike, but count as 2" in capsys.readouterr().err


@pytest.mark.parametrize("separator", ["|", ";", ", "])
def test_several_labels_of_one_image_are_refused(make: Make, separator: str) -> None:
    rows = [("000.png", f'"cat{separator}dog"'), ("001.png", f'"dog{separator}cat"'), *ROWS[2:]]
    with pytest.raises(DataError, match="several labels at once"):
        listed(make(csv("path,label", rows)))


def test_names_with_commas_are_no_lists(make: Make) -> None:
    rows = [(path, '"maillot, tank suit"' if label == "cat" else "maillot") for path, label in ROWS]
    assert listed(make(csv("path,label", rows))).classes == ("maillot", "maillot, tank suit")


def test_one_class_is_refused(make: Make) -> None:
    with pytest.raises(DataError, match="has one class only in the column 'label', cat"):
        listed(make(csv("path,label", [(path, "cat") for path, _ in ROWS])))


def test_measurements_are_no_classes(make: Make) -> None:
    names = [f"{number:03d}.png" for number in range(25)]
    with pytest.raises(DataError, match=r"25 different labels in 25 rows .*these are no classes"):
        listed(make(csv("path,target", [(name, f"0.{name[:3]}1") for name in names]), images=names))


# ---- columns


@pytest.mark.parametrize(
    ("path", "label"),
    [
        *(("path", "label"), ("file", "class"), ("filename", "category"), ("image", "target")),
        *(("image_path", "Class"), ("Image Name", "CLASS NAME"), ("file_name", "labels"), ("img", "y")),
        *(("imagePath", "ground-truth"), ("id", "label"), ("image_id", "breed"), ("FILE PATH", "species")),
        *(("name", "dx"), ("img_file", "class_label"), ("Filename", "Diagnosis"), ("relative path", "tag")),
    ],
)
def test_usual_names_of_columns(make: Make, path: str, label: str) -> None:
    listing = listed(make(csv(f"{path},{label},width,notes", [(*row, "8", "x") for row in ROWS])))
    assert labels(listing) == EXPECTED


def test_an_index_column_of_pandas_is_no_path(make: Make) -> None:
    rows = [(str(number), *row) for number, row in enumerate(ROWS)]
    assert labels(listed(make(csv(",filename,label", rows)))) == EXPECTED


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (
            "scan,label",
            r"no column with a usual name for the path; its columns are 'scan', 'label'; name .*--columns",
        ),
        ("path,colour", r"no column with a usual name for the label; its columns are 'path', 'colour'"),
        ("path,path", r"two columns 'path'; rename one"),
    ],
)
def test_columns_that_nobody_can_know_are_asked_for(make: Make, header: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        listed(make(csv(header)))


@pytest.mark.parametrize(
    "columns", ["path=scan,label=colour", ["path=scan", "label=colour"], {"path": "scan", "label": "Colour"}]
)
def test_columns_that_are_named(make: Make, columns: Any) -> None:
    assert labels(listed(make(csv("scan,colour")), columns=columns)) == EXPECTED


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("path=nowhere", r"has no column 'nowhere'; its columns are 'path', 'label'"),
        ("pat=path", r"--columns pat=… is unknown; did you mean 'path'\?"),
        ("path", r"is not of the form ROLE=COLUMN"),
        ("label=none", r"needs a column for the label"),
        (["path=path", "path=label"], "names the column of the path twice"),
    ],
)
def test_columns_that_are_named_wrongly(make: Make, columns: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        listed(make(csv("path,label")), columns=columns)


def test_two_columns_that_may_be_labels_are_asked_for(make: Make) -> None:
    rows = [(*row, "ab"[number % 3 == 0]) for number, row in enumerate(ROWS)]
    with pytest.raises(DataError, match=r"several columns that may hold the label: 'label', 'category'"):
        listed(make(csv("path,label,category", rows)))


def test_numbers_and_names_of_the_same_classes_are_one_column(make: Make) -> None:
    rows = [(path, str(len(label)) if label == "cat" else "7", label) for path, label in ROWS]
    assert labels(listed(make(csv("path,class_id,class_name", rows)))) == EXPECTED


def test_of_two_columns_of_paths_the_one_that_leads_to_files(make: Make) -> None:
    rows = [(f"http://x/{path}", path, label) for path, label in ROWS]
    assert labels(listed(make(csv("url,filename,label", rows)))) == EXPECTED


def test_two_columns_that_lead_to_files_are_asked_for(make: Make) -> None:
    rows = [(path, NAMES[-1 - number], label) for number, (path, label) in enumerate(ROWS)]
    with pytest.raises(DataError, match="several columns that may hold the path: 'image', 'file'"):
        listed(make(csv("image,file,label", rows)))


def test_a_column_for_each_class_is_named(make: Make) -> None:
    rows = [(path, "1.0", "0.0") if label == "cat" else (path, "0.0", "1.0") for path, label in ROWS]
    with pytest.raises(DataError, match=r"a column for each class \(cat, dog\); make one column named label"):
        listed(make(csv("image,cat,dog", rows)))


def test_columns_of_a_folder_have_no_effect(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--columns belongs to a table of labels"):
        list_source(DataOptions(tmp_path, columns="path=x"))


# ---- files


@pytest.mark.parametrize("folder", ["images", "images/train"])
def test_ids_find_their_files(make: Make, folder: str) -> None:
    rows = [(path.removesuffix(".png"), label) for path, label in ROWS]
    listing = listed(make(csv("id,label", rows), folder=folder))
    assert labels(listing) == {f"{folder}/{path}": label for path, label in ROWS}


def test_names_find_their_files_in_subfolders_when_unique(make: Make) -> None:
    assert len(listed(make(csv("path,label"), folder="a")).records) == 6
    with pytest.raises(
        DataError,
        match=r"6 rows whose path cannot be read without a guess: line 2 names 000.png, which may be",
    ):
        listed(make(csv("path,label"), folder="b"))


def test_an_id_with_two_files_is_refused(make: Make) -> None:
    rows = [(path.removesuffix(".png"), label) for path, label in ROWS]
    with pytest.raises(DataError, match=r"line 3 names 001, which may be 001\.(jpg|png), 001\.(jpg|png)"):
        listed(make(csv("id,label", rows), images=[*NAMES, "001.jpg"]))


@pytest.mark.parametrize("spell", [str.upper, lambda path: f"./{path}", lambda path: f"a\\..\\{path}"])
def test_spellings_of_a_path(make: Make, spell: Callable[[str], str]) -> None:
    assert labels(listed(make(csv("path,label", [(spell(path), label) for path, label in ROWS])))) == EXPECTED


def test_windows_paths(make: Make) -> None:
    rows = [(f"images\\pets\\{path}", label) for path, label in ROWS]
    listing = listed(make(csv("path,label", rows), folder="images/pets"))
    assert labels(listing) == {f"images/pets/{path}": label for path, label in ROWS}


def test_the_folder_of_the_images_may_be_another(make: Make, tmp_path: Path) -> None:
    table = make(csv("path,label"), name="labels.csv", folder="images")
    other = tmp_path / "tables" / "labels.csv"
    other.parent.mkdir()
    table.rename(other)
    assert labels(listed(other, images=tmp_path / "images")) == EXPECTED
    with pytest.raises(DataError, match=r"none of which is in .*tables .*--images"):
        listed(other)
    with pytest.raises(DataError, match=r"--images .*nowhere is no folder"):
        listed(other, images=tmp_path / "nowhere")


def test_paths_relative_to_the_table_with_images_named(make: Make, tmp_path: Path) -> None:
    """The table says images/000.png, and --images says images."""
    rows = [(f"images/{path}", label) for path, label in ROWS]
    listing = listed(make(csv("path,label", rows), folder="images"), images=tmp_path / "images")
    assert labels(listing) == EXPECTED


def test_absolute_paths_are_understood_here_and_elsewhere(make: Make, tmp_path: Path) -> None:
    here = [(str(tmp_path / "images" / path), label) for path, label in ROWS]
    assert labels(listed(make(csv("path,label", here), folder="images"))) == EXPECTED
    there = [(f"/home/ana/images/{path}", label) for path, label in ROWS]
    listing = listed(make(csv("path,label", there), folder="images"), images=tmp_path / "images")
    assert labels(listing) == EXPECTED
    windows = [(f"C:\\data\\{path}", label) for path, label in ROWS]
    listing = listed(make(csv("path,label", windows), folder="images"), images=tmp_path / "images")
    assert labels(listing) == EXPECTED


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../../etc/passwd", r"line 4 names ../../etc/passwd, which does not lie in"),
        ("https://example.com/cat.png", r"line 4 names the web address"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(make: Make, path: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        listed(make(csv("path,label", [*ROWS[:2], (path, "cat"), *ROWS[3:]])))


def test_missing_files_are_left_out_by_name(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    listing = listed(make(csv("path,label", [*ROWS, ("gone.png", "cat"), ("lost.png", "dog")])))
    assert labels(listing) == EXPECTED
    assert listing.unusable == {
        "gone.png": "labels.csv names it in line 8, but it is not there",
        "lost.png": "labels.csv names it in line 9, but it is not there",
    }
    assert "2 images of labels.csv are not used: gone.png" in capsys.readouterr().err


def test_images_that_no_row_names_are_left_out_by_name(make: Make) -> None:
    images = [*(f"a/{name}" for name in NAMES), "a/more.png", "a/b/deep.jpg", "a/notes.txt", "a/.hidden.png"]
    rows = [(f"a/{path}", label) for path, label in ROWS]
    listing = listed(make(csv("path,label", rows), images=images))
    assert listing.unusable == dict.fromkeys(["a/b/deep.jpg", "a/more.png"], "no row of labels.csv names it")


def test_an_unreadable_image_is_left_out(make: Make, cache: Path) -> None:
    table = make(csv("path,label", [*ROWS, ("006.png", "cat"), *((f"1{n}.png", "dog") for n in range(9))]),
                 images=[*NAMES, *(f"1{n}.png" for n in range(9))])  # fmt: skip
    table.with_name("006.png").write_bytes(b"no image")
    dataset = open_dataset(DataOptions(table, validation="none", cache=cache), Image(size=8))
    assert list(dataset.left_out) == ["006.png"]


# ---- rows that say the same, or the contrary


def test_the_same_row_twice_is_counted(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert labels(listed(make(csv("path,label", [*ROWS, ROWS[0], ("./001.png", "dog")])))) == EXPECTED
    assert "names 2 images once more, with the same label (line 8, line 9)" in capsys.readouterr().err


def test_two_labels_of_one_image_are_refused_with_both_lines(make: Make) -> None:
    with pytest.raises(
        DataError, match=r"contradicts itself about 1 images: 000\.png is cat in line 2 and dog in line 8"
    ):
        listed(make(csv("path,label", [*ROWS, ("000.png", "dog")])))


def test_two_splits_of_one_image_are_refused(make: Make) -> None:
    rows = [(path, label, "train" if number < 4 else "test") for number, (path, label) in enumerate(ROWS)]
    with pytest.raises(DataError, match=r"000\.png is train in line 2 and test in line 8"):
        listed(make(csv("path,label,split", [*rows, ("000.png", "cat", "test")])))


# ---- splits and groups


@pytest.mark.parametrize(
    ("column", "train", "validation", "test"),
    [
        ("split", "train", "val", "test"),
        ("Set", "TRAIN", "Valid", "TEST"),
        ("subset", "training", "validation", "testing"),
        ("fold", "train_set", "dev_set", "test_set"),
        ("partition", "Train", "dev", "eval"),
    ],
)
def test_usual_names_of_splits(make: Make, column: str, train: str, validation: str, test: str) -> None:
    splits = [train, train, validation, validation, test, test]
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    listing = listed(make(csv(f"path,label,{column}", rows)))
    assert [record.folder for record in listing.records] == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    assert listing.layout == "named"


def test_unknown_splits_are_all_listed(make: Make) -> None:
    splits = ["train", "train", "0", "0", "secret", "test"]
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    table = make(csv("path,label,split", rows))
    with pytest.raises(
        DataError,
        match=r"no names of splits: '0' \(2 rows, first line 4\), 'secret' \(1 rows, first line 6\)",
    ):
        listed(table)
    assert listed(table, columns="split=none").layout == "flat"


def test_a_split_without_a_class_is_refused(make: Make) -> None:
    splits = ["train", "train", "train", "train", "train", "test"]
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    with pytest.raises(DataError, match="the class cat in train but not in test"):
        listed(make(csv("path,label,split", rows)))


def test_numbered_splits(make: Make) -> None:
    splits = ["train1", "train1", "train2", "train2", "test", "test"]
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    assert listed(make(csv("path,label,split", rows))).layout == "numbered"


@pytest.mark.parametrize("column", ["group", "Patient ID", "subject", "slide_id"])
def test_groups_never_cross_splits(make: Make, cache: Path, column: str) -> None:
    images = [f"{number:03d}.png" for number in range(60)]
    rows = [(name, "ab"[number % 2], f"{number // 4:02d}") for number, name in enumerate(images)]
    dataset = open_dataset(
        DataOptions(make(csv(f"path,label,{column}", rows), images=images), cache=cache), Image(size=8)
    )
    groups = [
        {int(index) // 4 for index in dataset.get_indices(split)} for split in ("train", "validation", "test")
    ]
    assert len(set().union(*groups)) == sum(map(len, groups))


def test_of_nested_groups_the_larger_ones(make: Make) -> None:
    rows = [(*row, str(number), "xy"[number // 4]) for number, row in enumerate(ROWS)]
    listing = listed(make(csv("path,label,subject,patient", rows)))
    assert listing.groups is not None
    assert set(listing.groups.values()) == {"x", "y"}


def test_groups_that_do_not_nest_are_asked_for(make: Make) -> None:
    rows = [(*row, str(number % 2), str(number // 3)) for number, row in enumerate(ROWS)]
    with pytest.raises(DataError, match="several columns that may hold the group"):
        listed(make(csv("path,label,subject,patient", rows)))


# ---- Parquet


def write_parquet(path: Path, columns: Mapping[str, Any], names: Sequence[str] | None = None) -> Path:
    table = pyarrow.table(columns)
    if names is not None:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path)
    return path


def test_parquet_with_paths(make: Make, tmp_path: Path) -> None:
    make("")
    path = write_parquet(tmp_path / "labels.parquet", {"path": NAMES, "label": [label for _, label in ROWS]})
    assert labels(listed(path)) == EXPECTED


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 0, 1, 0, 1], {"0", "1"}),
        ([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], {"0", "1"}),
        ([True, False, True, False, True, False], {"true", "false"}),
        (["007", "NA", "007", "NA", "nan", "nan"], {"007", "NA", "nan"}),
        (pyarrow.array(list("ababab")).dictionary_encode(), {"a", "b"}),
    ],
)
def test_labels_of_parquet_as_texts(make: Make, tmp_path: Path, values: Any, expected: set[str]) -> None:
    make("")
    path = write_parquet(tmp_path / "labels.parquet", {"path": NAMES, "label": values})
    assert set(listed(path).classes) == expected


def test_a_missing_label_of_parquet_is_refused_by_row(make: Make, tmp_path: Path) -> None:
    make("")
    path = write_parquet(tmp_path / "labels.parquet", {"path": NAMES, "label": [0, 1, None, 1, 0, 1]})
    with pytest.raises(DataError, match="has no label in row 3"):
        listed(path)


@pytest.mark.parametrize(
    "stored", [[f"x/{name}" for name in NAMES], ["same.png"] * 6, [None] * 6, ["../a"] * 6]
)
def test_images_inside_a_parquet_file(tmp_path: Path, stored: list[str | None]) -> None:
    images = [{"bytes": png(seed), "path": path} for seed, path in enumerate(stored)]
    path = write_parquet(
        tmp_path / "train-00000.parquet", {"image": images, "label": [0, 1, 0, 1, 0, 1]}, names=("cat", "dog")
    )
    listing = listed(path)
    assert [record.label for record in listing.records] == ["cat", "dog"] * 3
    contents = [(listing.root / record.path).read_bytes() for record in listing.records]
    assert contents == [png(seed) for seed in range(6)]
    assert all(
        (listing.root / record.path).resolve().is_relative_to(listing.root.resolve())
        for record in listing.records
    )


def test_images_inside_a_parquet_file_are_unpacked_once(tmp_path: Path) -> None:
    images = [{"bytes": png(seed), "path": None} for seed in range(6)]
    path = write_parquet(tmp_path / "a.parquet", {"image": images, "label": list("ababab")})
    first = listed(path)
    assert listed(path) == first
    copy = path.with_name("b.parquet")
    copy.write_bytes(path.read_bytes())
    assert listed(copy).root == first.root


def test_a_row_without_an_image_is_left_out(tmp_path: Path) -> None:
    images = [
        {"bytes": png(seed), "path": None} if seed else {"bytes": None, "path": None} for seed in range(6)
    ]
    path = write_parquet(tmp_path / "a.parquet", {"image": images, "label": list("ababab")})
    listing = listed(path)
    assert len(listing.records) == 5
    assert listing.unusable == {"row 1 of a.parquet": "the row has no image"}


def test_plain_bytes_are_images_too(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet", {"image": [png(seed) for seed in range(6)], "label": list("ababab")}
    )
    assert len(listed(path).records) == 6


def test_parquet_without_pyarrow_names_the_extra(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    path = make(b"PAR1....")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["train", str(path), "--recipe", "digits"]) == 2
    assert "pip install 'foveal[parquet]'" in capsys.readouterr().err


# ---- whole runs


@pytest.fixture
def table(few_digits: Path, tmp_path: Path) -> Path:
    """The digits of a few folders as a table, whose images lie in one folder under numbers."""
    (tmp_path / "images").mkdir()
    lines = ["id,label,split"]
    for number, file in enumerate(sorted(few_digits.rglob("*.png"))):
        split, label = file.parts[-3:-1]
        (tmp_path / "images" / f"{number:04d}.png").write_bytes(file.read_bytes())
        lines.append(f"{number:04d},0{label},{split}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "labels.csv"


SMALL = ("size=8", "widths=[8]", "dense=16", "batch_size=16", "momentum=0.5", "epochs=1")


@pytest.fixture
def run(table: Path, cache: Path, tmp_path: Path) -> foveal.Run:
    data = foveal.DataOptions(table, cache=cache, images=table.parent / "images")
    return foveal.train(data, recipe="model-s-02", settings=SMALL, out=tmp_path / "run")


def test_a_run_on_a_table(run: foveal.Run, table: Path) -> None:
    assert run.bundle.classes == ("00", "03", "08")
    assert run.evaluate("test").n == 30
    assert foveal.Run(run.path).folder.environment.data == str(table)


def test_a_run_on_a_table_from_the_command_line(
    table: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        str(table),
        "--images",
        str(table.parent / "images"),
        "--columns",
        "path=id,label=label",
    ]
    words += ["--recipe", "model-s-02", "--cache", str(cache), "--out", str(tmp_path / "run"), "--json"]
    assert main([*words, *(word for setting in SMALL for word in ("--set", setting))]) == 0
    assert json.loads(capsys.readouterr().out)["validation"]["n"] == 12
    assert main(["evaluate", str(tmp_path / "run")]) == 0


def test_a_changed_label_is_noticed(run: foveal.Run, table: Path) -> None:
    """The images are the same, and so are the numbers of each class."""
    text = table.read_text()
    first, second = "0010,00,", next(line for line in text.splitlines() if ",03,test" in line)[:5]
    swapped = text.replace(f"{first}test", "0010,03,test").replace(f"{second}03,test", f"{second}00,test")
    assert swapped != text
    table.write_text(swapped)
    with pytest.raises(RunError, match=r"the images or their labels in .*labels.csv are not those"):
        foveal.evaluate(run.path)


@pytest.mark.parametrize("place", ["labels.csv", "."])
def test_a_table_and_its_images_can_be_moved(
    run: foveal.Run, table: Path, tmp_path: Path, place: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "images").rename(elsewhere / "images")
    table.rename(elsewhere / "labels.csv")
    with pytest.raises(DataError, match=r"labels.csv, which .* --data DIR"):
        foveal.evaluate(run.path)
    assert foveal.evaluate(run.path, data=elsewhere / place).n == 30


def test_the_images_of_a_table_can_be_moved_alone(run: foveal.Run, table: Path, tmp_path: Path) -> None:
    (tmp_path / "images").rename(tmp_path / "pictures")
    assert (
        main(["evaluate", str(run.path), "--data", str(table), "--images", str(tmp_path / "pictures")]) == 0
    )


def test_preview_and_repeat_take_a_table(table: Path, cache: Path, tmp_path: Path) -> None:
    data = foveal.DataOptions(table, cache=cache)
    assert foveal.preview(data, recipe="model-s-02").dataset.classes == ("00", "03", "08")
    group = foveal.repeat(data, runs=1, recipe="model-s-02", settings=SMALL, out=tmp_path / "group")
    assert len(group.runs) == 1


def test_a_budget_takes_a_table(table: Path, cache: Path, tmp_path: Path) -> None:
    data = foveal.DataOptions(table, cache=cache)
    assert foveal.train(data, budget="5s", out=tmp_path / "run").bundle.classes == ("00", "03", "08")


def test_the_report_names_a_command_for_the_table(run: foveal.Run) -> None:
    run.evaluate("test")
    page = run.report().read_text()
    assert "labels.csv" in page


# ---- what two options, or two runs, say differently


def test_a_group_by_expression_takes_the_columns_place(make: Make) -> None:
    table = make(csv("path,label,patient", [(*row, "p") for row in ROWS]))
    assert listed(table, group=r"\d").groups is None
    with pytest.raises(DataError, match=r"--group and --columns group=… both say what groups are"):
        listed(table, group=r"\d", columns="group=patient")


def test_a_group_of_the_table_in_two_splits_is_refused_with_a_way_out(make: Make, cache: Path) -> None:
    splits = ["train", "train", "train", "train", "test", "test"]
    rows = [(*row, split, "p") for row, split in zip(ROWS, splits, strict=True)]
    data = DataOptions(make(csv("path,label,split,patient", rows)), validation="none", cache=cache)
    with pytest.raises(DataError, match=r"the group p is in train and in test.*--columns group=none"):
        open_dataset(data, Image(size=8))


def test_invisible_characters_in_labels_are_warned_of(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    listed(make(csv("path,label", [("000.png", "cat\u200b"), *ROWS[1:]])))
    assert r"'cat' and 'cat\u200b'" in capsys.readouterr().err.replace("\\\\", "\\")


def test_changed_splits_are_named_as_the_cause(run: foveal.Run, table: Path) -> None:
    text = table.read_text()
    number = next(line for line in text.splitlines() if line.endswith("00,test"))
    table.write_text(text.replace(number, number.replace("test", "train")))
    with pytest.raises(RunError, match="its splits or groups changed"):
        foveal.evaluate(run.path)


def test_a_group_of_runs_keeps_its_columns(table: Path, cache: Path, tmp_path: Path) -> None:
    """With other columns the second run would learn other labels."""
    data = foveal.DataOptions(table, cache=cache)
    foveal.repeat(data, runs=1, recipe="model-s-02", settings=SMALL, out=tmp_path / "group")
    other = foveal.DataOptions(table, cache=cache, columns="label=label,split=none")
    with pytest.raises(RunError, match="holds runs with table"):
        foveal.repeat(other, runs=2, recipe="model-s-02", settings=SMALL, out=tmp_path / "group")


def test_a_class_whose_images_are_all_unreadable_is_refused(make: Make, cache: Path) -> None:
    table = make(csv("path,label"))
    for path, label in ROWS:
        if label == "cat":
            table.with_name(path).write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"no image of the class cat of .*labels.csv can be read; the first, 000"
    ):
        open_dataset(DataOptions(table, cache=cache), Image(size=8))


@pytest.mark.parametrize(
    "name",
    [
        *("../a.png", "/etc/a.png", "C:\\a.png", "a/../../b.png", "con.png", ".hidden.png", "a\0.png"),
        *("x" * 300, "a//b.png", "a:b.png", "a\n.png", ""),
    ],
)
def test_names_inside_a_parquet_file_never_lead_out_of_the_cache(tmp_path: Path, name: str) -> None:
    images = [{"bytes": png(seed), "path": name if seed == 0 else f"{seed}.png"} for seed in range(6)]
    listing = listed(write_parquet(tmp_path / "a.parquet", {"image": images, "label": list("ababab")}))
    assert [record.path for record in listing.records] == [f"row-{row}.png" for row in range(1, 7)]
    assert {path.parent for path in tmp_path.rglob("*.png")} == {listing.root}


def test_a_rare_class_and_an_unreadable_image_are_both_left_out(make: Make, cache: Path) -> None:
    images = [f"{number:03d}.png" for number in range(30)]
    rows = [(name, "rare" if number == 29 else "ab"[number % 2]) for number, name in enumerate(images)]
    table = make(csv("path,label", rows), images=images)
    table.with_name("003.png").write_bytes(b"no image")
    dataset = open_dataset(DataOptions(table, cache=cache), Image(size=8))
    assert dataset.classes == ("a", "b")
    assert list(dataset.left_out) == ["003.png", "029.png"]


def test_ids_without_their_zeros_are_explained(make: Make) -> None:
    rows = [(str(int(path.removesuffix(".png"))), label) for path, label in ROWS]
    with pytest.raises(DataError, match=r"there is 000\.png, so the ids may have lost their zeros"):
        listed(make(csv("id,label", rows)))


def test_a_group_that_holds_all_images_is_refused_with_a_way_out(make: Make, cache: Path) -> None:
    data = DataOptions(make(csv("path,label,patient", [(*row, "p") for row in ROWS])), cache=cache)
    with pytest.raises(DataError, match=r"too closely grouped.*--columns group=none"):
        open_dataset(data, Image(size=8))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["labels.csv"], r"the table labels\.csv; if it has the labels, name it in the folder's place"),
        (["train.parquet", "test.parquet"], r"the tables .*; name the one that has the labels"),
        (["data.zip"], r"the archive data\.zip; unpack it first"),
    ],
)
def test_a_folder_without_class_folders_is_refused_with_what_it_holds(
    tmp_path: Path, names: list[str], reason: str
) -> None:
    for name in [*names, "000.png"]:
        (tmp_path / name).write_bytes(png(0))
    with pytest.raises(DataError, match=reason):
        list_source(DataOptions(tmp_path))


def test_what_does_not_exist_is_neither(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        list_source(DataOptions(tmp_path / "nowhere.csv", images=tmp_path))
