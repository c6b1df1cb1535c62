"""Data that many tests share: made once a session, and never looked for outside the checkout."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from foveal.data import named_datasets

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _missing(what: str) -> None:
    """Skip where the data are not at hand; fail where they are promised to be."""
    if os.environ.get("FOVEAL_REQUIRE_DATA"):
        pytest.fail(f"{what} is missing, and FOVEAL_REQUIRE_DATA is set")
    pytest.skip(f"{what} is not here; CONTRIBUTING.md says where it comes from")


@pytest.fixture(scope="session")
def hostile() -> Path:
    """A folder of broken, huge and odd images and archives, by format."""
    folder = SHARED_DATA / "hostile"
    if not folder.is_dir():
        _missing("../shared/data/hostile")
    return folder


@pytest.fixture(scope="session")
def cifar10_archive() -> Path:
    """CIFAR-10's Python archive."""
    archive = SHARED_DATA / "cifar-10-python.tar.gz"
    if not archive.is_file():
        _missing("../shared/data/cifar-10-python.tar.gz")
    return archive


@pytest.fixture(scope="session")
def cifar10(cifar10_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """CIFAR-10 as class folders: train1 … train5 and test, 60,000 images. Not to be written to."""
    folder = tmp_path_factory.mktemp("cifar10")
    yield named_datasets.get("cifar10", folder / "data", archive=cifar10_archive)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits as class folders: train and test, 1,797 images. Not to be written to."""
    return named_datasets.get("digits", tmp_path_factory.mktemp("digits") / "data")


@pytest.fixture(scope="session")
def few_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 40 training and 10 test images of three digits: enough for a run to learn something."""
    folder = tmp_path_factory.mktemp("few") / "data"
    for split, n in (("train", 40), ("test", 10)):
        for label in "038":
            (folder / split / label).mkdir(parents=True)
            for file in sorted((digits / split / label).iterdir())[:n]:
                shutil.copy(file, folder / split / label)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that all tests of a session may share."""
    return tmp_path_factory.mktemp("cache")


SMALL = ("size=8", "widths=[8]", "dense=16", "epochs=3", "batch_size=16", "momentum=0.5")
"""Settings that make `model-s-02` train on `few_digits` in a fraction of a second."""


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Settings that make a recipe small."""
    return SMALL


@pytest.fixture(scope="session")
def finished(few_digits: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished, evaluated and reported run on `few_digits`. Not to be written to."""
    from foveal.runs.train import train

    out = tmp_path_factory.mktemp("finished") / "run"
    run = train(few_digits, recipe="model-s-02", settings=SMALL, out=out, cache=cache)
    run.evaluate("test")
    run.report()
    return run.path
