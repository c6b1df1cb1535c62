"""Every code block of the README and the guides is run; what takes long or downloads is at least parsed."""

import importlib.util
import inspect
import re
import shlex
import shutil
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import pytest

import foveal
from foveal.cli.main import build_parser, main

TAKES_LONG = {"cifar10", "model-s-02", "--budget", "tune"}
NEEDS_A_SERVER = {"mlflow", "board"}


def find_options(command: list[str]) -> set[str]:
    """Return all options of the verb that a command begins with, whatever else stands in it."""
    parser = build_parser()
    for word in command:
        for action in parser._actions:
            if isinstance(action.choices, dict) and word in action.choices:
                parser = action.choices[word]
    assert isinstance(parser, ArgumentParser)
    return {option for action in parser._actions for option in action.option_strings}


def check_command(line: str, root: Path) -> None:
    """Check that a command line could be run as it stands."""
    match shlex.split(line):
        case [("foveal" | ".venv/bin/foveal"), *words]:
            build_parser().parse_args(words)
        case ["make", target, *_]:
            assert f"\n{target}:" in (root / "Makefile").read_text(), line
        case [("python" | ".venv/bin/python"), "-m", module, *_] if module.startswith("benchmarks"):
            assert (root / Path(*module.split("."))).with_suffix(".py").is_file(), line
        case ["python3", "-m", "venv", ".venv"]:
            pass
        case [".venv/bin/pip", "install", target, *_]:
            if extra := re.fullmatch(r"\.\[(\w+)\]", target):
                assert f"\n{extra[1]} = [" in (root / "pyproject.toml").read_text(), line
            else:
                assert target in (root / "constraints.txt").read_text().splitlines(), line
        case _:
            raise AssertionError(f"the tests do not know what to do with this line: {line}")


def test_every_command_parses(page, root: Path) -> None:
    for line in page.commands():
        check_command(line, root)


def test_every_option_in_the_text_exists(page) -> None:
    """Commands within sentences may have placeholders; their verbs and options exist all the same."""
    if page.path.parent.name == "decisions":
        return  # they also tell of options that were given up
    text = re.sub(r"^```.*?^```", "", page.text, flags=re.DOTALL | re.MULTILINE)
    verbs = {word for action in build_parser()._actions if action.choices for word in action.choices}
    options = set().union(*(find_options([verb]) for verb in verbs), find_options([]))
    for code in re.findall(r"`([^`\n]+)`", text):
        words = code.split()
        if words[0] == "foveal" and len(words) > 1:
            assert words[1] in verbs | options, code
            assert {word for word in words if word.startswith("--")} <= find_options(words[1:]), code
        elif re.fullmatch(r"--[a-z-]+", words[0]) and "benchmarks" not in text:
            assert words[0] in options, code


def test_the_files_it_names_are_there(page, root: Path) -> None:
    files = [f"/{path.relative_to(root).as_posix()}" for path in root.glob("[!.]*/**/*.*")]
    files += [f"/{path.name}" for path in root.glob("*.*")]
    for name in re.findall(r"`([\w./-]+\.(?:py|c|md|ipynb))`", page.text):
        assert any(file.endswith(f"/{name}") for file in files), name
    for name in re.findall(r"`((?:docs|tests|benchmarks|notebooks|examples)/[\w./-]+)`", page.text):
        assert (root / name).exists(), name
    for module, name in re.findall(r"`([a-z_]+(?:/[a-z_]+)+)\.([A-Z]\w+)`", page.text):
        assert f"\nclass {name}" in (root / "src" / "foveal" / f"{module}.py").read_text(), (module, name)
    for module in re.findall(r"python -m (benchmarks\.[\w.]+)", page.text):
        assert importlib.util.find_spec(module) is not None, module


@pytest.fixture(scope="module")
def runs_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the runs that the pages have made so far, so that a command on several pages trains once."""
    return tmp_path_factory.mktemp("made")


def test_its_commands_run(
    guide, workplace: Path, runs_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, line in enumerate(guide.commands()):
        words = shlex.split(line)
        if (
            words[:2] == ["foveal", "data"]
            or words[0] != "foveal"
            or {*TAKES_LONG, *NEEDS_A_SERVER} & {*words}
        ):
            continue
        if words[1] in ("train", "repeat"):
            out = Path(words[words.index("--out") + 1]) if "--out" in words else Path(f"runs/{number}")
            made = runs_made / line.replace("/", " ")
            if not made.exists():
                assert main([*words[1:], "--out", str(out), "--set", "epochs=1"]) == 0, (
                    capsys.readouterr().err
                )
                shutil.copytree(out, made)
            elif not out.exists():
                shutil.copytree(made, out)
            continue
        for run in (Path(word) for word in words[2:] if word.startswith("runs/")):
            if not run.exists():  # one that another page makes
                shutil.copytree(workplace / "runs" / "cut", run)
        assert main(words[1:]) == 0, (line, capsys.readouterr().err)


def shorten(train: Callable[..., foveal.Run]) -> Callable[..., foveal.Run]:
    """Return `train` with one epoch in place of what a page says, once its arguments have been checked."""

    def train_shortly(*args: object, **kwargs: object) -> foveal.Run:
        inspect.signature(train).bind(*args, **kwargs)
        settings = dict(kwargs.pop("settings", {}), epochs=1)
        if budget := kwargs.pop("budget", None):
            foveal.Budget.parse(budget)
            kwargs["recipe"] = "digits"
        return train(*args, **kwargs, settings=settings)

    return train_shortly


def test_its_python_runs(guide, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foveal, "train", shorten(foveal.train))
    shutil.copytree(workplace / "runs" / "cut", workplace / "runs" / "first")
    names: dict[str, object] = {"foveal": foveal}
    for code in guide.blocks("python"):
        exec(compile(code, guide.path.name, "exec"), names)
    if guide.blocks("python"):
        assert isinstance(names["run"], foveal.Run)
    assert "scores" not in names or min(names["scores"]) > 0.3
