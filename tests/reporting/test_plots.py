import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from foveal.errors import OutsideError
from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.roc import ClassCurves
from foveal.files.run_records import EpochRecord
from foveal.reporting import plots

Judge = Callable[..., Evaluation]
Curve = Callable[[str, float], ClassCurves]

HOSTILE = [
    "<script>alert(1)</script>",
    "$x^2$",
    "$\\frac{",
    "a\u202eb\x07\n\x00",
    "x" * 5000,
    "日本語",
    "\udcff",
    "_hidden",
    "&amp;\"'",
    "",
]


def texts(svg: str) -> list[str]:
    """All texts of a picture; fails if it is no XML."""
    return [
        "".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("}text")
    ]


def written(stem: Path) -> tuple[str, Image.Image]:
    with Image.open(stem.with_name(stem.name + ".png")) as image:
        image.load()
        return stem.with_name(stem.name + ".svg").read_text(), image.convert("RGB")


def test_learning_curves(notebook: list[EpochRecord], tmp_path: Path) -> None:
    svg = plots.draw_learning_curves(notebook, tmp_path / "curves", next_learning_rate=1e-7)
    saved, image = written(tmp_path / "curves")
    assert saved == svg
    assert image.size == (1440, 608)
    assert image.getpixel((2, 2)) == (255, 255, 255)
    shown = texts(svg)
    assert {
        "Loss (nats)",
        "Accuracy (%)",
        "epoch",
        "validation",
        "learning rate cut",
        "best epoch (13)",
    } <= set(shown)
    assert svg.count("stroke-dasharray: 0.9,1.8") == 2 * 4 + 1  # four cuts in each panel, and the legend


@pytest.mark.parametrize("n", [1, 2])
def test_few_epochs(notebook: list[EpochRecord], tmp_path: Path, n: int) -> None:
    svg = plots.draw_learning_curves(notebook[:n], tmp_path / "curves")
    ticks = [text for text in texts(svg) if text.replace(".", "").isdigit()]
    assert "1" in ticks


def test_nothing_validated(epochs: Callable[..., list[EpochRecord]], tmp_path: Path) -> None:
    svg = plots.draw_learning_curves(
        epochs([(1, 0.5, None, None, 0.1), (0.5, 0.6, None, None, 0.1)]), tmp_path / "c"
    )
    assert not {"validation", "best epoch (1)"} & set(texts(svg))


def test_confusion_matrix_has_every_number(cifar: Evaluation, tmp_path: Path) -> None:
    shown = texts(plots.draw_confusion_matrix(cifar, tmp_path / "matrix"))
    numbers = [int(text.replace(",", "")) for text in shown if text.replace(",", "").isdigit()]
    assert sorted(numbers) == sorted(np.array(cifar.confusion).ravel().tolist())
    assert [scores.name for scores in cifar.classes] == [t for t in shown if t.isalpha()][:10]


def test_true_classes_are_rows(judge: Judge, tmp_path: Path) -> None:
    # All of the first class are predicted as the second: the upper right is dark, the upper left pale.
    plots.draw_confusion_matrix(judge([[0, 9], [9, 0]], ["a", "b"]), tmp_path / "matrix")
    _, image = written(tmp_path / "matrix")
    width, height = image.size
    right, left = image.getpixel((int(0.9 * width), height // 6)), image.getpixel((width // 3, height // 6))
    assert sum(right) < 350 < 650 < sum(left)


def test_many_classes(judge: Judge, tmp_path: Path) -> None:
    counts = np.eye(100, dtype=int) * 8 + 1
    e = judge(counts.tolist(), [f"class {i}" for i in range(100)])
    svg = plots.draw_confusion_matrix(e, tmp_path / "matrix")
    shown = texts(svg)
    assert "1" not in shown  # no numbers in cells
    assert {"class 0", "class 99"} <= set(shown)
    assert len(svg) < 500_000


def test_roc_curves_are_named_worst_first(curve: Curve, tmp_path: Path) -> None:
    curves = [curve(f"c{i}", 0.99 - 0.01 * i) for i in range(plots.MAX_NAMED_CURVES + 5)]
    shown = [
        text
        for text in texts(plots.draw_roc_curves(curves, tmp_path / "roc"))
        if text.startswith("0.") and "c" in text
    ]
    assert [text.split() for text in shown] == [
        [f"{c.area:.4f}", c.name] for c in sorted(curves, key=lambda c: c.area)[: plots.MAX_NAMED_CURVES]
    ]


def test_the_corner_is_drawn_only_where_curves_reach_it(curve: Curve, tmp_path: Path) -> None:
    assert "Upper left corner" in texts(plots.draw_roc_curves([curve("a", 0.95)], tmp_path / "roc"))
    assert "Upper left corner" not in texts(plots.draw_roc_curves([curve("a", 0.6)], tmp_path / "roc"))


def test_hostile_names_are_inert(
    judge: Judge, curve: Curve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    e = judge((np.eye(len(HOSTILE), dtype=int) * 5 + 1).tolist(), HOSTILE)
    with caplog.at_level(logging.WARNING):
        pictures = [
            plots.draw_confusion_matrix(e, tmp_path / "matrix"),
            plots.draw_roc_curves([curve(name, 0.9) for name in HOSTILE], tmp_path / "roc"),
        ]
    for svg in pictures:
        root = ElementTree.fromstring(svg)
        assert not any(node.tag.endswith("script") for node in root.iter())
        shown = "\n".join(texts(svg))
        assert "$x^2$" in shown
        assert "<script>alert(1)" in shown
        assert "日本語" in shown
        assert "\\u202e" in shown
        assert "_hidden" in shown
        assert "\u202e" not in shown
        assert "x" * 21 not in shown


def test_same_bytes_every_time(notebook: list[EpochRecord], cifar: Evaluation, tmp_path: Path) -> None:
    for name in ("a", "b"):
        plots.draw_learning_curves(notebook, tmp_path / f"{name}1")
        plots.draw_confusion_matrix(cifar, tmp_path / f"{name}2")
    for number in "12":
        for suffix in (".svg", ".png"):
            assert (tmp_path / f"a{number}{suffix}").read_bytes() == (
                tmp_path / f"b{number}{suffix}"
            ).read_bytes()


def test_the_user_s_settings_neither_matter_nor_change(notebook: list[EpochRecord], tmp_path: Path) -> None:
    expected = plots.draw_learning_curves(notebook, tmp_path / "curves")
    with mpl.rc_context({"font.size": 30, "text.usetex": True, "svg.fonttype": "path", "axes.grid": True}):
        before = dict(mpl.rcParams)
        assert plots.draw_learning_curves(notebook, tmp_path / "curves") == expected
        assert dict(mpl.rcParams) == before


def test_pyplot_stays_out(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from foveal.reporting import plots;"
        "from foveal.files.run_records import EpochRecord;"
        "assert 'matplotlib' not in sys.modules;"
        "plots.draw_learning_curves([EpochRecord(epoch=1, step=1, learning_rate=1, loss=1, accuracy=1,"
        " validation_loss=None, validation_accuracy=None)], pathlib.Path(sys.argv[1]));"
        "assert 'matplotlib.pyplot' not in sys.modules; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "curves")], check=True)


def test_a_full_or_closed_disk_is_one_line(notebook: list[EpochRecord], tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="cannot write"):
        plots.draw_learning_curves(notebook, tmp_path / "missing" / "curves")
