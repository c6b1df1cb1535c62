"""Scripted runs: the notebook's log, and a confusion matrix such as an 81 % network leaves on CIFAR-10."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from foveal.evaluation.metrics import Evaluation, evaluate
from foveal.evaluation.roc import ClassCurves
from foveal.files.run_records import EpochRecord

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

# loss, accuracy, validation loss, validation accuracy, learning rate: the reference notebook's printed log
NOTEBOOK_LOG = [
    (1.7873, 0.3832, 1.3683, 0.5059, 1e-3),
    (1.3130, 0.5365, 1.2969, 0.5659, 1e-3),
    (1.1322, 0.6149, 1.0690, 0.6288, 1e-3),
    (1.0178, 0.6607, 1.6596, 0.5828, 1e-3),
    (0.9234, 0.6895, 0.8689, 0.7061, 1e-3),
    (0.8560, 0.7151, 1.0259, 0.6498, 1e-3),
    (0.7856, 0.7387, 0.9757, 0.6763, 1e-3),
    (0.7346, 0.7562, 0.8880, 0.7353, 1e-3),
    (0.5625, 0.8088, 0.6032, 0.8002, 1e-4),
    (0.5149, 0.8235, 0.6111, 0.8058, 1e-4),
    (0.4914, 0.8288, 0.6275, 0.8072, 1e-4),
    (0.4745, 0.8357, 0.6083, 0.8092, 1e-4),
    (0.4492, 0.8409, 0.5949, 0.8109, 1e-5),
    (0.4424, 0.8459, 0.5965, 0.8118, 1e-5),
    (0.4368, 0.8472, 0.5969, 0.8109, 1e-5),
    (0.4400, 0.8483, 0.5996, 0.8120, 1e-5),
    (0.4391, 0.8448, 0.5983, 0.8130, 1e-6),
    (0.4306, 0.8497, 0.5988, 0.8133, 1e-6),
    (0.4344, 0.8494, 0.5999, 0.8125, 1e-6),
]

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

Epochs = Callable[..., list[EpochRecord]]
Judge = Callable[..., Evaluation]


@pytest.fixture
def epochs() -> Epochs:
    """Make a history from rows of (loss, accuracy, validation loss, validation accuracy, learning rate)."""

    def make(rows: Sequence[Sequence[float | None]]) -> list[EpochRecord]:
        return [
            EpochRecord(
                epoch=number,
                step=100 * number,
                loss=row[0],
                accuracy=row[1],
                validation_loss=row[2],
                validation_accuracy=row[3],
                learning_rate=row[4],
            )
            for number, row in enumerate(rows, start=1)
        ]

    return make


@pytest.fixture
def notebook(epochs: Epochs) -> list[EpochRecord]:
    return epochs(NOTEBOOK_LOG)


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
    return judge(CIFAR_COUNTS, CLASSES)


@pytest.fixture
def curve() -> Callable[[str, float], ClassCurves]:
    def make(name: str, auc: float) -> ClassCurves:
        rates = np.array([0, 1 - auc, 1])
        recall, precision = np.array([0, 0.5, 1]), np.array([auc, auc, auc])
        return ClassCurves(
            name=name, fpr=rates, tpr=np.array([0, auc, 1]), area=auc, recall=recall, precision=precision,
            average_precision=auc,
        )  # fmt: skip

    return make
