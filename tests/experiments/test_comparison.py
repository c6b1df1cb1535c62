"""Runs compared on the test images they share."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import foveal
from foveal.cli.main import main
from foveal.errors import RunError
from foveal.evaluation.compare import Comparison, Contender, compare


def contender(name: str, predicted: np.ndarray) -> Contender:
    return Contender(name=name, predicted=predicted, seconds=1.0, parameters=10, about={})


def judged(counts: tuple[int, int, int, int], *more: np.ndarray) -> Comparison:
    """Two contenders of two classes: both right, only the first, only the second, neither."""
    labels = np.arange(sum(counts)) % 2
    kind = np.repeat(np.arange(4), counts)
    first = np.where((kind == 0) | (kind == 1), labels, 1 - labels)
    second = np.where((kind == 0) | (kind == 2), labels, 1 - labels)
    all_of_them = [contender("one", first), contender("two", second)]
    all_of_them += [contender(f"more {index}", each) for index, each in enumerate(more)]
    return compare(all_of_them, labels, ["cat", "dog"], split="test", recipes="none")


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
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["schema"] == 1


def test_many_pairs_are_corrected() -> None:
    labels = np.arange(1000) % 2
    draw = np.random.default_rng(0)
    many = [np.where(draw.random(1000) < 0.9, labels, 1 - labels) for _ in range(5)]
    found = judged((820, 33, 61, 86), *many)
    pair = found.pairs[0]
    assert pair.p < 0.05 < pair.p_corrected
    assert pair.verdict == "cannot be told apart"
    assert "some differ as much by chance" in pair.sentence()
    assert len(found.pairs) == 21


def test_a_class_that_changed_is_named() -> None:
    labels = np.repeat([0, 1, 2], 300)
    first, second = labels.copy(), labels.copy()
    second[:40] = 2
    first[300:302] = 0
    found = compare(
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


@pytest.fixture(scope="module")
def two(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    place = tmp_path_factory.mktemp("two")
    for seed in (1, 2):
        run = foveal.train(
            few_digits,
            recipe="model-s-02",
            settings=small,
            out=place / f"seed-{seed}",
            cache=cache,
            seed=seed,
        )
        run.evaluate("test")
    return [place / "seed-1", place / "seed-2"]


def test_two_runs(two: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = foveal.compare(*two)
    assert [each["name"] for each in found.contenders] == ["seed-1", "seed-2"]
    for path, each in zip(two, found.contenders, strict=True):
        evaluation = foveal.Run(path).evaluation("test")
        assert evaluation is not None
        assert each["accuracy"] == evaluation.accuracy
        assert each["accuracy_interval"] == list(evaluation.accuracy_interval)
        assert each["parameters"] == 2987
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
    run = foveal.train(renamed, recipe=recipe, out=tmp_path / "run", cache=cache, seed=1)
    run.evaluate("test")
    (pair,) = foveal.compare(two[0], run).pairs
    assert (pair.only_first, pair.only_second) == (0, 0)


def test_what_cannot_be_compared_is_refused(
    two: list[Path], few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="two runs or more"):
        foveal.compare(two[0])
    other = Path(shutil.copytree(few_digits, tmp_path / "data"))
    next((other / "test" / "0").iterdir()).unlink()
    run = foveal.train(other, recipe="model-s-02", settings=small, out=tmp_path / "run", cache=cache)
    with pytest.raises(RunError, match=r"has not been evaluated; first: foveal evaluate"):
        foveal.compare(two[0], run)
    run.evaluate("test")
    with pytest.raises(RunError, match="1 images are in one of them only"):
        foveal.compare(two[0], run)
    (other / "test" / "8").rename(other / "test" / "9")
    (other / "train" / "8").rename(other / "train" / "9")
    run = foveal.train(other, recipe="model-s-02", settings=small, out=tmp_path / "nine", cache=cache)
    run.evaluate("test")
    with pytest.raises(RunError, match="other classes"):
        foveal.compare(two[0], run)


def test_names_are_told_apart(two: list[Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(two[0], tmp_path / "seed-1"))
    found = foveal.compare(two[0], copied)
    assert [each["name"] for each in found.contenders] == [str(two[0]), str(copied)]
