"""The example in the docstring of every public name, run as a reader would run it."""

import doctest
from collections.abc import Iterator
from pathlib import Path

import pytest

import foveal

NAMES = [name for name in foveal.__all__ if name != "__version__"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the digits, and with a run that was trained on them and evaluated."""
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        foveal.get("digits", "digits")
        for seed, name in enumerate(("first", "second")):
            run = foveal.train(
                "digits", recipe="digits", settings={"epochs": 2}, seed=seed, out=f"runs/{name}"
            )
            run.evaluate("test")
        yield folder


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_name_is_true(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    # An error's traceback is compared by its type and message. Others' docstrings, inherited, are not ours.
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    value = getattr(foveal, name)
    module = __import__(value.__module__, fromlist=["_"])
    tests = [test for test in finder.find(value, name, module) if test.examples]
    assert any(test.name == name for test in tests), f"{name} has no example"
    for test in tests:
        test.globs = {"foveal": foveal, "Path": Path}
        runner.run(test)
    assert runner.failures == 0, capsys.readouterr().out
