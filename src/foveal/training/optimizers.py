"""Optimizers, with the arithmetic of Keras where torch's differs."""

from collections.abc import Callable, Iterable
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from foveal import recipe


def build(
    config: recipe.RMSprop | recipe.Adam | recipe.SGD, network: nn.Module, *, l2: float
) -> torch.optim.Optimizer:
    """Build a recipe's optimizer over a network's trainable parameters.

    The L2 penalty l2·Σw² falls on kernels (parameters of rank 2 and more): its gradient 2·l2·w is added to
    theirs. Biases and the scales of batch normalisation are free of it.
    """
    trained = [each for each in network.parameters() if each.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [each for each in trained if each.ndim >= 2], "weight_decay": 2 * l2},
        {"params": [each for each in trained if each.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match config:
        case recipe.RMSprop(learning_rate=rate, rho=rho, epsilon=epsilon):
            return RMSprop(groups, lr=rate, rho=rho, epsilon=epsilon)
        case recipe.Adam(learning_rate=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon):
            return Adam(groups, lr=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        case recipe.SGD(learning_rate=rate, momentum=momentum):
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, foreach=True)
        case _:
            assert_never(config)


class RMSprop(torch.optim.Optimizer):
    """Divide each gradient by a running root mean square (Hinton 2012, lecture 6e).

    v ← ρ·v + (1 − ρ)·g²;  w ← w − lr·g / √(v + ε). torch.optim.RMSprop has ε outside the root.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, rho: float, epsilon: float) -> None:
        super().__init__(groups, {"lr": lr, "rho": rho, "epsilon": epsilon, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        assert closure is None
        for group in self.param_groups:
            parameters, gradients = _with_gradients(group)
            squares = _state(self, parameters, "mean_square")
            torch._foreach_mul_(squares, group["rho"])
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["rho"])
            roots = torch._foreach_add(squares, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(parameters, gradients, roots, value=-group["lr"])


class Adam(torch.optim.Optimizer):
    """Adam in the form of Kingma and Ba's section 2, last paragraph (2015): ε̂ beside the uncorrected √v.

    m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²;  w ← w − lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m / (√v + ε̂).
    torch.optim.Adam corrects v first, which makes its ε another one.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, beta_1: float, beta_2: float, epsilon: float
    ) -> None:
        defaults = {"lr": lr, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
        super().__init__(groups, {**defaults, "weight_decay": 0.0, "steps": 0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        assert closure is None
        for group in self.param_groups:
            group["steps"] += 1
            parameters, gradients = _with_gradients(group)
            means, squares = _state(self, parameters, "mean"), _state(self, parameters, "mean_square")
            torch._foreach_lerp_(means, gradients, 1 - group["beta_1"])
            torch._foreach_mul_(squares, group["beta_2"])
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["beta_2"])
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["epsilon"])
            correction = (1 - group["beta_2"] ** group["steps"]) ** 0.5 / (
                1 - group["beta_1"] ** group["steps"]
            )
            torch._foreach_addcdiv_(parameters, means, roots, value=-group["lr"] * correction)


def _with_gradients(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the group's parameters that have a gradient, and the gradients with the L2 penalty's added."""
    parameters = [each for each in group["params"] if each.grad is not None]
    gradients = [each.grad for each in parameters]
    if group["weight_decay"]:
        gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
    return parameters, gradients


def _state(optimizer: torch.optim.Optimizer, parameters: list[Tensor], name: str) -> list[Tensor]:
    """Return each parameter's running average of that name, zero at first."""
    for each in parameters:
        if name not in optimizer.state[each]:
            optimizer.state[each][name] = torch.zeros_like(each)
    return [optimizer.state[each][name] for each in parameters]
