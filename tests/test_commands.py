"""Commands that are printed can be pasted."""

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foveal
from foveal.commands import quote_word, show_command


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("runs/first", "foveal resume runs/first"),
        ("my runs/first", "foveal resume 'my runs/first'"),
        ("-run", "foveal resume ./-run"),
        ("--run x", "foveal resume './--run x'"),
        ("it's", """foveal resume 'it'"'"'s'"""),
        ("$HOME", "foveal resume '$HOME'"),
        ("a\nb", "foveal resume $'a\\x0ab'"),
        ("caf\udce9", "foveal resume $'caf\\xe9'"),
        ("'\x1b[31m", "foveal resume $'\\'\\x1b[31m'"),
    ],
)
def test_commands_are_quoted(path: str, shown: str) -> None:
    assert show_command("resume", Path(path)) == shown


def test_options_stay_options() -> None:
    assert (
        show_command("evaluate", Path("-x"), "--split", "test", rest="…")
        == "foveal evaluate ./-x --split test …"
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to paste into")
@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1))
def test_a_shell_reads_the_name_that_was_meant(name: str) -> None:
    word = quote_word(Path(name))
    assert word.isprintable()
    said = subprocess.run(
        ["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    ).stdout.decode()
    assert Path(said) == Path(name)
    assert not said.startswith("-")


def test_every_printed_command_with_a_value_is_made_by_the_helper() -> None:
    """A path in a text such as f"foveal resume {path}" would not be quoted."""
    root = Path(foveal.__file__).parent
    bare = []
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                if re.search(r"\bfoveal (resume|evaluate|predict|report|train|compare) (-\S+ )*\{\}", text):
                    bare.append(f"{file.relative_to(root)}: {text}")
    assert bare == []


def test_the_helper_agrees_with_shlex() -> None:
    words = ["my runs/-1", "a;b", "x y", "ü"]
    shown = show_command("predict", *(Path(word) for word in words))
    assert shlex.split(shown) == ["foveal", "predict", *words]
