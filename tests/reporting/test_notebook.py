"""Pictures in a notebook: what they show is what was drawn and measured."""

import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from foveal.errors import RunError
from foveal.files.run_folder import RunFolder
from foveal.reporting import notebook
from foveal.run.run import Run


def texts(picture: notebook.Picture) -> str:
    """Return what is written in the picture; a line each is an element of its own."""
    every = ElementTree.fromstring(picture.svg).iter()
    return " ".join("".join(each.itertext()) for each in every if each.tag.endswith("}text"))


@pytest.fixture(scope="module")
def run(finished: Path, cache: Path) -> Run:
    return Run(finished, cache=cache)


@pytest.mark.parametrize("name", ["learning_curves", "confusion_matrix", "roc_curves"])
def test_a_notebook_shows_the_pictures_of_the_report(run: Run, name: str) -> None:
    picture = getattr(run, name)()
    png, shown = picture._repr_png_()
    assert png == (run.folder.plots / f"{name.replace('_', '-')}.png").read_bytes()
    assert picture.svg == (run.folder.plots / f"{name.replace('_', '-')}.svg").read_text("utf-8")
    assert shown == {"width": struct.unpack(">I", png[16:20])[0] // 2}
    assert run.path.name in repr(picture)


def test_a_picture_can_be_saved(run: Run, tmp_path: Path) -> None:
    picture = run.learning_curves()
    assert picture.save(tmp_path / "a.svg").read_text("utf-8") == picture.svg
    assert picture.save(tmp_path / "a.png").read_bytes() == picture.png


def test_the_errors_are_those_of_the_predictions(run: Run) -> None:
    evaluation = run.evaluation("test")
    assert evaluation is not None
    picture = run.errors(most=2)
    lines = (run.folder.predictions / "test.csv").read_text("utf-8").splitlines()[1:]
    wrong = [row for row in (line.split(",") for line in lines) if row[1] != row[2]]
    assert len(wrong) == evaluation.errors > 0
    assert picture is not None
    assert repr(picture) == f"Picture('{min(2, len(wrong))} of {len(wrong)} errors, the surest first')"
    _, label, predicted, sureness = max(wrong, key=lambda row: float(row[3]))
    assert f"{predicted}, {float(sureness):.0%}" in texts(picture)
    assert f"in truth {label}" in texts(picture)


def errors(probabilities: Any, labels: list[int]) -> notebook.Picture | None:
    pixels = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1)
    rows = np.array([2, 0], dtype=np.int64)
    return notebook.render_errors(
        pixels, rows, np.array(probabilities), np.array(labels), ("$x^2$", "b\x1b"), limit=9
    )


def test_without_errors_there_is_no_picture_of_them() -> None:
    assert errors([[0.9, 0.1], [0.2, 0.8]], [0, 1]) is None


def test_names_are_drawn_as_they_are_and_harmless() -> None:
    picture = errors([[0.27, 0.73], [0.999, 0.001]], [0, 1])
    assert picture is not None
    assert texts(picture) == r"$x^2$, 100% in truth b\x1b b\x1b, 73% in truth $x^2$"


def test_what_is_not_there_is_said(finished: Path, tmp_path: Path) -> None:
    before = RunFolder(finished)
    made = RunFolder.create(
        tmp_path / "run", recipe=before.recipe, dataset=before.dataset, environment=before.environment
    )
    with pytest.raises(RunError, match="has not been evaluated"):
        Run(made.path).errors()
    empty = notebook.Report.from_run(made)
    for draw, complaint in (
        (notebook.render_learning_curves, "no epoch is finished yet"),
        (notebook.render_confusion_matrix, "nothing was judged yet"),
        (notebook.render_roc_curves, "there are no ROC curves"),
    ):
        with pytest.raises(RunError, match=complaint):
            draw(empty)
