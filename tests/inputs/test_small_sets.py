"""Small sets: what a training tells when BatchNorm lags behind, and when a model only guesses."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import foveal
from foveal.data.options import DataOptions
from foveal.evaluation.metrics import Evaluation
from foveal.recipe.builtin import RECIPES, load_recipe
from foveal.recipe.networks import Custom, ModelS
from foveal.reporting.usefulness import compute_chance, describe_uselessness
from foveal.run.training_checks import warn_of_few_steps

Judge = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def two_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images of each of two digits, in a flat layout."""
    folder = tmp_path_factory.mktemp("two") / "data"
    for label in "38":
        (folder / label).mkdir(parents=True)
        for file in sorted((digits / "train" / label).iterdir())[:48]:
            shutil.copy(file, folder / label)
    return folder


# ---- steps too few for the running averages


@pytest.mark.parametrize(
    ("name", "steps", "advice"),
    [
        ("model-s-02", 625, None),
        ("model-s-02", 200, None),
        ("model-s-02", 2, "--set model.momentum=0.9"),
        ("model-s-02", 1, "--set model.momentum=0.7"),
        ("model-s-03", 3, "--set model.momentum=0.9"),
        ("model-s-01", 1, None),  # no BatchNorm
        ("digits", 41, None),
        ("digits", 3, None),
        ("sprint", 160, None),
        ("sprint", 2, "--set model.momentum=0.7"),
    ],
)
def test_recipes_warn_where_steps_are_few_for_the_momentum(
    name: str, steps: int, advice: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_few_steps(load_recipe(name), steps)
    error = capsys.readouterr().err
    assert (error == "") == (advice is None)
    if advice is not None:
        assert f"an epoch has only {steps} step" in error
        assert advice in error
        assert "--budget 1m" in error


def test_every_recipe_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for name in RECIPES:
        warn_of_few_steps(load_recipe(name), 100_000)
    warn_of_few_steps(replace(load_recipe("model-s-02"), model=Custom(architecture="mine.Net")), 1)
    warn_of_few_steps(replace(load_recipe("model-s-02"), model=ModelS(momentum=0.0)), 1)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("one_thread")
def test_a_training_whose_averages_lag_says_so(
    two_digits: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["size=16", "widths=[16, 32]", "dense=32", "epochs=15"]
    data = DataOptions(two_digits, cache=cache)
    run = foveal.train(data, recipe="model-s-02", settings=settings, out=tmp_path / "lagging")
    warning = capsys.readouterr().err
    assert "an epoch has only 2 steps, and BatchNorm keeps 99% of its running averages" in warning
    assert "of the training images, but in use, with the running averages" in warning
    assert "--set model.momentum=0.9" in warning
    assert run.history[-1].accuracy > 0.9
    foveal.train(data, recipe="model-s-02", settings=[*settings, "momentum=0.5"], out=tmp_path / "right")
    assert "running averages" not in capsys.readouterr().err


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_demo_recipe_learns_from_96_images(
    seed: int, two_digits: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = DataOptions(two_digits, cache=cache)
    run = foveal.train(data, recipe="digits", seed=seed, out=tmp_path / "run")
    assert run.summary()["validation"]["accuracy"] >= 0.9
    assert "warning" not in capsys.readouterr().err


# ---- models of no use


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        ([[50, 0], [50, 0]], "useless"),
        ([[25, 25], [25, 25]], "useless"),
        ([[40, 10], [45, 5]], "useless"),
        ([[45, 5], [5, 45]], None),
        ([[3, 2], [2, 3]], "too_few_images"),
        ([[2, 0], [0, 2]], "too_few_images"),
        ([[5, 0], [0, 5]], None),
        ([[1, 0], [1, 0]], "too_few_images"),  # not even two of two could tell
        ([[90, 0], [10, 0]], "useless"),
        ([[89, 1], [5, 5]], None),  # 94 of 100, 90 by guessing: too few to tell by accuracy alone
        ([[80, 10], [1, 9]], "no_better_by_accuracy"),
        ([[10, 10, 10], [10, 10, 10], [10, 10, 10]], "useless"),
        ([[20, 5, 5], [5, 20, 5], [5, 5, 20]], None),
        ([[1000, 900], [900, 1000]], None),
        ([[9, 0], [0, 0]], None),  # one class only was tested
    ],
)
def test_models_that_only_guess(counts: Sequence[Sequence[int]], kind: str | None, judge: Judge) -> None:
    findings = describe_uselessness(judge(counts))
    assert [finding.kind for finding in findings] == ([] if kind is None else [kind])


def test_a_useless_model_is_told_with_its_numbers(judge: Judge) -> None:
    (finding,) = describe_uselessness(judge([[50, 0], [50, 0]], ["cat", "dog"]))
    assert finding.sentence == (
        "The model is useless as it is, no better than a guess: 50 of 100 test images were classified "
        "correctly, and always naming cat would be right for 50."
    )
    assert finding.numbers["chance"] == pytest.approx(0.5398, abs=1e-4)


def test_an_exploded_loss_is_told(judge: Judge) -> None:
    (finding,) = describe_uselessness(replace(judge([[45, 5], [5, 45]]), loss=1.2e19))
    assert finding.sentence.startswith("The loss of 1.2e+19 shows that the network's outputs have exploded")


def test_the_exact_binomial_test() -> None:
    assert compute_chance(0, 10, 0.5) == 1
    assert compute_chance(10, 10, 0.5) == pytest.approx(0.5**10)
    assert compute_chance(9, 10, 0.5) == pytest.approx(11 * 0.5**10)
    assert compute_chance(10, 10, 1.0) == 1


@pytest.mark.usefixtures("one_thread")
def test_training_and_testing_a_useless_model_say_so(
    two_digits: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["size=8", "widths=[8]", "dense=0", "epochs=1", "learning_rate=1e-9", "momentum=0.5"]
    run = foveal.train(
        DataOptions(two_digits, cache=cache), recipe="model-s-02", settings=settings, out=tmp_path / "run"
    )
    assert "better than a guess" in capsys.readouterr().err
    run.evaluate("test")
    assert "better than a guess" in capsys.readouterr().err
    assert "better than a guess" in run.report().read_text(encoding="utf-8")


def test_the_default_threshold_is_in_the_model(digits: Path, cache: Path, tmp_path: Path) -> None:
    settings = ["size=8", "widths=[8]", "dense=0", "epochs=2", "momentum=0.5", "batch_size=64"]
    run = foveal.train(
        DataOptions(digits, cache=cache), recipe="model-s-02", settings=settings, out=tmp_path / "run"
    )
    rules = run.evaluate("test").confidence.selective
    threshold = run.bundle.threshold
    assert threshold is not None
    assert threshold in [rule.threshold for rule in rules]
    found = foveal.predict(tmp_path / "run", digits / "test" / "8")
    assert [each.unsure for each in found] == [(each.probability or 0) < threshold for each in found]
