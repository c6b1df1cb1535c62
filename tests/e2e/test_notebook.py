"""The notebook that is committed: executed, with figures, a tenth of the code, and still running."""

import ast
import copy
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "notebooks" / "model_s.ipynb"
FIGURES = 5
"""Examples, learning curves, confusion matrix, errors and ROC curves."""

# Of the original, a PDF turned into text; lines that only the page's width broke are joined.
ORIGINAL_LINES, ORIGINAL_STATEMENTS = 144, 136
ORIGINAL = ROOT.parent / "shared" / "reference" / "notebook.txt"


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def figures(notebook: Any) -> list[str]:
    return [
        output.data["image/png"]
        for cell in code(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


def lines_of(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def statements_of(source: str) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(source)))


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(FILE, as_version=4)


def test_what_is_stored_was_executed_from_top_to_bottom(stored: Any) -> None:
    cells = code(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert len(figures(stored)) == FIGURES
    assert all(figure.startswith("iVBORw0KGgo") for figure in figures(stored))  # PNG
    assert "This says which of these models is better" in str(cells[-1].outputs)


def test_it_is_small_and_names_nobodys_folders(stored: Any) -> None:
    content = FILE.read_text("utf-8")
    assert len(content) < 1_000_000
    assert re.findall(r"/(?:home|root|tmp|Users|work)/", content) == []


def test_it_has_a_tenth_of_the_code(stored: Any) -> None:
    source = "\n".join(cell.source for cell in code(stored))
    assert len(lines_of(source)) <= ORIGINAL_LINES / 10
    assert statements_of(source) <= ORIGINAL_STATEMENTS / 10
    assert ";" not in source


@pytest.mark.skipif(not ORIGINAL.is_file(), reason="the original is not beside this checkout")
def test_the_original_has_as_many_lines_as_is_said() -> None:
    blocks = re.findall(r"```\n(.*?)```", ORIGINAL.read_text("utf-8"), re.DOTALL)
    output = re.compile(r"\s*(=====|Epoch|accuracy:|2/2|157/157|Accuracy)")
    lines: list[str] = []
    for block in blocks:
        if output.match(block):
            continue
        for line in lines_of(re.sub(r"^\s*\[\d+\]: ?", "", block)):
            if line.lstrip()[0] in "↪↳":
                lines[-1] += line.strip()[1:]
            else:
                lines.append(line)
    lines.remove("    file:")  # "as file:", broken without an arrow
    assert len(lines) == ORIGINAL_LINES
    continued = [
        line for line in lines if re.match(r"\s*(loss=|metrics=|validation_data=|epochs=30|callbacks=)", line)
    ]
    broken = [line for line in lines if line.endswith("\\")]
    assert len(lines) - len(continued) - len(broken) == ORIGINAL_STATEMENTS


def test_it_runs_in_a_fresh_folder(stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = copy.deepcopy(stored)
    (parameters,) = (cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", ()))
    before = parameters.source
    parameters.source = re.sub(r'\["size=16"\]', '["size=8", "epochs=2"]', before)
    assert parameters.source != before
    for cell in code(notebook):
        cell.outputs = []
    # The kernel of this interpreter: jupyter_client offers it as "python3" whatever else is installed.
    NotebookClient(
        notebook, kernel_name="python3", timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert len(figures(notebook)) == FIGURES
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cache", "digits", "runs"]
