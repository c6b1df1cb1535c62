"""How often the intervals hold the truth; the whole table is `docs/intervals.md`."""

import numpy as np
import pytest

from benchmarks.statistics import coverage_of_intervals as coverage

LEAST, MOST = 0.935, 0.965


def test_shares_and_f1() -> None:
    for cases in (coverage.share_cases, coverage.f1_cases):
        held = {(case.n, case.description): case.coverage(2000) for case in cases()}
        assert len(held) == 15
        for (n, _), share in held.items():
            # Of 100 images a share takes few values, and no interval can be right for all truths.
            assert LEAST - 0.01 * (n == 100) <= share <= MOST + 0.01 * (n == 100), held


@pytest.mark.parametrize("figure", ["recall", "precision", "f1"])
def test_macro_averages_hold_from_a_hundred_images_a_class_on(figure: str) -> None:
    held = {
        case.description: case.coverage(600)
        for case in coverage.macro_cases(figure)
        if case.n == 1000 and "equal" in case.description
    }
    assert len(held) == 5
    # 600 draws scatter by 0.9 points.
    assert all(LEAST - 0.015 <= share <= MOST + 0.015 for share in held.values()), held


def test_areas_are_rarely_too_narrow() -> None:
    held = {case.description: case.coverage(400) for case in coverage.roc_area_cases() if case.n == 1000}
    assert len(held) == 18
    assert min(held.values()) > 0.9
    assert 0.93 < float(np.mean([share for about, share in held.items() if "scatter 2" in about])) < 0.98


def test_average_precision_is_rarely_too_narrow() -> None:
    case = next(
        case for case in coverage.average_precision_cases() if case.n == 1000 and "0.9," in case.description
    )
    assert case.coverage(400) > 0.94
