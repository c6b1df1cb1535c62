"""`foveal` and `python -m foveal`: the parser, and what every verb has in common."""

import argparse
import gc
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from foveal import __version__
from foveal.cli import board, data, evaluate, experiments, predict, recipes, training
from foveal.cli.signals import Terminated
from foveal.errors import FovealError, missing_extra
from foveal.files.typed_json import nearest
from foveal.memory import is_shortage
from foveal.progress import printable

_DESCRIPTION = """\
Folders of labelled small images in; a measured classifier, its report and its model file out.

  foveal demo                                the whole way, on digits that come along
  foveal data get cifar10 cifar10            a named data set as class folders
  foveal train cifar10 --evaluate            train, test, report
  foveal compare runs/… runs/…               which is better, if the images can tell
  foveal runs                                what has been trained, and what came of it
  foveal predict runs/… image.png            use the model
"""


_REPLACED_OPTIONS = {
    "--minutes": "write --budget with a unit, such as --budget 5m",
    "--seconds": "write --budget with a unit, such as --budget 30s",
    "--epochs": "a recipe's settings are changed with --set, such as --set epochs=5",
    "--device": "Foveal trains on the processor (CPU)",
}
"""Options that people try, and what to write in their place."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if match := re.fullmatch(r"argument VERB: invalid choice: '(.*)' \(choose from (.*)\)", message):
            message = f"unknown verb {match[1]!r}; {nearest(match[1], re.findall(r'[a-z]+', match[2]))}"
        for old, replacement in _REPLACED_OPTIONS.items():
            if match := re.search(rf"(?<!\S){old}(?:=| |$)", message):
                message = f"{old} is not an option; {replacement}"
        self.exit(2, f"{self.prog}: {printable(message, 500)}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs. Nothing that a verb needs is imported yet."""
    parser = _Parser(
        prog="foveal", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"foveal {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", parser_class=_Parser)
    parser.set_defaults(call=_show_help)
    for group in (training, recipes, evaluate, experiments, board, data, predict):
        group.add_verbs(verbs)
    return parser


def _show_help(_args: argparse.Namespace) -> int:
    build_parser().print_help()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    args = build_parser().parse_args(arguments)
    call: Callable[[argparse.Namespace], int] = args.call
    try:
        code = call(args)
        sys.stdout.flush()
        return code
    except FovealError as error:
        _complain(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        _complain(str(missing))
        return missing.exit_code
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        return 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
    except OSError as error:
        _complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
        return 3
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        _complain("out of memory; close other programs, or use smaller batches (--set batch_size=…)")
        return 3
    except Terminated:
        _complain("terminated")
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        _complain("interrupted")
        return 128 + signal.SIGINT


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _complain(message: str) -> None:
    with suppress(OSError):  # where nobody can be told, the exit code tells
        print(f"foveal: {printable(' '.join(message.split()), 2000)}", file=sys.stderr)  # noqa: T201 - the one line


def _open_closed_streams() -> None:
    """Open the standard streams that the caller has closed, so that no file of a run gets their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - until the end


def _abandon_unwritable_streams() -> None:
    """Let the rest of a stream that cannot be written go nowhere: Python would end with exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _insist_on_utf8() -> None:
    """Start again where Python takes file names for another encoding than UTF-8, as in an ASCII locale.

    Names would be stored as other text than in every other terminal, and a run would not know its own files.
    """
    if os.name == "posix" and sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        command = [sys.executable, "-X", "utf8", "-P", "-m", "foveal", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606 - ourselves


def entry() -> NoReturn:
    """Be the installed command."""
    _insist_on_utf8()
    # Importing torch makes half a million objects that stay. Going through them in search of garbage, again
    # and again and once more at the end, would cost a short run two seconds; so it is done less often.
    gc.set_threshold(100_000)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may be no text at all
    signal.signal(signal.SIGTERM, _terminate)  # one line and exit code 143, as Ctrl-C has its own
    code = main()
    _abandon_unwritable_streams()
    gc.freeze()  # the process ends: nothing is to be searched any more
    sys.exit(code)
