"""Paired statistics against scipy, and by simulation under their own hypotheses."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foveal.comparison.paired import accuracy_difference, estimate_images_needed, holm, mcnemar

DRAWS = int(os.environ.get("FOVEAL_DRAWS", "2000"))


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_s_mid_p(first: int, second: int) -> None:
    n, k = first + second, min(first, second)
    exact = stats.binomtest(k, n).pvalue if n else 1.0
    half = stats.binom.pmf(k, n, 0.5) if n else 0.0
    expected = 1.0 if first == second else exact - half
    assert mcnemar(first, second) == pytest.approx(expected, abs=1e-12)
    assert mcnemar(first, second) == mcnemar(second, first)


@pytest.mark.parametrize("first", [470, 500, 530, 601])
def test_the_normal_limit_continues_the_sum(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from foveal.comparison import paired

    exact = mcnemar(first, 1000 - first)
    monkeypatch.setattr(paired, "MAX_EXACT_TOSSES", 1)
    assert mcnemar(first, 1000 - first) == pytest.approx(exact, abs=5e-4)


def test_a_p_value_is_never_zero_by_rounding() -> None:
    assert mcnemar(510, 1558) == pytest.approx(2 * stats.norm.sf(1048 / 2068**0.5), rel=1e-9, abs=0)


def test_counts_that_cannot_be_are_refused() -> None:
    for wrong in (
        lambda: mcnemar(-1, 3),
        lambda: accuracy_difference(3, 4, 6),
        lambda: accuracy_difference(0, 0, 0),
    ):
        with pytest.raises(ValueError, match=r"images|counts"):
            wrong()


def test_models_swapped_image_by_image_are_called_different_as_rarely_as_promised() -> None:
    """Under the null: of two fixed sets of predictions, each image's pair is swapped by a toss."""
    draw = np.random.default_rng(0)
    for n, apart in ((100, 0.3), (1000, 0.1), (10_000, 0.05)):
        tosses = draw.binomial(round(n * apart), 0.5, size=DRAWS)
        rejected = np.mean([mcnemar(int(k), round(n * apart) - int(k)) < 0.05 for k in tosses])
        assert abs(rejected - 0.05) <= 0.015, (n, apart, rejected)


def test_the_interval_covers_the_true_difference_as_often_as_promised() -> None:
    draw = np.random.default_rng(1)
    for n in (100, 1000, 10_000):
        for one, other in ((0.05, 0.05), (0.1, 0.03), (0.02, 0.06), (0.25, 0.15), (0.01, 0.01)):
            counts = draw.multinomial(n, [one, other, 1 - one - other], size=DRAWS)
            covered = 0
            for first, second, _ in counts.tolist():
                _, low, high = accuracy_difference(first, second, n)
                covered += low <= other - one <= high
            # Where few images are expected on a side it is wider than it must be, never narrower.
            most = 1.0 if n * min(one, other) < 10 else 0.965
            assert 0.935 <= covered / DRAWS <= most, (n, one, other, covered / DRAWS)


@given(st.integers(1, 1000), st.data())
def test_the_difference_lies_in_its_interval(n: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, n))
    second = data.draw(st.integers(0, n - first))
    gap, low, high = accuracy_difference(first, second, n)
    assert gap == pytest.approx((second - first) / n)
    assert -1 <= low <= high <= 1
    other, minus_high, minus_low = accuracy_difference(second, first, n)
    assert (other, minus_low, minus_high) == pytest.approx((-gap, -low, -high))


def test_with_as_many_images_as_needed_four_tests_of_five_find_it() -> None:
    draw = np.random.default_rng(2)
    needed = estimate_images_needed(60, 40, 1000)
    assert needed is not None
    counts = draw.multinomial(needed, [0.06, 0.04, 0.9], size=DRAWS)
    found = np.mean([mcnemar(first, second) < 0.05 for first, second, _ in counts.tolist()])
    assert abs(found - 0.8) < 0.04
    assert estimate_images_needed(5, 5, 100) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_what_statisticians_call_it(p_values: list[float]) -> None:
    """Step down: an independent way to write it, over all subsets that a step leaves."""
    found = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    expected = np.empty(len(p_values))
    stepped = np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * np.array(p_values)[order])
    expected[order] = np.minimum(1.0, stepped)
    assert found == pytest.approx(expected.tolist())
    assert all(corrected >= p for corrected, p in zip(found, p_values, strict=True))
