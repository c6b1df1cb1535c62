"""What the benchmarks compute from measurements, and how they talk to contenders. Nothing is timed."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import CHECKOUT
from benchmarks.measurement import child, hook, record
from benchmarks.peers import launch
from benchmarks.peers.contender import Contender
from benchmarks.speed import process, throughput


def test_a_ratio_is_of_pairs() -> None:
    figure = record.summarise_ratios([1.0, 2.0, 4.0], [3.0, 4.0, 4.0])
    assert figure == {"median": 2.0, "lowest": 1.0, "highest": 3.0, "n": 3, "each": [3.0, 2.0, 1.0]}


def test_the_notebook_takes_its_start_up_and_nineteen_median_epochs() -> None:
    epochs = [
        {"contender": "old", "seconds": 40.0},
        {"contender": "new", "seconds": 50.0},
        {"contender": "old", "seconds": 44.0},
        {"contender": "old", "seconds": 90.0},
    ]
    start_ups = {"old": [3.0, 4.0, 9.0], "new": [5.0], "not measured": [1.0]}
    assert process.notebook_seconds(start_ups, epochs) == {
        "old": 4.0 + 19 * 44.0,
        "new": 5.0 + 19 * 50.0,
    }


def test_the_first_epoch_that_reaches_an_accuracy_counts() -> None:
    epochs = [
        {"ended": 5.0, "validation_accuracy": None},
        {"ended": 9.0, "validation_accuracy": 0.81},
        {"ended": 13.0, "validation_accuracy": 0.8155},
        {"ended": 17.0, "validation_accuracy": 0.80},
    ]
    assert process.time_to_accuracy(epochs, 0.8155) == 13.0
    assert process.time_to_accuracy(epochs, 0.82) is None


def test_an_epoch_of_throughput_is_the_sum_of_its_slices() -> None:
    slices = [
        {"contender": "a", "epoch": 0, "seconds": 1.0},
        {"contender": "b", "epoch": 0, "seconds": 7.0},
        {"contender": "a", "epoch": 0, "seconds": 2.0},
        {"contender": "a", "epoch": 1, "seconds": 4.0},
    ]
    assert throughput.epoch_rates(slices, "a") == [40_000 / 3.0, 40_000 / 4.0]


def test_a_command_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "running_module", lambda: "benchmarks.speed.start")
    parser = record.create_timing_parser("")
    parser.add_argument("--packs", type=int, default=6)
    parser.add_argument("--set", action="append", default=[])
    words = ["/d", "--quick", "--packs", "2", "--cache", "/c", "--tensorflow", "2.15=/e", "--set", "a=1"]
    assert record.format_command(parser, parser.parse_args([*words, "--set", "b=2"])) == (
        "python -m benchmarks.speed.start DATA --quick --tensorflow 2.15 --packs 2 --set a=1 --set b=2"
    )


def test_hidden_compilers_are_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc")
    found, hidden = (launch.process_environment(tmp_path, compilers=each) for each in (True, False))
    assert (found["PATH"], found["CC"]) == (os.environ["PATH"], "cc")
    assert "CC" not in hidden
    assert list(Path(hidden["PATH"]).iterdir()) == []
    assert Path(hidden["XDG_CACHE_HOME"]).is_relative_to(tmp_path)


def test_a_contender_answers_whatever_its_libraries_print(tmp_path: Path) -> None:
    far = tmp_path / "far.py"
    far.write_text(
        "from benchmarks.peers.contender import Channel\n"
        "channel = Channel()\nprint('chatter')\nchannel.ready(fact=1)\n"
        "while True:\n    channel.answer(doubled=2 * channel.wait()['n'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with Contender("far", [sys.executable, str(far)], environment=environment) as near:
        assert near.ready["fact"] == 1
        assert [near.ask("double", n=n)["doubled"] for n in (1, 2)] == [2, 4]
        assert near.ask("double", n=3)["idle_cpu_seconds"] < 1


def test_a_contender_that_dies_leaves_its_last_words() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(RuntimeError, match="no such thing"):
        Contender("dead", command)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs wait4")
def test_a_child_is_measured_with_its_own_children(tmp_path: Path) -> None:
    grandchild = "import time; held = bytearray(100_000_000); time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}]); print('said')"
    finished = child.run_process([sys.executable, "-c", code], environment=dict(os.environ), folder=tmp_path)
    assert finished.output == "said\n"
    assert finished.peak_memory_bytes > 100_000_000
    with pytest.raises(RuntimeError, match="ended with 3"):
        child.run_process(
            [sys.executable, "-c", "raise SystemExit(3)"], environment=dict(os.environ), folder=tmp_path
        )


def test_a_function_is_replaced_when_its_module_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "replaced_module.py").write_text("def number():\n    return 20\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    hook.replace_on_import("replaced_module", "number", lambda number: lambda: number() + 1)
    assert importlib.import_module("replaced_module").number() == 21


SCRIPTS = [
    f"{file.parent.name}.{file.stem}"
    for file in sorted((CHECKOUT / "benchmarks").glob("*/*.py"))
    if 'if __name__ == "__main__":' in file.read_text()
]


def test_the_table_lists_every_script_with_its_command() -> None:
    text = (CHECKOUT / "benchmarks" / "README.md").read_text()
    listed = set()
    for line in text.splitlines():
        if match := re.search(r"after `python -m benchmarks\.(\w+)\.`", line):
            folder = match[1]
        elif line.startswith("| ") and (cells := line.split(" | "))[0] != "| question":
            listed.add(f"{folder}.{cells[1].strip('`').partition('`')[0].split(' ')[0]}")
    assert listed == set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_names_the_command_that_runs_it(script: str) -> None:
    text = (CHECKOUT / "benchmarks" / f"{script.replace('.', '/')}.py").read_text()
    docstring = ast.get_docstring(ast.parse(text)) or ""
    commands = re.findall(r"^    python (.*)$", docstring, flags=re.MULTILINE)
    assert any(command.startswith(f"-m benchmarks.{script}") for command in commands)
    for module in re.findall(r"-m (benchmarks\.[\w.]+)", docstring):
        assert (CHECKOUT / f"{module.replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("script", ["notebook_keras", "contender_keras"])
def test_scripts_for_tensorflow_start_without_any_package(script: str) -> None:
    words = [sys.executable, "-S", "-m", f"benchmarks.peers.{script}", "--help"]
    text = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert text.startswith(f"usage: python -m benchmarks.peers.{script} ")
