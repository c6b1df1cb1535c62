"""A training step of Model S against real Keras: same weights, same batches, double precision."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

import keras
import keras_model_s as judge
from keras.src import backend as keras_backend
from keras.src.backend.common import dtypes

from foveal.data.batches import Batch
from foveal.models import registry
from foveal.recipe import optimizers as optimizer_configs
from foveal.recipe.networks import ModelS
from foveal.training import optimizers
from foveal.training.epoch import (
    TrainingState,
    compute_balanced_class_weights,
    compute_training_loss,
    run_epoch,
)

RATE = float(np.float32(0.001))
"""Keras holds learning rates in single precision, and the first steps of RMSprop, all signs of gradients,
magnify a difference of 5e-8 in the rate to several percent of the weights within twenty steps."""

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras' own


@pytest.fixture(autouse=True)
def double_stays_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' promotion rules never yield double precision: dense layers and batch normalisation would work
    in single precision even on doubles. Only the working precision is changed here, no formula."""
    rule = dtypes.result_type

    def exact_rule(*types: object) -> str:
        return "float64" if any(str(each).endswith("float64") for each in types) else rule(*types)

    monkeypatch.setattr(dtypes, "result_type", exact_rule)
    monkeypatch.setattr(keras_backend, "result_type", exact_rule)


@pytest.fixture
def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(7)
    return [
        (random.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, 16))
        for _ in range(20)
    ]


def ours(dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> nn.Module:
    config = ModelS(dropout=dropout)
    return registry.build_network(config, size=32, channels=3, classes=10, seed=1).to(dtype)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Distance relative to the norm."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_forward_agrees_in_training_and_in_evaluation(batches: list) -> None:
    network, model = ours(), judge.build(dtype="float64")
    judge.copy_weights(network, model)
    images = batches[0][0]
    for training in (False, True):  # in training mode the moving averages move
        network.train(training)
        found = network(torch.from_numpy(images)).detach().numpy()
        expected = model(images.astype("float64"), training=training).detach().numpy()
        assert np.abs(found - expected).max() <= 1e-10


def test_gradients_agree(batches: list) -> None:
    network, model = ours(), judge.build(dtype="float64")
    judge.copy_weights(network, model)
    images, labels = batches[0]
    compute_training_loss(
        network.train()(torch.from_numpy(images)), torch.from_numpy(labels), None
    ).backward()
    logits = model(images.astype("float64"), training=True)
    keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")(labels, logits).backward()
    for mine, theirs in zip(judge.our_layers(network), judge.weighted_layers(model), strict=True):
        gradients = [each.value.grad.numpy() for each in theirs.trainable_variables]
        weight = mine.weight.grad
        weight = weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T if weight.ndim == 2 else weight
        assert difference(weight.numpy(), gradients[0]) <= 1e-8
        # A bias in front of batch normalisation would have a gradient of zero; ReLU stands between.
        assert difference(mine.bias.grad.numpy(), gradients[1]) <= 1e-8


@pytest.mark.parametrize(
    ("config", "judges", "l2"),
    [
        (optimizer_configs.RMSprop(learning_rate=RATE), lambda: keras.optimizers.RMSprop(RATE), 0.0),
        (optimizer_configs.Adam(learning_rate=RATE), lambda: keras.optimizers.Adam(RATE), 1e-3),
    ],
    ids=["rmsprop", "adam-l2"],
)
def test_weights_agree_after_twenty_steps(
    batches: list, config: optimizer_configs.RMSprop, judges, l2: float
) -> None:
    network, model = ours(), judge.build(dtype="float64", l2=l2)
    judge.copy_weights(network, model)
    state = TrainingState(
        network=network, optimizer=optimizers.build_optimizer(config, network, l2=l2), class_weights=None
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    model.compile(optimizer=judges(), loss=loss)
    made = [Batch(images=torch.from_numpy(x), labels=torch.from_numpy(y), seed=0) for x, y in batches]
    losses = [step.loss for step in run_epoch(state, made)]
    for images, labels in batches:
        model.train_on_batch(images.astype("float64"), labels)
    assert losses[-1] != losses[0]
    steps = len(batches)
    for mine, theirs in zip(judge.our_layers(network), judge.weighted_layers(model), strict=True):
        found, expected = judge.as_keras(mine), [np.array(each) for each in theirs.get_weights()]
        for a, b in zip(found[:2], expected[:2], strict=True):
            assert difference(a, b) <= 1e-6
        if len(found) == 4:  # batch normalisation's moving averages
            assert difference(found[2], expected[2]) <= 1e-6
            n = 16 * 32 * 32 / {32: 1, 64: 4, 128: 16}[len(found[3])]  # values that a variance is taken over
            start = 0.99**steps  # what is left of the initial 1
            assert difference(found[3] - start, (expected[3] - start) * n / (n - 1)) <= 1e-6
            assert difference(found[3], expected[3]) > 1e-8, (
                "Bessel's factor must show, or this tests nothing"
            )


def test_probabilities_agree_in_single_precision(batches: list) -> None:
    network, model = ours(torch.float32), judge.build(dtype="float32")
    judge.copy_weights(network, model)
    images = batches[0][0]
    found = torch.softmax(network.eval()(torch.from_numpy(images)), 1).detach().numpy()
    expected = torch.softmax(model(images.astype("float32"), training=False), 1).detach().numpy()
    assert np.abs(found - expected).max() <= 1e-5


def test_class_weights_weigh_as_keras_does() -> None:
    random = np.random.default_rng(3)
    logits, labels = random.normal(size=(12, 3)), random.integers(0, 3, 12)
    weights = compute_balanced_class_weights([10, 30, 60])
    assert weights.tolist() == pytest.approx([100 / 30, 100 / 90, 100 / 180])
    model = keras.Sequential([keras.Input((3,), dtype="float64"), keras.layers.Identity(dtype="float64")])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64"))
    expected = model.train_on_batch(logits, labels, class_weight=dict(enumerate(weights.tolist())))
    found = compute_training_loss(torch.from_numpy(logits), torch.from_numpy(labels), weights.double())
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_dropout_keeps_half_and_doubles_it() -> None:
    layer = dict(ours(torch.float32, dropout=0.5).named_modules())["dropout"].train()
    torch.manual_seed(0)
    out = layer(torch.ones(1000, 1000))
    assert set(out.unique().tolist()) == {0.0, 2.0}
    share = float((out == 0).float().mean())
    assert abs(share - 0.5) < 5 * 0.5 / 1000  # five standard deviations of a million coins


def test_initial_weights_are_distributed_as_keras_draws_them() -> None:
    network, model = ours(), judge.build(dtype="float64")
    for mine, theirs in zip(judge.our_layers(network), judge.weighted_layers(model), strict=True):
        found, expected = judge.as_keras(mine), [np.array(each) for each in theirs.get_weights()]
        for a, b in zip(found[1:], expected[1:], strict=True):
            assert np.array_equal(a, b)  # zero biases, moving mean 0 and variance 1
        if not isinstance(mine, nn.BatchNorm2d):
            shape = found[0].shape
            area = int(np.prod(shape[:-2]))
            limit = np.sqrt(6 / (area * (shape[-2] + shape[-1])))  # Glorot uniform
            for kernel in (found[0], expected[0]):
                assert limit * 0.98 < np.abs(kernel).max() <= limit
                deviation = limit / np.sqrt(3)
                assert abs(kernel.mean()) < 5 * deviation / np.sqrt(kernel.size)
                assert abs(kernel.std() / deviation - 1) < 5 / np.sqrt(kernel.size)
