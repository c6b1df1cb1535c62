"""What can go wrong, as one tree.

    FovealError
    ├── UserError(ValueError)      refused: wrong input (exit code 2)
    │   ├── DataError              folders, images, archives, splits
    │   ├── RecipeError            recipes and settings
    │   ├── RunError               run folders and what is in them
    │   ├── ModelError             model folders and networks
    │   └── MissingExtraError      a package that an extra would install
    ├── OutsideError               a fault from outside: disk, memory, network (exit code 3)
    ├── DivergenceError            a loss is no longer a number (exit code 3)
    └── Interrupted                Ctrl-C or SIGTERM, everything saved (exit code 130 or 143)

Every message says what is wrong, where, and what to do next. Anything that is not a `FovealError` is a
defect of Foveal.
"""

from pathlib import Path


class FovealError(Exception):
    """Base of everything that Foveal raises on purpose."""

    exit_code = 2


class UserError(FovealError, ValueError):
    """The input was refused."""


class DataError(UserError):
    """A folder, an image, an archive or a split cannot be used."""


class RecipeError(UserError):
    """A recipe or a setting is unknown, malformed or without effect."""


class RunError(UserError):
    """A run folder cannot be used as asked."""


class ModelError(UserError):
    """A model folder or a network cannot be used as asked."""


class MissingExtraError(UserError):
    """A package is missing that one of Foveal's extras installs."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package}: pip install 'foveal[{extra}]'")


class OutsideError(FovealError):
    """The disk, the memory or the network failed; what was saved before is whole."""

    exit_code = 3


class DivergenceError(FovealError):
    """A loss became infinite or no number; the checkpoints from before are whole."""

    exit_code = 3


class Interrupted(FovealError):  # noqa: N818 - an interruption is not an error
    """The run was stopped by a signal, after everything was saved."""

    def __init__(self, message: str, *, run: Path, signal_number: int) -> None:
        super().__init__(message)
        self.run = run
        self.exit_code = 128 + signal_number


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Say which extra installs the module that is missing; None if no extra does."""
    package = {"sklearn": "scikit-learn"}.get(error.name or "", error.name)
    if package in ("torch", "safetensors", "scikit-learn", "matplotlib", "jinja2"):
        return MissingExtraError(package, "train")
    if package == "optuna":
        return MissingExtraError(package, "tune")
    return None
