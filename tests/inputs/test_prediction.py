"""What people give to `predict`: every way to have an image at hand, and what is no image."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import foveal
from foveal.cli.main import main
from foveal.deployment.bundle import Bundle, load_bundle
from foveal.deployment.inputs import collect_items
from foveal.deployment.predictions import find_true_label
from foveal.errors import DataError, ModelError


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Bundle:
    """A model of three digits at 8 × 8 pixels."""
    return load_bundle(finished)


@pytest.fixture(scope="module")
def file(few_digits: Path) -> Path:
    """A grey image of the model's size."""
    return sorted((few_digits / "test" / "8").iterdir())[0]


# ---- every way to have an image at hand gives the same answer


WAYS: dict[str, Callable[[Path], Any]] = {
    "path": lambda file: file,
    "name": str,
    "list": lambda file: [file],
    "tuple of lists": lambda file: ([str(file)],),
    "generator": lambda file: (each for each in [file]),
    "array of names": lambda file: np.array([str(file)]),
    "array of objects": lambda file: np.array([file], dtype=object),
    "bytes": lambda file: file.read_bytes(),
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "memoryview": lambda file: memoryview(file.read_bytes()),
    "open file": lambda file: io.BytesIO(file.read_bytes()),
    "file on disk": lambda file: file.open("rb"),
    "PIL image from a file": Image.open,
    "PIL image in memory": lambda file: Image.open(file).copy(),
    "PIL image, RGB": lambda file: Image.open(file).convert("RGB"),
    "PIL image, RGBA": lambda file: Image.open(file).convert("RGBA"),
    "PIL image, LA": lambda file: Image.open(file).convert("LA"),
    "PIL image, palette": lambda file: Image.open(file).convert("P"),
    "array (H, W)": lambda file: np.asarray(Image.open(file)),
    "array (H, W, 1)": lambda file: np.asarray(Image.open(file))[..., None],
    "array (H, W, 3)": lambda file: np.asarray(Image.open(file).convert("RGB")),
    "array (N, H, W, 1)": lambda file: np.asarray(Image.open(file))[None, ..., None],
    "array (N, H, W, 3)": lambda file: np.asarray(Image.open(file).convert("RGB"))[None],
    "array of Fortran's order": lambda file: np.asfortranarray(np.asarray(Image.open(file))),
    "tensor (H, W)": lambda file: torch.from_numpy(np.asarray(Image.open(file)).copy()),
}


def test_every_way_to_have_an_image_gives_the_same_answer(bundle: Bundle, file: Path) -> None:
    values = [WAYS[way](file) for way in WAYS]
    expected, *found = bundle.predict(file, values)
    for way, value, each in zip(WAYS, values, found, strict=True):
        assert (way, each.label, each.error) == (way, expected.label, None)
        assert each.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
        if hasattr(value, "close"):
            value.close()


def test_a_mixture_keeps_its_order(bundle: Bundle, finished: Path, file: Path) -> None:
    pixels = np.asarray(Image.open(file))
    mixture = [
        pixels,
        str(file),
        [file.read_bytes(), np.stack([pixels, pixels])[..., None]],
        Image.open(file),
    ]
    for found in (
        bundle.predict(mixture),
        foveal.predict(finished, *mixture),
        foveal.Run(finished).predict(mixture),
    ):
        assert [each.path for each in found] == [
            "input[0]", str(file), "input[2]", "input[3]", "input[4]", str(file)
        ]  # fmt: skip
        assert len({each.label for each in found}) == 1


def test_arrays_of_other_sizes_are_resized_as_files_are(bundle: Bundle, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    of_array, of_file = bundle.predict(pixels, tmp_path / "a.png")
    assert of_array.probabilities == of_file.probabilities


def test_a_rotated_pil_image_is_taken_as_its_file_is(bundle: Bundle, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    of_file, of_image = bundle.predict(tmp_path / "a.png", Image.open(tmp_path / "a.png"))
    assert of_image.probabilities == of_file.probabilities
    assert bundle.predict(Image.fromarray(pixels))[0].probabilities != of_file.probabilities


def test_pil_images_of_other_modes(bundle: Bundle) -> None:
    images = [Image.new("RGB", (8, 8), "white").convert(mode) for mode in ("RGB", "1", "CMYK", "YCbCr")]
    assert len({each.label for each in bundle.predict(images)}) == 1


def test_what_cannot_be_read_keeps_its_place(bundle: Bundle, file: Path, tmp_path: Path) -> None:
    read_before = io.BytesIO(file.read_bytes())
    read_before.read()
    closed = io.BytesIO()
    closed.close()
    cut = tmp_path / "cut.jpg"
    Image.effect_noise((64, 64), 90).save(cut)
    cut.write_bytes(cut.read_bytes()[:1500])
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 60)
    wrong = [
        b"",
        b"no image",
        read_before,
        io.BytesIO(),
        closed,
        Image.open(io.BytesIO(cut.read_bytes())),
        Image.new("HSV", (8, 8)),
        deep,
    ]
    found = bundle.predict([*wrong, file])
    assert [each.error is not None for each in found] == [True] * len(wrong) + [False]
    reasons = [str(each.error) for each in found]
    for reason, expected in zip(
        reasons,
        ["empty", "no ", "rewinds", "empty", "closed", "truncated", "convert('RGB')", "deep"],
        strict=False,
    ):
        assert expected in reason


# ---- what is no image, or may be one in several ways, is refused with the way to convert it


GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
REFUSED: dict[str, tuple[Any, str]] = {
    "floats to 1": (
        GREY / 255,
        r"float64; .* go from 0 to 0\.741\d*; if 1 is white: \(x \* 255\)\.round\(\)",
    ),
    "floats to 255": (
        GREY.astype(np.float32),
        r"float32.*if 255 is white: x\.round\(\)\.astype\(np\.uint8\)",
    ),
    "floats from -1 to 1": (GREY / 127.5 - 1, r"if -1 is black and 1 is white: \(\(x \+ 1\) \* 127\.5\)"),
    "standardised floats": ((GREY - 90.0) / 30, "scale them to 0 to 255 as the images of the training were"),
    "no numbers": (np.full((8, 8), np.nan), "must all be numbers"),
    "whole numbers": (GREY.astype(np.int64), r"int64.*x\.round\(\)\.astype\(np\.uint8\)"),
    "16 bits": (GREY.astype(np.uint16) * 257, r"uint16.*deep greyscale.*PIL\.Image\.fromarray\(x\)"),
    "true and false": (GREY > 90, r"if true is white: x\.astype\(np\.uint8\) \* 255"),
    "bytes divided by 255": ((GREY / 180).round().astype(np.uint8), "no value above 1.*all but black"),
    "complex numbers": (GREY.astype(complex), "give such an array, or the path"),
    "a tensor (C, H, W)": (torch.zeros(3, 8, 8, dtype=torch.uint8), r"come last: np\.moveaxis\(x, 0, -1\)"),
    "a batch (N, C, H, W)": (np.zeros((5, 3, 8, 8), np.uint8), r"come last: np\.moveaxis\(x, 1, -1\)"),
    "a batch (N, H, W)": (np.zeros((5, 8, 8), np.uint8), r"5 grey images: x\[\.\.\., np\.newaxis\]"),
    "two channels": (np.zeros((2, 8, 8, 2), np.uint8), "with 1 or 3 channels"),
    "four channels": (np.zeros((8, 8, 4), np.uint8), r"without the fourth: x\[\.\.\., :3\]"),
    "five axes": (np.zeros((2, 2, 8, 8, 3), np.uint8), "has the shape"),
    "one axis": (np.zeros(64, np.uint8), "has the shape"),
    "no axis": (np.uint8(3), "has the shape"),
    "no pixels": (np.zeros((0, 8, 3), np.uint8), "none of it is empty"),
    "a tensor with a gradient": (torch.zeros(8, 8, requires_grad=True), "cannot become a NumPy array"),
    "a number": (3, "of the type int, which is no image"),
    "nothing": (None, "NoneType, which is no image"),
    "a list of numbers": ([[0, 255], [255, 0]], "of the type int"),
    "a dictionary": ({"image": "a.png"}, "no fixed order"),
    "a set": ({"a.png", "b.png"}, "no fixed order"),
    "text": (io.StringIO("a"), "open it as bytes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_is_refused_with_the_way_to_convert_it(case: str) -> None:
    value, complaint = REFUSED[case]
    with pytest.raises(DataError, match=complaint) as refusal:
        collect_items([np.zeros((8, 8), np.uint8), value])
    assert "\n" not in str(refusal.value)
    if case != "text":
        assert "input[1]" in str(refusal.value)


def test_the_conversions_that_are_named_are_accepted() -> None:
    x = GREY / 255
    collect_items((x * 255).round().astype(np.uint8))
    collect_items(((GREY / 127.5 - 1 + 1) * 127.5).round().astype(np.uint8))
    collect_items((GREY > 90).astype(np.uint8) * 255)
    collect_items(np.moveaxis(np.zeros((3, 8, 8), np.uint8), 0, -1))
    collect_items(np.moveaxis(np.zeros((5, 3, 8, 8), np.uint8), 1, -1))
    assert len(collect_items(np.zeros((5, 8, 8), np.uint8)[..., np.newaxis])) == 5
    collect_items(np.zeros((8, 8), np.uint8))  # black


def test_nothing_is_refused(bundle: Bundle) -> None:
    for nothing in ([], np.zeros((0, 8, 8, 3), np.uint8), ()):
        with pytest.raises(ModelError, match="an empty list"):
            bundle.predict(nothing)


# ---- folders: what programs leave, and folders that tell the class


def test_what_programs_leave_is_passed_over(tmp_path: Path, file: Path) -> None:
    for name in (
        "a.png",
        "@eaDir/a.png/thumb.jpg",
        "__MACOSX/._a.png",
        "Thumbs.db",
        ".DS_Store",
        "b/desktop.ini",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / name)
    assert [item.name for item in collect_items(tmp_path)] == [str(tmp_path / "a.png")]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("data", "cat"), ("cat", None)),
        (("data", "test", "cat"), ("cat", None)),
        (("data", "Testing", "cat", "more"), ("cat", None)),
        (("cat",), ("cat", None)),
        (("cat", "day1"), ("cat", None)),
        (("data",), (None, None)),
        (("data", "test"), (None, None)),
        (("data", "bird"), (None, "bird")),
        (("data", "test", "bird"), (None, "bird")),
        (("data", "Cat"), (None, "Cat")),
        (("data", "ko\u0308ln"), ("k\u00f6ln", None)),
        (("data", "test", "test"), (None, "test")),
    ],
)
def test_the_class_that_folders_tell(folders: tuple[str, ...], expected: object) -> None:
    assert find_true_label(folders, ["cat", "dog", "k\u00f6ln"]) == expected


def test_a_class_with_the_name_of_a_split() -> None:
    assert find_true_label(("data", "test"), ["test", "other"]) == ("test", None)


@pytest.mark.parametrize("below", ["test", "."])
def test_the_accuracy_on_a_labelled_tree(
    below: str, bundle: Bundle, few_digits: Path, tmp_path: Path
) -> None:
    shutil.copytree(few_digits / "test", tmp_path / "data" / "test")
    found = bundle.predict(tmp_path / "data" / below)
    n_correct = sum(each.label == each.true_label for each in found)
    assert f"{n_correct} of 30 images were given the class of their folder" in found.notes[0]
    assert "95 % interval" in found.notes[0]
    assert found.notes[0] in repr(found)


def test_no_accuracy_where_a_folder_is_no_class(bundle: Bundle, few_digits: Path, tmp_path: Path) -> None:
    shutil.copytree(few_digits / "test", tmp_path / "data")
    (tmp_path / "data" / "8").rename(tmp_path / "data" / "eight")
    assert bundle.predict(tmp_path / "data").notes[0] == (
        "no accuracy is told, because some folders are no classes of the model: eight"
    )
    for name in ("0", "3"):
        (tmp_path / "data" / name).rename(tmp_path / "data" / f"{name}x")
    assert not [note for note in bundle.predict(tmp_path / "data").notes if "accuracy" in note]


def test_no_accuracy_for_files_without_labels(bundle: Bundle, file: Path) -> None:
    assert not [note for note in bundle.predict(file).notes if "accuracy" in note]


# ---- the command


def test_the_command_tells_accuracy_and_unsure_answers(
    finished: Path, few_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(finished / "model", tmp_path / "model"))
    sure = load_bundle(model)
    lowest = min(each.probability or 0 for each in sure.predict(few_digits / "test"))
    object.__setattr__(sure, "threshold", lowest + 1e-9)
    sure.save(model, about="")
    command = ["predict", str(model), str(few_digits / "test")]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "answer" in shown.splitlines()[0]
    assert "1 of 30 answers are unsure: their probability is below" in shown
    assert "accuracy" in shown
    assert main([*command, "--format", "csv"]) == 0
    output = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(output.out)))
    assert list(rows[0]) == ["path", "class", "probability", "unsure", "error"]
    assert sorted({row["unsure"] for row in rows}) == ["sure", "unsure"]
    assert "accuracy" in output.err
    assert main([*command, "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(line["unsure"] for line in lines) == 1
    assert {line["true_label"] for line in lines} == {"0", "3", "8"}


def test_a_list_of_paths(
    finished: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(file, tmp_path / "a[1].png")
    shutil.copy(file, tmp_path / "-b ü.png")
    shutil.copy(file, tmp_path / "c1.png")
    names = [tmp_path / "a[1].png", tmp_path / "-b ü.png", tmp_path / "c[1].png"]
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    # c[1].png is no pattern for c1.png here: it is missing.
    assert main(["predict", str(finished), "--list", str(listed), "--format", "jsonl"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines] == list(map(str, names))
    assert [line["error"] is None for line in lines] == [True, True, False]
    assert main(["predict", str(finished), str(file), "--list", str(listed)]) == 1
    assert len(capsys.readouterr().out.splitlines()) >= 2 + 4


def test_a_list_on_standard_input(finished: Path, file: Path) -> None:
    command = [sys.executable, "-m", "foveal", "predict", str(finished), "--list", "-", "--format", "csv"]
    done = subprocess.run(
        command, input=f"{file}\n", capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert (done.returncode, done.stdout.count(str(file))) == (0, 1)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot read the list"), (b"\n \n", "names no image"), (b"\x89PNG\r\n", "it is an image itself")],
)
def test_a_wrong_list_is_refused(
    content: bytes | None, complaint: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "list.txt"
    if content is not None:
        listed.write_bytes(content)
    assert main(["predict", str(finished), "--list", str(listed)]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_no_image_at_all_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(finished)]) == 2
    assert "--list FILE" in capsys.readouterr().err
