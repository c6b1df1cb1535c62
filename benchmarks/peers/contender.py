"""Contenders: processes that each do a piece of work on request, and idle otherwise.

Scripts measure in pieces, now of one contender, now of another. So whatever else the machine does affects all
of them alike. Each contender is a process with its own threads and its own memory. It talks in JSON lines: it
says that it is ready, reads requests from standard input and answers each with what it measured. It ends when
its input ends.

This module holds both ends. It needs nothing but the standard library, because it also runs where TensorFlow
is installed and Foveal is not.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

from benchmarks.measurement import machine

Answer = dict[str, Any]
"""A JSON object that a contender sends."""


class Contender:
    """The near end: it starts a contender, sends requests and receives answers.

    Args:
        name: The contender's name in results.
        command: Its command line.
        environment: Its environment variables. By default it gets those of this process.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - it lives as long as this
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
            self.ready = self._receive()
            """The facts that the contender sent when it was ready."""
        except BaseException:
            self.close()
            raise
        self.start_up = time.perf_counter() - began
        """The seconds from the process's start until it was ready."""

    def ask(self, do: str, **details: object) -> Answer:
        """Send a request and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
        self._process.stdin.flush()
        return self._receive()

    def close(self) -> None:
        """End the process."""
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

    def _receive(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            self._log.seek(0)
            raise RuntimeError(f"{self.name} has died; its last words:\n{self._log.read()[-3000:]}")
        answer: Answer = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Channel:
    """The far end, inside the contender. Whatever its libraries print is discarded."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        discard = os.open(os.devnull, os.O_WRONLY)
        os.dup2(discard, 1)
        os.close(discard)
        self._idle: dict[str, float] = {}

    def ready(self, **facts: object) -> None:
        """Tell the near end that requests are welcome, with facts about this process."""
        self._send({"environment": machine.timing_variables(), **facts})

    def wait(self) -> dict[str, Any]:
        """Wait for the next request and return it. Without any more requests the process ends."""
        began, cpu_began = time.perf_counter(), time.process_time()
        line = sys.stdin.readline()
        if not line:
            self.end()
        self._idle = {
            "idle_seconds": time.perf_counter() - began,
            "idle_cpu_seconds": time.process_time() - cpu_began,
        }
        request: dict[str, Any] = json.loads(line)
        return request

    def answer(self, **measured: object) -> None:
        """Answer a request. The time that was spent waiting and the peak memory are added."""
        self._send({**measured, **self._idle, "peak_memory_bytes": machine.peak_memory()})

    def end(self) -> NoReturn:
        """End the process at once, from any place in the code."""
        self._answers.close()
        os._exit(0)

    def _send(self, value: object) -> None:
        self._answers.write(json.dumps(value) + "\n")
        self._answers.flush()
