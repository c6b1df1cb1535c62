import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import check_random_state

from foveal.evaluation.intervals import wilson_interval


def test_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: Wilson's without continuity correction.
    for successes, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_the_notebook_s_accuracy() -> None:
    assert wilson_interval(8155, 10_000) == pytest.approx((0.80777, 0.82298), abs=1e-4)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bounds_solve_the_score_equation(trials: tuple[int, int]) -> None:
    successes, n = trials
    share = successes / n
    z = 1.959963984540054
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= share <= high <= 1
    for bound in (low, high):
        assert (share - bound) ** 2 * n == pytest.approx(z * z * bound * (1 - bound), rel=1e-6, abs=1e-9)


@given(st.integers(0, 50))
def test_is_symmetric(successes: int) -> None:
    low, high = wilson_interval(successes, 50)
    assert wilson_interval(50 - successes, 50) == pytest.approx((1 - high, 1 - low))


def test_ends_are_exact() -> None:
    assert wilson_interval(0, 7)[0] == 0
    assert wilson_interval(7, 7)[1] == 1
    assert wilson_interval(0, 0) == (0, 1)


def test_more_confidence_is_wider() -> None:
    assert (
        wilson_interval(8, 10, confidence=0.99)[0]
        < wilson_interval(8, 10)[0]
        < wilson_interval(8, 10, confidence=0.5)[0]
    )


def test_holds_the_truth_as_often_as_it_says() -> None:
    hits = check_random_state(0).binomial(200, 0.97, size=4000)
    held = sum(low <= 0.97 <= high for low, high in (wilson_interval(int(hit), 200) for hit in hits))
    assert 0.93 <= held / 4000 <= 0.97


@pytest.mark.parametrize(
    ("successes", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1), (1, 5, 0)]
)
def test_refuses_what_is_no_share(successes: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"must lie|successes"):
        wilson_interval(successes, n, confidence=confidence)
