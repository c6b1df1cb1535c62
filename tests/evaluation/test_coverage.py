"""How often the intervals hold the truth; the whole table is `docs/intervals.md`."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "statistics"
LEAST, MOST = 0.935, 0.965


@pytest.fixture
def coverage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("coverage_of_intervals")


def test_shares_and_f1(coverage: Any) -> None:
    for cases in (coverage.shares, coverage.f1_scores):
        held = {(case.n, case.about): case.held(2000) for case in cases()}
        assert len(held) == 15
        for (n, _), share in held.items():
            # Of 100 images a share takes few values, and no interval can be right for all truths.
            assert LEAST - 0.01 * (n == 100) <= share <= MOST + 0.01 * (n == 100), held


@pytest.mark.parametrize("figure", ["recall", "precision", "f1"])
def test_macro_averages_hold_from_a_hundred_images_a_class_on(coverage: Any, figure: str) -> None:
    held = {
        case.about: case.held(600)
        for case in coverage.macro_averages(figure)
        if case.n == 1000 and "equal" in case.about
    }
    assert len(held) == 5
    # 600 draws scatter by 0.9 points.
    assert all(LEAST - 0.015 <= share <= MOST + 0.015 for share in held.values()), held


def test_areas_are_rarely_too_narrow(coverage: Any) -> None:
    held = {case.about: case.held(400) for case in coverage.areas() if case.n == 1000}
    assert len(held) == 18
    assert min(held.values()) > 0.9
    assert 0.93 < float(np.mean([share for about, share in held.items() if "scatter 2" in about])) < 0.98


def test_average_precision_is_rarely_too_narrow(coverage: Any) -> None:
    case = next(case for case in coverage.precision_areas() if case.n == 1000 and "0.9," in case.about)
    assert case.held(400) > 0.94
