"""Steps: what they measure, and what stops them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from foveal.data.batches import Batch
from foveal.errors import DivergenceError
from foveal.models import registry
from foveal.recipe.networks import ModelS, Sprint
from foveal.training.epoch import (
    TrainingState,
    compute_balanced_class_weights,
    compute_training_loss,
    run_epoch,
)


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
    steps = run_epoch(state, [batch([0, 1, 1])] * 5, steps_done=40)
    first = next(steps)
    assert math.isfinite(first.loss)
    with pytest.raises(DivergenceError, match=r"loss became (nan|inf) at step 42;") as caught:
        next(steps)
    assert "--set learning_rate=1e+37" in str(caught.value)
    assert not state.network.layer.weight.isnan().any()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["conv2d_1.weight", "conv2d_1.bias", "batch_normalization_1.weight"])
def test_one_number_that_is_none_amid_the_network_stops_it(name: str, value: float) -> None:
    """ReLU, pooling and normalisation lie between it and the loss."""
    network = registry.build_network(ModelS(widths=(16, 16), dense=4), size=8, channels=1, classes=2, seed=0)
    with torch.no_grad():
        parameter = dict(network.named_parameters())[name]
        parameter[(3, *[0] * (parameter.ndim - 1))] = value
    check_that_it_stops(network)


def test_one_number_that_is_none_amid_sprint_stops_it() -> None:
    config = Sprint(widths=(16, 16), whitening=16)
    network = registry.build_network(config, size=8, channels=1, classes=2, seed=0)
    registry.prepare_network(network, pixels())
    with torch.no_grad():
        dict(network.named_parameters())["units.0.convolution.weight"][2, 1, 0, 0] = math.nan
    check_that_it_stops(network)


def pixels() -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 8, 8, 1), dtype=torch.uint8, generator=random)


def check_that_it_stops(network: nn.Module) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    state = TrainingState(network=network, optimizer=optimizer, class_weights=None)
    made = Batch(images=pixels(), labels=torch.tensor([0, 1, 0, 1, 0, 1]), seed=0)
    with pytest.raises(DivergenceError, match="at step 1;"):
        list(run_epoch(state, [made]))


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
    assert compute_balanced_class_weights([7, 2, 11]).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_equal_weights_change_nothing() -> None:
    logits, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    assert compute_training_loss(logits, labels, torch.ones(3)) == pytest.approx(
        float(compute_training_loss(logits, labels, None)), rel=1e-6
    )


@pytest.mark.parametrize("class_weights", [None, torch.tensor([0.5, 1.0, 2.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 0.9])
def test_label_smoothing_is_its_formula(class_weights: torch.Tensor | None, smoothing: float) -> None:
    """The target is smoothing / K for each class, and 1 − smoothing more for the label's own."""
    logits, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    target = torch.full((8, 3), smoothing / 3)
    target[range(8), labels] += 1 - smoothing
    each = -(target * logits.log_softmax(1)).sum(1)
    expected = (each * (1 if class_weights is None else class_weights[labels])).mean()
    found = compute_training_loss(logits, labels, class_weights, label_smoothing=smoothing)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_a_step_is_taken_with_its_label_smoothing() -> None:
    plain, smooth = training(0.1), training(0.1)
    smooth.label_smoothing = 0.5
    one, other = (list(run_epoch(each, [batch([0, 0, 0])] * 2))[1].loss for each in (plain, smooth))
    assert other > one


def groups(*rates: float) -> TrainingState:
    parameters = [nn.Parameter(torch.zeros(1)) for _ in rates]
    optimizer = torch.optim.SGD([{"params": [p], "lr": r} for p, r in zip(parameters, rates, strict=True)])
    return TrainingState(network=nn.Linear(1, 1), optimizer=optimizer, class_weights=None)


def rates_of(state: TrainingState) -> list[float]:
    return [group["lr"] for group in state.optimizer.param_groups]


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=4), st.lists(st.floats(1e-9, 1e6), min_size=1))
def test_a_rate_is_the_first_parts_to_the_bit_and_ratios_stay(
    rates: list[float], wanted: list[float]
) -> None:
    """However often it changes: the ratios are those of the beginning."""
    state = groups(*rates)
    for rate in wanted:
        state.learning_rate = rate
        assert state.learning_rate == rate
        assert rates_of(state)[1:] == pytest.approx([rate * each / rates[0] for each in rates[1:]], rel=1e-12)


@given(st.floats(1e-6, 1e3), st.floats(1e-9, 1e6))
def test_parts_of_one_rate_keep_one_rate(first: float, rate: float) -> None:
    state = groups(first, first)
    state.learning_rate = rate
    assert rates_of(state) == [rate, rate]


def test_a_rate_of_zero_is_not_for_ever() -> None:
    state = groups(0.5, 2.0)
    state.learning_rate = 0.0
    state.learning_rate = 0.25
    assert rates_of(state) == [0.25, 1.0]
