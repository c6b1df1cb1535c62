"""Steps: what they measure, and what stops them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from foveal.data.batches import Batch
from foveal.errors import DivergenceError
from foveal.training.epoch import TrainingState, balanced_class_weights, run_epoch, training_loss


class Linear(nn.Module):
    """Logits from the mean pixel; enough to count by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 2)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.float().mean((1, 2, 3))[:, None])


def training(rate: float) -> TrainingState:
    network = Linear()
    return TrainingState(
        network=network, optimizer=torch.optim.SGD(network.parameters(), lr=rate), class_weights=None
    )


def batch(labels: list[int]) -> Batch:
    images = torch.full((len(labels), 2, 2, 1), 100, dtype=torch.uint8)
    return Batch(images=images, labels=torch.tensor(labels), seed=0)


def test_a_step_measures_the_weights_from_before_it() -> None:
    steps = list(run_epoch(training(0.1), [batch([0, 0, 1]), batch([1])]))
    assert steps[0].loss == pytest.approx(math.log(2))
    assert (steps[0].images, steps[0].correct) == (3, 2)  # equal logits: the first class is predicted
    assert steps[1].loss > math.log(2)  # it had learned class 0


def test_a_loss_that_is_no_number_stops_before_the_weights_change() -> None:
    state = training(1e38)
    with pytest.raises(DivergenceError, match="loss became"):
        list(run_epoch(state, [batch([0, 1, 1])] * 5))
    assert not state.network.layer.weight.isnan().any()


def test_the_random_numbers_of_a_step_come_from_its_batch_alone() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 2)).double()

    class Floats(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return network(images.double())

    def losses(noise: int) -> list[float]:
        torch.manual_seed(noise)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
        state = TrainingState(network=Floats(), optimizer=optimizer, class_weights=None)
        images = torch.arange(24, dtype=torch.uint8).reshape(2, 2, 2, 3)
        made = [Batch(images=images, labels=torch.tensor([0, 1]), seed=seed) for seed in (1, 2)]
        return [step.loss for step in run_epoch(state, made)]

    first = losses(3)
    assert first == losses(4)
    assert first[0] != first[1]


def test_balanced_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = [0] * 7 + [1] * 2 + [2] * 11
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_class_weights([7, 2, 11]).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_equal_weights_change_nothing() -> None:
    logits, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    assert training_loss(logits, labels, torch.ones(3)) == pytest.approx(
        float(training_loss(logits, labels, None)), rel=1e-6
    )
