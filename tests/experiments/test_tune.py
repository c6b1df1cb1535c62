"""The search for a recipe's best settings."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foveal
from foveal.cli.main import main
from foveal.data.arrays import Arrays
from foveal.data.options import DataOptions
from foveal.errors import DataError, Interrupted, RecipeError, RunError
from foveal.experiments import tune as tuning
from foveal.experiments.study import Study, load_study
from foveal.experiments.tune import TuneRequest, search
from foveal.files.atomic import write_json_with_digest
from foveal.files.events import Event
from foveal.recipe import builtin, overrides
from foveal.run.options import TrainOptions
from foveal.run.run import Run

ABSURD = "learning_rate=0.003,30"
"""Either learns, or does not."""


@pytest.fixture(scope="module")
def study(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """A study of both, and of some seven more."""
    return foveal.tune(
        DataOptions(few_digits, cache=cache),
        trials=8,
        recipe="model-s-02",
        settings=small,
        over=[ABSURD, "dropout=0.1,0.3,0.5,0.9"],
        out=tmp_path_factory.mktemp("study") / "eight",
    )


def without(settings: tuple[str, ...], key: str) -> list[str]:
    return [each for each in settings if not each.startswith(f"{key}=")]


def events(study: Path, name: str) -> list[Event]:
    return [
        event
        for trial in sorted(study.glob("trial-*"))
        for event in Run(trial).folder.events()
        if event.event == name
    ]


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def test_an_absurd_setting_loses(study: Study) -> None:
    assert study.winner.settings["optimizer.learning_rate"] == "0.003"
    absurd = [each for each in study.trials if each.settings["optimizer.learning_rate"] == "30"]
    assert absurd
    assert all((each.accuracy or 0) < study.selection.accuracy for each in absurd)
    assert len({tuple(each.settings.items()) for each in study.trials}) == 8  # none twice


def test_pruned_trials_are_recorded(study: Study) -> None:
    pruned = [each for each in study.trials if each.state == "pruned"]
    assert pruned
    for each in pruned:
        run = Run(each.path)
        assert run.summary()["stopped"] == "early"
        assert len(run.history) < 3
        assert each.accuracy == run.evaluation("validation").accuracy
    assert all(len(Run(each.path).history) == 3 for each in study.trials if each.state == "trained")


def test_the_test_split_is_opened_once_for_the_winner(study: Study) -> None:
    assert len(events(study.path, "test split opened")) == 1
    assert [event.event for event in Run(study.winner.path).folder.events()].count("evaluated") == 1
    assert study.test is not None
    assert study.test.accuracy == Run(study.winner.path).evaluation("test").accuracy
    assert study.openings == 1


def test_it_shows_itself(study: Study) -> None:
    told = str(study)
    assert told.splitlines()[0].split()[:3] == ["trial", "learning_rate", "dropout"]
    assert f"Trial {study.winner.number} won with" in told
    assert "of 30 test images (95 % interval" in told
    found = json.loads(json.dumps(study.to_json(), allow_nan=False))
    assert found["schema"] == 1
    assert len(found["trials"]) == 8
    assert found["validation"]["corrected"] <= found["validation"]["accuracy"]


def test_the_command_trains_the_winner_again(
    study: Study, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    words = shlex.split(study.command)
    assert words[:2] == ["foveal", "train"]
    again = tmp_path / "again"
    assert main([*words[1:], "--out", str(again), "--cache", str(cache)]) == 0
    assert weights(again) == weights(study.winner.path)


def test_more_trials_add_and_nothing_is_trained_twice(
    study: Study, few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    """A study of 3 that becomes one of 8 has the trials of one of 8."""
    data = DataOptions(few_digits, cache=cache)
    asked = {
        "recipe": "model-s-02",
        "settings": small,
        "over": [ABSURD, "dropout=0.1,0.3,0.5,0.9"],
        "out": tmp_path / "grown",
    }
    three = foveal.tune(data, trials=3, **asked)
    before = {each.path: (each.path / "events.jsonl").read_bytes() for each in three.trials}
    grown = foveal.tune(data, trials=8, **asked)
    assert [(each.settings, each.state) for each in grown.trials] == [
        (each.settings, each.state) for each in study.trials
    ]
    for path, text in before.items():
        assert (path / "events.jsonl").read_bytes().startswith(text)
    assert grown.openings == len(events(grown.path, "test split opened")) <= 2
    with pytest.raises(RunError, match=r"holds a study in which dropout|in which model.dropout was 0.5"):
        foveal.tune(
            data,
            trials=8,
            **asked
            | {"settings": [*small, "plateau.patience=9"], "recipe": "model-s-02"}
            | {"settings": [*small, "model.dropout=0.4"], "over": [ABSURD]},
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed was 0, not 1"),
        ({"over": ["dropout=0.1,0.3"]}, "in which space was"),
        ({"settings": []}, "in which model.widths was [8] and is"),
        ({"recipe": "model-s-03"}, "in which name was"),
        ({"data": {"validation": "test"}}, "validation"),
    ],
)
def test_a_changed_study_is_refused(
    study: Study, few_digits: Path, cache: Path, small: tuple[str, ...], change: dict[str, Any], said: str
) -> None:
    asked: dict[str, Any] = {
        "recipe": "model-s-02",
        "settings": small,
        "over": [ABSURD, "dropout=0.1,0.3,0.5,0.9"],
        "out": study.path,
        "trials": 9,
    }
    data = DataOptions(few_digits, cache=cache, **change.pop("data", {}))
    with pytest.raises(RunError) as caught:
        foveal.tune(data, **asked | change)
    assert said in str(caught.value)
    assert len(load_study(study.path).trials) == 8


def test_other_data_are_refused(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(few_digits, tmp_path / "data"))
    data = DataOptions(folder, cache=cache)
    asked = {"recipe": "model-s-02", "settings": small, "out": tmp_path / "study"}
    foveal.tune(data, trials=1, **asked)
    with pytest.raises(RunError, match="in which data was"):
        foveal.tune(DataOptions(few_digits, cache=cache), trials=2, **asked)
    next((folder / "train" / "0").iterdir()).unlink()
    with pytest.raises(RunError, match="other data"):
        foveal.tune(data, trials=2, **asked)


def test_a_study_without_a_test_split(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train").symlink_to(few_digits / "train")
    (data / "val").symlink_to(few_digits / "test")
    found = foveal.tune(
        DataOptions(data, cache=cache),
        trials=2,
        recipe="model-s-02",
        settings=small,
        out=tmp_path / "study",
    )
    assert found.test is None
    assert found.to_json()["test"] is None
    assert "the validation figures are all there is" in str(found)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"budget": "0m"}, "above 0"),
        ({"budget": "10"}, "write a number and a unit"),
        ({"trials": 0}, "one is the least"),
        ({"data": {"validation": "None"}}, "nothing to judge"),
        ({"over": ["dropout=0.1,0.2"], "settings": ["dropout=0.3"]}, "is searched, so --set"),
        ({"over": ["dropout"]}, "not of the form"),
    ],
)
def test_what_is_refused(few_digits: Path, tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        foveal.tune(DataOptions(few_digits, **asked.pop("data", {})), out=tmp_path / "study", **asked)
    assert said in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_refused_data_leave_nothing_that_stands_in_the_way(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    asked = {"trials": 1, "recipe": "model-s-02", "settings": small, "out": tmp_path / "study"}
    with pytest.raises(DataError):
        foveal.tune(tmp_path / "nowhere", **asked)
    assert foveal.tune(DataOptions(few_digits, cache=cache), **asked).winner.number == 0


def test_without_optuna_nothing_is_begun(few_digits: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['optuna'] = None; from foveal.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "tune", str(few_digits), "--out", str(tmp_path / "study")]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (
        2,
        "foveal: this needs the package optuna: pip install 'foveal[tune]'\n",
    )
    assert not (tmp_path / "study").exists()


def test_sigterm_to_the_command(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "study"
    words = [sys.executable, "-m", "foveal", "tune", str(few_digits), "--trials", "2", "--out", str(out)]
    words += ["--recipe", "model-s-02", "--cache", str(cache), "--set", "early_stopping=none"]
    words += [word for each in without(small, "epochs") for word in ("--set", each)]
    process = subprocess.Popen([*words, "--set", "epochs=100000"], stderr=subprocess.PIPE, text=True)
    history = out / "trial-000" / "history.jsonl"
    while process.poll() is None and not (history.exists() and history.stat().st_size):
        time.sleep(0.01)
    process.terminate()
    _, told = process.communicate(timeout=30)
    assert process.returncode == 143
    assert told.splitlines()[-1].endswith(f"the same command with --out {out} goes on")
    assert Run(out / "trial-000").folder.state == "interrupted"


def test_a_folder_of_something_else_is_left_alone(few_digits: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunError, match="is no study"):
        foveal.tune(few_digits, trials=1, out=tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]


def test_a_budget_ends_in_time_and_one_trial_always_runs(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    data = DataOptions(few_digits, cache=cache)
    asked = {"recipe": "model-s-02", "settings": small}
    request = TuneRequest(data=data, budget="1m", out=tmp_path / "spent", **asked)
    spent = search(request, seconds_spent=60)
    assert [each.state for each in spent.trials] == ["trained"]
    began = time.monotonic()
    found = foveal.tune(data, budget="6s", out=tmp_path / "timed", **asked)
    assert time.monotonic() - began < 6 + 1  # the machine may be busy
    assert len(found.trials) > 1


def test_a_trial_that_would_end_too_late_is_cut_short(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second takes far longer than the first, which nobody could know."""
    monkeypatch.setattr(tuning, "lags_behind", lambda *_: False)
    found = foveal.tune(
        DataOptions(few_digits, cache=cache),
        budget="4.8s",
        trials=2,
        recipe=overrides.apply_settings(builtin.load_recipe("model-s-02"), [*small, "early_stopping=none"])[
            0
        ],
        over=["epochs=3,1000000"],
        out=tmp_path / "study",
    )
    assert [each.state for each in found.trials] == ["trained", "out of time"]
    assert found.winner.number == 0
    assert found.selection.models == 1


def test_a_trial_that_diverges_is_recorded(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    found = foveal.tune(
        DataOptions(few_digits, cache=cache),
        trials=2,
        recipe="model-s-02",
        settings=[*without(small, "momentum"), "optimizer=sgd", "model.batch_norm=false"],
        over=["learning_rate=0.01,1e30"],
        out=tmp_path / "study",
    )
    assert [each.state for each in found.trials] == ["trained", "diverged"]
    assert found.trials[1].accuracy is None
    assert found.winner.number == 0
    assert len(events(found.path, "given up")) == 1


def test_every_combination_once(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    found = foveal.tune(
        DataOptions(few_digits, cache=cache),
        trials=9,
        recipe="model-s-02",
        settings=small,
        over=["dropout=0.1,0.5", "label_smoothing=0,0.1"],
        out=tmp_path / "study",
    )
    assert len(found.trials) == 4
    assert found.trials[0].settings == {"model.dropout": "0.5", "label_smoothing": "0"}


def test_ctrl_c_saves_and_says_how_to_go_on(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataOptions(few_digits, cache=cache)
    asked = {"trials": 3, "recipe": "model-s-02", "settings": small, "out": tmp_path / "study"}
    real = tuning.train

    def pressed(*arguments: Any, out: Path, options: TrainOptions, **more: Any) -> Run:
        def stopped(record: Any) -> bool:
            if out.name == "trial-001":
                os.kill(os.getpid(), signal.SIGINT)
            assert options.stop is not None
            return options.stop(record)

        return real(*arguments, out=out, options=replace(options, stop=stopped), **more)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "train", pressed)
        with pytest.raises(
            Interrupted, match=r"interrupted in trial 1, .* same command with --out"
        ) as caught:
            foveal.tune(data, **asked)
    assert caught.value.exit_code == 130
    assert Run(tmp_path / "study" / "trial-001").folder.state == "interrupted"
    found = foveal.tune(data, **asked)
    whole = foveal.tune(data, **asked | {"out": tmp_path / "whole"})
    assert [weights(each.path) for each in found.trials] == [weights(each.path) for each in whole.trials]


def test_killed_in_the_middle_nothing_is_lost(
    few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    """The real command, killed again and again at other moments, then left to its end."""

    def command(out: Path) -> list[str]:
        words = [sys.executable, "-m", "foveal", "tune", str(few_digits), "--trials", "6", "--recipe"]
        words += ["model-s-02", "--cache", str(cache), "--out", str(out), "--json"]
        return words + [word for setting in small for word in ("--set", setting)]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, out = tmp_path / "whole", tmp_path / "study"
    told = subprocess.run(command(whole), env=environment, capture_output=True, text=True, check=True)
    for number in (0, 2, 3):
        process = subprocess.Popen(
            command(out), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        history = out / f"trial-{number:03}" / "history.jsonl"
        while process.poll() is None and not (history.exists() and history.stat().st_size):
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    again = subprocess.run(command(out), env=environment, capture_output=True, text=True, check=True)

    def without_clock(text: str) -> Any:
        found = json.loads(text.replace(str(out), str(whole)))
        for trial in found["trials"]:
            del trial["seconds"]
        return found

    assert without_clock(again.stdout) == without_clock(told.stdout)
    for number in range(6):
        name = f"trial-{number:03}"
        assert weights(out / name) == weights(whole / name)
        assert (out / name / "history.jsonl").read_text() == (whole / name / "history.jsonl").read_text()
    assert len(events(out, "test split opened")) == 1


def test_the_command(
    study: Study,
    few_digits: Path,
    cache: Path,
    small: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["tune", str(few_digits), "--trials", "8", "--recipe", "model-s-02", "--out", str(study.path)]
    words += [word for setting in small for word in ("--set", setting)]
    words += ["--over", ABSURD, "--over", "dropout=0.1,0.3,0.5,0.9", "--cache", str(cache)]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "train it again: foveal train" in told.out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == study.to_json()
    assert main([*words, "--over", "dropout=1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert len(events(study.path, "test split opened")) == 1  # looked at three times


def test_images_in_memory_are_refused(tmp_path: Path) -> None:
    arrays = Arrays(images=np.zeros((2, 8, 8, 1), np.uint8), labels=np.arange(2), classes=("a", "b"))
    with pytest.raises(DataError, match="cannot be resumed"):
        foveal.tune(arrays, trials=1, out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_damaged_study_is_refused(study: Study, few_digits: Path, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"schema": 1}', '{"schema": 1, "asked": 3, "again": [], "trials": []}'):
        (tmp_path / "study.json").write_text(text)
        with suppress(ValueError, AttributeError):
            write_json_with_digest(tmp_path / "study.json", json.loads(text))
        with pytest.raises(RunError):
            foveal.tune(few_digits, trials=1, out=tmp_path)
