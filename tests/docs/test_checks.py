"""The check of Markdown files finds what it promises, and pre-commit runs the tools of `.venv` alone."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml


@pytest.fixture(scope="module")
def check_markdown(root: Path) -> ModuleType:
    path = root / "docs" / "hooks" / "check_markdown.py"
    spec = importlib.util.spec_from_file_location("check_markdown", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LONG = "word " * 30 + "end"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("# Title\n\nText.\n", None),
        (f"# Title\n\n{LONG}\n", "153 characters"),
        (f"# Title\n\n```text\n{LONG}\n```\n\n| {LONG} |\n", None),
        (f"# Title\n\n<!-- table -->\n{LONG}\n<!-- end -->\n", None),
        (f"# Title\n\n<!-- table -->\n<!-- end -->\n{LONG}\n", "153 characters"),
        ("# Title\n\n```\ncode\n```\n", "name the language"),
        ("# Title\n\nText. \n", "no blanks"),
        ("# Title\n\n[there](there.md)\n", "leads nowhere"),
        ("# Title\n\n[here](page.md#title), [far](https://example.org)\n", None),
        ("# Title\n\n# Another\n", "2 headings"),
        ("# Title\n\nText.", "newline"),
    ],
)
def test_faults_of_markdown(check_markdown: ModuleType, tmp_path: Path, text: str, fault: str | None) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    faults = [message for _, message in check_markdown.find_faults(page)]
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]


def test_pre_commit_needs_no_network(root: Path) -> None:
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["id"] for hook in hooks} == {"ruff", "ruff-format", "codespell", "markdown"}
    for hook in hooks:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
