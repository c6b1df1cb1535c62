"""The run folder: its records, torn lines, states, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from foveal.errors import RunError
from foveal.files.atomic import encode_line, write_json_with_digest
from foveal.files.events import (
    Created,
    Evaluated,
    Event,
    LearningRateCut,
    Trained,
    TrainingBegan,
    TrainingInterrupted,
)
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import (
    DatasetRecord,
    EnvironmentRecord,
    EpochRecord,
    LeftOut,
    Score,
    Scores,
    SplitRecord,
)


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


EMPTY = SplitRecord(n=0, classes=(), files=())
DATASET = DatasetRecord(
    fingerprint="f",
    classes=("é\udcff",),
    rule="none",
    splits={"train": EMPTY, "validation": EMPTY, "test": SplitRecord(n=1, classes=(1,), files=(("a", "d"),))},
    left_out=(LeftOut(path="b", reason="no image"),),
)
ENVIRONMENT = EnvironmentRecord(
    foveal="0",
    threads=1,
    seed=3,
    data="x",
    validation=None,
    group=None,
    share=0.5,
    cache=None,
    own_augmentation=False,
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", recipe={"a": 1}, dataset=DATASET, environment=ENVIRONMENT)


def test_a_new_run_is_whole_and_nothing_is_left_beside_it(folder: RunFolder) -> None:
    assert folder.state == "created"
    assert folder.recipe == {"a": 1}
    assert folder.dataset == DATASET  # a name that is no UTF-8 survives
    assert folder.environment == ENVIRONMENT
    assert folder.scores == Scores(validation=None, test=None)
    assert folder.history() == []
    assert list(folder.path.parent.iterdir()) == [folder.path]


def test_the_data_set_s_list_is_read_once(folder: RunFolder) -> None:
    first = folder.dataset
    assert folder.dataset is first
    assert RunFolder(folder.path).dataset == first


def test_an_existing_folder_is_refused_and_left_alone(folder: RunFolder) -> None:
    with pytest.raises(RunError, match="exists already"):
        RunFolder.create(folder.path, recipe={}, dataset=DATASET, environment=ENVIRONMENT)
    assert folder.recipe == {"a": 1}


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        RunFolder.create(tmp_path / "file" / "run", recipe={}, dataset=DATASET, environment=ENVIRONMENT)


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
    folder.add_event(TrainingInterrupted())
    assert [event.event for event in folder.events()] == ["created", "interrupted"]


def test_a_foreign_line_of_history_is_named(folder: RunFolder) -> None:
    (folder.path / "history.jsonl").write_bytes(encode_line({"epoch": 1}))
    with pytest.raises(RunError, match="line 1"):
        folder.history()


@pytest.mark.parametrize(
    "last",
    [
        Created(),
        TrainingBegan(),
        TrainingInterrupted(),
        Trained(steps=1, stopped="early", seconds=2.0),
        Evaluated(split="test", n=1, accuracy=1.0),
    ],
)
def test_the_state_is_that_of_the_last_event(folder: RunFolder, last: Event) -> None:
    folder.add_event(TrainingBegan())
    folder.add_event(last)
    folder.add_event(LearningRateCut(epoch=3, learning_rate=0.1))
    assert folder.state == last.event
    assert folder.finished == (last.event in ("trained", "evaluated"))
    assert folder.events()[-2:] == [
        last,
        LearningRateCut(epoch=3, learning_rate=0.1, time=folder.events()[-1].time),
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"event": "created"}', "line 2 lacks time"),
        ('{"time": "2026-01-01T00:00:00+00:00"}', "line 2 lacks event"),
        (
            '{"event": "moved", "time": "2026-01-01T00:00:00+00:00"}',
            "line 2 is 'moved'; it must be created or",
        ),
        ('{"event": "created", "time": "yesterday"}', "yesterday"),
        ('{"event": "trained", "time": "2026-01-01T00:00:00+00:00", "steps": 1.5}', "line 2.steps is 1.5"),
    ],
)
def test_an_event_that_foveal_did_not_write_is_refused(folder: RunFolder, line: str, complaint: str) -> None:
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(encode_line(json.loads(line)))
    with pytest.raises(RunError, match=re.escape(complaint)):
        folder.events()


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("dataset", {"classes": ["a", 3]}, "dataset.classes[1] is 3; it must be text"),
        ("dataset", {"splits": {}}, "its splits are not train, validation and test"),
        ("dataset", {"left_out": [{"path": "a"}]}, "dataset.left_out[0] lacks reason"),
        ("environment", {"seed": -1}, "the seed is -1"),
        ("environment", {"treads": 1}, "did you mean 'threads'"),
    ],
)
def test_a_damaged_record_is_refused_by_name(
    folder: RunFolder, name: str, change: dict[str, object], complaint: str
) -> None:
    path = folder.path / f"{name}.json"
    before = json.loads(path.read_text("utf-8", "surrogateescape"))
    write_json_with_digest(path, {**before, **change})
    with pytest.raises(RunError, match=re.escape(complaint)):
        getattr(RunFolder(folder.path), name)


def test_scores_are_read_without_the_rest(folder: RunFolder) -> None:
    score = {"n": 2, "loss": 1, "accuracy": 0.5}
    value = {"validation": None, "test": {**score, "macro": 1}, "more": 1}
    write_json_with_digest(folder.evaluation, value)
    assert folder.scores == Scores(validation=None, test=Score(n=2, loss=1.0, accuracy=0.5))
