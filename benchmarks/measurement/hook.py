"""Replace a function inside a command that is otherwise run untouched."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def replace_on_import(module: str, name: str, make: Callable[[Any], Any]) -> None:
    """Replace `name` in `module` by what `make` makes of it, at the moment the module is imported.

    Nothing is imported earlier, or in another order, than it would be without.
    """
    assert module not in sys.modules, f"{module} is imported already"
    sys.meta_path.insert(0, _Finder(module, name, make))


class _Finder(MetaPathFinder):
    def __init__(self, module: str, name: str, make: Callable[[Any], Any]) -> None:
        self._module, self._name, self._make = module, name, make

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as it would be found without us, and see to it that it is changed once loaded."""
        if fullname != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_replace(module: ModuleType) -> None:
            execute(module)
            setattr(module, self._name, self._make(getattr(module, self._name)))

        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec
