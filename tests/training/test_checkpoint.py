"""Checkpoints: everything comes back, damage is seen."""

from pathlib import Path

import pytest
import torch
from torch import nn

from foveal import recipe as recipes
from foveal.data.batches import Batch
from foveal.errors import RunError
from foveal.models import registry
from foveal.training import checkpoint, optimizers
from foveal.training.epoch import TrainingState, run_epoch

Config = recipes.RMSprop | recipes.Adam | recipes.SGD | recipes.Muon
CONFIGS: list[Config] = [
    recipes.RMSprop(),
    recipes.Adam(),
    recipes.SGD(),
    recipes.Muon(bias_learning_rate=0.1, head_learning_rate=0.1),
]
NETWORKS: list[recipes.ModelS | recipes.Sprint] = [
    recipes.ModelS(widths=(4, 4), dense=8),
    recipes.ModelS(widths=(16, 16), dense=8),  # wide enough for the kernels
    recipes.Sprint(widths=(16, 16), whitening=8),
]


def state(config: Config, seed: int, model: recipes.ModelS | recipes.Sprint = NETWORKS[0]) -> TrainingState:
    network = registry.build(model, size=8, channels=1, classes=3, seed=seed)
    return TrainingState(
        network=network, optimizer=optimizers.build(config, network, l2=1e-3), class_weights=None
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
    tmp_path: Path, config: Config, model: recipes.ModelS | recipes.Sprint
) -> None:
    first, later = state(config, 1, model), batches(4, 9)
    registry.prepare(first.network, batches(1, 3)[0].images)
    list(run_epoch(first, batches(3, 5)))
    first.learning_rate = 0.0123
    path = checkpoint.checkpoint_path(tmp_path, 3)
    checkpoint.save_checkpoint(path, first.network, first.optimizer, {"epoch": 2, "loss": None})
    losses = [step.loss for step in run_epoch(first, later)]

    second = state(config, 2, model)
    assert checkpoint.load_checkpoint(path, second.network, second.optimizer) == {"epoch": 2, "loss": None}
    assert second.learning_rate == 0.0123
    assert [step.loss for step in run_epoch(second, later)] == losses
    for mine, theirs in zip(weights(second.network), weights(first.network), strict=True):
        assert torch.equal(mine, theirs)


def test_loading_keeps_the_live_tensors_and_their_layout(tmp_path: Path) -> None:
    one = state(recipes.Adam(), 1)
    list(run_epoch(one, batches(1, 0)))
    path = tmp_path / "step-000001.safetensors"
    checkpoint.save_checkpoint(path, one.network, one.optimizer, {})
    other = state(recipes.Adam(), 2)
    before = [(each.data_ptr(), each.stride()) for each in other.network.parameters()]
    checkpoint.load_checkpoint(path, other.network, other.optimizer)
    assert [(each.data_ptr(), each.stride()) for each in other.network.parameters()] == before
    for parameter in other.network.parameters():
        assert other.optimizer.state[parameter]["mean"].stride() == parameter.stride()


def test_a_flipped_bit_and_a_truncation_are_seen(tmp_path: Path) -> None:
    one = state(recipes.RMSprop(), 1)
    list(run_epoch(one, batches(1, 0)))
    path = tmp_path / "step-000001.safetensors"
    checkpoint.save_checkpoint(path, one.network, one.optimizer, {"epoch": 1})
    whole = path.read_bytes()
    random = torch.Generator().manual_seed(4)
    for position in torch.randint(0, len(whole), (60,), generator=random).tolist():
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(RunError, match=r"damaged|cannot be read|another network"):
            checkpoint.load_checkpoint(path, one.network, one.optimizer)
    for length in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"damaged|cannot be read"):
            checkpoint.load_checkpoint(path, one.network, one.optimizer)


def test_another_network_is_refused(tmp_path: Path) -> None:
    one = state(recipes.RMSprop(), 1)
    path = tmp_path / "step-000001.safetensors"
    checkpoint.save_checkpoint(path, one.network, one.optimizer, {})
    other = registry.build(recipes.ModelS(widths=(5, 4), dense=8), size=8, channels=1, classes=3, seed=0)
    with pytest.raises(RunError, match="another network"):
        checkpoint.load_checkpoint(path, other)


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40, 1_000_000):
        checkpoint.checkpoint_path(tmp_path, step).touch()
    checkpoint.prune(tmp_path, keep={20})
    assert checkpoint.checkpoint_steps(tmp_path) == [20, 40, 1_000_000]
