"""The real command line: what it prints, where, and how it exits."""

import csv
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foveal.cli.main import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(few_digits: Path, tmp_path: Path) -> Path:
    """A copy of some digits that a test may spoil."""
    return Path(shutil.copytree(few_digits, tmp_path / "data"))


@pytest.fixture
def train(few_digits: Path, cache: Path, small: tuple[str, ...], tmp_path: Path):
    """Call `foveal train` on a folder with small settings; further words follow."""

    def call(folder: Path, *words: str) -> int:
        settings = [word for setting in small for word in ("--set", setting)]
        return main(
            [
                *("train", str(folder), "--recipe", "model-s-02", *settings),
                *("--cache", str(cache), "--out", str(tmp_path / "run"), *words),
            ]
        )

    return call


def refused(code: int, capsys: Capture, *expected: str) -> None:
    """Exit code 2, nothing on standard output, one line on standard error that says all of this."""
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if not line.startswith("usage")]
    assert len(lines) == 1, lines
    for each in expected:
        assert each in lines[0]


def nothing_written(tmp_path: Path) -> None:
    assert [each.name for each in tmp_path.iterdir() if "run" in each.name] == []


# ---- a whole run


def test_train_evaluate_report_predict(few_digits: Path, tmp_path: Path, capsys: Capture, train) -> None:
    assert train(few_digits, "--evaluate", "--json", "--seed", "3") == 0
    said = capsys.readouterr()
    outcome = json.loads(said.out)
    assert list(outcome) == [
        *("run", "recipe", "seed", "epochs", "best_epoch", "seconds", "stopped", "validation", "test")
    ]
    assert (outcome["recipe"], outcome["seed"], outcome["epochs"], outcome["stopped"]) == (
        "model-s-02",
        3,
        3,
        "finished",
    )
    assert outcome["test"]["n"] == 30
    assert set(outcome["test"]) == {"n", "loss", "accuracy"}
    assert said.err.count("epoch ") >= 3
    run = outcome["run"]

    assert main(["evaluate", run, "--json"]) == 0
    evaluation = json.loads(capsys.readouterr().out)
    assert {
        "run",
        "split",
        "n",
        "loss",
        "accuracy",
        "accuracy_interval",
        "macro",
        "weighted",
        "classes",
    } <= set(evaluation)
    assert evaluation["accuracy"] == outcome["test"]["accuracy"]
    assert set(evaluation["classes"][0]) >= {"name", "n", "precision", "recall", "f1", "roc_auc"}

    assert main(["report", run]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page.name == "report.html"
    assert page.is_file()

    image = str(sorted((few_digits / "test" / "0").iterdir())[0])
    assert main(["predict", run, image, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0]["path"] == image
    assert rows[0]["class"] in ("0", "3", "8")
    (tmp_path / "broken.png").write_text("no image")
    assert main(["predict", run, image, str(tmp_path / "broken.png"), "--format", "jsonl"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["label"] == rows[0]["class"]
    assert "no image" in lines[1]["error"]
    assert main(["predict", run, image]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["file", "class", "probability"]


def test_evaluate_with_views(few_digits: Path, capsys: Capture, train) -> None:
    assert train(few_digits, "--set", "augmentation.flip=true") == 0
    run = capsys.readouterr().out.strip()
    assert main(["evaluate", run, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["views"] is None
    assert main(["evaluate", run, "--views", "--json"]) == 0
    viewed = json.loads(capsys.readouterr().out)
    assert {**viewed, "views": None} == plain
    assert set(viewed["views"]) == {"n", "accuracy", "accuracy_interval", "loss"}
    assert viewed["views"]["n"] == 6
    stored = json.loads((Path(run) / "evaluation.json").read_text())
    assert stored["test"]["views"] == viewed["views"]
    assert stored["validation"]["views"] is None
    assert main(["evaluate", run, "--views"]) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if "6 views of each image" in line]
    assert f"loss {viewed['views']['loss']:.4f}" in line
    assert "six times the computing and is no property of the saved model" in line
    assert main(["report", run]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text("utf-8")
    assert "6 views of each image" in page
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "--views" in capsys.readouterr().out


def test_unreadable_images_are_listed_and_left_out(
    data: Path, tmp_path: Path, capsys: Capture, train
) -> None:
    (data / "train" / "0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (data / "train" / "notes.txt").write_text("a stray")
    assert train(data) == 1
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "run")
    assert "2 files are left out" in said.err
    left_out = json.loads((tmp_path / "run" / "dataset.json").read_text())["left_out"]
    assert {each["path"] for each in left_out} == {"train/notes.txt", "train/0/broken.png"}
    assert main(["resume", str(tmp_path / "run")]) == 0  # it is finished
    assert "there is nothing to resume" in capsys.readouterr().err
    assert all(each["reason"] for each in left_out)


def test_recipes_are_listed_and_shown(capsys: Capture) -> None:
    assert main(["recipes"]) == 0
    assert "model-s-02" in capsys.readouterr().out
    assert main(["recipes", "model-s-02"]) == 0
    shown = capsys.readouterr().out
    assert "conv2d_5" in shown
    assert "147,584" in shown
    assert "4 × 4 × 128" in shown
    assert "trainable parameters  815,018" in shown
    assert "other parameters      896" in shown
    assert main(["recipes", "model-s-03", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 40
    assert main(["recipes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model-s-02"]["epochs"] == 30
    refused(main(["recipes", "model-s-02", "--classes", "1"]), capsys, "two or more")


def test_demo(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["demo", str(tmp_path / "demo")]) == 0
    evaluation = json.loads((tmp_path / "demo" / "run" / "evaluation.json").read_text())
    assert evaluation["test"]["accuracy"] >= 0.98
    assert str(tmp_path / "demo" / "run" / "report.html") in capsys.readouterr().out


# ---- wrong input: one line, exit code 2, nothing half-written


def test_bad_folders(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    refused(train(tmp_path / "nowhere"), capsys, "does not exist")
    (tmp_path / "empty").mkdir()
    refused(train(tmp_path / "empty"), capsys, "holds no class folders")
    (tmp_path / "file").write_text("")
    refused(train(tmp_path / "file"), capsys, "is empty; name a folder of class folders, or a table")
    (tmp_path / "file").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused(train(tmp_path / "file"), capsys, "is no table: it is one image (PNG)")
    nothing_written(tmp_path)


def test_a_class_without_images(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    """A class that has no image in any split is left out; one that has some elsewhere is refused."""
    for file in (data / "test" / "3").iterdir():
        file.unlink()
    refused(train(data), capsys, str(data / "test" / "3"), "holds no image")
    nothing_written(tmp_path)
    for split, label in (("test", "3"), ("train", "3")):
        shutil.rmtree(data / split / label)
    (data / "train" / "9").mkdir()
    assert train(data) == 1
    assert "warning: the class folder train/9 holds no image, so it is left out" in capsys.readouterr().err


def test_a_class_without_readable_images(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    """It is left out too, but not where it is readable in one split."""
    for split in ("train", "test"):
        (data / split / "9").mkdir()
        (data / split / "9" / "a.png").write_text("no image")
    assert train(data) == 1
    said = capsys.readouterr().err
    assert "warning: the class 9 is left out: it has no readable image, and needs 2" in said
    assert [line.split()[0] for line in said.splitlines()[2:5]] == ["0", "3", "8"]
    shutil.rmtree(tmp_path / "run")

    shutil.copytree(data / "train" / "0", data / "train" / "9", dirs_exist_ok=True)
    refused(train(data), capsys, "no file of the class folder", "can be read as an image")
    nothing_written(tmp_path)


def test_classes_and_counts_are_told_before_training(data: Path, capsys: Capture, train) -> None:
    for number in range(20):
        for split in ("train", "test"):
            shutil.copytree(data / split / "0", data / split / f"more-{number:02}")
    (data / "train" / "@eaDir").mkdir()
    (data / "train" / "@eaDir" / "1.png").touch()
    train(data, "--set", "epochs=1")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].split() == ["23", "classes", "training", "validation", "test"]
    assert lines[2].split()[::3] == ["0", "10"]
    assert lines[8] == "… 14 more"
    assert [line.split()[0] for line in lines[9:12]] == ["more-17", "more-18", "more-19"]
    assert "passed over, as hidden or left by other programs: 1 file: @eaDir (1)" in lines
    first_epoch = next(index for index, line in enumerate(lines) if line.startswith("epoch"))
    assert first_epoch > 12


def test_printed_commands_can_be_pasted(
    data: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, train
) -> None:
    """Also where the folder begins with a dash or has a space. Images without classes are not lost."""
    monkeypatch.chdir(tmp_path)
    images = [file for label in "038" for file in sorted((data / "test" / label).iterdir())]
    for number, file in enumerate(images):
        file.rename(data / "test" / f"{number}.png")
    for label in "038":
        (data / "test" / label).rmdir()
    data.rename("-my data")
    assert train(Path("./-my data"), "--set", "epochs=1", "--out", "./-my run") == 0
    said = capsys.readouterr().err
    commands = [
        line.partition("after training: ")[2] for line in said.splitlines() if "after training" in line
    ]
    commands += [
        part for line in said.splitlines() if line.startswith("next: ") for part in line[6:].split("  or  ")
    ]
    assert len(commands) == 3
    assert commands[0] == "foveal predict './-my run' './-my data/test'"
    assert main(shlex.split(commands[0])[1:]) == 0
    assert "29.png" in capsys.readouterr().out
    assert commands[2] == "foveal predict './-my run' IMAGE …"
    refused(main(shlex.split(commands[1])[1:]), capsys, "has no test images")


def test_one_class_only(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    for split in ("train", "test"):
        for label in "03":
            shutil.rmtree(data / split / label)
    refused(train(data), capsys, "one class only")
    nothing_written(tmp_path)


def test_a_test_folder_that_lacks_a_class(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    shutil.rmtree(data / "test" / "3")
    refused(train(data), capsys, "the class 3", str(data / "test"))
    nothing_written(tmp_path)


def test_two_layouts_mixed(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    shutil.copytree(data / "train" / "0", data / "0")
    refused(train(data), capsys, "mixes two layouts")
    nothing_written(tmp_path)


def test_the_test_split_named_as_validation(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    refused(train(data, "--validation", "test"), capsys, "--validation test is refused")
    refused(train(data, "--validation", "train7"), capsys, "no such split")
    nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--recipe", "model-s-2"], "did you mean 'model-s-02'"),
        (["--set", "epohcs=3"], "did you mean 'epochs'"),
        (["--set", "beta_1=0.5"], "has no effect under the recipe model-s-02"),
        (["--validation", "none", "--set", "plateau.patience=3"], "has no effect with --validation none"),
        (["--background", "nocolour"], "name a colour"),
        (["--seed", "-1"], "the seed is -1"),
        (["--group", "("], "no regular expression"),
    ],
)
def test_bad_settings(
    data: Path, tmp_path: Path, capsys: Capture, train, words: list[str], expected: str
) -> None:
    refused(train(data, *words), capsys, expected)
    nothing_written(tmp_path)


def test_a_run_folder_that_exists_is_left_alone(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("mine")
    refused(train(data), capsys, str(tmp_path / "run"), "exists already")
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["precious"]


def test_an_output_that_cannot_be_written(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    (tmp_path / "file").write_text("")
    refused(train(data, "--out", str(tmp_path / "file" / "run")), capsys, "cannot write")


@pytest.mark.parametrize("verb", ["evaluate", "report", "resume"])
def test_what_is_no_run(tmp_path: Path, capsys: Capture, verb: str) -> None:
    refused(main([verb, str(tmp_path)]), capsys, str(tmp_path), "is no run")


def test_what_is_no_model(tmp_path: Path, capsys: Capture) -> None:
    refused(main(["predict", str(tmp_path), "a.png"]), capsys, "neither a model folder nor a run")


@pytest.mark.parametrize("words", [["trian"], ["train"], ["train", "x", "--sed", "3", "y"], ["recipes", "x"]])
def test_bad_words(capsys: Capture, words: list[str]) -> None:
    try:
        code = main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    refused(code, capsys, "did you mean 'train'" if words == ["trian"] else "foveal")


def test_evaluating_without_a_test_split(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    shutil.rmtree(data / "test")
    assert train(data, "--evaluate") == 0  # there is nothing to open: the validation split is judged
    assert "validation: accuracy" in capsys.readouterr().out
    refused(main(["evaluate", str(tmp_path / "run")]), capsys, "no test images")


def test_data_that_changed_since(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    assert train(data) == 0
    next((data / "train" / "0").iterdir()).unlink()
    capsys.readouterr()
    refused(main(["evaluate", str(tmp_path / "run")]), capsys, "fingerprint")


def test_a_loss_that_is_no_number_is_named(data: Path, tmp_path: Path, capsys: Capture, train) -> None:
    assert train(data, "--set", "learning_rate=1e30") == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert "loss became" in last
    assert "--set learning_rate=1e+29" in last


# ---- the process itself


def foveal(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "foveal", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_resume_goes_on(
    few_digits: Path, cache: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = tmp_path / "run"
    words = ["--set", "size=16", "--set", "epochs=100", "--set", "early_stopping=none", "--cache", str(cache)]
    words += ["--recipe", "model-s-02"]
    process = foveal("train", str(few_digits), "--out", str(run), "--json", *words)
    history = run / "history.jsonl"
    deadline = time.monotonic() + 60
    while not (history.exists() and history.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert json.loads(out)["stopped"] == "interrupted"
    assert err.splitlines()[-1].endswith(f"go on with: foveal resume {run}")
    assert "Traceback" not in err
    assert len(history.read_text().splitlines()) < 100
    process = foveal("resume", str(run), "--json")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["epochs"] == 100


def test_a_full_or_closed_standard_output_is_no_defect() -> None:
    for sink in ("/dev/full", "| true"):
        command = f"{shlex.quote(sys.executable)} -m foveal recipes {'> ' * (sink[0] == '/')}{sink}"
        run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
        assert "Traceback" not in run.stderr
        assert "Exception" not in run.stderr
        assert run.returncode == (3 if sink == "/dev/full" else 0)


def test_a_name_that_is_too_long_is_one_line(capsys: Capture) -> None:
    assert main(["evaluate", "x" * 5000]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_reader_that_leaves_early_is_no_defect(finished: Path, few_digits: Path) -> None:
    process = foveal("predict", str(finished), str(few_digits), "--format", "jsonl")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)


def test_what_else_prints_json(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "copy"))
    assert main(["report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": str(run), "report": str(run / "report.html")}
    assert main(["data", "get", "digits", str(tmp_path / "digits"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "digits")}


def test_an_unknown_data_set_suggests_the_nearest(tmp_path: Path, capsys: Capture) -> None:
    refused(main(["data", "get", "cifar", str(tmp_path / "x")]), capsys, "cifar10")
