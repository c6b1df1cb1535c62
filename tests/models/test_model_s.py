"""Model S: names that stay, and the same with the kernels as without them."""

import pytest
import torch
from torch import Tensor, nn

from foveal.engine.compiled import without_kernels
from foveal.models import registry
from foveal.models.layers import FusedLayers
from foveal.recipe.networks import ModelS


def network_of(config: ModelS, *, size: int = 16, channels: int = 3) -> nn.Module:
    network = registry.build_network(config, size=size, channels=channels, classes=4, seed=0)
    random = torch.Generator().manual_seed(1)
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            with torch.no_grad():  # scales of both signs: the maximum comes after them
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=random))
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=random))
    return network


def pictures(n: int, size: int, channels: int) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (n, size, size, channels), dtype=torch.uint8, generator=random)


def test_the_names_in_a_model_file_are_the_layer_tables() -> None:
    """conv2d, batch_normalization, …: as before the kernels, so that older files still load."""
    network = registry.build_network(ModelS(), size=32, channels=3, classes=10, seed=0)
    names = []
    for number in range(6):
        suffix = f"_{number}" if number else ""
        names += [f"conv2d{suffix}.weight", f"conv2d{suffix}.bias"]
        norms = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        names += [f"batch_normalization{suffix}.{each}" for each in norms]
    names += [f"{layer}.{each}" for layer in ("dense", "logits") for each in ("weight", "bias")]
    assert list(network.state_dict()) == names
    table = [row.name for row in registry.list_layers(network, size=32, channels=3)]
    assert {name.rpartition(".")[0] for name in names} <= set(table)
    assert len(table) == len(list(network)) == 28


CONFIGS = [
    ModelS(widths=(16, 32), dense=8, dropout=0.0),
    ModelS(widths=(8, 32), dense=8, dropout=0.0),  # the first block does not fit the kernels
    ModelS(widths=(16,), convolutions=1, dense=0, dropout=0.0),
    ModelS(widths=(16, 16), batch_norm=False, dense=8, dropout=0.0),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("size", [8, 11])
@pytest.mark.parametrize("training", [True, False])
def test_with_kernels_and_without_it_says_the_same(config: ModelS, size: int, training: bool) -> None:
    images, labels = pictures(7, size, 3), torch.arange(7) % 4
    results = []
    for kernels in (True, False):
        network = network_of(config, size=size).train(training)
        if kernels:
            found = network(images)
            nn.functional.cross_entropy(found, labels).backward()
        else:
            with without_kernels():
                found = network(images)
                nn.functional.cross_entropy(found, labels).backward()
        gradients = [each.grad for each in network.parameters()]
        results.append([found.detach(), *network.buffers(), *gradients])
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() <= 1e-3 * other.abs().max() + 1e-7


def test_units_run_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else everything above would compare torch with itself."""
    seen: list[tuple[bool, int]] = []
    run = FusedLayers.__call__

    def note(unit: FusedLayers, maps: Tensor) -> Tensor:
        seen.append((unit.pooled, len(unit.layers)))
        return run(unit, maps)

    monkeypatch.setattr(FusedLayers, "__call__", note)
    network_of(CONFIGS[0])(pictures(2, 16, 3))
    assert seen == [(False, 3), (True, 4)] * 2
    seen.clear()
    network_of(CONFIGS[3])(pictures(2, 16, 3))  # without batch normalisation there is nothing to join
    assert seen == []


def test_a_network_that_diverged_shows_it() -> None:
    """NaN in the middle of the kernels must reach the logits, though ReLU and pooling take maxima."""
    for value in (torch.nan, torch.inf):
        network = network_of(CONFIGS[0]).train()
        with torch.no_grad():
            network.conv2d_2.weight[5, 3, 1, 1] = value
        assert not network(pictures(3, 16, 3)).isfinite().any()
        assert not network.eval()(pictures(3, 16, 3)).isfinite().any()
