"""Real runs: how often chance is called a difference, and whether the page says what the runs say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import RESULTS
from benchmarks.measurement import foveal_process
from benchmarks.measurement.journal import Journal
from benchmarks.statistics import chance, claims, claims_classes, claims_runs


@pytest.fixture
def right() -> np.ndarray:
    lines = Journal(chance.FILE).read_lines()
    found = chance.unpack_correct(lines, chance.RECIPE_SETTING)
    for line, row in zip(lines, found, strict=False):  # what was packed is what was measured
        assert row.mean() == pytest.approx(line["accuracy"], abs=1e-12)
    assert found.shape == (40, 10_000)
    assert len({row.tobytes() for row in found}) == 40
    return found


@pytest.mark.parametrize("size", [3, 5, 10])
def test_real_runs_that_differ_in_seeds_alone_are_called_different_as_rarely_as_promised(
    right: np.ndarray, size: int
) -> None:
    """The draws share 40 runs, so the rate may stray as that of synthetic runs does (`simulate_bounds`)."""
    rate, welch = chance.recipe_rates(right, size, 2000, np.random.default_rng(1))
    allowed = chance.read_bounds()["sizes"][str(size)]
    assert allowed["low"] - 0.01 <= rate <= allowed["high"] + 0.01  # 0.01: these 2,000 draws are others
    assert rate <= 0.065
    assert abs(rate - welch) <= 0.01  # seeds alone: the same images are hard, and it comes down to Welch's


def test_real_models_swapped_image_by_image_are_called_different_as_rarely_as_promised(
    right: np.ndarray,
) -> None:
    assert abs(chance.swapped_model_rate(right, 2000, np.random.default_rng(1)) - 0.05) <= 0.015


def test_real_recipes_that_differ_are_told_apart(right: np.ndarray) -> None:
    lines = Journal(chance.FILE).read_lines()
    shorter = chance.unpack_correct(lines, chance.SHORTER_SETTING)
    assert chance.detection_rate(right, shorter, 3, 200, np.random.default_rng(0)) > 0.95


def test_synthetic_runs_are_like_the_real_ones(right: np.ndarray) -> None:
    from foveal.comparison.seed_variance import variance_components

    draw = np.random.default_rng(0)
    sets = [chance.draw_synthetic_runs(right, draw) for _ in range(10)]
    assert np.mean([each.mean() for each in sets]) == pytest.approx(right.mean(), abs=0.003)
    spreads = [each.mean(axis=1).std(ddof=1) for each in sets]
    assert np.mean(spreads) == pytest.approx(right.mean(axis=1).std(ddof=1), rel=0.1)
    real, drawn = variance_components(right), variance_components(sets[0])
    assert real is not None
    assert drawn is not None
    assert drawn.images == pytest.approx(real.images, rel=0.03)


def test_the_page_says_what_the_runs_say() -> None:
    page = claims.PAGE.read_text(encoding="utf-8")
    material = claims_runs.ClaimData.read()
    assert set(claims.BLOCKS) == {each.split(" ")[1] for each in page.splitlines() if "<!-- " in each} - {
        "end"
    }
    assert claims.fill_page(page, material) == page


def test_runs_are_those_that_were_committed_before() -> None:
    """The accuracies of `model-s-*` were written down when they were trained."""
    material = claims_runs.ClaimData.read()
    for run in material.runs:
        if run.line["recipe"].startswith("model-s"):
            name = f"{run.line['recipe']}-{run.line['seed']}.json"
            before = json.loads((RESULTS / "accuracy" / "model-s" / name).read_text())
            assert float((run.predicted == material.labels).mean()) == before["test"]["accuracy"]
            assert run.line["history"][-1][2] == before["history"][-1]["validation_loss"]


def test_shares_apart_are_newcombe_s() -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep

    found = claims_classes.compare_shares((56, 70), (48, 80))
    expected = confint_proportions_2indep(48, 80, 56, 70, method="newcomb")
    assert found == pytest.approx((48 / 80 - 56 / 70, *expected))


def test_collected_runs_are_told_as_they_are(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    import foveal

    data = foveal.DataOptions(few_digits, cache=cache)
    run = foveal.train(data, recipe="model-s-02", settings=small, out=tmp_path / "run")
    with pytest.raises(SystemExit, match="foveal evaluate"):
        claims_runs.collect([run.path])
    evaluation = run.evaluate("test")
    images, line = claims_runs.collect([run.path])
    digits = claims_runs.parse_digits
    labels, predicted = digits(images["labels"]), digits(line["predicted"])
    assert float((labels == predicted).mean()) == evaluation.accuracy
    assert images["classes"] == ["0", "3", "8"]
    assert (line["recipe"], line["seed"], len(line["history"])) == ("model-s-02", 0, len(run.history))


def test_a_group_gives_a_line_a_run(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path, monkeypatch: Any
) -> None:
    import foveal

    data = foveal.DataOptions(few_digits, cache=cache)
    settings = [word for each in small for word in ("--set", each)]

    def run(words: list[str], **_: Any) -> tuple[dict[str, Any], None]:
        assert words[1:3] == ["repeat", str(few_digits)]
        n = int(words[words.index("--runs") + 1])
        foveal.repeat(data, recipe="model-s-02", runs=n, settings=small, out=tmp_path / "group")
        return {"command": "foveal"}, None

    monkeypatch.setattr(foveal_process, "run_json_command", run)
    options = ["--recipe", "model-s-02", *settings]
    lines = [
        {**chance.measure(few_digits, tmp_path / "group", seed, options, cache), "setting": "x"}
        for seed in (0, 1)
    ]
    found = chance.unpack_correct(lines, "x")
    group = foveal.repeat(data, recipe="model-s-02", runs=2, settings=small, out=tmp_path / "group")
    assert np.array_equal(found, group.correct)
