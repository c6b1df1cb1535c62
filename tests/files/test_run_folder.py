"""The run folder: whole files, torn lines, states."""

import errno
import json
import os
from pathlib import Path

import pytest

from foveal.errors import OutsideError, RunError
from foveal.files import run_folder as runs
from foveal.files.run_folder import EpochRecord, RunFolder


def record(epoch: int) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        step=epoch * 10,
        learning_rate=0.1,
        loss=1 / epoch,
        accuracy=0.5,
        validation_loss=None,
        validation_accuracy=None,
    )


EMPTY = {"n": 0, "classes": [], "files": []}
DATASET = {
    "fingerprint": "f",
    "classes": ["é\udcff"],
    "rule": "none",
    "splits": {"train": EMPTY, "validation": EMPTY, "test": EMPTY},
    "left_out": [],
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", recipe={"a": 1}, dataset=DATASET, environment={})


def test_a_new_run_is_whole_and_nothing_is_left_beside_it(folder: RunFolder) -> None:
    assert folder.state == "created"
    assert folder.recipe == {"a": 1}
    assert folder.dataset == DATASET  # a name that is no UTF-8 survives
    assert folder.history() == []
    assert list(folder.path.parent.iterdir()) == [folder.path]


def test_the_data_set_s_list_is_read_once(folder: RunFolder) -> None:
    first = folder.dataset
    assert folder.dataset is first
    assert RunFolder(folder.path).dataset == first


def test_an_existing_folder_is_refused_and_left_alone(folder: RunFolder) -> None:
    with pytest.raises(RunError, match="exists already"):
        RunFolder.create(folder.path, recipe={}, dataset={}, environment={})
    assert folder.recipe == {"a": 1}


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        RunFolder.create(tmp_path / "file" / "run", recipe={}, dataset={}, environment={})


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_what_is_no_run_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "empty":
        path.mkdir()
    if what == "file":
        path.write_text("")
    with pytest.raises(RunError, match=str(path)):
        RunFolder(path)


def test_history_is_kept_line_by_line_and_a_torn_line_is_left_out(folder: RunFolder) -> None:
    for epoch in (1, 2, 3):
        folder.add_epoch(record(epoch))
    with (folder.path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 4, "st')
    assert folder.history() == [record(1), record(2), record(3)]
    folder.cut_history(2)
    assert folder.history() == [record(1), record(2)]


def test_an_event_after_a_torn_line_takes_its_place(folder: RunFolder) -> None:
    with (folder.path / "events.jsonl").open("a") as file:
        file.write('{"time": "20')
    folder.event("interrupted")
    assert [event["event"] for event in folder.events()] == ["created", "interrupted"]


def test_a_foreign_line_of_history_is_named(folder: RunFolder) -> None:
    (folder.path / "history.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(RunError, match="line 1"):
        folder.history()


@pytest.mark.parametrize("last", ["created", "training", "interrupted", "trained", "evaluated"])
def test_the_state_is_that_of_the_last_event(folder: RunFolder, last: str) -> None:
    folder.event("training")
    folder.event(last, steps=1, seconds=2.0, stopped="early")
    folder.event("plateau", epoch=3, learning_rate=0.1)
    assert folder.state == last
    assert folder.events()[-1]["epoch"] == 3


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        runs.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    runs.write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OutsideError, match="No space left on device"):
        runs.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RunError, match=r"a\.json cannot be read"):
        runs.read_json(tmp_path / "a.json")
    with pytest.raises(RunError, match=r"b\.json is missing"):
        runs.read_json(tmp_path / "b.json")


def test_written_json_is_json(tmp_path: Path) -> None:
    value = {"name": "x", "n": [1, 2.5, None, True]}
    runs.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == value
