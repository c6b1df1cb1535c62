"""The commands and environments that start contenders."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.contender import Contender
from benchmarks.peers.notebook_keras import prepare_environment

WITH_COMPILER, WITHOUT_COMPILER = "foveal", "foveal, compilers hidden"
"""The names of our two contenders in results."""


def module_command(module: str) -> list[str]:
    """Return the command that runs a module of `benchmarks`, given without that name, in this Python."""
    return [sys.executable, "-m", f"benchmarks.{module}"]


def process_environment(caches: Path, *, compilers: bool) -> dict[str, str]:
    """Return a process's environment, with the user's caches in a folder of its own.

    With `compilers` False no compiler is found: PATH names an empty folder, and the variables that name
    compilers are not set.
    """
    variables = {**os.environ, "XDG_CACHE_HOME": str(caches / "user")}
    (caches / "user").mkdir(parents=True, exist_ok=True)
    if not compilers:
        (caches / "path").mkdir(exist_ok=True)
        variables["PATH"] = str(caches / "path")
        for name in ("CC", "CXX", "CPP", "LD"):
            variables.pop(name, None)
    return variables


def start_foveal(args: argparse.Namespace, work: str, folder: Path) -> list[Contender]:
    """Start Foveal twice: as it is, and with compilers hidden."""
    contenders = []
    for name, compilers in ((WITH_COMPILER, True), (WITHOUT_COMPILER, False)):
        out = folder / ("found" if compilers else "hidden")
        words = [*module_command("peers.contender_foveal"), str(args.data), work, "--out", str(out)]
        words += _cache_option(args)
        environment = process_environment(out, compilers=compilers)
        contenders.append(Contender(name, words, environment=environment))
    return contenders


def start_torch(args: argparse.Namespace) -> Contender:
    """Start plain eager PyTorch."""
    words = [*module_command("peers.contender_torch"), str(args.data), *_cache_option(args)]
    return Contender("plain PyTorch", words)


def notebook_commands(args: argparse.Namespace, work: str) -> dict[str, list[str]]:
    """Return the commands that start the notebook's contenders, by their names in results."""
    commands = {}
    for choice in args.tensorflow:
        tensorflow, _, folder = choice.partition("=")
        python = prepare_environment(tensorflow, environment=Path(folder) if folder else None)
        words = [str(python), "-m", "benchmarks.peers.contender_keras", str(args.data), work]
        words += [] if args.limit is None else ["--limit", str(args.limit)]
        commands[f"the notebook, TensorFlow {tensorflow}"] = words
    return commands


def describe_contenders(contenders: Sequence[Contender]) -> dict[str, Any]:
    """Return what each contender runs on, and how many seconds it took to be ready."""
    return {
        contender.name: {**contender.ready, "start_up_seconds": contender.start_up}
        for contender in contenders
    }


def _cache_option(args: argparse.Namespace) -> list[str]:
    return [] if args.cache is None else ["--cache", str(args.cache)]
