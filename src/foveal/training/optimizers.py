"""Optimizers, with the arithmetic of Keras where torch's differs."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from foveal.engine import steps
from foveal.recipe import recipe


def build(
    config: recipe.RMSprop | recipe.Adam | recipe.SGD | recipe.Muon, network: nn.Module, *, l2: float
) -> "Optimizer":
    """Build a recipe's optimizer over a network's trainable parameters.

    The L2 penalty l2·Σw² falls on kernels (parameters of rank 2 and more): its gradient 2·l2·w is added to
    theirs. Biases and the scales of batch normalisation are free of it.
    """
    trained = [each for each in network.parameters() if each.requires_grad]
    if isinstance(config, recipe.Muon):
        return _muon(config, trained)
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
            return SGD(groups, lr=rate, momentum=momentum)
        case _:
            assert_never(config)


def _muon(config: recipe.Muon, trained: Sequence[Tensor]) -> "Muon":
    """Divide parameters: filters of convolutions, heads and biases, each with a rate of its own."""
    vectors = {"momentum": config.sgd_momentum, "iterations": 0}
    groups: list[dict[str, Any]] = [
        {
            "params": [each for each in trained if each.ndim == 4],
            "lr": config.learning_rate,
            "momentum": config.momentum,
            "iterations": config.iterations,
        },
        {
            "params": [each for each in trained if each.ndim >= 2 and each.ndim != 4],
            "lr": config.head_learning_rate,
            **vectors,
        },
        {"params": [each for each in trained if each.ndim < 2], "lr": config.bias_learning_rate, **vectors},
    ]
    return Muon(group for group in groups if group["params"])


class Optimizer(ABC):
    """Groups of parameters with settings, and running averages of each parameter.

    The same form as torch.optim.Optimizer, whose import of torch's compiler would cost every short run 0.8 s.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], defaults: dict[str, Any]) -> None:
        self.param_groups: list[dict[str, Any]] = [{**defaults, **group} for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    @abstractmethod
    def step(self) -> None:
        """Take one step along the gradients."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return averages by the parameters' numbers, and the groups with numbers in place of parameters."""
        numbers = {parameter: number for number, parameter in enumerate(self._parameters())}
        return {
            "state": {numbers[parameter]: averages for parameter, averages in self.state.items()},
            "param_groups": [
                {**group, "params": [numbers[each] for each in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        parameters = self._parameters()
        self.state = defaultdict(dict, {parameters[number]: each for number, each in state["state"].items()})
        for group, stored in zip(self.param_groups, state["param_groups"], strict=True):
            group.update({**stored, "params": group["params"]})

    def _gathered(
        self, parameters: list[Tensor], gradients: list[Tensor], name: str, momentum: float
    ) -> list[Tensor]:
        """Let each parameter's gathered gradient fade by `momentum` and add the new one."""
        gathered = _state(self, parameters, name)
        torch._foreach_mul_(gathered, momentum)
        torch._foreach_add_(gathered, gradients)
        return gathered

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


class SGD(Optimizer):
    """Gradient descent with momentum: v ← μ·v + g;  w ← w − lr·v."""

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        """Take one step along the gradients."""
        for group in self.param_groups:
            parameters, gradients = _with_gradients(group)
            if not parameters:
                continue
            velocities = self._gathered(parameters, gradients, "velocity", group["momentum"])
            torch._foreach_add_(parameters, velocities, alpha=-group["lr"])


class RMSprop(Optimizer):
    """Divide each gradient by a running root mean square (Hinton 2012, lecture 6e).

    v ← ρ·v + (1 − ρ)·g²;  w ← w − lr·g / √(v + ε). torch.optim.RMSprop has ε outside the root.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, rho: float, epsilon: float) -> None:
        super().__init__(groups, {"lr": lr, "rho": rho, "epsilon": epsilon, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        """Take one step along the gradients."""
        for group in self.param_groups:
            if steps.fits(group["params"]):
                parameters = [each for each in group["params"] if each.grad is not None]
                squares = _state(self, parameters, "mean_square")
                steps.rmsprop(
                    parameters,
                    squares,
                    rate=group["lr"],
                    rho=group["rho"],
                    epsilon=group["epsilon"],
                    decay=group["weight_decay"],
                )
                continue
            parameters, gradients = _with_gradients(group)
            if not parameters:
                continue
            squares = _state(self, parameters, "mean_square")
            torch._foreach_mul_(squares, group["rho"])
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["rho"])
            roots = torch._foreach_add(squares, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(parameters, gradients, roots, value=-group["lr"])


class Adam(Optimizer):
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
    def step(self) -> None:
        """Take one step along the gradients."""
        for group in self.param_groups:
            group["steps"] += 1
            correction = (1 - group["beta_2"] ** group["steps"]) ** 0.5 / (
                1 - group["beta_1"] ** group["steps"]
            )
            if steps.fits(group["params"]):
                parameters = [each for each in group["params"] if each.grad is not None]
                steps.adam(
                    parameters,
                    _state(self, parameters, "mean"),
                    _state(self, parameters, "mean_square"),
                    rate=group["lr"] * correction,
                    beta_1=group["beta_1"],
                    beta_2=group["beta_2"],
                    epsilon=group["epsilon"],
                    decay=group["weight_decay"],
                )
                continue
            parameters, gradients = _with_gradients(group)
            if not parameters:
                continue
            means, squares = _state(self, parameters, "mean"), _state(self, parameters, "mean_square")
            torch._foreach_lerp_(means, gradients, 1 - group["beta_1"])
            torch._foreach_mul_(squares, group["beta_2"])
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["beta_2"])
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["epsilon"])
            torch._foreach_addcdiv_(parameters, means, roots, value=-group["lr"] * correction)


class Muon(Optimizer):
    """Momentum, made orthogonal by Newton–Schulz iterations, for matrices (Jordan 2024).

    A group with `iterations` 0 is trained by gradient descent with Nesterov's momentum instead. In the
    others each kernel (O, …), seen as a matrix with O rows, keeps the Frobenius norm √O, and a step adds to
    it a matrix of about orthogonal rows times the rate.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        """Take one step along the gradients."""
        for group in self.param_groups:
            parameters, gradients = _with_gradients(group)
            if not parameters:
                continue
            buffers = self._gathered(parameters, gradients, "momentum", group["momentum"])
            updates = list(torch._foreach_add(gradients, buffers, alpha=group["momentum"]))
            if group["iterations"]:
                norms = torch._foreach_norm(parameters)
                for norm, each in zip(norms, parameters, strict=True):
                    torch.div(len(each) ** 0.5, norm.clamp_(min=1e-7), out=norm)  # a kernel may begin at zero
                torch._foreach_mul_(parameters, norms)
                updates = orthogonalised(updates, group["iterations"])
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])


def orthogonalised(updates: Iterable[Tensor], iterations: int) -> list[Tensor]:
    """Bring each update (O, …), seen as a matrix with O rows, near the orthogonal matrix closest to it.

    A quintic polynomial, applied `iterations` times, drives all singular values towards one (Jordan 2024).
    """
    updates = list(updates)
    if steps.orthogonal_fits(updates):
        return steps.orthogonalised(updates, iterations)
    found = []
    for each in updates:
        matrix = each.permute(0, 2, 3, 1).flatten(1)  # a view on channels-last memory; (O, 9·C)
        wide = len(matrix) <= matrix.shape[1]
        x = matrix / (matrix.norm() + 1e-7)
        x = x if wide else x.T
        for _ in range(iterations):
            square = x @ x.T
            x = torch.addmm(
                x, torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445
            )
        x = x if wide else x.T
        o, c, h, w = each.shape
        found.append(x.reshape(o, h, w, c).permute(0, 3, 1, 2))
    return found


def _with_gradients(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the group's parameters that have a gradient, and the gradients with the L2 penalty's added."""
    parameters = [each for each in group["params"] if each.grad is not None]
    gradients = [each.grad for each in parameters]
    if group["weight_decay"] and parameters:
        gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
    return parameters, gradients


def _state(optimizer: Optimizer, parameters: list[Tensor], name: str) -> list[Tensor]:
    """Return each parameter's running average of that name, zero at first."""
    for each in parameters:
        if name not in optimizer.state[each]:
            optimizer.state[each][name] = torch.zeros_like(each)
    return [optimizer.state[each][name] for each in parameters]
