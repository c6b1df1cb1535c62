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

Every message says what is wrong, where, and what to do next. Any other exception is a defect of Foveal.
"""

from pathlib import Path


class FovealError(Exception):
    """The base of everything that Foveal raises on purpose.

    >>> try:
    ...     foveal.train("digits", recipe="digit")
    ... except foveal.FovealError as error:
    ...     print(error)
    unknown recipe 'digit'; did you mean 'digits'?
    """

    exit_code = 2
    """The exit code of a command that ends with this error."""


class UserError(FovealError, ValueError):
    """The input was refused. It is a `ValueError` too.

    >>> issubclass(foveal.UserError, ValueError)
    True
    """


class DataError(UserError):
    """A folder, an image, an archive or a split cannot be used.

    >>> foveal.train("nowhere", recipe="digits")
    Traceback (most recent call last):
    foveal.errors.DataError: nowhere does not exist; name a folder that holds class folders of images
    """


class RecipeError(UserError):
    """A recipe or a setting is unknown, malformed or without effect.

    >>> foveal.train("digits", recipe="digits", settings="epoch=3")
    Traceback (most recent call last):
    foveal.errors.RecipeError: unknown setting 'epoch'; did you mean 'epochs'?
    """


class RunError(UserError):
    """A run folder cannot be used as asked.

    >>> foveal.Run("nowhere")
    Traceback (most recent call last):
    foveal.errors.RunError: nowhere does not exist; name a folder that `foveal train` made
    """


class ModelError(UserError):
    """A model folder or a network cannot be used as asked.

    >>> foveal.predict("digits", "digits/test/7")
    Traceback (most recent call last):
    foveal.errors.ModelError: digits is neither a model folder nor a run; name one that `foveal train` made
    """


class MissingExtraError(UserError):
    """A package is missing that one of Foveal's extras installs.

    >>> print(foveal.MissingExtraError("optuna", "tune"))
    this needs the package optuna: pip install 'foveal[tune]'
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package}: pip install 'foveal[{extra}]'")


class OutsideError(FovealError):
    """The disk, the memory or the network failed. What was saved before is whole.

    >>> foveal.OutsideError.exit_code
    3
    """

    exit_code = 3


class DivergenceError(FovealError):
    """A loss became infinite or no number. The checkpoints from before are whole.

    >>> foveal.DivergenceError.exit_code
    3
    """

    exit_code = 3


class Interrupted(FovealError):  # noqa: N818 - an interruption is not an error
    """The run was stopped by a signal, after everything was saved.

    >>> stopped = foveal.Interrupted("stopped", run=Path("runs/first"), signal_number=2)
    >>> stopped.exit_code
    130

    Args:
        message: What happened, and how to continue.
        run: The run folder, where `resume` continues.
        signal_number: The number of the signal.
    """

    def __init__(self, message: str, *, run: Path, signal_number: int) -> None:
        super().__init__(message)
        self.run = run
        self.exit_code = 128 + signal_number


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return the error that names the extra with the missing module; None if no extra has it."""
    package = {"sklearn": "scikit-learn"}.get(error.name or "", error.name)
    if package in ("torch", "safetensors", "scikit-learn", "matplotlib", "jinja2"):
        return MissingExtraError(package, "train")
    if package == "optuna":
        return MissingExtraError(package, "tune")
    return None
