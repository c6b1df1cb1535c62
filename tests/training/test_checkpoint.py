"""Checkpoints: everything comes back, damage is seen."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from foveal.data.batches import Batch
from foveal.errors import RunError
from foveal.models import registry
from foveal.recipe import optimizers as optimizer_configs
from foveal.recipe.networks import ModelS, Sprint
from foveal.training import checkpoint, optimizers
from foveal.training.epoch import TrainingState, run_epoch

Config = optimizer_configs.RMSprop | optimizer_configs.Adam | optimizer_configs.SGD | optimizer_configs.Muon
CONFIGS: list[Config] = [
    optimizer_configs.RMSprop(),
    optimizer_configs.Adam(),
    optimizer_configs.SGD(),
    optimizer_configs.Muon(bias_learning_rate=0.1, head_learning_rate=0.1),
]
NETWORKS: list[ModelS | Sprint] = [
    ModelS(widths=(4, 4), dense=8),
    ModelS(widths=(16, 16), dense=8),  # wide enough for the kernels
    Sprint(widths=(16, 16), whitening=8),
]


def state(config: Config, seed: int, model: ModelS | Sprint = NETWORKS[0]) -> TrainingState:
    network = registry.build_network(model, size=8, channels=1, classes=3, seed=seed)
    return TrainingState(
        network=network, optimizer=optimizers.build_optimizer(config, network, l2=1e-3), class_weights=None
    )


def batches(n: int, seed: int) -> list[Batch]:
    random = torch.Generator().manual_seed(seed)
    return [
        Batch(
            images=torch.randint(0, 256, (5, 8, 8, 1), dtype=torch.uint8, generator=random),
            labels=torch.randint(0, 3, (5,), generator=random),
            seed=index,
        )
        for index in range(n)
    ]


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [each.clone() for each in network.state_dict().values()]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("model", NETWORKS, ids=["narrow", "wide", "sprint"])
def test_going_on_from_a_checkpoint_gives_the_same_bits(
    tmp_path: Path, config: Config, model: ModelS | Sprint
) -> None:
    first, later = state(config, 1, model), batches(4, 9)
    registry.prepare_network(first.network, batches(1, 3)[0].images)
    list(run_epoch(first, batches(3, 5)))
    first.learning_rate = 0.0123
    path = checkpoint.locate_checkpoint(tmp_path, 3)
    checkpoint.save_checkpoint(path, first.network, first.optimizer, {"epoch": 2, "loss": None})
    losses = [step.loss for step in run_epoch(first, later)]

    second = state(config, 2, model)
    found = checkpoint.read_checkpoint(path, second.network, second.optimizer)
    assert found.state == {"epoch": 2, "loss": None}
    found.restore(second.network, second.optimizer)
    assert second.learning_rate == 0.0123
    assert [step.loss for step in run_epoch(second, later)] == losses
    for mine, theirs in zip(weights(second.network), weights(first.network), strict=True):
        assert torch.equal(mine, theirs)


def test_loading_keeps_the_live_tensors_and_their_layout(tmp_path: Path) -> None:
    one = state(optimizer_configs.Adam(), 1)
    list(run_epoch(one, batches(1, 0)))
    path = tmp_path / "step-000001.safetensors"
    checkpoint.save_checkpoint(path, one.network, one.optimizer, {})
    other = state(optimizer_configs.Adam(), 2)
    before = [(each.data_ptr(), each.stride()) for each in other.network.parameters()]
    checkpoint.read_checkpoint(path, other.network, other.optimizer).restore(other.network, other.optimizer)
    assert [(each.data_ptr(), each.stride()) for each in other.network.parameters()] == before
    for parameter in other.network.parameters():
        assert other.optimizer.state[parameter]["mean"].stride() == parameter.stride()


def test_reading_changes_nothing_and_the_weights_can_be_taken_alone(tmp_path: Path) -> None:
    one, other = state(optimizer_configs.Adam(), 1), state(optimizer_configs.Adam(), 2)
    list(run_epoch(one, batches(1, 0)))
    path = tmp_path / "step-000001.safetensors"
    checkpoint.save_checkpoint(path, one.network, one.optimizer, {})
    before = weights(other.network)
    found = checkpoint.read_checkpoint(path, other.network, other.optimizer)
    assert all(map(torch.equal, weights(other.network), before))
    found.restore(other.network)
    assert all(map(torch.equal, weights(other.network), weights(one.network)))
    assert not other.optimizer.state


def test_what_does_not_fit_is_refused_and_is_no_damage(tmp_path: Path) -> None:
    one = state(optimizer_configs.RMSprop(), 1)
    path = tmp_path / "step-000001.safetensors"
    checkpoint.save_checkpoint(path, one.network, one.optimizer, {"recipe": {"name": "mine"}})
    wider = state(optimizer_configs.RMSprop(), 1, ModelS(widths=(5, 4), dense=8))
    larger = state(optimizer_configs.RMSprop(), 1, ModelS(widths=(400, 400), dense=8))
    muon = state(CONFIGS[-1], 1)
    for saved, loaded, reason in (
        (one, wider, "network/"),
        (one, muon, "optimizer is another"),
        (larger, one, "far too large"),
    ):
        checkpoint.save_checkpoint(path, saved.network, saved.optimizer, {"recipe": {"name": "mine"}})
        with pytest.raises(RunError, match=reason) as caught:
            checkpoint.read_checkpoint(path, loaded.network, loaded.optimizer)
        assert not isinstance(caught.value, checkpoint.DamagedError)
        assert checkpoint.read_recorded_recipe(path) == {"name": "mine"}  # whatever the network
    path.write_bytes(b"nothing")
    assert checkpoint.read_recorded_recipe(path) is None


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40, 1_000_000):
        checkpoint.locate_checkpoint(tmp_path, step).touch()
    checkpoint.prune_checkpoints(tmp_path, keep={20})
    assert checkpoint.list_checkpoint_steps(tmp_path) == [20, 40, 1_000_000]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4), st.integers(0, 2**32), st.sampled_from(CONFIGS))
def test_whatever_is_saved_comes_back(values: dict[str, object], seed: int, config: Config) -> None:
    """Any JSON as the state, text that looks like the file's own digest among it; any weights."""
    values = {**values, "text": '"foveal":"{"digest": "' + "0" * 64 + '"'}
    one, other = state(config, seed % 1000), state(config, 1 + seed % 1000)
    list(run_epoch(one, batches(1, seed % 7)))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "a.safetensors")
        checkpoint.save_checkpoint(path, one.network, one.optimizer, values)
        found = checkpoint.read_checkpoint(path, other.network, other.optimizer)
    assert found.state == values
    found.restore(other.network, other.optimizer)
    assert all(map(torch.equal, weights(one.network), weights(other.network)))
    assert [step.loss for step in run_epoch(one, batches(2, 1))] == [
        step.loss for step in run_epoch(other, batches(2, 1))
    ]
