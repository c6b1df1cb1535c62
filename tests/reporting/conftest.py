"""Scripted histories, such as the log that the reference notebook printed, curves and reports."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.roc import ClassCurves
from foveal.files.events import Created, LearningRateCut, Trained
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import DatasetRecord, EnvironmentRecord, EpochRecord, LeftOut, SplitRecord
from foveal.models.registry import Layer
from foveal.reporting.report import Report

Epochs = Callable[..., list[EpochRecord]]
Judge = Callable[..., Evaluation]
Curve = Callable[[str, float], ClassCurves]

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


@pytest.fixture
def validation(judge: Judge, cifar: Evaluation) -> Evaluation:
    counts = np.array(cifar.confusion)[::-1, ::-1].tolist()
    return judge(counts, [scores.name for scores in cifar.classes], split="validation", seed=3)


@pytest.fixture
def full(notebook: list[EpochRecord], cifar: Evaluation, validation: Evaluation, curve: Curve) -> Report:
    names = [scores.name for scores in cifar.classes]
    sizes = {"train": 4000, "validation": 1000, "test": 1000}
    return Report(
        title="20261122-133000-model-s-02",
        recipe={
            "schema": 1,
            "name": "model-s-02",
            "model": {"name": "model-s", "widths": [32, 64]},
            "augmentation": None,
        },
        dataset=DatasetRecord(
            fingerprint="3f1c" * 16,
            classes=tuple(names),
            rule="train1, train3, train4 and train5 train, train2 validates, test tests",
            splits={s: SplitRecord(n=10 * n, classes=(n,) * 10, files=()) for s, n in sizes.items()},
            left_out=(LeftOut(path="train1/003_cat/broken.png", reason="truncated"),),
        ),
        environment=EnvironmentRecord(
            foveal="0.1.0",
            torch="2.13.0",
            seed=7,
            data="/home/somebody/my images",
            validation="train2",
            group=None,
            share=None,
            threads=2,
            own_augmentation=False,
            cache="/home/somebody/.cache",
            command=("foveal", "train", "/home/somebody/my images"),
        ),
        history=notebook,
        events=[
            Created(),
            LearningRateCut(epoch=16, learning_rate=1e-6),
            LearningRateCut(epoch=19, learning_rate=1e-7),
            Trained(epochs=19, best_epoch=13, steps=11932, stopped="early", seconds=1084.2),
        ],
        validation=validation,
        test=cifar,
        curves=[curve(scores.name, scores.roc_auc or 0.5) for scores in cifar.classes],
        layers=[
            Layer(name="conv1", kind="Conv2d", output=(32, 32, 32), trainable=896, other=0),
            Layer(name="norm1", kind="BatchNorm2d", output=(32, 32, 32), trainable=64, other=64),
        ],
    )


@pytest.fixture
def run_folder(tmp_path: Path, full: Report) -> RunFolder:
    folder = RunFolder.create(
        tmp_path / full.title, recipe=full.recipe, dataset=full.dataset, environment=full.environment
    )
    for record in full.history:
        folder.add_epoch(record)
    for event in full.events[1:]:
        folder.add_event(event)
    return folder
