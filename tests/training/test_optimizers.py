"""Optimizers: Muon's orthogonal steps, Nesterov's momentum, and which parameter goes where."""

import copy

import pytest
import torch
from torch import Tensor, nn

from foveal.models import registry
from foveal.recipe import optimizers as optimizer_configs
from foveal.recipe.networks import Sprint
from foveal.training import optimizers
from foveal.training.optimizers import Muon, orthogonalise


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def matrix_of(kernel: Tensor) -> Tensor:
    return kernel.permute(0, 2, 3, 1).flatten(1)


def kernels_group(
    parameters: list[Tensor], *, lr: float = 0.1, momentum: float = 0.6, iterations: int = 3
) -> dict:
    return {"params": parameters, "lr": lr, "momentum": momentum, "iterations": iterations}


def vectors_group(
    parameters: list[Tensor], *, lr: float = 0.1, momentum: float = 0.85, decay: float = 0.0
) -> dict:
    return {"params": parameters, "lr": lr, "momentum": momentum, "iterations": 0, "weight_decay": decay}


# ---- orthogonal


@pytest.mark.parametrize(
    "shape", [(16, 16, 3, 3), (64, 32, 3, 3), (24, 2, 3, 3), (40, 2, 1, 1), (7, 5, 3, 3)]
)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_singular_values_come_near_one(shape: tuple[int, ...], scale: float) -> None:
    """Wide matrices and high ones, whatever the update's size."""
    update = numbers(*shape) * scale
    (found,) = orthogonalise([update], 5)
    assert found.shape == update.shape
    values = torch.linalg.svdvals(matrix_of(found).double())
    assert values.min() > 0.6
    assert values.max() < 1.25


@pytest.mark.parametrize("shape", [(16, 16, 3, 3), (40, 2, 1, 1)])
def test_singular_vectors_stay(shape: tuple[int, ...]) -> None:
    """U·S·Vᵀ becomes U·p(S)·Vᵀ: seen from the update's own vectors it is diagonal."""
    update = numbers(*shape).double()
    (found,) = orthogonalise([update], 3)
    u, _, v = torch.linalg.svd(matrix_of(update), full_matrices=False)
    inner = u.T @ matrix_of(found) @ v.T
    diagonal = inner.diag()
    assert (inner - diagonal.diag()).abs().max() < 1e-8
    assert (diagonal > 0).all()


def test_no_update_stays_none() -> None:
    (found,) = orthogonalise([torch.zeros(16, 2, 3, 3)], 3)
    assert not found.any()


def test_the_order_in_memory_changes_nothing() -> None:
    update = numbers(16, 8, 3, 3)
    (one,) = orthogonalise([update], 3)
    (other,) = orthogonalise([update.contiguous(memory_format=torch.channels_last)], 3)
    assert torch.allclose(one, other, atol=1e-6)


# ---- steps


def test_a_kernel_is_brought_to_its_norm_and_moved_by_the_update() -> None:
    kernel = (3 * numbers(16, 8, 3, 3)).requires_grad_()
    start, gradients = kernel.detach().clone(), [numbers(16, 8, 3, 3, seed=seed) for seed in (1, 2, 3)]
    optimizer = Muon([kernels_group([kernel], lr=0.2, momentum=0.6, iterations=3)])
    expected, momentum = start, torch.zeros_like(start)
    for gradient in gradients:
        kernel.grad = gradient.clone()
        optimizer.step()
        momentum = 0.6 * momentum + gradient
        expected = expected * (16**0.5 / expected.norm())
        (update,) = orthogonalise([gradient + 0.6 * momentum], 3)
        expected = expected - 0.2 * update
        assert torch.allclose(kernel, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(kernel.grad, gradient)  # it is the caller's


def test_a_kernels_norm_is_kept() -> None:
    kernel = (50 * numbers(32, 16, 3, 3)).requires_grad_()
    optimizer = Muon([kernels_group([kernel], lr=1e-9)])
    kernel.grad = numbers(32, 16, 3, 3, seed=1)
    optimizer.step()
    assert float(kernel.detach().norm()) == pytest.approx(32**0.5, rel=1e-5)


def test_a_kernel_of_zeros_stays_a_number() -> None:
    """As somebody's own network may begin: it has no norm to be brought to."""
    kernel = torch.zeros(16, 8, 3, 3, requires_grad=True)
    optimizer = Muon([kernels_group([kernel])])
    for seed in (1, 2):
        kernel.grad = numbers(16, 8, 3, 3, seed=seed)
        optimizer.step()
        assert kernel.isfinite().all()
    assert kernel.any()


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_vectors_are_trained_as_torch_does_with_nesterov(decay: float) -> None:
    one, other = ([numbers(5, 3), numbers(7)] for _ in range(2))
    for each in (*one, *other):
        each.requires_grad_()
    ours = Muon([vectors_group(one, lr=0.3, momentum=0.85, decay=decay)])
    theirs = torch.optim.SGD(other, lr=0.3, momentum=0.85, nesterov=True, weight_decay=decay)
    for step in range(5):
        for index, (mine, judged) in enumerate(zip(one, other, strict=True)):
            mine.grad = numbers(*mine.shape, seed=10 * step + index)
            judged.grad = mine.grad.clone()
        ours.step()
        theirs.step()
        for mine, judged in zip(one, other, strict=True):
            assert torch.allclose(mine, judged, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nesterov", [True, False])
def test_gradient_descent_is_torchs(nesterov: bool) -> None:
    """Ours exists because importing torch's takes long, not because it is another."""
    one, other = (numbers(5, 3).requires_grad_() for _ in range(2))
    if nesterov:
        ours: optimizers.Optimizer = Muon([vectors_group([one], momentum=0.9)])
    else:
        ours = optimizers.SGD([{"params": [one], "weight_decay": 0.02}], lr=0.1, momentum=0.9)
    decay = 0.0 if nesterov else 0.02
    theirs = torch.optim.SGD([other], lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=decay)
    for step in range(6):
        one.grad, other.grad = (numbers(5, 3, seed=step) for _ in range(2))
        ours.step()
        theirs.step()
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


# ---- which parameter goes where


def test_muon_has_rates_of_their_own_for_filters_heads_and_biases() -> None:
    network = registry.build_network(Sprint(widths=(16, 16)), size=8, channels=3, classes=4, seed=0)
    config = optimizer_configs.Muon(learning_rate=0.1, bias_learning_rate=2.0, head_learning_rate=3.0)
    groups = optimizers.build_optimizer(config, network, l2=0.0).param_groups
    names = {id(each): name for name, each in network.named_parameters()}
    found = [
        (group["lr"], group["iterations"] > 0, group["weight_decay"], [names[id(p)] for p in group["params"]])
        for group in groups
    ]
    assert found == [
        (0.1, True, 0.0, [f"units.{index}.convolution.weight" for index in range(4)]),
        (3.0, False, 0.0, ["head.weight"]),
        (2.0, False, 0.0, [f"units.{index}.norm.bias" for index in range(4)]),
    ]


class Odd(nn.Module):
    """Parameters of every rank, among them one that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.ranks = nn.ParameterList(nn.Parameter(numbers(*[3] * rank, seed=rank)) for rank in range(6))
        self.unused = nn.Parameter(torch.ones(()))


CONFIGS = [
    optimizer_configs.RMSprop(),
    optimizer_configs.Adam(),
    optimizer_configs.SGD(),
    optimizer_configs.Muon(),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_parameter_of_any_rank_is_trained_once(config: optimizer_configs.Muon) -> None:
    network = Odd()
    optimizer = optimizers.build_optimizer(config, network, l2=0.0)
    trained = [each for group in optimizer.param_groups for each in group["params"]]
    assert len({id(each) for each in trained}) == len(trained) == 7
    before = copy.deepcopy(list(network.ranks))
    for each in network.ranks:
        each.grad = torch.ones_like(each)
    optimizer.step()
    assert all(not torch.equal(now, then) for now, then in zip(network.ranks, before, strict=True))
    assert network.unused == 1


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_group_without_gradients_is_passed_over(config: optimizer_configs.Muon) -> None:
    """Also in double precision, where torch's kernels do the work."""
    for dtype in (torch.float32, torch.float64):
        network = nn.Linear(3, 2).to(dtype)
        optimizer = optimizers.build_optimizer(config, network, l2=0.0 if config.name == "muon" else 0.1)
        before = network.bias.detach().clone()
        optimizer.step()
        network.weight.grad = torch.ones_like(network.weight)
        optimizer.step()
        assert torch.equal(network.bias, before)


@pytest.mark.parametrize("config", CONFIGS[:3], ids=lambda config: config.name)
def test_the_penalty_falls_on_what_has_a_rank_of_two(config: optimizer_configs.SGD) -> None:
    """Its gradient, 2·l2·w, with no other: weights shrink, biases stay."""
    network = nn.Linear(3, 2)
    nn.init.constant_(network.bias, 1.0)
    before = network.weight.detach().clone()
    optimizer = optimizers.build_optimizer(config, network, l2=1e-3)
    for each in network.parameters():
        each.grad = torch.zeros_like(each)
    optimizer.step()
    assert (network.bias == 1).all()
    assert ((before - network.weight) * before > 0).all()
