"""Two recipes over seeds and images: how often it errs, by simulation."""

import os

import numpy as np
import pytest
from scipy import stats

from foveal.comparison.crossed_effects import recipe_difference

DRAWS = int(os.environ.get("FOVEAL_DRAWS", "2000"))


def simulated(
    draw: np.random.Generator, runs: int, hardness: np.ndarray, *, seeds: float, better: float = 0.0
) -> np.ndarray:
    """Who got which image right: an image is as hard as it is, a seed as lucky, and the rest is chance."""
    luck = seeds * draw.standard_normal((runs, 1))
    return draw.random((runs, len(hardness))) < np.clip(hardness + luck + better, 0, 1)


@pytest.mark.parametrize(("runs", "others"), [(3, 3), (5, 5), (10, 4)])
@pytest.mark.parametrize("seeds", [0.003, 0.02])
def test_recipes_that_differ_in_their_seeds_alone_are_told_apart_as_rarely_as_promised(
    runs: int, others: int, seeds: float
) -> None:
    draw = np.random.default_rng(0)
    rejected = []
    for _ in range(DRAWS):
        hardness = draw.beta(4, 0.6, size=300)  # most images are easy
        first = simulated(draw, runs, hardness, seeds=seeds)
        second = simulated(draw, others, hardness, seeds=seeds)
        rejected.append(recipe_difference(first, second).p < 0.05)
    assert abs(np.mean(rejected) - 0.05) <= 0.015 or np.mean(rejected) < 0.05


def test_recipes_that_find_other_images_hard_are_equal_on_images_there_could_be() -> None:
    """The interval covers the true difference, zero, although on the images at hand one is better."""
    draw = np.random.default_rng(1)
    covered = []
    for _ in range(DRAWS // 2):
        one, other = (np.clip(draw.normal(0.8, 0.2, 400), 0.02, 0.98) for _ in range(2))
        found = recipe_difference(
            simulated(draw, 5, one, seeds=0.005), simulated(draw, 5, other, seeds=0.005)
        )
        covered.append(found.interval[0] <= 0 <= found.interval[1])
    assert np.mean(covered) >= 0.935


def test_a_difference_is_found_with_as_many_runs_as_it_says() -> None:
    draw = np.random.default_rng(2)
    hardness = draw.beta(4, 0.6, size=2000)
    first, second = (
        simulated(draw, 200, hardness, seeds=0.01),
        simulated(draw, 200, hardness, seeds=0.01, better=-0.012),
    )
    whole = recipe_difference(first, second)
    assert whole.difference < 0
    assert whole.p < 1e-6
    n = whole.runs_needed
    assert n is not None
    found = [
        recipe_difference(
            first[draw.choice(200, n, replace=False)], second[draw.choice(200, n, replace=False)]
        ).p
        < 0.05
        for _ in range(400)
    ]
    assert 0.65 < np.mean(found) < 0.92


def test_where_images_are_alike_it_is_welch_s() -> None:
    draw = np.random.default_rng(3)
    first, second = (draw.random((k, 5000)) < 0.7 + 0.02 * draw.standard_normal((k, 1)) for k in (6, 9))
    expected = stats.ttest_ind(first.mean(axis=1), second.mean(axis=1), equal_var=False)
    assert recipe_difference(first, second).p == pytest.approx(expected.pvalue, abs=0.02)


def test_the_ends() -> None:
    alike = np.ones((3, 10), dtype=bool)
    found = recipe_difference(alike, alike)
    assert (found.difference, found.p, found.runs_needed) == (0.0, 1.0, None)
    assert recipe_difference(alike, ~alike).p == 0.0
    for wrong in (np.ones((1, 10), dtype=bool), np.ones((3, 9), dtype=bool)):
        with pytest.raises(ValueError, match="same images"):
            recipe_difference(alike, wrong)
