"""Data that many tests share: made once a session, and never looked for outside the checkout."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveal.data import named_datasets
from foveal.evaluation.metrics import Evaluation, evaluate

# The suite runs in two processes, and its networks are tiny: two threads would mostly wait for each other.
# This is set before torch is imported, and inherited by commands. Tests of the kernels set their own.
os.environ.setdefault("OMP_NUM_THREADS", "1")
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
def some_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 30 training and 10 test images of every digit: what documents and examples train on."""
    folder = tmp_path_factory.mktemp("some") / "digits"
    for split, n in (("train", 30), ("test", 10)):
        for source in sorted((digits / split).iterdir()):
            (folder / split / source.name).mkdir(parents=True)
            for file in sorted(source.iterdir())[:n]:
                shutil.copy(file, folder / split / source.name)
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Train on one thread: on tiny images two would mostly wait for each other where other programs run."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


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
    from foveal.data.options import DataOptions
    from foveal.run.train import train

    out = tmp_path_factory.mktemp("finished") / "run"
    run = train(DataOptions(few_digits, cache=cache), recipe="model-s-02", settings=SMALL, out=out)
    run.evaluate("test")
    run.report()
    return run.path


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR_COUNTS = [
    [840, 14, 42, 14, 12, 5, 6, 10, 38, 19],
    [10, 905, 3, 4, 1, 3, 4, 2, 14, 54],
    [52, 4, 720, 52, 60, 45, 42, 17, 5, 3],
    [14, 7, 55, 640, 52, 140, 52, 25, 9, 6],
    [10, 2, 48, 42, 795, 27, 32, 40, 3, 1],
    [8, 4, 40, 128, 36, 735, 16, 29, 2, 2],
    [5, 3, 36, 42, 22, 14, 871, 3, 3, 1],
    [10, 2, 20, 30, 38, 40, 4, 850, 1, 5],
    [46, 22, 10, 10, 4, 3, 5, 2, 885, 13],
    [18, 62, 4, 9, 2, 3, 3, 6, 16, 877],
]

Judge = Callable[..., Evaluation]


def logits_of(counts: Sequence[Sequence[int]], seed: int = 0) -> tuple[Any, Any]:
    """Make logits (N, K) and labels (N,) that give this confusion matrix, with spread for ROC curves."""
    matrix = np.asarray(counts)
    k = len(matrix)
    labels = np.repeat(np.arange(k), matrix.sum(axis=1))
    predicted = np.concatenate([np.repeat(np.arange(k), row) for row in matrix])
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(labels), k))
    logits[np.arange(len(labels)), labels] += 1
    logits[np.arange(len(labels)), predicted] = logits.max(axis=1) + random.exponential(size=len(labels))
    return logits, labels


@pytest.fixture
def judge() -> Judge:
    """Make the evaluation of a scripted confusion matrix."""

    def make(
        counts: Sequence[Sequence[int]],
        names: Sequence[str] | None = None,
        *,
        split: str = "test",
        seed: int = 0,
    ) -> Evaluation:
        named = list(names) if names else [f"c{k}" for k in range(len(counts))]
        return evaluate(*logits_of(counts, seed), named, split=split)

    return make


@pytest.fixture
def cifar(judge: Judge) -> Evaluation:
    """The evaluation of a network with an accuracy of 81 % on CIFAR-10."""
    return judge(CIFAR_COUNTS, CLASSES)
