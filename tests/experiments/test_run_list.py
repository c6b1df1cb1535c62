"""The list of a folder's runs: right, quick to make, and never broken by what it finds."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import foveal
from foveal.cli.main import main
from foveal.errors import RecipeError, RunError
from foveal.experiments import run_list
from foveal.files.atomic import encode_line, read_json, write_json_with_digest
from foveal.files.run_folder import RunFolder

EPOCH = {
    "epoch": 1,
    "step": 9,
    "learning_rate": 0.1,
    "loss": 1.0,
    "accuracy": 0.5,
    "validation_loss": 1.0,
    "validation_accuracy": 0.25,
}
"""A line of a history."""


def make_run(
    folder: Path, *, seed: int = 0, began: str = "2026-01-02T03:04:05+00:00", **more: object
) -> Path:
    """Write the small files of a run, as training has them; `more` are those of what came after."""
    folder.mkdir(parents=True)
    write_json_with_digest(folder / "recipe.json", {"name": f"recipe-{seed}"})
    environment = {
        "foveal": "0",
        "threads": 1,
        "seed": seed,
        "data": "data",
        "validation": None,
        "group": None,
        "share": None,
        "cache": None,
        "own_augmentation": False,
    }
    write_json_with_digest(folder / "environment.json", environment)
    (folder / "dataset.json").write_text("not to be read for a list")
    events: list[dict[str, object]] = [
        {"event": "created", "time": began},
        {"event": "training", "time": began},
    ]
    if "seconds" in more:
        trained = {"stopped": "finished", "seconds": more["seconds"], "steps": 9}
        events.append({"event": "trained", "time": began, **trained})
    (folder / "events.jsonl").write_bytes(b"".join(map(encode_line, events)))
    (folder / "history.jsonl").write_bytes(encode_line(EPOCH))
    if "test" in more:
        accuracies = {"validation": 0.5, "test": more["test"]}
        judged = {split: {"n": 8, "loss": 1.0, "accuracy": value} for split, value in accuracies.items()}
        write_json_with_digest(folder / "evaluation.json", judged)
    return folder


def test_a_real_run(finished: Path) -> None:
    (found,) = foveal.runs(finished.parent)
    run = foveal.Run(finished)
    summary = run.summary()
    assert found.name == finished.name
    assert (found.state, found.reason) == ("evaluated", None)
    assert (found.recipe, found.seed, found.epochs) == ("model-s-02", 0, 3)
    assert found.seconds == summary["seconds"]
    assert found.validation_accuracy == summary["validation"]["accuracy"]
    assert found.test_accuracy == summary["test"]["accuracy"]
    assert found.date is not None
    assert found.date.timestamp() == pytest.approx((finished / "recipe.json").stat().st_mtime, abs=600)
    (itself,) = foveal.runs(finished)
    assert (itself.name, itself.test_accuracy) == (".", found.test_accuracy)


def with_digest(content: str) -> bytes:
    """Add a digest to every JSON object of a content, so that something else is wrong with it."""
    try:
        return b"".join(encode_line(json.loads(line)) for line in content.splitlines())
    except (ValueError, TypeError, AttributeError, RecursionError):
        return content.encode()


def test_a_run_under_way_shows_its_best_epoch(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "evaluation.json").unlink()
    (run / ".writer.json").unlink(missing_ok=True)  # whoever wrote last to what all tests share
    events = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text(
        "".join(events[: [json.loads(e)["event"] for e in events].index("training") + 1])
    )
    RunFolder(run).cut_history(2)
    (found,) = foveal.runs(tmp_path)
    assert (found.state, found.epochs, found.seconds, found.test_accuracy) == ("training", 2, None, None)
    best = foveal.Run(run).history.best
    assert found.validation_accuracy == best.validation_accuracy
    assert found.reason is None


@pytest.mark.skipif(os.name != "posix", reason="elsewhere to ask for a process may end it")
def test_a_run_whose_process_is_gone_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid, host, gone in (
        (ended.pid, platform.node(), True),
        (os.getpid(), platform.node(), False),
        (ended.pid, "elsewhere.example", False),
    ):
        write_json_with_digest(run / ".writer.json", {"pid": pid, "host": host, "since": "now"})
        (found,) = foveal.runs(tmp_path)
        assert found.state == "training"
        assert (found.reason is not None) is gone
    write_json_with_digest(run / ".writer.json", {"pid": ended.pid, "host": platform.node(), "since": ""})
    assert "foveal resume" in repr(foveal.runs(tmp_path))


def test_orders(tmp_path: Path) -> None:
    make_run(tmp_path / "a", began="2026-01-01T00:00:00+00:00", seconds=9.0, test=0.5)
    make_run(tmp_path / "group" / "seed-0", began="2026-01-03T00:00:00+02:00", seconds=3.0, test=0.75)
    make_run(tmp_path / "b", began="2026-01-02T23:00:00+00:00")
    (tmp_path / "group" / "group.json").write_text("{}")
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "events.jsonl").touch()

    def names(sort: run_list.SortOrder) -> list[str]:
        return [each.name for each in foveal.runs(tmp_path, sort=sort)]

    assert names("name") == ["a", "b", "group/seed-0", "z"]
    assert names("accuracy") == ["group/seed-0", "a", "b", "z"]
    assert names("seconds") == ["group/seed-0", "a", "b", "z"]
    assert names("date") == ["b", "group/seed-0", "a", "z"]  # instants, not their texts
    with pytest.raises(RecipeError, match="choose accuracy, date"):
        foveal.runs(tmp_path, sort="size")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("recipe.json", "{", "cannot be read"),
        ("recipe.json", "[]", "it is no JSON object"),
        ("recipe.json", '{"name": 3}', "name"),
        ("recipe.json", "[" * 100_000, "cannot be read"),
        ("environment.json", "{}", "lacks"),
        ("events.jsonl", '{"event": "created"}\n', "lacks time"),
        ("events.jsonl", '{"event": "created", "time": "0001-01-01T00:00:00+14:00"}\n', ""),
        ("events.jsonl", '{"event": "trained", "time": "2026-01-01", "seconds": "x"}\n', "events.jsonl"),
        ("history.jsonl", "\x00\x01\n", "line 1"),
        ("history.jsonl", '{"epoch": NaN}\n', "history"),
        ("evaluation.json", '{"validation": null}', "lacks test"),
        ("evaluation.json", '{"validation": null, "test": {"n": 8, "accuracy": 1e999}}', "digest"),
        ("evaluation.json", "9" * 5000, "cannot be read"),
        (".writer.json", "{}", "lacks pid"),
        (".writer.json", "9" * 20_000, "larger than"),
    ],
)
def test_a_damaged_file_damages_no_other_run(tmp_path: Path, file: str, content: str, reason: str) -> None:
    make_run(tmp_path / "bad")
    (tmp_path / "bad" / file).write_bytes(with_digest(content))
    make_run(tmp_path / "good", test=0.5)
    bad, good = foveal.runs(tmp_path, sort="name")
    assert bad.state == "damaged"
    assert bad.reason is not None
    assert reason in bad.reason
    assert (good.state, good.test_accuracy) == ("training", 0.5)
    json.dumps(foveal.runs(tmp_path).to_json(), allow_nan=False)


def test_strange_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "one")
    make_run(tmp_path / ".one.being-made")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "also").symlink_to(tmp_path / "one")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    make_run(tmp_path / "piped")
    (tmp_path / "piped" / "evaluation.json").unlink(missing_ok=True)
    (tmp_path / "piped" / "history.jsonl").unlink()
    os.mkfifo(tmp_path / "piped" / "history.jsonl")
    make_run(tmp_path / "\x1b[2Jred\u202e")
    make_run(tmp_path / os.fsdecode(b"caf\xe9"))
    make_run(tmp_path / "1/2/3/4")
    make_run(tmp_path / "a/b/c/d/e")
    monkeypatch.setattr(run_list, "MAX_FILE_BYTES", 300)
    (tmp_path / "one" / "evaluation.json").write_text(" " * 400)
    found = foveal.runs(tmp_path, sort="name")
    names = ["\x1b[2Jred\u202e", "1/2/3/4", "also", "caf\udce9", "one", "piped"]
    assert [each.name for each in found] == names
    reasons = {each.name: str(each.reason) for each in found}
    assert "larger than 300 bytes" in reasons["one"]
    assert "no ordinary file" in reasons["piped"]
    for shown in (repr(found), found._repr_html_()):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "\udce9" not in shown


def test_names_stay_inert_in_a_notebook(tmp_path: Path) -> None:
    make_run(tmp_path / "<img src=x onerror=alert(1)>")
    (tmp_path / "bad").mkdir()
    write_json_with_digest(tmp_path / "bad" / "recipe.json", {"name": '"><script>'})
    page = foveal.runs(tmp_path)._repr_html_()
    assert "<img" not in page
    assert "<script" not in page


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "runs" / "one", seed=7, seconds=61.25, test=0.99999)
    (tmp_path / "runs" / "two").mkdir()
    write_json_with_digest(tmp_path / "runs" / "two" / "recipe.json", {})
    assert main(["runs", str(tmp_path / "runs"), "--sort", "accuracy"]) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"^one +trained +> 99\.99 % +50\.00 % +1 +61\.2 +recipe-7 +7 +2026-01-0", shown, re.MULTILINE
    )
    assert re.search(
        r"^two: .*recipe.json is not as Foveal wrote it: recipe lacks name$", shown, re.MULTILINE
    )
    assert main(["runs", str(tmp_path / "runs"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert found["folder"] == str(tmp_path / "runs")
    assert [each["name"] for each in found["runs"]] == ["one", "two"]
    assert found["runs"][0]["test_accuracy"] == 0.99999
    assert set(found["runs"][1].values()) >= {"damaged", None}
    (tmp_path / "none").mkdir()
    assert main(["runs", str(tmp_path / "none")]) == 0
    assert "no runs below" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "missing")]) == 2
    assert "is no folder" in capsys.readouterr().err
    with pytest.raises(RunError):
        foveal.runs(tmp_path / "missing")


def test_it_reads_no_large_file_and_imports_nothing_heavy(finished: Path) -> None:
    read_json(finished / "dataset.json")  # it is there
    code = (
        "import builtins, io, sys, foveal\n"
        "sys.addaudithook(lambda event, args: print(args[0]) if event == 'open' else None)\n"
        f"foveal.runs({str(finished)!r})\n"
        "assert not {'torch', 'numpy', 'scipy', 'starlette', 'filelock'} & set(sys.modules), sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    opened = {Path(line).name for line in ran.stdout.splitlines() if line.startswith(str(finished))}
    assert opened == {*run_list.RUN_FILES} | ({".writer.json"} & opened)
