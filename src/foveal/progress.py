"""Everything that Foveal tells while it works, on standard error.

A terminal gets live bars, a notebook gets a widget if it has widgets, a pipe or a log only whole lines.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Protocol

from foveal.errors import OutsideError


def printable(text: str, limit: int = 200) -> str:
    """Return a name from outside that is harmless on a terminal, in XML and in HTML.

    Control, formatting and surrogate characters are written as escapes, bidirectional marks among them, and
    what Unicode keeps from being a character, such as U+FFFE. The text is cut after `limit` characters.
    """
    escaped = "".join(
        character.encode("unicode_escape").decode("ascii") if _is_harmful(character) else character
        for character in text[:limit]
    )
    return escaped + ("…" if len(text) > limit else "")


def _is_harmful(character: str) -> bool:
    code = ord(character)
    is_noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return is_noncharacter or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def csv_cell(name: str) -> str:
    """Return a name from outside that no spreadsheet takes for a formula when it stands in a CSV file.

    What begins like a formula gets an apostrophe before it, unless it is a number. Control characters are
    escaped.
    """
    escaped = printable(name, limit=len(name))
    if not escaped.startswith(("=", "@", "+", "-")) or re.fullmatch(r"[+-]?\d+([.,]\d+)?", escaped):
        return escaped
    return f"'{escaped}"


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Tell only warnings inside the block. Other threads tell everything as before."""
    before = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(before)


def line(text: str) -> None:
    """Tell one line."""
    if not _quiet.get():
        _write(text)


def warn(text: str) -> None:
    """Tell one line that must not be overlooked."""
    _write(f"warning: {text}")


def _write(text: str) -> None:
    """Write a line on standard error.

    Raises:
        OutsideError: It cannot be written, because it goes into a file on a full disk, say.
    """
    try:
        if sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)  # above any bar that is showing
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        raise
    except OSError as error:
        raise OutsideError(f"standard error cannot be written: {error.strerror or error}") from error


class Bar(Protocol):
    """The progress of a task."""

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done."""

    def show(self, **figures: str) -> None:
        """Show current figures beside the bar, such as the loss."""


class _SilentBar:
    def advance(self, n: int = 1) -> None:
        pass

    def show(self, **figures: str) -> None:
        pass


class _LiveBar:
    def __init__(self, total: int | None, label: str, unit: str, done: int) -> None:
        if in_notebook() and find_spec("ipywidgets") is not None:
            from tqdm.notebook import tqdm
        else:
            from tqdm import tqdm

        scaled = unit == "B"
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=label,
            unit=unit if scaled else f" {unit}",
            unit_scale=scaled,
            unit_divisor=1024 if scaled else 1000,
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def advance(self, n: int = 1) -> None:
        self._bar.update(n)

    def show(self, **figures: str) -> None:
        self._bar.set_postfix(figures, refresh=False)

    def close(self) -> None:
        self._bar.close()


@contextmanager
def bar(total: int | None, label: str, unit: str, *, done: int = 0) -> Iterator[Bar]:
    """Show the progress of a task of `total` units while the block runs. The unit "B" counts bytes.

    Where nobody can watch, in a pipe or a log file, nothing is shown.
    """
    if _quiet.get() or not (sys.stderr.isatty() or in_notebook()):
        yield _SilentBar()
        return
    live = _LiveBar(total, label, unit, done)
    try:
        yield live
    finally:
        live.close()


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    shell = ipython.get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"
