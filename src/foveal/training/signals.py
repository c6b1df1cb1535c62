"""Ctrl-C and SIGTERM, noted instead of obeyed at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Stopped(BaseException):
    """A signal came where it need not wait. Nothing but who asked for it is to catch it."""


@dataclass
class Interruption:
    """The signal that asks to stop, once one has."""

    signal_number: int | None = None
    waits: bool = True
    """Whether it waits to be looked at."""

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Do not let a signal wait inside the block: it raises `Stopped`, and so does one from before."""
        self.waits = False
        try:
            if self.signal_number is not None:
                raise Stopped
            yield
        finally:
            self.waits = True


@contextmanager
def noted() -> Iterator[Interruption]:
    """Note the first Ctrl-C or SIGTERM inside the block; a second one acts at once, as before the block.

    Only a process's main thread may handle signals; elsewhere the block runs as it is.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        interruption.signal_number = number
        restore()
        if not interruption.waits:
            raise Stopped

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        restore()
