"""Names of classes and files may be any string: wherever they are shown, they do nothing."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

import foveal
from foveal.cli.main import main
from foveal.progress import csv_cell

NAMES = [
    "<script>alert(1)<／script>",
    '=HYPERLINK("x")',
    "+cmd|' ∕C calc'!A0",
    "@SUM(1)",
    "-2+3",
    "\x1b[2J\x1b[31mred",
    "a\nb\r\tc",
    "\u202egnp.exe",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac{1}{0}$",
    "x" * 120,
    "-1",
    "né \udcff",
    "con",
    "--help",
]


@pytest.fixture(scope="module")
def run(few_digits: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    """A run on a few digits whose classes, and a file, have these names."""
    root = tmp_path_factory.mktemp("names") / "data"
    some = sorted((few_digits / "train" / "0").iterdir())
    for number, name in enumerate(NAMES):
        for split, n in (("train", 2), ("test", 1)):
            (root / split / name).mkdir(parents=True)
            for index in range(n):
                shutil.copy(some[(number + index) % len(some)], root / split / name / f"={index}\x1b[2J.png")
    trained = foveal.train(
        foveal.DataOptions(root, validation="none", cache=cache),
        recipe="model-s-02",
        settings=["widths=[4]", "dense=4", "epochs=1", "size=8", "batch_size=8"],
        out=root.parent / "run",
    )
    trained.evaluate("test")
    trained.report()
    return trained


def test_names_travel_unchanged(run: foveal.Run) -> None:
    assert set(run.bundle.classes) == set(NAMES)
    assert {each.name for each in run.evaluate("test").classes} == set(NAMES)


def test_the_page_shows_names_and_runs_none(run: foveal.Run) -> None:
    page = run.folder.report.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "{{ 7 * 7 }}" in page or "&#123;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_tables_are_inert_in_spreadsheets_and_terminals(run: foveal.Run) -> None:
    text = (run.path / "predictions" / "test.csv").read_bytes().decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 1 + len(NAMES)
    for row in rows[1:]:
        for each in row[:3]:
            assert each == "-1" or not each.startswith(("=", "+", "-", "@"))
    assert not {"\x1b", "\u202e", "\t"} & set(text)


def test_every_command_s_output_is_inert(run: foveal.Run, capsys: pytest.CaptureFixture[str]) -> None:
    image = next((Path(run.folder.environment.data) / "test" / "-1").iterdir())
    for words in (
        ["evaluate", str(run.path)],
        ["report", str(run.path)],
        ["predict", str(run.path), str(image)],
        ["predict", str(run.path), str(image), "--format", "csv"],
        ["predict", str(run.path), str(image), "--format", "jsonl"],
        ["evaluate", str(run.path), "--json"],
    ):
        assert main(words) == 0
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
        if words[-1] in ("jsonl", "--json"):
            json.loads(said.out)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("-1", "-1"),
        ("+2.5", "+2.5"),
        ("-1e", "'-1e"),
        ("=1", "'=1"),
        ("@x", "'@x"),
        ("a=b", "a=b"),
        ("\t=1", "\\t=1"),
        ("", ""),
    ],
)
def test_cells(name: str, shown: str) -> None:
    assert csv_cell(name) == shown
