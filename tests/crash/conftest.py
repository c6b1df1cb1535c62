"""Runs that are killed, and what an uninterrupted one gives."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from safetensors import safe_open

HERE = Path(__file__).parent
if sys.platform != "linux":  # files are followed through /proc, and processes forked
    collect_ignore_glob = ["test_*.py"]
SETTINGS = ["size=8", "widths=[8]", "dense=16", "epochs=3", "batch_size=32", "momentum=0.5"]


class Victim:
    """The near end of `victim.py`."""

    def __init__(self, data: Path, cache: Path, place: Path) -> None:
        self.place = place
        self._fixed = {
            "data": str(data),
            "cache": str(cache),
            "settings": SETTINGS,
            "log": str(place / "log"),
        }
        self._process = subprocess.Popen(
            [sys.executable, HERE / "victim.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def live(self, run: Path, **how: Any) -> list[int]:
        """Let children train or resume a run; return their exit codes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**self._fixed, "run": str(run), **how}) + "\n")
        self._process.stdin.flush()
        codes: list[int] = json.loads(self._process.stdout.readline())
        return codes

    @property
    def operations(self) -> list[str]:
        """What the last child that came to its end did to files."""
        done: list[str] = json.loads((self.place / "log.operations").read_text())
        return done

    @property
    def log(self) -> str:
        """What the children said."""
        return (self.place / "log").read_text()

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def victim(few_digits: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A process that trains and dies."""
    found = Victim(few_digits, cache, tmp_path_factory.mktemp("victim"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def whole(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert victim.live(run) == [0], victim.log
    return run


def _bits(run: Path) -> dict[str, Any]:
    """Return what the contract calls bit-identical: model, the last checkpoint's tensors, history.

    Which checkpoints there are besides depends on how often they were saved.
    """
    found: dict[str, Any] = {"history": (run / "history.jsonl").read_text()}
    for file in [run / "model" / "model.safetensors", max((run / "checkpoints").glob("*.safetensors"))]:
        with safe_open(file, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - no mapping
                found[f"{file.name}: {name}"] = tensors.get_tensor(name).tobytes()
    return found


Bits = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="session")
def bits() -> Bits:
    """Return all of a run that the contract calls bit-identical."""
    return _bits


@pytest.fixture(scope="session")
def settings() -> list[str]:
    """What makes the runs of this folder small."""
    return SETTINGS


@pytest.fixture(scope="session")
def disk() -> ModuleType:
    """The module `disk.py`: a disk that fails."""
    spec = importlib.util.spec_from_file_location("disk", HERE / "disk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
