"""The index of runs: by ids, read again when files change, in JSON that holds any name."""

import json
import os
import shutil
from pathlib import Path

import pytest

from foveal.board_page import run_index
from foveal.board_page.run_index import RunIndex, encode_json, make_id
from foveal.files.atomic import write_json_with_digest


def test_what_changed_is_read_again_and_nothing_else(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        shutil.copytree(finished, tmp_path / name)
    read: list[str] = []
    read_run = run_index.read_run
    monkeypatch.setattr(
        run_index, "read_run", lambda location: (read.append(location.name), read_run(location))[1]
    )
    index = RunIndex(folder=tmp_path)
    run_id = make_id("one")
    before = index.read_runs()[run_id].test_accuracy
    assert sorted(read) == ["one", "two"]
    index.read_runs()
    assert len(read) == 2
    file = tmp_path / "one" / "evaluation.json"
    evaluations = json.loads(file.read_text("utf-8"))
    evaluations["test"]["accuracy"] = 0.125
    write_json_with_digest(file, evaluations)
    assert index.read_runs()[run_id].test_accuracy == 0.125 != before
    assert read[2:] == ["one"]
    shutil.rmtree(tmp_path / "one")
    assert set(index.read_runs()) == {make_id("two")}
    assert index.read_history(run_id) is None


def test_unknown_ids_have_no_answer(finished: Path) -> None:
    index = RunIndex(folder=finished.parent)
    run_id = make_id(finished.name)
    history = index.read_history(run_id)
    assert history is not None
    assert len(history["epochs"]) == 3
    for other in ("", ".", "..", finished.name, str(finished), run_id[:-1], f"{run_id}/..", "\x00"):
        assert index.read_history(other) is None
        assert index.read_report(other) is None
        assert index.compare([run_id, other], "test") is None
    assert index.compare([run_id, run_id], "train") is None
    refused = index.compare([run_id], "test")
    assert refused is not None
    assert "two runs or more" in refused["refused"]


def test_any_name_is_encoded(finished: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xe2\x80\xae\x1b")
    shutil.copytree(finished, tmp_path / name)
    (tmp_path / name / "history.jsonl").write_bytes(b"\xff\n")
    index = RunIndex(folder=tmp_path)
    (row,) = json.loads(encode_json(index.build_listing()))["runs"]
    assert row["cells"][0] == "caf\\udce9 \\u202e\\x1b"
    assert (row["cells"][1], row["live"]) == ("damaged", False)
    history = index.read_history(row["id"])
    assert history is not None
    assert history["epochs"] == []
    assert "line 1" in history["refused"]
    encode_json(history)
    (tmp_path / name / "report.html").unlink()
    (tmp_path / name / "report.html").symlink_to("report.html")
    assert index.read_report(row["id"]) is None
