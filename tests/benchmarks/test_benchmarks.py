"""What the benchmarks compute from measurements, and how they talk to contenders. Nothing is timed."""

import argparse
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_a_ratio_is_of_pairs(script: Any) -> None:
    figure = script("record").times_as_fast([1.0, 2.0, 4.0], [3.0, 4.0, 4.0])
    assert figure == {"median": 2.0, "lowest": 1.0, "highest": 3.0, "n": 3, "each": [3.0, 2.0, 1.0]}


def test_the_notebook_takes_its_start_up_and_nineteen_median_epochs(script: Any) -> None:
    epochs = [
        {"contender": "old", "seconds": 40.0},
        {"contender": "new", "seconds": 50.0},
        {"contender": "old", "seconds": 44.0},
        {"contender": "old", "seconds": 90.0},
    ]
    start_ups = {"old": [3.0, 4.0, 9.0], "new": [5.0], "not measured": [1.0]}
    assert script("process").notebook_seconds(start_ups, epochs) == {
        "old": 4.0 + 19 * 44.0,
        "new": 5.0 + 19 * 50.0,
    }


def test_the_first_epoch_that_reaches_an_accuracy_counts(script: Any) -> None:
    epochs = [
        {"ended": 5.0, "validation_accuracy": None},
        {"ended": 9.0, "validation_accuracy": 0.81},
        {"ended": 13.0, "validation_accuracy": 0.8155},
        {"ended": 17.0, "validation_accuracy": 0.80},
    ]
    process = script("process")
    assert process.first_reaching(epochs, 0.8155) == 13.0
    assert process.first_reaching(epochs, 0.82) is None


def test_an_epoch_of_throughput_is_the_sum_of_its_slices(script: Any) -> None:
    slices = [
        {"contender": "a", "epoch": 0, "seconds": 1.0},
        {"contender": "b", "epoch": 0, "seconds": 7.0},
        {"contender": "a", "epoch": 0, "seconds": 2.0},
        {"contender": "a", "epoch": 1, "seconds": 4.0},
    ]
    assert script("throughput").epoch_seconds(slices, "a") == [(40_000, 3.0), (40_000, 4.0)]


def test_a_command_names_no_folder_of_this_machine(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record = script("record")
    monkeypatch.setattr(sys, "argv", ["/somewhere/start.py"])
    parser: argparse.ArgumentParser = record.arguments("")
    parser.add_argument("--packs", type=int, default=6)
    parser.add_argument("--set", action="append", default=[])
    words = ["/d", "--quick", "--packs", "2", "--cache", "/c", "--tensorflow", "2.15=/e", "--set", "a=1"]
    assert record.command(parser, parser.parse_args([*words, "--set", "b=2"])) == (
        "python benchmarks/start.py DATA --quick --tensorflow 2.15 --packs 2 --set a=1 --set b=2"
    )


def test_hidden_compilers_are_not_found(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc")
    record = script("record")
    found, hidden = (record.environment(tmp_path, compilers=each) for each in (True, False))
    assert (found["PATH"], found["CC"]) == (os.environ["PATH"], "cc")
    assert "CC" not in hidden
    assert list(Path(hidden["PATH"]).iterdir()) == []
    assert Path(hidden["XDG_CACHE_HOME"]).is_relative_to(tmp_path)


def test_a_contender_answers_whatever_its_libraries_print(script: Any, tmp_path: Path) -> None:
    far = tmp_path / "far.py"
    far.write_text(
        f"import sys\nsys.path.insert(0, {str(SCRIPTS)!r})\n"
        "from contender import Channel\n"
        "channel = Channel()\nprint('chatter')\nchannel.ready(fact=1)\n"
        "while True:\n    channel.answer(doubled=2 * channel.wait()['n'])\n"
    )
    contender = script("contender")
    with contender.Contender("far", [sys.executable, str(far)]) as near:
        assert near.ready["fact"] == 1
        assert [near.ask("double", n=n)["doubled"] for n in (1, 2)] == [2, 4]
        assert near.ask("double", n=3)["idle_cpu_seconds"] < 1


def test_a_contender_that_dies_leaves_its_last_words(script: Any) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(RuntimeError, match="no such thing"):
        script("contender").Contender("dead", command)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs wait4")
def test_a_child_is_measured_with_its_own_children(script: Any, tmp_path: Path) -> None:
    grandchild = "import time; held = bytearray(100_000_000); time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}]); print('said')"
    finished = script("child").run(
        [sys.executable, "-c", code], environment=dict(os.environ), folder=tmp_path
    )
    assert finished.output == "said\n"
    assert finished.peak_memory_bytes > 100_000_000
    with pytest.raises(RuntimeError, match="ended with 3"):
        script("child").run(
            [sys.executable, "-c", "raise SystemExit(3)"], environment=dict(os.environ), folder=tmp_path
        )


def test_a_function_is_replaced_when_its_module_is_imported(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "replaced_module.py").write_text("def number():\n    return 20\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    script("hook").replace_on_import("replaced_module", "number", lambda number: lambda: number() + 1)
    assert importlib.import_module("replaced_module").number() == 21
