"""The one voice: everything that Foveal says while it works, on standard error.

A terminal gets live bars, a notebook a widget where it has widgets, a pipe or a log only whole lines.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Protocol


def printable(text: str, limit: int = 200) -> str:
    """Make a name from outside harmless on a terminal.

    Control, formatting (bidirectional marks among them) and surrogate characters are written as escapes,
    and what is longer than `limit` characters is cut.
    """
    shown = "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else character.encode("unicode_escape").decode("ascii")
        for character in text[:limit]
    )
    return shown + ("…" if len(text) > limit else "")


def cell(name: str) -> str:
    """Make a name from outside harmless in a CSV file: no spreadsheet takes it for a formula.

    What begins like one gets an apostrophe before it, unless it is a number; control characters are escaped.
    """
    shown = printable(name, limit=len(name))
    if not shown.startswith(("=", "@", "+", "-")) or re.fullmatch(r"[+-]?\d+([.,]\d+)?", shown):
        return shown
    return f"'{shown}"


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing inside the block but warnings; other threads speak as before."""
    before = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(before)


def line(text: str) -> None:
    """Say one line."""
    if not _quiet.get():
        _write(text)


def warn(text: str) -> None:
    """Say one line that must not be overlooked."""
    _write(f"warning: {text}")


def _write(text: str) -> None:
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)  # above any bar that is showing
    else:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Bar(Protocol):
    """A task of known length under way."""

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done."""

    def show(self, **figures: str) -> None:
        """Show current figures, such as the loss, beside the bar."""


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
    """Show a task of `total` units while the block runs; `unit` "B" counts bytes.

    Where nobody can watch (a pipe, a log file) nothing is shown: whole lines are said with `line`.
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
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    shell = ipython.get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"
