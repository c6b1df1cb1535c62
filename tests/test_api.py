"""What `import foveal` offers, and what it does not do."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import foveal


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_the_public_names_are_there() -> None:
    for name in foveal.__all__:
        assert getattr(foveal, name) is not None
    assert dir(foveal) == sorted(foveal.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        foveal.trian  # noqa: B018 - asking is the test


def test_the_names_for_type_checkers_are_the_names_at_run_time() -> None:
    tree = ast.parse(Path(foveal.__file__).read_text())
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        name.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert imported == foveal._MODULE_OF
    assert foveal.__all__ == [*sorted(imported), "__version__"]


def test_no_public_name_is_also_a_package() -> None:
    """A package would take the place of a function of its name as soon as something imports it."""
    inside = {path.stem for path in Path(foveal.__file__).parent.iterdir()}
    assert not inside & set(foveal.__all__)


@pytest.mark.parametrize("module", ["foveal", "foveal.cli.main", "foveal.data.decode", "foveal.data.pack"])
def test_the_core_never_reaches_torch(module: str) -> None:
    heavy = "{'torch', 'matplotlib', 'sklearn', 'scipy', 'jinja2', 'safetensors'}"
    assert python(f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_help_does_not_even_import_numpy() -> None:
    code = (
        "import sys\nfrom foveal.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('numpy' in sys.modules, 'PIL' in sys.modules, 'torch' in sys.modules)"
    )
    assert python(code).splitlines()[-1] == "False False False"


def test_a_missing_extra_says_which_to_install() -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nimport foveal\n"
        "try: foveal.train\nexcept foveal.errors.MissingExtraError as error: print(error)"
    )
    assert python(code) == "this needs the package torch: pip install 'foveal[train]'"
