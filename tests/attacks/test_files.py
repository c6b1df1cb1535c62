"""Models, runs, recipes and archives from strangers: read with suspicion by every command that reads any.

Each file here tries something: to run code, to write elsewhere, to take all memory, to crash. What comes is
one line and exit code 2 or 3, or the command does its work; and nothing outside the output is touched.
"""

import gzip
import io
import json
import os
import random
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foveal.cli.main import main
from foveal.files.atomic import encode_line, write_json_with_digest

FILES = int(os.environ.get("FOVEAL_ATTACKS", "200"))
Capture = pytest.CaptureFixture[str]
MARK = "foveal-was-here"


# ---- payloads


def pickles(mark: Path) -> list[bytes]:
    """Programs that make a file if anything unpickles them, in several protocols and wrappings."""
    call = f"touch {mark}"
    text = b"cos\nsystem\n(S'" + call.encode() + b"'\ntR."
    binary = b"\x80\x02cposix\nsystem\nX" + struct.pack("<I", len(call)) + call.encode() + b"\x85R."
    stack = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c" + bytes([len(call)]) + call.encode() + b"\x85R."
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:  # as torch.save makes it
        file.writestr("archive/data.pkl", binary)
        file.writestr("archive/version", "3")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:  # as numpy.savez makes it
        file.writestr(
            "a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 60) + b"{'descr': 'O'}".ljust(60) + binary
        )
    return [text, binary, stack, archive.getvalue(), packed.getvalue(), gzip.compress(binary)]


def tensor_files(mark: Path, draw: random.Random) -> list[bytes]:
    """Files of tensors that lie: about their header, their sizes, their names, their metadata."""

    def made(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    deep = b"[" * 100_000
    return [
        b"",
        b"\0" * 7,
        made({}, length=1 << 62),
        made({}, length=99_000_000),
        made(b" " * 5_000_000),
        made(deep),
        made(b'{"a":' * 50_000),
        made(b"null"),
        made(b"[1]"),
        made(b'{"__metadata__": [1]}'),
        made({"__metadata__": {"foveal": deep.decode()}}),
        made({"a": entry(shape=[1 << 40], offsets=[0, 1 << 42])}),
        made({"a": entry(shape=[1 << 20, 1 << 20, 1 << 20], offsets=[0, 4])}, b"1234"),
        made({"a": entry(shape=[-1], offsets=[0, 4])}, b"1234"),
        made({"a": entry(shape=[1.0], offsets=[0, 4])}, b"1234"),
        made({"a": entry(shape="1", offsets=[0, 4])}, b"1234"),
        made({"a": entry(offsets=[4, 0])}, b"1234"),
        made({"a": entry(offsets=[0, 4]), "b": entry(offsets=[0, 4])}, b"1234"),
        made({"a": entry(dtype="O")}, b"1234"),
        made({"a": entry(dtype=["F32"])}, b"1234"),
        made({"a": 3}),
        made({f"network/../../{mark.name}": entry()}, b"1234"),
        made({"network/" + "x" * 1_000_000: entry()}, b"1234"),
        made({str(number): entry(shape=[0], offsets=[0, 0]) for number in range(30_000)}),
        made({"a": entry()}, draw.randbytes(4)),
        draw.randbytes(500),
    ]


def texts(mark: Path) -> list[bytes]:
    """JSON and TOML that is broken, endless, deep, or names what must not be named."""
    return [
        b"",
        b"{",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"a = " + b"[" * 50_000,
        b'{"a": 1e999, "b": NaN, "c": ' + b"9" * 5000 + b"}",
        b"\xff\xfe\x00" * 100,
        b'"text"',
        b"[1, 2, 3]",
        b"null",
        json.dumps({"model": {"name": "os.system", "architecture": f"touch {mark}"}}).encode(),
        json.dumps({"model": {"name": "custom", "architecture": "posix.system"}}).encode(),
        json.dumps(
            {"__class__": "foveal.files.run_folder.RunFolder", "__reduce__": ["os.system", f"touch {mark}"]}
        ).encode(),
        b"!!python/object/apply:os.system ['touch " + str(mark).encode() + b"']",
        f'name = "../../{mark.name}"\n'.encode(),
        b'name = "x"\n[model]\nname = "sprint"\nwidths = [1000000000]\n',
        b'name = "x"\n[model]\nname = "model-s"\nwidths = [4096, 4096, 4096]\nconvolutions = 16\n',
        b"a = 1\n" * 200_000,
    ]


def spoilt(value: Any, draw: random.Random) -> Any:
    """Change one part of a JSON value: take it away, or put something of another kind in its place."""
    strange: list[Any] = [
        None,
        -1,
        10**30,
        "x",
        "../../etc",
        [],
        {},
        [[]],
        True,
        1.5,
        "\u202e\x1b[2J<script>",
    ]
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(list(value))
        if draw.random() < 0.15:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: spoilt(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        return [*value[:at], spoilt(value[at], draw), *value[at + 1 :]]
    return draw.choice(strange)


def write_spoilt(file: Path, value: Any, draw: random.Random) -> None:
    """Write a spoilt value, mostly with the digest that a stranger can compute as well."""
    if isinstance(value, dict) and draw.random() < 0.9:
        write_json_with_digest(file, value)
    else:
        file.write_text(json.dumps(value))


def tars(mark: Path, tmp_path: Path) -> Iterator[bytes]:
    """Archives with links, devices, climbing and absolute names, and the name that is looked for."""
    wanted = "cifar-10-batches-py/data_batch_1"
    for name in (
        f"../../{mark.name}",
        str(mark),
        wanted,
        f"{wanted}/../../../{mark.name}",
        "\x1b[2J",
        "a" * 5000,
    ):
        for kind in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz") as tar:
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.size = kind, str(mark), 5 if kind == tarfile.REGTYPE else 0
                tar.addfile(info, io.BytesIO(b"12345"))
            yield packed.getvalue()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(f"../../{mark.name}", "x")
    yield archive.getvalue()
    yield gzip.compress(b"\0" * 50_000_000)


# ---- commands


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Check that nothing beside the output folders was touched."""
    mark = tmp_path / MARK
    before = {each.name for each in tmp_path.iterdir()}

    def check() -> None:
        assert not mark.exists()
        assert not list(Path.cwd().glob(f"*{MARK}*"))
        assert {each.name for each in tmp_path.iterdir()} <= before | {
            "run",
            "model",
            "out",
            "file",
            "a.toml",
        }

    yield check
    check()


def refused(words: list[Any], capsys: Capture, *, or_done: bool = False) -> str:
    """Call a command; it must refuse in one line, or do its work."""
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    assert code in ((0, 1, 2, 3) if or_done else (2, 3)), said.err
    lines = said.err.splitlines()
    if code in (2, 3):
        assert len([line for line in lines if line.startswith("foveal: ")]) == 1
    assert "Traceback" not in said.err
    assert "\x1b" not in said.err + said.out
    return said.err


def test_model_files(finished: Path, few_digits: Path, tmp_path: Path, capsys: Capture, outside: Any) -> None:
    draw = random.Random(1)
    image = next((few_digits / "test" / "0").iterdir())
    for content in [*pickles(tmp_path / MARK), *tensor_files(tmp_path / MARK, draw)]:
        model = shutil.copytree(finished / "model", tmp_path / "model", dirs_exist_ok=True)
        (model / "model.safetensors").write_bytes(content)
        assert "model.safetensors" in refused(["predict", model, image], capsys)
        outside()


def test_configurations(
    finished: Path, few_digits: Path, tmp_path: Path, capsys: Capture, outside: Any
) -> None:
    draw = random.Random(2)
    image = next((few_digits / "test" / "0").iterdir())
    config = json.loads((finished / "model" / "config.json").read_text())
    contents = [*pickles(tmp_path / MARK), *texts(tmp_path / MARK)]
    for content in contents:
        model = shutil.copytree(finished / "model", tmp_path / "model", dirs_exist_ok=True)
        (model / "config.json").write_bytes(content)
        refused(["predict", model, image], capsys)
        outside()
    for _ in range(FILES // 2):
        write_spoilt(tmp_path / "model" / "config.json", spoilt(config, draw), draw)
        refused(["predict", tmp_path / "model", image], capsys, or_done=True)
        outside()


def test_runs(finished: Path, tmp_path: Path, capsys: Capture, outside: Any) -> None:
    """Every file of a run folder, spoilt in turn, through every command that reads it."""
    draw = random.Random(3)
    files = [
        "recipe.json",
        "dataset.json",
        "environment.json",
        "evaluation.json",
        "history.jsonl",
        "events.jsonl",
    ]
    run = tmp_path / "run"
    bad = [*pickles(tmp_path / MARK), *texts(tmp_path / MARK)]
    for number in range(FILES):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(finished, run)
        file = run / files[number % len(files)]
        if draw.random() < 0.3:
            file.write_bytes(draw.choice(bad) + b"\n")
        elif file.suffix == ".json":
            write_spoilt(file, spoilt(json.loads(file.read_text()), draw), draw)
        else:
            lines = file.read_text().splitlines()
            at = draw.randrange(len(lines))
            row = spoilt(json.loads(lines[at]), draw)
            lines[at] = encode_line(row).decode().strip() if isinstance(row, dict) else json.dumps(row)
            file.write_text("\n".join(lines) + "\n")
        verb = draw.choice(["evaluate", "report", "resume"])
        refused([verb, run], capsys, or_done=True)
        outside()


def test_predictions_and_checkpoints(finished: Path, tmp_path: Path, capsys: Capture, outside: Any) -> None:
    draw = random.Random(4)
    for content in [*pickles(tmp_path / MARK), *tensor_files(tmp_path / MARK, draw)]:
        run = shutil.copytree(finished, tmp_path / "run", dirs_exist_ok=True)
        (run / "predictions" / "test.safetensors").write_bytes(content)
        refused(["report", run], capsys)
        # As if it had been interrupted: the checkpoints are all that it goes on from.
        events = (run / "events.jsonl").read_text().splitlines()
        kept = [line for line in events if json.loads(line)["event"] in ("created", "training")]
        (run / "events.jsonl").write_text("\n".join(kept) + "\n")
        for file in (run / "checkpoints").iterdir():
            file.write_bytes(content)
        said = refused(["resume", run], capsys, or_done=True)
        assert "is damaged" in said
        outside()
        shutil.rmtree(run)


def test_recipes(few_digits: Path, tmp_path: Path, capsys: Capture, outside: Any) -> None:
    for content in [*pickles(tmp_path / MARK), *texts(tmp_path / MARK)]:
        for suffix in (".toml", ".json"):
            file = tmp_path / f"a{suffix}"
            file.write_bytes(content)
            refused(["train", few_digits, "--recipe", file, "--out", tmp_path / "out"], capsys)
            refused(["recipes", file], capsys)
            file.unlink()
            outside()


def test_archives(tmp_path: Path, capsys: Capture, outside: Any) -> None:
    for content in [*pickles(tmp_path / MARK), *tars(tmp_path / MARK, tmp_path)]:
        (tmp_path / "file").write_bytes(content)
        refused(["data", "get", "cifar10", tmp_path / "out", "--archive", tmp_path / "file"], capsys)
        outside()
        assert not (tmp_path / "out").exists()


def test_hostile_archives(hostile: Path, tmp_path: Path, capsys: Capture, outside: Any) -> None:
    for kind in ("tar", "zip"):
        for file in sorted((hostile / kind).rglob("*"))[:: 10 if FILES <= 200 else 1]:
            if file.is_file():
                refused(["data", "get", "cifar10", tmp_path / "out", "--archive", file], capsys)
                outside()


@pytest.mark.parametrize("what", ["pipe", "folder", "device"])
def test_what_is_no_file_is_not_waited_for(
    finished: Path, few_digits: Path, tmp_path: Path, capsys: Capture, what: str
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    image = next((few_digits / "test" / "0").iterdir())

    def exchange(file: Path) -> None:
        file.unlink()
        match what:
            case "pipe":
                os.mkfifo(file)
            case "folder":
                file.mkdir()
            case "device":
                file.symlink_to("/dev/zero")

    for name, words in (
        ("predictions/test.safetensors", ["report", run]),
        ("history.jsonl", ["report", run]),
        ("model/model.safetensors", ["predict", run, image]),
        ("model/config.json", ["predict", run, image]),
        ("recipe.json", ["evaluate", run]),
    ):
        exchange(run / name)
        refused(words, capsys)


def test_a_run_names_no_place_to_write(
    finished: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded images are taken from the cache that a run names, if they are there; nothing is put there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    environment = json.loads((run / "environment.json").read_text())
    write_json_with_digest(run / "environment.json", {**environment, "cache": str(tmp_path / "elsewhere")})
    assert main(["evaluate", str(run)]) == 0
    assert not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "home" / "foveal" / "packs").iterdir())
    capsys.readouterr()
