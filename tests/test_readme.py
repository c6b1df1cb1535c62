"""The README: short enough for two minutes, and its example prints what it says."""

import re
from pathlib import Path

import pytest

from foveal.cli.main import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def mask_numbers(line: str) -> str:
    """Return a line without the digits in it, with single blanks and short rules."""
    return " ".join(re.sub(r"─+", "─", re.sub(r"[\d.,]*\d", "0", line)).split())


def test_it_takes_two_minutes() -> None:
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 900


def test_the_measured_figures_are_few_and_all_in_the_measurements() -> None:
    table = README.partition("## Measured")[2].partition("##")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert 0 < len(rows) <= 8
    measurements = (Path(__file__).parent.parent / "docs" / "measurements.md").read_text(encoding="utf-8")
    figures = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", measurements)]
    for row in rows:
        for number in re.findall(r"\d+\.\d+", row.split("|")[2]):
            decimals = len(number.partition(".")[2])
            assert any(f"{figure:.{decimals}f}" == number for figure in figures), (row, number)


@pytest.mark.usefixtures("one_thread")
def test_the_example_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One epoch in place of all; every line that is shown was printed, other numbers aside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    example = README.partition("## Example")[2]
    commands = re.findall(r"^foveal .*", example, flags=re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["data", "train"]
    for command in commands:
        words = command.split()[1:]
        assert main([*words, *(["--set", "epochs=1"] if words[0] == "train" else [])]) == 0
    printed = capsys.readouterr()
    lines = {mask_numbers(line) for line in (printed.out + printed.err).splitlines()}
    block = re.search(r"```text\n(.*?)```", example, flags=re.DOTALL)
    assert block is not None
    shown = [mask_numbers(line) for line in block[1].splitlines() if line.strip() not in ("", "…")]
    assert len(shown) >= 8
    for line in shown:
        beginning = line.removesuffix("…")
        candidates = lines if line == beginning else {each[: len(beginning)] for each in lines}
        assert beginning in candidates, line
    assert (tmp_path / "runs" / "first" / "report.html").is_file()
