"""Networks: the notebook's summary, layers, seeds."""

import pytest
import torch
from torch import nn

from foveal.errors import ModelError
from foveal.models import registry
from foveal.models.layers import FlattenLast, Rescale
from foveal.recipe.networks import Custom, ModelS

SUMMARY = [
    ("rescaling", (32, 32, 3), 0),
    ("conv2d", (32, 32, 32), 896),
    ("batch_normalization", (32, 32, 32), 128),
    ("conv2d_1", (32, 32, 32), 9248),
    ("batch_normalization_1", (32, 32, 32), 128),
    ("max_pooling2d", (16, 16, 32), 0),
    ("conv2d_2", (16, 16, 64), 18496),
    ("batch_normalization_2", (16, 16, 64), 256),
    ("conv2d_3", (16, 16, 64), 36928),
    ("batch_normalization_3", (16, 16, 64), 256),
    ("max_pooling2d_1", (8, 8, 64), 0),
    ("conv2d_4", (8, 8, 128), 73856),
    ("batch_normalization_4", (8, 8, 128), 512),
    ("conv2d_5", (8, 8, 128), 147584),
    ("batch_normalization_5", (8, 8, 128), 512),
    ("max_pooling2d_2", (4, 4, 128), 0),
    ("flatten", (2048,), 0),
    ("dropout", (2048,), 0),
    ("dense", (256,), 524544),
    ("dropout_1", (256,), 0),
    ("logits", (10,), 2570),
]
"""The notebook's own summary. Its activations are inside its layers, ours are lines of their own."""


@pytest.fixture
def network() -> nn.Module:
    return registry.build_network(ModelS(), size=32, channels=3, classes=10, seed=0)


def test_the_layer_table_is_the_notebooks_summary(network: nn.Module) -> None:
    rows = registry.list_layers(network, size=32, channels=3)
    found = [(row.name, row.output, row.trainable + row.other) for row in rows if row.kind != "ReLU"]
    assert found == SUMMARY
    assert (sum(row.trainable for row in rows), sum(row.other for row in rows)) == (815_018, 896)


def test_describing_a_network_changes_nothing(network: nn.Module) -> None:
    before = {name: each.clone() for name, each in network.state_dict().items()}
    network.train()
    registry.list_layers(network, size=32, channels=3)
    assert network.training
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())
    assert not network[0]._forward_hooks


def test_the_seed_draws_the_weights_and_nothing_else_does(network: nn.Module) -> None:
    torch.manual_seed(123)
    again = registry.build_network(ModelS(), size=32, channels=3, classes=10, seed=0)
    other = registry.build_network(ModelS(), size=32, channels=3, classes=10, seed=1)
    weight = network.state_dict()["conv2d_3.weight"]
    assert torch.equal(again.state_dict()["conv2d_3.weight"], weight)
    assert not torch.equal(other.state_dict()["conv2d_3.weight"], weight)


@pytest.mark.parametrize(("size", "channels", "classes"), [(8, 1, 2), (20, 3, 7), (96, 3, 100)])
def test_any_size_gives_a_logit_a_class(size: int, channels: int, classes: int) -> None:
    network = registry.build_network(
        ModelS(widths=(4, 4, 4)), size=size, channels=channels, classes=classes, seed=0
    )
    images = torch.zeros((2, size, size, channels), dtype=torch.uint8)
    assert network(images).shape == (2, classes)


def test_rescaling_and_flattening_keep_the_order_of_channels() -> None:
    images = torch.arange(2 * 2 * 2 * 3, dtype=torch.uint8).reshape(2, 2, 2, 3)
    scaled = Rescale().double()(images)
    assert scaled.shape == (2, 3, 2, 2)
    assert torch.equal(FlattenLast()(scaled), images.reshape(2, 12).double() / 255)


def test_a_network_by_name_alone_is_refused() -> None:
    with pytest.raises(ModelError, match=r"your own class os\.system"):
        registry.build_network(Custom(architecture="os.system"), size=8, channels=3, classes=2, seed=0)
