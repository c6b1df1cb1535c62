"""The command lines of the scripts."""

import argparse
import sys
from pathlib import Path


def running_module() -> str:
    """Return the name of the module that runs, as `python -m` takes it."""
    spec = sys.modules["__main__"].__spec__
    return Path(sys.argv[0]).stem if spec is None else spec.name


def create_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser whose help shows a script's docstring as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m {running_module()}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_cifar10(parser: argparse.ArgumentParser) -> None:
    """Add the argument for CIFAR-10's folder."""
    parser.add_argument("data", type=Path, help="CIFAR-10 as `foveal data get cifar10` writes it")
