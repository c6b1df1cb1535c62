"""What no linter checks: the length of functions, and that every docstring is whole sentences."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import foveal

ROOT = Path(foveal.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py"))
MAX_LINES = 60
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every string that stands alone, with its line: the docstrings of attributes too."""
    for node in ast.walk(tree):
        for child in getattr(node, "body", []) if isinstance(node, Documented) else []:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                text = child.value.value
                if isinstance(text, str):
                    yield child.lineno, text


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_fit_on_a_page(path: Path) -> None:
    for function in functions(ast.parse(path.read_text())):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= MAX_LINES, f"{path}:{function.lineno}: {function.name} has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_are_whole_sentences(path: Path) -> None:
    """A capital, a number or code begins it, and a full stop ends its first paragraph."""
    for line, text in docstrings(ast.parse(path.read_text())):
        first = re.split(r"\n\s*\n", text.strip())[0].strip()
        assert re.match(r"[A-Z0-9`(\"×]", first), f"{path}:{line}: begins in the middle: {first[:60]!r}"
        assert re.search(r"[.:?!)]$", first), f"{path}:{line}: has no end: {first[-60:]!r}"
        assert not re.match(r"Of\b", first), f"{path}:{line}: is no sentence: {first[:60]!r}"
