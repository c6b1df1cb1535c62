"""Sprint: its whitening, its beginning, with the kernels and without them."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.data.decode import Decoding
from foveal.deployment.bundle import Bundle, load_bundle
from foveal.engine.compiled import without_kernels
from foveal.evaluation.predict import compute_logits
from foveal.models import registry
from foveal.models.sprint import WHITENING_EPSILON, SprintNetwork, compute_whitening
from foveal.recipe.builtin import sprint
from foveal.recipe.networks import Sprint
from foveal.recipe.recipe import Recipe
from foveal.training import optimizers
from foveal.training.epoch import compute_training_loss


def pictures(n: int, size: int, channels: int, seed: int = 0) -> Tensor:
    """Smooth images, as photographs are: neighbours are alike, and so are the channels."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, size // 2, size // 2, generator=random)
    coarse = 0.7 * coarse.mean(1, keepdim=True) + 0.3 * coarse
    fine = F.interpolate(coarse, size, mode="bilinear") + 0.05 * torch.rand(
        n, channels, size, size, generator=random
    )
    return (fine * 240).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def network_of(
    config: Sprint | None = None, *, channels: int = 3, size: int = 16, prepared: bool = True
) -> SprintNetwork:
    made = registry.build_network(config or Sprint(), size=size, channels=channels, classes=4, seed=0)
    assert isinstance(made, SprintNetwork)
    if prepared:
        registry.prepare_network(made, pictures(50, size, channels))
    return made


def components(weight: Tensor, bias: Tensor, images: Tensor) -> Tensor:
    """What filters make of all patches of images (N, C, H, W): (filters, patches)."""
    return F.conv2d(images.double(), weight, bias).transpose(0, 1).flatten(1)


def floats(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float() / 255


# ---- whitening


@pytest.mark.parametrize("channels", [1, 3])
def test_components_are_uncorrelated_and_of_variance_one(channels: int) -> None:
    images = floats(pictures(200, 16, channels))
    n = 4 * channels
    weight, bias = compute_whitening(images, 2 * n)
    made = components(weight, bias, images)
    second = made @ made.T / made.shape[1]
    # Variances are λ / (λ + EPSILON), which is one but for the faintest components.
    kept = second[:n, :n]
    assert (kept - kept.diag().diag()).abs().max() < 1e-3
    assert (kept.diag() <= 1).all()
    assert (kept.diag() > 0.8).all()
    assert (kept.diag()[0] - 1).abs() < 1e-3
    assert kept.diag().diff().max() < 1e-6  # the leading ones come first
    assert torch.allclose(second[:n, n:], -kept)  # the second half is the first with the other sign
    assert made.mean(1).abs().max() < 0.2


def test_few_filters_are_the_leading_components() -> None:
    images = floats(pictures(100, 16, 3))
    all_of_them, _ = compute_whitening(images, 24)
    few, _ = compute_whitening(images, 10)
    assert torch.equal(few[:5], all_of_them[:5])
    assert torch.equal(few[5:], -all_of_them[:5])


def test_where_there_are_more_filters_than_components_they_come_again() -> None:
    """A grey patch of four pixels has four components, so eight filters. None is zero: see below."""
    weight, bias = compute_whitening(floats(pictures(50, 8, 1)), 20)
    assert (weight.flatten(1).norm(dim=1) > 0.1).all()
    for part in (weight, bias):
        assert torch.equal(part[8:16], part[:8])
        assert torch.equal(part[16:], part[:4])


@pytest.mark.parametrize("kernels", [True, False])
def test_grey_images_train_with_gradients_of_the_usual_size(kernels: bool) -> None:
    """A filter of zeros would give maps without variance, and 1/√epsilon, a million, times the gradient."""
    network = network_of(channels=1, size=16)
    images, labels = pictures(16, 16, 1, seed=2), torch.arange(16) % 4
    if kernels:
        compute_training_loss(network(images), labels, None).backward()
    else:
        with without_kernels():
            compute_training_loss(network(images), labels, None).backward()
    sizes = [unit.convolution.weight.grad.flatten(1).norm(dim=1) for unit in network.units]
    assert all(each.max() < 1000 * each.median() for each in sizes)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 255), st.sampled_from([1, 3]), st.integers(1, 3), st.integers(2, 12).map(lambda n: 2 * n)
)
def test_images_of_one_colour_give_numbers(value: int, channels: int, n: int, filters: int) -> None:
    """No variance at all; what is added to it keeps its root off zero."""
    images = torch.full((n, channels, 8, 8), value / 255)
    weight, bias = compute_whitening(images, filters)
    assert weight.isfinite().all()
    assert bias.isfinite().all()
    assert weight.abs().max() <= 255 / WHITENING_EPSILON**0.5 + 1
    assert components(weight, bias, images).abs().max() < 1e-2  # an even colour is the mean itself


def test_many_images_are_taken_in_parts() -> None:
    """Patches are made a hundred images at a time; the last hundred count, too."""
    images = floats(pictures(230, 8, 3))
    images[200:] = images[200:] ** 3
    weight, bias = compute_whitening(images, 24)
    made = components(weight, bias, images)
    second = made @ made.T / made.shape[1]
    off = second[:12, :12] - second[:12, :12].diag().diag()
    assert off.abs().max() < 1e-3


def test_preparing_changes_the_whitening_alone() -> None:
    network = network_of(prepared=False)
    before = {name: each.clone() for name, each in network.state_dict().items()}
    assert not before["whitening.weight"].any()
    registry.prepare_network(network, pictures(20, 16, 3))
    after = network.state_dict()
    changed = {name for name, each in after.items() if not torch.equal(each, before[name])}
    assert changed == {"whitening.weight", "whitening.bias"}


def test_other_networks_need_no_preparation() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    before = network[1].weight.clone()
    registry.prepare_network(network, pictures(2, 2, 3))
    assert torch.equal(network[1].weight, before)


# ---- the network


def test_the_names_of_its_parts() -> None:
    """They are in model files, so they stay."""
    units = [
        f"units.{index}.{name}"
        for index in range(6)
        for name in (
            "convolution.weight",
            *(f"norm.{each}" for each in ("weight", "bias", "running_mean", "running_var")),
            "norm.num_batches_tracked",
        )
    ]
    assert list(network_of().state_dict()) == ["whitening.weight", "whitening.bias", *units, "head.weight"]


def test_the_layer_table_shows_every_layer() -> None:
    """As if the kernels, which do several layers at once, were not there."""
    network = network_of(Sprint(widths=(32, 48, 64)))
    rows = registry.list_layers(network, size=16, channels=3)
    names = ["rescaling", "whitening"]
    for index in range(6):
        names += [f"units.{index}.{part}" for part in ("convolution", "pooling", "norm", "activation")]
        if index % 2:
            names.remove(f"units.{index}.pooling")
    assert [row.name for row in rows] == [*names, "head"]
    shapes = {row.name: row.output for row in rows}
    assert shapes["whitening"] == (16, 16, 16)
    assert shapes["units.0.pooling"] == (8, 8, 32)
    assert shapes["units.5.activation"] == (2, 2, 64)
    assert shapes["head"] == (4,)
    trainable, other = registry.count_parameters(network)
    assert sum(row.trainable for row in rows) == trainable
    assert sum(row.other for row in rows) == other


def test_filters_begin_as_the_identity() -> None:
    for unit in network_of().units:
        weight = unit.convolution.weight
        channels = unit.convolution.in_channels
        first = torch.zeros_like(weight[:channels])
        first[range(len(first)), range(len(first)), 1, 1] = 1
        assert torch.equal(weight[:channels], first)
        if len(weight) > channels:
            assert (weight[channels:].std((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize(
    ("widths", "whitening", "size", "channels"),
    [
        ((32, 48), 16, 16, 3),
        ((32, 48), 16, 11, 1),
        ((8, 16), 16, 8, 3),  # the first unit does not fit the kernels, the second only in part
        ((16, 16), 6, 8, 3),
        ((16, 16, 16), 16, 8, 3),  # the last maps are one pixel
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_with_kernels_and_without_it_says_the_same(
    widths: tuple[int, ...],
    whitening: int,
    size: int,
    channels: int,
    training: bool,
    activation: Literal["relu", "silu"],
) -> None:
    config = Sprint(widths=widths, whitening=whitening, activation=activation)
    images = pictures(9, size, channels, seed=3)
    found = []
    for kernels in (True, False):
        network = network_of(config, channels=channels, size=size).train(training)
        if kernels:
            made = network(images)
        else:
            with without_kernels():
                made = network(images)
        assert made.shape == (9, 4)
        found.append([made.detach(), *network.buffers()])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)
    assert found[0][0].std() > 0


@pytest.mark.parametrize("kernels", [True, False])
def test_images_of_one_colour_train_without_nan(kernels: bool) -> None:
    network = network_of(Sprint(widths=(16, 16)), prepared=False)
    images = torch.full((6, 8, 8, 3), 77, dtype=torch.uint8)
    registry.prepare_network(network, images)
    optimizer = optimizers.build_optimizer(sprint().optimizer, network, l2=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        if kernels:
            loss = compute_training_loss(network(images), torch.arange(6) % 4, None)
            loss.backward()
        else:
            with without_kernels():
                loss = compute_training_loss(network(images), torch.arange(6) % 4, None)
                loss.backward()
        optimizer.step()
        assert loss.isfinite()
    assert all(each.isfinite().all() for each in network.state_dict().values())


def test_a_few_steps_lower_the_loss() -> None:
    """Four kinds of stripes, by the recipe's own optimizer."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    ramp = torch.arange(16.0)
    waves = [torch.sin(ramp * frequency).expand(16, 16) for frequency in (0.5, 2.0)]
    kinds = torch.stack([*waves, *(wave.T for wave in waves)])
    noise = 0.5 * torch.randn(64, 16, 16, 3, generator=random)
    images = ((kinds[labels][..., None] + noise) * 40 + 128).clamp(0, 255).to(torch.uint8)
    network = network_of(prepared=False)
    registry.prepare_network(network, images)
    optimizer = optimizers.build_optimizer(sprint().optimizer, network, l2=0.0)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = compute_training_loss(network(images), labels, None)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_bundle_keeps_what_it_predicts(tmp_path: object) -> None:
    recipe = sprint()
    assert isinstance(recipe, Recipe)
    network = network_of(size=32)
    network(pictures(8, 32, 3))  # moving averages that are not those of the beginning
    pixels = pictures(5, 32, 3, seed=4).numpy()
    decoding = Decoding(size=32, channels=3, fit="stretch", background="black")
    bundle = Bundle(
        network=network.eval(),
        classes=("a", "b", "c", "d"),
        decoding=decoding,
        recipe=recipe,
        temperature=None,
    )
    bundle.save(tmp_path / "model", about="")
    again = load_bundle(tmp_path / "model")
    assert again.recipe == recipe
    assert (compute_logits(again.network, pixels) == compute_logits(network, pixels)).all()
