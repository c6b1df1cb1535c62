"""Files are whole or as they were; what is no JSON is named."""

import errno
import json
import os
from pathlib import Path

import pytest

from foveal.errors import OutsideError, RunError
from foveal.files import atomic


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OutsideError, match="No space left on device"):
        atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RunError, match=r"a\.json cannot be read"):
        atomic.read_json(tmp_path / "a.json")
    with pytest.raises(RunError, match=r"b\.json is missing"):
        atomic.read_json(tmp_path / "b.json")


def test_written_json_is_json(tmp_path: Path) -> None:
    value = {"name": "x", "n": [1, 2.5, None, True]}
    atomic.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == value
