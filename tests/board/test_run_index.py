"""What the board knows of a folder: by ids, read again when it changed, in JSON that any name fits in."""

import json
import os
import shutil
from pathlib import Path

import pytest

from foveal.board import run_index as knowing
from foveal.board.run_index import Known, as_json, identify


def test_what_changed_is_read_again_and_nothing_else(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        shutil.copytree(finished, tmp_path / name)
    read: list[str] = []
    look = knowing.look
    monkeypatch.setattr(knowing, "look", lambda found: (read.append(found[1]), look(found))[1])
    known = Known(folder=tmp_path)
    key = identify("one")
    before = known.runs()[key].test_accuracy
    assert sorted(read) == ["one", "two"]
    known.runs()
    assert len(read) == 2
    file = tmp_path / "one" / "evaluation.json"
    judged = json.loads(file.read_text("utf-8"))
    judged["test"]["accuracy"] = 0.125
    file.write_text(json.dumps(judged), "utf-8")
    assert known.runs()[key].test_accuracy == 0.125 != before
    assert read[2:] == ["one"]
    shutil.rmtree(tmp_path / "one")
    assert set(known.runs()) == {identify("two")}
    assert known.history(key) is None


def test_unknown_ids_are_nothing(finished: Path) -> None:
    known = Known(folder=finished.parent)
    key = identify(finished.name)
    history = known.history(key)
    assert history is not None
    assert len(history["epochs"]) == 3
    for other in ("", ".", "..", finished.name, str(finished), key[:-1], f"{key}/..", "\x00"):
        assert known.history(other) is None
        assert known.report(other) is None
        assert known.comparison([key, other], "test") is None
    assert known.comparison([key, key], "train") is None
    refused = known.comparison([key], "test")
    assert refused is not None
    assert "two runs or more" in refused["refused"]


def test_any_name_fits(finished: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xe2\x80\xae\x1b")
    shutil.copytree(finished, tmp_path / name)
    (tmp_path / name / "history.jsonl").write_bytes(b"\xff\n")
    known = Known(folder=tmp_path)
    (row,) = json.loads(as_json(known.listing()))["runs"]
    assert row["cells"][0] == "caf\\udce9 \\u202e\\x1b"
    assert (row["cells"][1], row["live"]) == ("damaged", False)
    history = known.history(row["id"])
    assert history is not None
    assert history["epochs"] == []
    assert "line 1" in history["refused"]
    as_json(history)
    (tmp_path / name / "report.html").unlink()
    (tmp_path / name / "report.html").symlink_to("report.html")
    assert known.report(row["id"]) is None
