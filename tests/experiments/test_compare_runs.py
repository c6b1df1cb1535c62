"""Runs compared on the test images they share."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal.cli.main import main
from foveal.comparison.models import Contender, compare_models
from foveal.comparison.recipes import RecipeRuns, compare_recipes
from foveal.comparison.result import Comparison
from foveal.comparison.verdict import format_p_value, format_rounded
from foveal.data.options import DataOptions
from foveal.errors import RunError
from foveal.reporting.compare_page import render_comparison


def contender(name: str, predicted: np.ndarray) -> Contender:
    return Contender(name=name, y_pred=predicted, seconds=1.0, parameters=10, details={})


def judged(counts: tuple[int, int, int, int], *more: np.ndarray) -> Comparison:
    """Two contenders of two classes: both right, only the first, only the second, neither."""
    labels = np.arange(sum(counts)) % 2
    kind = np.repeat(np.arange(4), counts)
    first = np.where((kind == 0) | (kind == 1), labels, 1 - labels)
    second = np.where((kind == 0) | (kind == 2), labels, 1 - labels)
    all_of_them = [contender("one", first), contender("two", second)]
    all_of_them += [contender(f"more {index}", each) for index, each in enumerate(more)]
    return compare_models(all_of_them, labels, ["cat", "dog"], split="test", recipes="none")


@pytest.mark.parametrize(
    ("counts", "verdict", "words"),
    [
        ((800, 20, 60, 120), "better", "two is better than one: right alone on 60 images, one on 20"),
        ((800, 60, 20, 120), "worse", "two is worse than one"),
        ((900, 22, 30, 48), "cannot be told apart", "images would be needed"),
        ((900, 30, 30, 40), "cannot be told apart", "right equally often"),
        ((1000, 0, 0, 0), "cannot be told apart", "right equally often"),
    ],
)
def test_verdicts(counts: tuple[int, int, int, int], verdict: str, words: str) -> None:
    found = judged(counts)
    (pair,) = found.pairs
    assert (pair.both, pair.only_first, pair.only_second, pair.neither) == counts
    assert pair.verdict == verdict
    assert words in str(found)
    assert pair.n == found.n == sum(counts)
    low, high = pair.interval
    assert low <= pair.difference <= high
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["schema"] == 2


def test_many_pairs_are_corrected() -> None:
    labels = np.arange(1000) % 2
    draw = np.random.default_rng(0)
    many = [np.where(draw.random(1000) < 0.9, labels, 1 - labels) for _ in range(5)]
    found = judged((820, 33, 61, 86), *many)
    pair = found.pairs[0]
    assert pair.p < 0.05 < pair.p_corrected
    assert pair.verdict == "cannot be told apart"
    assert "some differ as much by chance" in pair.describe()
    assert len(found.pairs) == 21


def test_a_class_that_changed_is_named() -> None:
    labels = np.repeat([0, 1, 2], 300)
    first, second = labels.copy(), labels.copy()
    second[:40] = 2
    first[300:302] = 0
    found = compare_models(
        [contender("one", first), contender("two", second)],
        labels,
        ["cat", "dog", "ox"],
        split="test",
        recipes="",
    )
    (pair,) = found.pairs
    assert [each.p < 0.05 for each in pair.classes] == [True, False, False]
    assert pair.classes[0].difference == pytest.approx(-40 / 300)
    assert "cat" in str(found).split("Classes whose recall differs")[1]


def test_errors_and_images_that_only_one_gets_right_are_told() -> None:
    labels = np.repeat([0, 1, 2], 100)
    first, second = labels.copy(), labels.copy()
    first[:40] = 1  # as 1 what is 0,
    second[200:230] = 1  # and what is 2
    second[0] = 2  # an image that neither gets right
    sure = np.linspace(0.0, 1.0, 300)
    contenders = [
        Contender(
            name=name, y_pred=each, seconds=None, parameters=1, details={}, true_class_probability=truth
        )
        for name, each, truth in (("one", first, sure), ("two\x1b[2J", second, np.full(300, 0.5)))
    ]
    paths = [f"test/{row}.png" for row in range(300)]
    found = compare_models(contenders, labels, ["cat", "dog", "ox"], split="test", recipes="", paths=paths)
    (pair,) = found.pairs
    assert len(found.images) == pair.only_first + pair.only_second == 69
    assert found.images[0].path == "test/1.png"  # the further apart their probabilities are, the sooner
    assert {each.path for each in found.images} == set(paths[1:40]) | set(paths[200:230])
    assert found.images[0].predicted == ("dog", "cat")
    assert found.images[0].true_class_probabilities == (pytest.approx(1 / 299, abs=1e-6), 0.5)
    assert pair.mistakes is not None
    assert (pair.mistakes.distance, pair.mistakes_p_corrected) == (pytest.approx(1), 0.0005)
    assert [(each.true, each.predicted, each.first, each.second) for each in pair.confusions] == [
        ("cat", "dog", 40, 0),
        ("ox", "dog", 0, 30),
        ("cat", "ox", 0, 1),
    ]
    words = str(found)
    assert "40 and 31 errors; 100.0 % of them fall on other pairs of classes" in words
    assert re.search(r"^cat → dog +40 +0 +< 0\.0001$", words, re.MULTILINE)
    assert "Images that only one gets right: 3 of 30, all by --json" in words
    assert "\x1b" not in words
    assert "errors are distributed otherwise" in words
    flawless = judged((90, 10, 0, 0))
    assert flawless.pairs[0].mistakes is None
    assert "one makes no error" in str(flawless)
    assert flawless.images == ()


def test_of_several_pairs_each_image_is_listed_once() -> None:
    labels = np.arange(60) % 2
    predicted = [labels, np.where(np.arange(60) < 10, 1 - labels, labels), 1 - labels]
    contenders = [contender(f"{index}", each) for index, each in enumerate(predicted)]
    found = compare_models(
        contenders, labels, ["a", "b"], split="test", recipes="", paths=[f"{row}" for row in range(60)]
    )
    assert [each.path for each in found.images] == [f"{row}" for row in range(60)]
    assert found.images[10].predicted == ("a", "a", "b")
    assert found.images[10].true_class_probabilities is None
    assert json.loads(json.dumps(found.to_json()))["images"][10] == {
        "path": "10",
        "label": "a",
        "predicted": ["a", "a", "b"],
        "of_truth": None,
    }


def test_p_values_and_counts_claim_no_more_digits_than_they_have() -> None:
    assert [format_p_value(p) for p in (0.0, 1e-9, 0.0001, 0.04321)] == [
        "p < 0.0001",
        "p < 0.0001",
        "p = 0.0001",
        "p = 0.043",
    ]
    assert [format_rounded(count) for count in (2, 99, 104, 262_151)] == ["2", "99", "100", "260,000"]


@pytest.fixture(scope="module")
def two(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    place = tmp_path_factory.mktemp("two")
    for seed in (1, 2):
        run = foveal.train(
            DataOptions(few_digits, cache=cache),
            recipe="model-s-02",
            settings=small,
            out=place / f"seed-{seed}",
            seed=seed,
        )
        run.evaluate("test")
    return [place / "seed-1", place / "seed-2"]


def test_two_runs(two: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = foveal.compare(*two)
    assert [each.name for each in found.contenders] == ["seed-1", "seed-2"]
    for path, each in zip(two, found.contenders, strict=True):
        evaluation = foveal.Run(path).evaluation("test")
        assert evaluation is not None
        assert each.accuracy == evaluation.accuracy
        assert each.accuracy_interval == evaluation.accuracy_interval
        assert each.parameters == 2987
    assert "another seed would give another model" in str(found)
    assert main(["compare", *map(str, two)]) == 0
    assert "30 test images" in capsys.readouterr().out
    assert main(["compare", *map(str, two), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_json()))


def test_the_order_of_files_plays_no_part(
    two: list[Path], few_digits: Path, cache: Path, tmp_path: Path
) -> None:
    """The same images under other names are the same images."""
    renamed = Path(shutil.copytree(few_digits, tmp_path / "data"))
    for index, file in enumerate(sorted((renamed / "test").rglob("*.png"), reverse=True)):
        file.rename(file.with_name(f"{index:03d}-{file.name}"))
    recipe = two[0] / "recipe.json"
    run = foveal.train(DataOptions(renamed, cache=cache), recipe=recipe, out=tmp_path / "run", seed=1)
    run.evaluate("test")
    (pair,) = foveal.compare(two[0], run).pairs
    assert (pair.only_first, pair.only_second) == (0, 0)
    found = foveal.compare(run, two[1])
    assert {each.path for each in found.images} <= {
        file.relative_to(renamed).as_posix() for file in (renamed / "test").rglob("*.png")
    }
    for each in found.images:  # its path and its class are of the same image
        assert each.path.split("/")[1] == each.label


def test_what_cannot_be_compared_is_refused(
    two: list[Path], few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="two runs or more"):
        foveal.compare(two[0])
    other = Path(shutil.copytree(few_digits, tmp_path / "data"))
    next((other / "test" / "0").iterdir()).unlink()
    data = DataOptions(other, cache=cache)
    run = foveal.train(data, recipe="model-s-02", settings=small, out=tmp_path / "run")
    with pytest.raises(RunError, match=r"has not been evaluated; first: foveal evaluate"):
        foveal.compare(two[0], run)
    run.evaluate("test")
    with pytest.raises(RunError, match="1 images are in one of them only"):
        foveal.compare(two[0], run)
    (other / "test" / "8").rename(other / "test" / "9")
    (other / "train" / "8").rename(other / "train" / "9")
    run = foveal.train(data, recipe="model-s-02", settings=small, out=tmp_path / "nine")
    run.evaluate("test")
    with pytest.raises(RunError, match="other classes"):
        foveal.compare(two[0], run)


def test_names_are_told_apart(two: list[Path], tmp_path: Path) -> None:
    grouped = Path(shutil.copytree(two[0], tmp_path / "five" / "seed-1"))
    (tmp_path / "five" / "group.json").write_text("{}")
    found = foveal.compare(two[0], grouped)
    assert [each.name for each in found.contenders] == ["seed-1", "five/seed-1"]
    copied = Path(shutil.copytree(two[0], tmp_path / "seed-1"))
    found = foveal.compare(two[0], copied)
    assert [each.name for each in found.contenders] == [str(two[0]), str(copied)]


def test_a_page_tells_the_same_and_shows_images(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "page.html"
    assert main(["compare", *map(str, two), "--html", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    page = file.read_text(encoding="utf-8")
    (pair,) = found["pairs"]
    shown = [
        each["path"]
        for side in (0, 1)
        for each in found["images"]
        if each["predicted"][side] == each["label"]
    ]
    assert shown
    assert [path in page for path in shown] == [True] * len(shown)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == len(shown)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    run = foveal.Run(two[0])
    packed = run.dataset.pack.pixels[run.dataset.pack.paths.index(shown[0])]
    assert np.array_equal(pixels, packed.squeeze())
    assert f"<td>{pair['confusions'][0]['first']}</td>" in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def test_a_page_is_written_where_the_images_are_gone_and_names_are_hostile(tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    contenders = [
        contender("<script>alert(1)</script>\u202e", labels),
        contender("two", np.where(np.arange(40) < 9, 1 - labels, labels)),
    ]
    paths = [f"test/<img src=x>{row}" for row in range(40)]
    found = compare_models(contenders, labels, ["<b>cat", "dog"], split="test", recipes="", paths=paths)
    page = render_comparison(found, {})
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert "The images themselves are not where they were" in page
    groups = [RecipeRuns(name=name, correct=np.eye(3, 30, dtype=bool)) for name in ("one", "<i>")]
    page = render_comparison(compare_recipes(groups, split="test"), {})
    assert "their means are equal" in page
    assert "<i>" not in page
