"""What is looked at before training is what training then takes."""

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import foveal
from foveal.errors import DataError
from foveal.models import registry
from foveal.run.run import Run


def test_it_is_the_data_that_train_takes(
    few_digits: Path, cache: Path, finished: Path, small: tuple[str, ...]
) -> None:
    data = foveal.preview(foveal.DataOptions(few_digits, cache=cache), recipe="model-s-02", settings=small)
    run = Run(finished, cache=cache)
    assert data.recipe == run.recipe
    assert data.dataset.to_record() == run.folder.dataset
    assert str(data.network) == registry.format_layer_table(run.model, size=8, channels=3)
    assert repr(data.network) == str(data.network)


def test_it_shows_itself(few_digits: Path, cache: Path, small: tuple[str, ...]) -> None:
    data = foveal.preview(foveal.DataOptions(few_digits, cache=cache), recipe="model-s-02", settings=small)
    assert repr(data).splitlines()[0] == (
        "8 × 8 pixels, colour, 3 classes, in batches of 16 "
        "(a tenth of train validates, stratified; 0 files left out)"
    )
    assert [line.split() for line in repr(data).splitlines()[4:]] == [
        ["0", "36", "4", "10"],
        ["3", "36", "4", "10"],
        ["8", "36", "4", "10"],
        ["all", "108", "12", "30"],
    ]
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(data._repr_html_())
    assert " ".join(found).endswith("validation test 0 36 4 10 3 36 4 10 8 36 4 10 all 108 12 30")


def test_its_examples_are_training_images(few_digits: Path, cache: Path, small: tuple[str, ...]) -> None:
    data = foveal.preview(foveal.DataOptions(few_digits, cache=cache), recipe="model-s-02", settings=small)
    picture = data.examples(50, max_classes=2)  # there are 36 of each: the rest stays blank
    svg = ElementTree.fromstring(picture.svg)
    assert len([each for each in svg.iter() if each.tag.endswith("}image")]) == 100
    assert [each.text for each in svg.iter() if each.tag.endswith("}text")] == ["0", "3"]


def test_names_are_escaped_and_many_are_cut(tmp_path: Path, cache: Path) -> None:
    from foveal.data.decode import encode_png

    for number in range(50):
        folder = tmp_path / "data" / ("<b>" if number == 0 else f"class-{number:02d}")
        folder.mkdir(parents=True)
        for each in range(3):
            image = np.full((8, 8), 40 * each + number, dtype=np.uint8)
            (folder / f"{each}.png").write_bytes(encode_png(image))
    data = foveal.preview(foveal.DataOptions(tmp_path / "data", cache=cache), recipe="digits")
    assert "&lt;b&gt;" in data._repr_html_()
    assert "<b>" not in data._repr_html_()
    assert "… and 10 more" in repr(data)
    assert len(repr(data).splitlines()) == 4 + 40 + 2


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        foveal.preview(tmp_path / "none", recipe="digits")


def test_getting_data_again_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    folder = foveal.get("digits", tmp_path / "digits", exist_ok=True)  # an empty folder is filled
    images = sorted(folder.rglob("*.png"))
    assert len(images) == 1797
    times = [file.stat().st_mtime_ns for file in images]
    assert foveal.get("digits", folder, exist_ok=True) == folder
    assert [file.stat().st_mtime_ns for file in images] == times
    with pytest.raises(DataError, match="is there already"):
        foveal.get("digits", folder)
    with pytest.raises(DataError, match="did you mean digits"):
        foveal.get("digit", folder, exist_ok=True)
