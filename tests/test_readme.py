"""Every snippet of the README: run, or, where it would download or train for long, at least parsed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from foveal.cli.main import build_parser, main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = "\n".join(snippets("sh")).splitlines()
    return [shlex.split(line) for line in lines if line]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_every_command_parses() -> None:
    assert len(commands()) >= 9
    for command in commands():
        assert command[0] == "foveal"
        build_parser().parse_args(command[1:])


def test_the_walk_through_the_digits(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = {"cifar10", "model-s-02", "--seconds", "--minutes"}  # they take long
    elsewhere |= {"mlflow", "board"}  # they need a server or are one
    walk = [command[1:] for command in commands() if not elsewhere & set(command)]
    verbs = ["data", "train", "evaluate", "report", "predict", "train", "compare", "repeat", "runs"]
    assert [words[0] for words in walk] == verbs
    for words in walk:
        if words[0] in ("train", "repeat"):
            words += ["--set", "epochs=2"]
        assert main(words) == 0, words
    assert (here / "runs" / "first" / "report.html").is_file()
    assert capsys.readouterr().out.count("digits/test/7/") > 30


@pytest.mark.parametrize("code", snippets("python"))
def test_the_python_snippets(here: Path, digits: Path, code: str) -> None:
    shutil.copytree(digits, here / "digits")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert type(names.get("run")).__name__ == "Run" or min(names["scores"]) > 0.3


def test_the_files_it_names_are_there() -> None:
    root = Path(__file__).parent.parent
    for name in re.findall(r"`((?:docs/|tests/|benchmarks/)[\w./-]+|[A-Z]+\.md)`|\]\(([\w./-]+)\)", README):
        assert (root / (name[0] or name[1])).exists(), name
