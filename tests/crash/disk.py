"""A disk that fails or ends the process at a chosen operation: what is really called, in the real order."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITING = frozenset("wax+")


class Disk:
    """Counts what is done to files below a folder, and acts at one operation.

    Args:
        below: only files in and below this folder count.
        at: which operation, from 1; 0 never.
        act: what happens at it. It gets the operation's name and may raise, or end the process.
        after: whether it happens after the operation rather than before it.
    """

    def __init__(
        self,
        below: Path,
        *,
        at: int = 0,
        act: Callable[[str], None] = lambda _name: None,
        after: bool = False,
    ) -> None:
        self.below = str(below)
        self.at = at
        self.act = act
        self.after = after
        self.done: list[str] = []

    def operate(
        self, name: str, path: Any, call: Callable[[], Any], undo: Callable[[Any], None] = lambda _made: None
    ) -> Any:
        """Do one operation, and what is to happen at it; `undo` gives back what a failed one made."""
        if not self._counts(path):
            return call()
        self.done.append(name)
        here = len(self.done) == self.at
        if here and not self.after:
            self.act(name)
        result = call()
        if here and self.after:
            try:
                self.act(name)
            except OSError:
                undo(result)
                raise
        return result

    def _counts(self, path: Any) -> bool:
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        return str(path).startswith(self.below)

    @contextmanager
    def installed(self) -> Iterator["Disk"]:
        """Put the disk under everything that Python does to files inside the block."""
        real = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "unlink", "mkdir")}
        real_open = io.open

        def make(name: str) -> Callable[..., Any]:
            return lambda path, *rest, **more: self.operate(
                name, path, lambda: real[name](path, *rest, **more)
            )

        def opened(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if not WRITING & set(mode):
                return real_open(path, mode, *rest, **more)
            file = self.operate(
                "open", path, lambda: real_open(path, mode, *rest, **more), undo=lambda made: made.close()
            )
            return _File(file, path, self) if "b" in mode else file

        try:
            for name in real:
                setattr(os, name, make(name))
            io.open = opened  # type: ignore[assignment]
            yield self
        finally:
            io.open = real_open
            for name, call in real.items():
                setattr(os, name, call)


class _File:
    """A binary file whose writes may be torn: half of the bytes reach the disk before anything happens."""

    def __init__(self, file: Any, path: Any, disk: Disk) -> None:
        self._file, self._path, self._disk = file, path, disk

    def write(self, content: bytes) -> int:
        half = len(content) // 2
        self._file.write(content[:half])
        self._file.flush()
        self._disk.operate("write", self._path, lambda: self._file.write(content[half:]))
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        result: int = self._disk.operate("truncate", self._path, lambda: self._file.truncate(size))
        return result

    def close(self) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def die(_name: str) -> None:
    """End this process as a power cut would: no cleaning up, no last words."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number: int) -> Callable[[str], None]:
    """Make an operation fail as the operating system lets it fail."""

    def act(_name: str) -> None:
        raise OSError(number, os.strerror(number))

    return act
