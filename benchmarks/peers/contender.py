"""Contenders: living processes that each do a piece of work when they are told to, and idle otherwise.

What is compared is measured in pieces, now of one contender, now of another, so that whatever else the
machine does falls on all alike. Each is a process of its own, with its own threads and its own memory. It
talks in JSON lines: it says that it is ready, takes requests from standard input and answers each with what
it measured. When its input ends, it ends.

This module holds both ends. It imports nothing but the standard library: it also runs where TensorFlow is
installed and Foveal is not.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

VARIABLES = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "MALLOC_", "TF_", "TORCH", "ONEDNN_", "LD_PRELOAD")
"""How the names of environment variables begin that may change what is measured."""


class Contender:
    """The near end: start a contender, tell it to work, hear what it measured.

    Args:
        name: what it is called in results.
        command: its command line.
        environment: its environment variables; by default this process's own.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - lives as long as we do
        began = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        try:
            self.ready = self._hear()
        except BaseException:
            self.close()
            raise
        self.start_up = time.perf_counter() - began
        """Seconds from the process's start until it was ready."""

    def ask(self, do: str, **details: object) -> dict[str, Any]:
        """Have it do something and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            self._log.seek(0)
            raise RuntimeError(f"{self.name} has died; its last words:\n{self._log.read()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Channel:
    """The far end, inside the contender. What else its libraries print goes nowhere."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        self._idle: dict[str, float] = {}

    def ready(self, **facts: object) -> None:
        """Say that requests are welcome, and what matters about this process."""
        variables = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
        self._say({"environment": variables, **facts})

    def wait(self) -> dict[str, Any]:
        """Wait for the next request; end the process if there will be none."""
        began, worked = time.perf_counter(), time.process_time()
        line = sys.stdin.readline()
        if not line:
            self.end()
        self._idle = {
            "idle_seconds": time.perf_counter() - began,
            "idle_cpu_seconds": time.process_time() - worked,
        }
        request: dict[str, Any] = json.loads(line)
        return request

    def answer(self, **measured: object) -> None:
        """Answer a request; beside it goes what the process did while it waited, and its memory."""
        self._say({**measured, **self._idle, "peak_memory_bytes": peak_memory()})

    def end(self) -> NoReturn:
        """End the process at once, from wherever it is."""
        self._answers.close()
        os._exit(0)

    def _say(self, value: object) -> None:
        self._answers.write(json.dumps(value) + "\n")
        self._answers.flush()


def peak_memory() -> int | None:
    """Return the most memory this process has held, in bytes, where the system tells."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def script(name: str) -> str:
    """Return the path of a script in this folder."""
    return str(Path(__file__).with_name(name))
