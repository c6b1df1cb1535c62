"""What every result on speed says beside its measurements, and how figures are made of them."""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import notebook_keras
from contender import VARIABLES, Contender, script

RESULTS = Path(__file__).parent / "results" / "speed"


class Record:
    """A result under way: how it came about, every measurement, the figures made of them.

    Args:
        name: the result goes to `results/speed/NAME.json`.
        parser: the script's, made by `arguments`.
        asked: what it parsed.
    """

    def __init__(self, name: str, parser: argparse.ArgumentParser, asked: argparse.Namespace) -> None:
        self._file: Path | None = asked.write or (None if asked.quick else RESULTS / f"{name}.json")
        self.content: dict[str, Any] = {
            "command": command(parser, asked),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "hardware": notebook_keras.hardware(),
            "load_before": notebook_keras.load(),
            "versions": versions(),
            "environment": {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)},
        }

    def write(self, **parts: object) -> None:
        """Take up what is measured so far, and write everything."""
        self.content |= parts
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")

    def finish(self, figures: dict[str, dict[str, Any]]) -> None:
        """Write the figures and print them."""
        self.write(load_after=notebook_keras.load(), figures=figures)
        for name, figure in figures.items():
            low, high = figure["lowest"], figure["highest"]
            print(f"{name}: {figure['median']:.4g} ({low:.4g} to {high:.4g}, n = {figure['n']})")
        print("nothing was written" if self._file is None else f"everything is in {self._file}")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with what all these benchmarks understand."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="CIFAR-10 as `foveal data get cifar10` writes it")
    parser.add_argument("--quick", action="store_true", help="a short look: prints, and writes nothing")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the result's file")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where Foveal's decoded images are kept")
    parser.add_argument(
        "--tensorflow",
        nargs="*",
        default=["2.15", "current"],
        metavar="VERSION[=DIR]",
        help="2.15, current or both, each with its environment; nothing leaves the notebook out",
    )
    parser.add_argument("--limit", type=int, help="only so many batches a folder for the notebook: a trial")
    return parser


def command(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> str:
    """Write the command that makes this result again, without the names of folders."""
    words = ["python", f"benchmarks/{Path(sys.argv[0]).name}", "DATA"]
    for name, value in vars(asked).items():
        if name == "tensorflow":
            value = [each.partition("=")[0] for each in value]
        if isinstance(value, Path) or value == parser.get_default(name):
            continue
        option = f"--{name.replace('_', '-')}"
        if name == "tensorflow":
            words += [option, *value]
        elif isinstance(value, list):  # an option that is given again and again
            words += [word for each in value for word in (option, str(each))]
        else:
            words += [option] if value is True else [option, str(value)]
    return " ".join(words)


def versions() -> dict[str, str | None]:
    """Name the versions of Foveal, its commit where there is one, and of what it stands on."""
    from foveal import __version__

    commit = None
    if git := shutil.which("git"):
        describe = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
        found = subprocess.run(describe, capture_output=True, text=True, check=False)
        commit = found.stdout.strip() or None
    packages = {name: version(name) for name in ("torch", "numpy", "pillow")}
    return {"foveal": __version__, "commit": commit, "python": platform.python_version(), **packages}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Make a figure of measurements: their median and range, how many, and each."""
    return {
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
        "n": len(values),
        "each": list(values),
    }


def times_as_fast(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Make a figure of pairs of seconds taken side by side: how many times as long theirs took."""
    return spread([their / our for our, their in zip(ours, theirs, strict=True)])


# ---- the environments that contenders run in


def environment(caches: Path, *, compilers: bool) -> dict[str, str]:
    """Return a process's environment with the user's caches in a folder of its own.

    With `compilers` False none can be found: the PATH leads to an empty folder, and the variables that
    name compilers are not set.
    """
    variables = {**os.environ, "XDG_CACHE_HOME": str(caches / "user")}
    (caches / "user").mkdir(parents=True, exist_ok=True)
    if not compilers:
        (caches / "path").mkdir(exist_ok=True)
        variables["PATH"] = str(caches / "path")
        for name in ("CC", "CXX", "CPP", "LD"):
            variables.pop(name, None)
    return variables


def foveal() -> str:
    """Return the installed command, beside the Python that runs this."""
    return str(Path(sys.executable).with_name("foveal.exe" if os.name == "nt" else "foveal"))


FOUND, HIDDEN = "foveal", "foveal, compilers hidden"
"""What our contenders are called in results."""


def start_foveal(asked: argparse.Namespace, work: str, folder: Path) -> list[Contender]:
    """Start Foveal twice: as it is, and with compilers hidden."""
    contenders = []
    for name, compilers in ((FOUND, True), (HIDDEN, False)):
        own = folder / ("found" if compilers else "hidden")
        words = [sys.executable, script("contender_foveal.py"), str(asked.data), work, "--out", str(own)]
        words += [] if asked.cache is None else ["--cache", str(asked.cache)]
        contenders.append(Contender(name, words, environment=environment(own, compilers=compilers)))
    return contenders


def start_torch(asked: argparse.Namespace) -> Contender:
    """Start plain eager PyTorch."""
    words = [sys.executable, script("contender_torch.py"), str(asked.data)]
    words += [] if asked.cache is None else ["--cache", str(asked.cache)]
    return Contender("plain PyTorch", words)


def notebooks(asked: argparse.Namespace, work: str) -> dict[str, list[str]]:
    """Return the commands that start the notebook's contenders, by what each is called in results."""
    commands = {}
    for choice in asked.tensorflow:
        tensorflow, _, folder = choice.partition("=")
        python = notebook_keras.prepare_environment(tensorflow, environment=Path(folder) if folder else None)
        words = [str(python), script("contender_keras.py"), str(asked.data), work]
        words += [] if asked.limit is None else ["--limit", str(asked.limit)]
        commands[f"the notebook, TensorFlow {tensorflow}"] = words
    return commands


def about(contenders: Sequence[Contender]) -> dict[str, Any]:
    """Say what each contender runs on and how long it took to be ready."""
    return {each.name: {**each.ready, "start_up_seconds": each.start_up} for each in contenders}
