"""Data that many tests share: made once a session, and never looked for outside the checkout."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from foveal.data import sources

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
    yield sources.get("cifar10", folder / "data", archive=cifar10_archive)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits as class folders: train and test, 1,797 images. Not to be written to."""
    return sources.get("digits", tmp_path_factory.mktemp("digits") / "data")


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


@pytest.fixture(scope="session")
def pickled() -> Callable[[object], bytes]:
    """Write plain data and uint8 arrays as Python 2 wrote CIFAR-10's batches."""
    return lambda value: b"\x80\x02" + _pickled(value) + b"."


def _pickled(value: object) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int() if 0 <= value < 1 << 8:
            return b"K" + value.to_bytes(1, "little")
        case int() if 0 <= value < 1 << 16:
            return b"M" + value.to_bytes(2, "little")
        case int():
            return b"J" + value.to_bytes(4, "little", signed=True)
        case bytes() if len(value) < 1 << 8:
            return b"U" + bytes([len(value)]) + value + b"q\x01"
        case bytes():
            return b"T" + len(value).to_bytes(4, "little") + value + b"r\x01\x00\x00\x00"
        case list():
            return b"]q\x02(" + b"".join(map(_pickled, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_pickled(part) for item in value.items() for part in item) + b"u"
        case tuple():
            return b"(" + b"".join(map(_pickled, value)) + b"t"
        case np.ndarray():
            columns = value.flags.f_contiguous and not value.flags.c_contiguous
            made = b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            minus = b"J\xff\xff\xff\xff"
            dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + minus + minus + b"K\x00tb"
            raw = value.tobytes("F" if columns else "C")
            state = b"(K\x01" + _pickled(value.shape) + dtype + _pickled(columns) + _pickled(raw) + b"t"
            return made + state + b"b"
    raise TypeError(type(value))
