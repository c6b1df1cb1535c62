"""Finding, compiling and loading the kernels; and doing without them."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from foveal.engine import compiled, signatures
from foveal.engine.compiled import load_library, without_kernels
from foveal.training import environment

COMPILER = next(filter(None, map(shutil.which, compiled.COMPILER_NAMES)), None)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where compiled kernels are kept: an empty cache, and nothing is loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    load_library.cache_clear()
    yield tmp_path / "cache" / "foveal" / "kernels"
    load_library.cache_clear()


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@needs_compiler
def test_they_are_compiled_once_and_found_again_without_a_compiler(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_library()
    assert first.library is not None, first.description
    assert first.description.startswith("source ")
    files = list(folder.iterdir())
    assert [file.suffix for file in files] == [".so"]  # and nothing half done
    before = files[0].stat()

    load_library.cache_clear()
    monkeypatch.setenv("PATH", "")
    again = load_library()
    assert again.library is not None, again.description
    assert again.description == first.description
    assert list(folder.iterdir()) == files
    assert files[0].stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_there_are_none(folder: Path) -> None:
    assert load_library().library is None
    assert load_library().description == "no C compiler was found"
    assert compiled.library_or_none() is None
    described = environment.describe_environment(
        seed=0, data="", validation=None, group=None, share=None, cache=None, own_augmentation=False
    )
    assert described.kernels == "none: no C compiler was found"
    assert not folder.exists()


def test_a_compiler_that_fails_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{sys.executable} -c 'import sys; sys.exit(\"no such processor\")'")
    assert load_library().library is None
    assert load_library().description == "the C compiler failed: no such processor"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("compiler", "about"),
    [("/no/such/compiler", "FileNotFoundError"), ("cc 'open", "ValueError: No closing quotation")],
)
def test_a_compiler_that_is_not_there_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, about: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    assert load_library().library is None
    assert load_library().description.startswith(about)


def test_a_compiler_that_makes_nothing_gives_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{sys.executable} -c ''")
    assert load_library().library is None
    assert load_library().description.startswith("FileNotFoundError")
    assert list(folder.iterdir()) == []


def test_a_cache_that_cannot_be_written_gives_none(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert load_library().library is None
    assert "Error" in load_library().description


CHILD = """
import json, torch
from foveal.engine.compiled import load_library
found = load_library()
total = None
if found.library is not None:
    from foveal.engine.convolution import convolve
    total = float(convolve(torch.ones(1, 16, 4, 4), torch.ones(16, 16, 3, 3), None)[0].sum())
print(json.dumps([found.library is not None, found.description, total]))
"""


def child(cache: Path, **changes: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1", **changes}
    environment.pop("CC", None)
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def answer(process: "subprocess.Popen[str]") -> tuple[bool, str, float | None]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (process.returncode, err)
    loaded, about, total = json.loads(out)
    return loaded, about, total


RIGHT = 16.0 * 16 * 100
"""4 × 4 pixels see 100 others or themselves; 16 channels in and out."""


@needs_compiler
def test_two_processes_may_compile_at_once(tmp_path: Path) -> None:
    processes = [child(tmp_path) for _ in range(2)]
    for process in processes:
        loaded, about, total = answer(process)
        assert loaded, about
        assert total == pytest.approx(RIGHT, rel=1e-5)
    (file,) = (tmp_path / "foveal" / "kernels").iterdir()
    assert file.suffix == ".so"


@needs_compiler
@pytest.mark.parametrize("damage", ["half", "other bytes"])
def test_a_damaged_file_in_the_cache_is_no_crash(tmp_path: Path, folder: Path, damage: str) -> None:
    """A child looks at it: to load half a library can end a process. It is compiled anew."""
    assert load_library().library is not None
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    content = {
        "half": whole[: len(whole) // 2],
        "other bytes": whole[:5000] + bytes(len(whole) - 10_000) + whole[-5000:],
    }[damage]
    other = tmp_path / "other"  # not the file that this process has mapped
    target = other / "foveal" / "kernels" / file.name
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    loaded, about, total = answer(child(other))
    assert loaded, about
    assert total == pytest.approx(RIGHT, rel=1e-5)
    assert target.read_bytes() == whole


@pytest.mark.usefixtures("no_compiler")
def test_a_file_that_is_no_library_gives_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it has the name that is looked for: as if somebody had compiled for another machine."""
    folder.mkdir(parents=True)
    monkeypatch.setattr(compiled, "_file_name", lambda key, _content: f"{key}-{'0' * 32}.so")
    monkeypatch.setattr(compiled.hashlib, "sha256", FixedDigest)
    (folder / f"{'1' * 32}-{'0' * 32}.so").write_bytes(b"garbage")
    assert load_library().library is None
    assert load_library().description.startswith("OSError")


class FixedDigest:
    """In place of SHA-256: so a test knows the name that is looked for."""

    def __init__(self, _content: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return "1" * 64


def test_without_kernels_holds_for_its_block_and_its_thread_alone() -> None:
    loaded = compiled.library_or_none()
    seen = []
    with without_kernels():
        assert compiled.library_or_none() is None
        with without_kernels():
            assert compiled.library_or_none() is None
        assert compiled.library_or_none() is None
        thread = threading.Thread(target=lambda: seen.append(compiled.library_or_none()))
        thread.start()
        thread.join()
    assert compiled.library_or_none() is loaded
    assert seen == [loaded]
    with pytest.raises(KeyError), without_kernels():
        raise KeyError
    assert compiled.library_or_none() is loaded


@needs_compiler
def test_here_the_kernels_are_used() -> None:
    """Else all that compares them with torch would skip."""
    assert compiled.library_or_none() is not None, load_library().description


SOURCE = "".join(file.read_text(encoding="utf-8") for file in sorted(compiled.SOURCE_FOLDER.glob("*.[ch]")))


def test_the_source_is_where_it_is_looked_for() -> None:
    for name in signatures.SIGNATURES:
        assert f" {name}(" in SOURCE


STRUCTS = {
    "first_layer": signatures.FirstLayer,
    "convolution": signatures.Convolution,
    "convolution_results": signatures.ConvolutionResults,
    "convolution_gradients": signatures.ConvolutionGradients,
    "normalisation": signatures.Normalisation,
    "crops": signatures.Crops,
    "rmsprop_settings": signatures.RMSpropSettings,
    "adam_settings": signatures.AdamSettings,
}
TYPES = {
    "long": ctypes.c_long,
    "int": ctypes.c_int,
    "float": ctypes.c_float,
    "first_layer": signatures.FirstLayer,
}


@pytest.mark.parametrize("name", STRUCTS)
def test_structs_have_the_fields_of_those_in_c(name: str) -> None:
    """The same names and types in the same order: a difference would hand on wrong addresses."""
    (body,) = re.findall(rf"typedef struct \{{([^{{}}]*)\}} {name};", SOURCE)
    fields = []
    for declaration in re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL).split(";")[:-1]:
        kind, names = re.fullmatch(r"\s*(?:const )?(\w+) (.*)", declaration, flags=re.DOTALL).groups()
        fields += [
            (field.strip("* "), ctypes.c_void_p if "*" in field else TYPES[kind])
            for field in names.split(",")
        ]
    assert list(STRUCTS[name]._fields_) == fields


def test_a_change_of_any_source_file_changes_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "SOURCE_FOLDER", tmp_path / "kernels")
    original = Path(compiled.__file__).with_name("kernels")
    files = sorted(original.iterdir())
    assert len(files) > 5
    sources = set()
    for changed in [None, *files]:
        shutil.copytree(original, tmp_path / "kernels", dirs_exist_ok=True)
        if changed is not None:
            (tmp_path / "kernels" / changed.name).write_bytes(changed.read_bytes() + b"\n")
        sources.add(compiled.read_source())
    assert len(sources) == len(files) + 1


@needs_compiler
def test_a_header_that_changed_is_compiled_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_library()
    shutil.copytree(compiled.SOURCE_FOLDER, tmp_path / "kernels")
    with (tmp_path / "kernels" / "panel.h").open("a") as file:
        file.write("/* changed */\n")
    monkeypatch.setattr(compiled, "SOURCE_FOLDER", tmp_path / "kernels")
    load_library.cache_clear()
    again = load_library()
    assert again.library is not None, again.description
    assert again.description != first.description
    assert len(list(folder.iterdir())) == 2
