"""Ctrl-C and SIGTERM: they are noted, so that a run can save its state before it stops."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class StoppedAtOnce(BaseException):
    """A signal came inside `Interruption.stop_at_once`. Only the caller of that may catch this."""


@dataclass
class Interruption:
    """The signal that asks the run to stop, if one came."""

    signal_number: int | None = None
    """The number of the signal, or None."""
    deferred: bool = True
    """Whether a signal is only noted, and not raised as `StoppedAtOnce`."""

    @contextmanager
    def stop_at_once(self) -> Iterator[None]:
        """Raise `StoppedAtOnce` for a signal inside the block, and for one that came before."""
        self.deferred = False
        try:
            if self.signal_number is not None:
                raise StoppedAtOnce
            yield
        finally:
            self.deferred = True


@contextmanager
def catch_signals() -> Iterator[Interruption]:
    """Note the first Ctrl-C or SIGTERM inside the block. A second one has its usual effect.

    Python handles signals only in the main thread. In other threads the block runs without this.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def restore() -> None:
        for number, handler in handlers_before.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        interruption.signal_number = number
        restore()
        if not interruption.deferred:
            raise StoppedAtOnce

    handlers_before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        restore()
