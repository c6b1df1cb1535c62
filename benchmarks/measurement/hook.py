"""Replace a function inside a command that otherwise runs unchanged."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Wrapper = Callable[[Any], Any]
"""A function that takes the original object and returns its replacement."""


def replace_on_import(module: str, name: str, wrap: Wrapper) -> None:
    """Replace `name` in `module` by `wrap(original)` at the moment when the module is imported.

    The order and the time of all imports stay as they are without this hook.
    """
    assert module not in sys.modules, f"{module} is imported already"
    sys.meta_path.insert(0, _Finder(module, name, wrap))


class _Finder(MetaPathFinder):
    def __init__(self, module: str, name: str, wrap: Wrapper) -> None:
        self._module, self._name, self._wrap = module, name, wrap

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the signature is Python's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Find the module as usual, and arrange that it is changed after it is loaded."""
        if fullname != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_replace(module: ModuleType) -> None:
            execute(module)
            setattr(module, self._name, self._wrap(getattr(module, self._name)))

        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec
