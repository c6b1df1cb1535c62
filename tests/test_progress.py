"""The one voice: what a terminal and a pipe get."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_printable_is_printable(text: str) -> None:
    shown = progress.printable(text)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert "\u202e" not in shown
    assert len(shown) <= 201 * 10
    shown.encode()  # no lone surrogates


def test_printable_keeps_what_people_write() -> None:
    assert progress.printable("naïve – 猫 🐈") == "naïve – 猫 🐈"
    assert progress.printable("a\x1b[31mb\u202ec") == r"a\x1b[31mb\u202ec"


def test_a_pipe_gets_lines_and_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress.bar(3, "epoch 1/3", "steps") as bar:
        bar.advance()
        bar.show(loss="0.5")
        progress.line("a line")
    assert pipe.getvalue() == "a line\n"


def test_a_terminal_gets_a_bar_with_figures_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.bar(3, "epoch 1/3", "steps") as bar:
        bar.show(loss="0.5000", accuracy="0.2500")
        bar.advance(3)
        progress.line("a line")
    shown = terminal.getvalue()
    assert "epoch 1/3" in shown
    assert "a line\n" in shown


def test_quiet_keeps_warnings_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.quiet(), progress.bar(2, "a", "steps"):
        progress.line("not said")
        progress.warn("said")
    progress.line("said again")
    assert capsys.readouterr().err == "warning: said\nsaid again\n"
