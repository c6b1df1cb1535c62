"""What a run stores: damaged, edited and left-over files, and names of classes that no page can hold."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import foveal
from foveal.cli.main import main
from foveal.data import named_datasets
from foveal.errors import DataError, FovealError, ModelError, OutsideError, RunError
from foveal.files import atomic
from foveal.files.atomic import encode_line, read_json_with_digest, read_jsonl, write_json_with_digest
from foveal.files.events import Created, TrainingBegan
from foveal.files.leftovers import MAKER, Maker, remove_leftovers, sign_unfinished
from foveal.files.lock import WRITER, only_writer, read_writer
from foveal.files.processes import describe_process, is_running
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import Writer
from foveal.files.typed_json import to_json
from foveal.progress import printable
from foveal.recipe.builtin import load_recipe
from foveal.reporting.report import Report
from foveal.reporting.report_files import write_report
from foveal.training.checkpoint import list_checkpoint_steps, locate_checkpoint

Capture = pytest.CaptureFixture[str]
JSON_FILES = ("recipe.json", "dataset.json", "environment.json", "evaluation.json", "model/config.json")
LINE_FILES = ("history.jsonl", "events.jsonl")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run that may be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def read_all(run: Path) -> None:
    """Read all that is stored in JSON, as the commands do."""
    opened = foveal.Run(run)
    _ = (opened.recipe, opened.folder.dataset, opened.folder.environment, opened.folder.scores)
    _ = (opened.history, opened.folder.events(), opened.bundle)
    for split in ("validation", "test"):
        evaluation = opened.evaluation(split)  # type: ignore[arg-type]
        assert evaluation is not None
        opened.load_predictions(evaluation)


# ---- digests


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("damage", ["a digit", "a key", "no digest", "another digest", "nothing", "half"])
def test_a_damaged_file_is_refused_by_name(run: Path, name: str, damage: str) -> None:
    file = run / name
    text = file.read_text("utf-8")
    value = json.loads(text)
    match damage:
        case "a digit":
            at = next(index for index, character in enumerate(text) if character in "123456789")
            text = text[:at] + "0" + text[at + 1 :] if name != "recipe.json" else text.replace("16", "17", 1)
        case "a key":
            text = json.dumps({key: child for key, child in value.items() if key != list(value)[-2]})
        case "no digest":
            text = json.dumps({key: child for key, child in value.items() if key != "digest"})
        case "another digest":
            text = json.dumps({**value, "digest": "0" * 16})
        case "nothing":
            text = ""
        case "half":
            text = text[: len(text) // 2]
    file.write_text(text, "utf-8")
    with pytest.raises(FovealError, match=file.name) as caught:
        read_all(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LINE_FILES)
@pytest.mark.parametrize(
    "damage", ["a digit", "no digest", "two in one", "the last newline", "an empty line"]
)
def test_a_damaged_line_is_refused_with_its_number(run: Path, name: str, damage: str) -> None:
    file = run / name
    lines = file.read_bytes().split(b"\n")
    number = 2
    match damage:
        case "a digit":
            lines[1] = lines[1].replace(b"1", b"7", 1)
        case "no digest":
            lines[1] = json.dumps({**json.loads(lines[1]), "digest": None}).encode()
        case "two in one":
            lines[1:3] = [lines[1] + b"\x0b" + lines[2]]
        case "the last newline":
            lines[-2:], number = [lines[-2] + b"\x1a"], len(lines) - 1
        case "an empty line":
            lines.insert(1, b"")
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(RunError, match=rf"{name}, line {number}"):
        read_all(run)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_a_crash_cut_short_is_left_out(run: Path, cut: int) -> None:
    file = run / "history.jsonl"
    n_epochs = len(list(read_jsonl(file)))
    file.write_bytes(file.read_bytes()[:-cut])
    assert len(list(read_jsonl(file))) == n_epochs - 1


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("place", ["a logit", "a label", "the header"])
def test_damaged_predictions_are_refused_and_mended(
    run: Path, split: Any, place: str, capsys: Capture
) -> None:
    file = run / "predictions" / f"{split}.safetensors"
    content = bytearray(file.read_bytes())
    content[{"a logit": -1, "a label": -300, "the header": 60}[place]] ^= 1
    file.write_bytes(content)
    evaluation = foveal.Run(run).evaluation(split)
    assert evaluation is not None
    with pytest.raises(RunError, match=f"foveal evaluate .* --split {split}"):
        foveal.Run(run).load_predictions(evaluation)
    assert main(["evaluate", str(run), "--split", split]) == 0
    foveal.Run(run).load_predictions(evaluation)
    capsys.readouterr()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_damaged_evaluation_is_measured_again(run: Path, split: Any, capsys: Capture) -> None:
    before = {name: foveal.Run(run).evaluation(name) for name in ("validation", "test")}  # type: ignore[arg-type]
    file = run / "evaluation.json"
    file.write_text(file.read_text().replace("accuracy", "accuracies", 1))
    with pytest.raises(RunError, match="digest"):
        foveal.Run(run).evaluation(split)
    assert foveal.evaluate(run, split) == before[split]
    assert "is written anew" in capsys.readouterr().err
    if split == "test":  # its thresholds were chosen on validation images
        assert foveal.Run(run).evaluation("validation") == before["validation"]


def test_a_class_named_twice_is_refused(run: Path) -> None:
    file = run / "model" / "config.json"
    config = read_json_with_digest(file)
    write_json_with_digest(file, {**config, "classes": ["0", "3", "0"]})
    with pytest.raises(ModelError, match="names the class '0' twice"):
        foveal.Run(run).bundle  # noqa: B018
    file = run / "dataset.json"
    write_json_with_digest(file, {**read_json_with_digest(file), "classes": ["0", "3", "0"]})
    with pytest.raises(RunError, match="names the class '0' twice"):
        RunFolder(run).dataset  # noqa: B018
    images = np.zeros((4, 8, 8, 1), np.uint8)
    with pytest.raises(DataError, match="'a' twice"):
        foveal.Arrays(images=images, labels=np.arange(4) % 2, classes=("a", "a"))


def test_an_edited_recipe_is_no_longer_the_run_s_but_can_be_trained(run: Path) -> None:
    file = run / "recipe.json"
    recipe = json.loads(file.read_text())
    assert list(recipe)[-1] == "digest"
    file.write_text(json.dumps({**recipe, "epochs": 7}))
    with pytest.raises(RunError, match=r"recipe\.json is not as Foveal wrote it"):
        foveal.Run(run).recipe  # noqa: B018
    assert load_recipe(file).epochs == 7


def test_equal_runs_have_equal_digests(tmp_path: Path) -> None:
    value = {"loss": 0.1 + 0.2, "name": "ä\udcff\ud800\ufffe", "n": [1, {"digest": 2}]}
    assert encode_line(value) == encode_line(dict(value))
    write_json_with_digest(tmp_path / "a.json", value)
    assert read_json_with_digest(tmp_path / "a.json") == value
    content = (tmp_path / "a.json").read_bytes()
    (tmp_path / "a.json").write_bytes(content.replace(b"\n", b"\r\n").rstrip())
    assert read_json_with_digest(tmp_path / "a.json") == value  # as git may change the ends of lines


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@given(
    value=st.dictionaries(st.text(), json_values, max_size=4), at=st.integers(0, 10**6), bit=st.integers(0, 7)
)
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_never_gives_another_row(value: dict[str, Any], at: int, bit: int) -> None:
    value.pop(atomic.DIGEST_KEY, None)
    line = bytearray(encode_line(value))
    assert _read_rows(bytes(line)) == [value]
    line[at % len(line)] ^= 1 << bit
    try:
        rows = _read_rows(bytes(line))
    except RunError:
        return
    assert rows == [value]


def _read_rows(content: bytes) -> list[dict[str, object]]:
    file = Path(os.environ.get("TMPDIR", "/tmp")) / f"foveal-rows-{os.getpid()}.jsonl"
    file.write_bytes(content)
    try:
        return list(read_jsonl(file))
    finally:
        file.unlink()


# ---- names of classes

NAMES = (
    "U+FFFE \ufffe",
    "U+FFFF \uffff",
    "U+1FFFE \U0001fffe",
    "U+FDD0 \ufdd0",
    "a lone surrogate \ud800",
    "a byte that is no text \udcff",
    "control \x00\x01\x0b\x1b[2J\x7f\x85",
    "lines \n\r\u2028",
    "]]></script><script>alert(1)</script><!--",
    "&amp; & < > \" '",
    "right to left \u202e",
    "$x^2$ {{ 7 * 7 }} %s",
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_printable_name_can_stand_in_xml_and_html(name: str) -> None:
    text = printable(name, 1000)
    text.encode()
    element = ElementTree.Element("a")
    element.text = text
    assert ElementTree.fromstring(ElementTree.tostring(element, "utf-8")).text == text


def test_a_run_with_such_classes_comes_to_its_end(tmp_path: Path, small: tuple[str, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (10 * len(NAMES), 8, 8, 1), np.uint8)
    data = foveal.Arrays(images=images, labels=np.arange(len(images)) % len(NAMES), classes=NAMES)
    run = foveal.train(
        data, recipe="model-s-02", settings=[*small, "epochs=1", "channels=grey"], out=tmp_path / "run"
    )
    assert tuple(foveal.Run(run.path).bundle.classes) == NAMES
    assert run.folder.dataset.classes == NAMES
    check_page(run.report())
    (run.path / "predictions" / "validation.csv").read_text("utf-8")


@pytest.mark.parametrize("n", [2, 30])
@given(data=st.data())
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names_of_classes_are_reported(
    finished: Path, judge: Callable[..., Any], tmp_path: Path, n: int, data: st.DataObject
) -> None:
    characters = st.characters() | st.sampled_from("\ufffe\uffff\ud800\udfff\x00\x1f\u202e<&]>\"'$\\`|\n")
    names = data.draw(
        st.lists(st.text(characters, min_size=1, max_size=30), min_size=n, max_size=n, unique=True)
    )
    counts = [[8 if row == column else 1 for column in range(n)] for row in range(n)]
    path = Path(shutil.copytree(finished, tmp_path / "run", dirs_exist_ok=True))
    check_page(write_report(make_report(path, judge(counts, names)), RunFolder(path)))
    for file in (path / "plots").glob("*.svg"):
        ElementTree.fromstring(file.read_bytes())


def make_report(path: Path, evaluation: Any) -> Report:
    return Report.from_run(
        RunFolder(path), validation=None, test=evaluation, curves=(), layers=(), gallery=None
    )


def check_page(page: Path) -> None:
    """Check that a page is UTF-8 without anything that HTML forbids."""
    text = page.read_text("utf-8")
    forbidden = [each for each in set(text) if ord(each) & 0xFFFE == 0xFFFE or (each < " " and each != "\n")]
    assert forbidden == []
    assert "<script>alert" not in text


# ---- processes and what they leave

DEAD = Writer(pid=2**22 + 1, host=platform.node(), since="now")


def test_this_process_runs_and_a_dead_one_does_not() -> None:
    own = describe_process()
    assert is_running(own) is True
    assert is_running(replace(own, host="elsewhere.example")) is None
    assert is_running(replace(own, pid=-1)) is None
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert is_running(Writer(pid=process.pid, host=platform.node())) is (
        False if os.name == "posix" else None
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells one process from a later one")
def test_another_process_with_the_same_number_is_another() -> None:
    own = describe_process()
    boot, namespace, start = own.birth.split(" ")
    assert is_running(replace(own, birth=f"{boot} {namespace} {int(start) - 1}")) is False
    assert is_running(replace(own, birth=f"other {namespace} {start}")) is False
    assert is_running(replace(own, birth=f"{boot} pid:[1] {start}")) is None
    unwaited = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.5)
    assert is_running(replace(own, pid=unwaited.pid)) is False  # it has ended, and nobody has asked for it
    unwaited.wait()


@pytest.mark.skipif(os.name != "posix", reason="elsewhere nobody can ask whether a process runs")
@pytest.mark.parametrize(
    ("name", "maker", "removed"),
    [
        (".run.abcdefgh", DEAD, True),
        (".run.abcdefgh", describe_process(), False),
        (".run.abcdefgh", replace(DEAD, host="elsewhere.example"), False),
        (".run.abcdefgh", None, False),
        (".run.abc", DEAD, False),
        (".other.abcdefgh", DEAD, False),
        ("run.abcdefgh", DEAD, False),
    ],
)
def test_what_a_dead_maker_left_is_removed(
    tmp_path: Path, name: str, maker: Writer | None, removed: bool
) -> None:
    left = tmp_path / name
    left.mkdir()
    (left / "recipe.json").write_text("{}")
    if maker is not None:
        (left / MAKER).write_bytes(encode_line(to_json(Maker(process=maker, name="run"))))
    remove_leftovers(tmp_path)
    assert left.exists() is not removed


def test_what_was_left_at_the_very_beginning_is_removed_later(tmp_path: Path) -> None:
    left = tmp_path / ".run.abcdefgh"
    left.mkdir()
    remove_leftovers(tmp_path)
    assert left.exists()  # its maker may have made it just now
    os.utime(left, (0, 0))
    remove_leftovers(tmp_path)
    assert not left.exists()


def test_a_new_run_removes_leftovers_and_leaves_none(run: Path, tmp_path: Path) -> None:
    left = tmp_path / ".gone.abcdefgh"
    left.mkdir()
    (left / MAKER).write_bytes(encode_line(to_json(Maker(process=DEAD, name="gone"))))
    folder = RunFolder(run)
    made = RunFolder.create(
        tmp_path / "new", recipe=folder.recipe, dataset=folder.dataset, environment=folder.environment
    )
    assert not left.exists()
    assert not (made.path / MAKER).exists()
    left.mkdir()
    sign_unfinished(left, "gone")
    named_datasets.get("digits", tmp_path / "digits")
    assert left.exists()  # this process lives
    assert not (tmp_path / "digits" / MAKER).exists()


# ---- runs that are training, and those that only say so


def begin(run: Path) -> RunFolder:
    """Make of a finished run one that is training."""
    (run / "model" / "config.json").unlink()
    folder = RunFolder(run)
    events = [event for event in folder.events() if isinstance(event, Created | TrainingBegan)]
    (run / "events.jsonl").write_bytes(b"".join(encode_line(to_json(event)) for event in events))
    return folder


def test_a_run_that_is_training_is_not_to_be_finished(run: Path) -> None:
    begin(run)
    with only_writer(run), pytest.raises(ModelError, match="trains it at this moment; wait for it"):
        foveal.Run(run).bundle  # noqa: B018
    with pytest.raises(ModelError, match="finish it: foveal resume"):
        foveal.Run(run).bundle  # noqa: B018
    (listed,) = foveal.runs(run)
    assert listed.reason is not None
    assert "before the end of training" in listed.reason
    writer = read_writer(run)
    assert writer is not None
    write_json_with_digest(run / WRITER, to_json(replace(writer, ended="", pid=DEAD.pid, birth="")))
    with pytest.raises(ModelError, match="finish it: foveal resume"):
        foveal.Run(run).bundle  # noqa: B018


@pytest.mark.parametrize("evaluate", [True, False])
def test_a_promised_test_is_made_good(run: Path, evaluate: bool, capsys: Capture) -> None:
    folder = RunFolder(run)
    kept = [event for event in folder.events() if event.event not in ("evaluated", "test split opened")]
    first, *others = kept
    assert isinstance(first, Created)
    events = [replace(first, promises_test=evaluate), *others]
    (run / "events.jsonl").write_bytes(b"".join(encode_line(to_json(event)) for event in events))
    (run / "report.html").unlink()
    assert folder.lacks_promised_test is evaluate
    for _ in range(2):
        assert main(["resume", str(run)]) == 0
    assert (run / "report.html").exists() is evaluate
    assert folder.state == ("evaluated" if evaluate else "trained")
    assert [event.event for event in folder.events()].count("test split opened") == evaluate
    said = capsys.readouterr().err
    assert ("what is missing is its test" in said) is evaluate
    assert "there is nothing to resume" in said


def test_a_damaged_newest_checkpoint_is_not_blamed_on_a_setting(run: Path, capsys: Capture) -> None:
    folder = begin(run)
    steps = list_checkpoint_steps(folder.checkpoints)
    newest = locate_checkpoint(folder.checkpoints, steps[-1])
    later = locate_checkpoint(folder.checkpoints, steps[-1] + 1)
    # A whole one, and after it one whose header says another number of epochs.
    later.write_bytes(newest.read_bytes().replace(b'\\"epochs\\": 3', b'\\"epochs\\": 5', 1))
    assert later.read_bytes() != newest.read_bytes()
    assert main(["resume", str(run)]) == 0
    assert "is damaged" in capsys.readouterr().err


# ---- standard error that cannot be written


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_standard_error_that_cannot_be_written_is_a_fault_from_outside(finished: Path) -> None:
    words = [sys.executable, "-m", "foveal"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*words, "resume", finished], stderr=full, stdout=subprocess.PIPE, check=False, timeout=100
        )
        assert ran.returncode == OutsideError.exit_code
        ran = subprocess.run([*words, "runs", "nowhere"], stderr=full, check=False, timeout=100)
        assert ran.returncode == 2
        ran = subprocess.run(
            [*words, "recipes"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=100
        )
        assert ran.returncode == OutsideError.exit_code
        assert ran.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="a shell is needed that closes streams")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&- <&-"])
def test_closed_streams_do_no_harm(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m foveal runs {tmp_path} {closed}"
    ran = subprocess.run(command, shell=True, check=False, timeout=100)
    assert ran.returncode == 0
