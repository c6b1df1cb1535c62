"""Every script in `examples/` runs to its end on the digits, and says something."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def test_there_are_four() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(
    script: Path,
    some_digits: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr("sys.argv", [str(script)])
    (tmp_path / "digits").symlink_to(some_digits)
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    expected = {
        "train_folder": "report.html",
        "compare_two_recipes": r"The recipes? of (without|with-dropout) ",
        "own_network": "test images",
        "scikit_learn_pipeline": r"accuracy on 500 other images: 0\.",
    }
    assert re.search(expected[script.stem], printed)
