"""Spread over seeds, against scipy and on data whose variances are known."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foveal.comparison.seed_variance import summarize_spread, variance_components

DRAWS = int(os.environ.get("FOVEAL_DRAWS", "2000"))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_interval_is_student_s(figures: list[float]) -> None:
    found = summarize_spread(figures)
    assert found.mean == pytest.approx(np.mean(figures))
    assert found.deviation == pytest.approx(np.std(figures, ddof=1), abs=1e-12)
    assert found.interval is not None
    if found.deviation and found.deviation > 1e-9:
        expected = stats.t.interval(0.95, len(figures) - 1, np.mean(figures), stats.sem(figures))
        assert found.interval == pytest.approx(np.clip(expected, 0, 1).tolist())
    assert (found.lowest, found.highest) == (min(figures), max(figures))


def test_a_single_run_has_no_spread() -> None:
    found = summarize_spread([0.8])
    assert (found.n, found.mean, found.deviation, found.interval) == (1, 0.8, None, None)
    assert variance_components(np.ones((1, 10), dtype=bool)) is None
    with pytest.raises(ValueError, match="a run at least"):
        summarize_spread([])


def test_the_interval_covers_the_mean_as_often_as_promised() -> None:
    draw = np.random.default_rng(0)
    for n in (3, 5, 10):
        covered = 0
        for figures in draw.normal(0.9, 0.002, size=(DRAWS, n)).tolist():
            interval = summarize_spread(figures).interval
            assert interval is not None
            covered += interval[0] <= 0.9 <= interval[1]
        assert abs(covered / DRAWS - 0.95) <= 0.015, n


@pytest.mark.parametrize(("seeds", "hard"), [(0.0, 0.5), (0.02, 0.5), (0.02, 0.0), (0.0, 0.0)])
def test_sources_are_found_again(seeds: float, hard: float) -> None:
    """Simulated: a run's luck shifts all its chances, an image's difficulty those of all runs."""
    draw = np.random.default_rng(1)
    runs, images = 30, 4000
    chances = np.clip(
        0.5 + hard * (draw.random(images) - 0.5) + seeds * draw.standard_normal((runs, 1)), 0, 1
    )
    found = variance_components(draw.random((runs, images)) < chances)
    assert found is not None
    assert found.seeds == pytest.approx(seeds, abs=0.006)
    assert found.images == pytest.approx(np.sqrt(0.25 / images), rel=0.05)  # a coin's, however it is split


def test_runs_that_all_agree_differ_by_the_images_alone() -> None:
    right = np.broadcast_to(np.arange(1000) % 10 > 0, (5, 1000))
    found = variance_components(right)
    assert found is not None
    assert found.seeds == 0
    assert found.images == pytest.approx(np.sqrt(0.09 / 1000), rel=0.01)
