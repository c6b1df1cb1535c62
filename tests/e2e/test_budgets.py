"""`foveal train --budget` as people type it: one real budget, and what is refused. No time is measured."""

import json
from pathlib import Path

import pytest

from foveal.cli.main import main
from foveal.cli.training import process_age
from foveal.planning import plan as planning
from foveal.planning.networks import NetworkSize

Capture = pytest.CaptureFixture[str]


def test_a_budget_goes_on_to_test_and_report(
    few_digits: Path, cache: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = NetworkSize(widths=(16, 16), min_images=0, batch_size=16)
    monkeypatch.setattr(planning, "NETWORK_SIZES", (narrow,))
    monkeypatch.setattr(planning, "compute_max_useful_epochs", lambda _images: 2.0)
    run = tmp_path / "run"
    words = ["train", str(few_digits), "--budget", "1h", "--out", str(run), "--cache", str(cache), "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    outcome = json.loads(said.out)
    assert (outcome["recipe"], outcome["stopped"]) == ("budget", "finished")
    assert outcome["test"]["n"] == 30
    assert "a budget of 60 minutes" in said.err
    assert "never mirrored" in said.err
    assert "more time would hardly buy anything" in said.err
    page = (run / "report.html").read_text()
    assert "Training was planned to fit into 60 minutes" in page


def test_a_budget_that_is_over_before_it_begins_trains_what_fits(
    few_digits: Path, cache: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "run"
    words = ["train", str(few_digits), "--budget", "0.1s", "--out", str(run), "--cache", str(cache), "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    outcome = json.loads(said.out)
    assert (outcome["stopped"], outcome["epochs"]) == ("budget", 1)
    assert outcome["test"]["n"] == 30
    assert "too small for anything useful" in said.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--budget", "0m"], "the budget is 0 seconds"),
        (["--budget=-3m"], "the budget is '-3m'; write a number and a unit: 30s, 5m or 1h"),
        (["--budget", "nan"], "the budget is 'nan'"),
        (["--budget", "soon"], "the budget is 'soon'"),
        (["--budget", "5"], "the budget is '5'; write a number and a unit: 30s, 5m or 1h"),
        (["--budget", "9" * 400 + "h"], "the budget is inf seconds"),
        (["--minutes", "1"], "--minutes is not an option; write --budget with a unit, such as --budget 5m"),
        (["--minutes=1"], "--minutes is not an option; write --budget with a unit, such as --budget 5m"),
        (["--seconds", "60"], "--seconds is not an option; write --budget with a unit, such as --budget 30s"),
        (["--epochs", "3"], "such as --set epochs=5"),
        (["--budget", "1m", "--recipe", "sprint"], "not allowed with"),
        (["--budget", "1m", "--set", "epochs=3"], "epochs is decided by the budget"),
        (["--budget", "1m", "--set", "dense=3"], "has no effect under the recipe budget"),
        (["--budget", "1m", "--validation", "test"], "--validation test is refused"),
    ],
)
def test_what_is_refused(
    few_digits: Path, tmp_path: Path, capsys: Capture, words: list[str], expected: str
) -> None:
    try:
        code = main(["train", str(few_digits), "--out", str(tmp_path / "run"), *words])
    except SystemExit as stop:  # argparse's own
        code = int(str(stop.code))
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert expected in said.err
    assert not (tmp_path / "run").exists()


def test_a_budget_counts_from_the_start_of_the_process() -> None:
    first, second = process_age(), process_age()
    assert 0 < first <= second < 24 * 3600
