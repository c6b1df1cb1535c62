"""Optimizers, with the arithmetic of Keras where that of torch differs."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from foveal.engine import steps
from foveal.recipe import optimizers as recipe


def build_optimizer(config: recipe.OptimizerConfig, network: nn.Module, *, l2: float) -> "Optimizer":
    """Build the optimizer of a recipe for the trainable parameters of a network.

    The L2 penalty l2·Σw² applies to kernels, which are parameters of rank 2 and more: 2·l2·w is added to
    their gradients. It does not apply to biases and to the scales of batch normalisation.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if isinstance(config, recipe.Muon):
        return _build_muon(config, parameters)
    groups: list[dict[str, Any]] = [
        {"params": [kernel for kernel in parameters if kernel.ndim >= 2], "weight_decay": 2 * l2},
        {"params": [vector for vector in parameters if vector.ndim < 2], "weight_decay": 0.0},
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


def _build_muon(config: recipe.Muon, parameters: Sequence[Tensor]) -> "Muon":
    """Build Muon with three groups: convolution filters, the last layer, and biases."""
    plain_sgd = {"momentum": config.sgd_momentum, "iterations": 0}
    groups: list[dict[str, Any]] = [
        {
            "params": [parameter for parameter in parameters if parameter.ndim == 4],
            "lr": config.learning_rate,
            "momentum": config.momentum,
            "iterations": config.iterations,
        },
        {
            "params": [parameter for parameter in parameters if parameter.ndim >= 2 and parameter.ndim != 4],
            "lr": config.head_learning_rate,
            **plain_sgd,
        },
        {
            "params": [parameter for parameter in parameters if parameter.ndim < 2],
            "lr": config.bias_learning_rate,
            **plain_sgd,
        },
    ]
    return Muon(group for group in groups if group["params"])


class Optimizer(ABC):
    """The base class: groups of parameters with settings, and averages for each parameter.

    Its interface is that of torch.optim.Optimizer, whose import of torch's compiler takes 0.8 s.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], defaults: dict[str, Any]) -> None:
        self.param_groups: list[dict[str, Any]] = [{**defaults, **group} for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    @abstractmethod
    def step(self) -> None:
        """Update the parameters once, from their gradients."""

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for parameter in self._list_parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the groups, with numbers in place of the parameters."""
        numbers = {parameter: number for number, parameter in enumerate(self._list_parameters())}
        return {
            "state": {numbers[parameter]: averages for parameter, averages in self.state.items()},
            "param_groups": [
                {**group, "params": [numbers[parameter] for parameter in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        parameters = self._list_parameters()
        self.state = defaultdict(
            dict, {parameters[number]: averages for number, averages in state["state"].items()}
        )
        for group, stored in zip(self.param_groups, state["param_groups"], strict=True):
            group.update({**stored, "params": group["params"]})

    def _update_velocities(
        self, parameters: list[Tensor], gradients: list[Tensor], name: str, momentum: float
    ) -> list[Tensor]:
        """Compute v ← μ·v + g for the state of that name of each parameter, and return it."""
        velocities = self._get_state(parameters, name)
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, gradients)
        return velocities

    def _get_state(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """Return the state of that name of each parameter, which begins as zero."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]

    def _list_parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


class SGD(Optimizer):
    """Gradient descent with momentum: v ← μ·v + g;  w ← w − lr·v."""

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters once, from their gradients."""
        for group in self.param_groups:
            parameters, gradients = _collect_gradients(group)
            if not parameters:
                continue
            velocities = self._update_velocities(parameters, gradients, "velocity", group["momentum"])
            torch._foreach_add_(parameters, velocities, alpha=-group["lr"])


class RMSprop(Optimizer):
    """RMSprop, which divides each gradient by a moving root mean square (Hinton 2012, lecture 6e).

    v ← ρ·v + (1 − ρ)·g²;  w ← w − lr·g / √(v + ε). torch.optim.RMSprop has ε outside the root.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, rho: float, epsilon: float) -> None:
        super().__init__(groups, {"lr": lr, "rho": rho, "epsilon": epsilon, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters once, from their gradients."""
        for group in self.param_groups:
            if steps.supports(group["params"]):
                parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
                squares = self._get_state(parameters, "mean_square")
                steps.step_rmsprop(
                    parameters,
                    squares,
                    learning_rate=group["lr"],
                    rho=group["rho"],
                    epsilon=group["epsilon"],
                    weight_decay=group["weight_decay"],
                )
                continue
            parameters, gradients = _collect_gradients(group)
            if not parameters:
                continue
            squares = self._get_state(parameters, "mean_square")
            torch._foreach_mul_(squares, group["rho"])
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["rho"])
            roots = torch._foreach_add(squares, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(parameters, gradients, roots, value=-group["lr"])


class Adam(Optimizer):
    """Adam in the form at the end of section 2 of Kingma and Ba (2015): ε̂ is added to the uncorrected √v.

    m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²;  w ← w − lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m / (√v + ε̂).
    torch.optim.Adam corrects v first, so its ε has another meaning.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, beta_1: float, beta_2: float, epsilon: float
    ) -> None:
        defaults = {"lr": lr, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
        super().__init__(groups, {**defaults, "weight_decay": 0.0, "steps": 0})

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters once, from their gradients."""
        for group in self.param_groups:
            group["steps"] += 1
            correction = (1 - group["beta_2"] ** group["steps"]) ** 0.5 / (
                1 - group["beta_1"] ** group["steps"]
            )
            if steps.supports(group["params"]):
                parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
                steps.step_adam(
                    parameters,
                    self._get_state(parameters, "mean"),
                    self._get_state(parameters, "mean_square"),
                    learning_rate=group["lr"] * correction,
                    beta_1=group["beta_1"],
                    beta_2=group["beta_2"],
                    epsilon=group["epsilon"],
                    weight_decay=group["weight_decay"],
                )
                continue
            parameters, gradients = _collect_gradients(group)
            if not parameters:
                continue
            means, squares = self._get_state(parameters, "mean"), self._get_state(parameters, "mean_square")
            torch._foreach_lerp_(means, gradients, 1 - group["beta_1"])
            torch._foreach_mul_(squares, group["beta_2"])
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["beta_2"])
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["epsilon"])
            torch._foreach_addcdiv_(parameters, means, roots, value=-group["lr"] * correction)


class Muon(Optimizer):
    """Muon, whose updates are momentum made orthogonal by Newton-Schulz iterations (Jordan 2024).

    A kernel (O, …) is seen as a matrix with O rows. It is scaled to the Frobenius norm √O before each step,
    and the update has nearly orthogonal rows. Groups with `iterations` 0 use SGD with Nesterov momentum.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"weight_decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters once, from their gradients."""
        for group in self.param_groups:
            parameters, gradients = _collect_gradients(group)
            if not parameters:
                continue
            velocities = self._update_velocities(parameters, gradients, "momentum", group["momentum"])
            updates = list(torch._foreach_add(gradients, velocities, alpha=group["momentum"]))
            if group["iterations"]:
                norms = torch._foreach_norm(parameters)
                for norm, kernel in zip(norms, parameters, strict=True):
                    # A kernel can be zero at first, so its norm is not divided by as it is.
                    torch.div(len(kernel) ** 0.5, norm.clamp_(min=1e-7), out=norm)
                torch._foreach_mul_(parameters, norms)
                updates = orthogonalise(updates, group["iterations"])
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])


def orthogonalise(updates: Iterable[Tensor], iterations: int) -> list[Tensor]:
    """Bring each update (O, C, H, W), seen as a matrix with O rows, near the closest orthogonal matrix.

    A polynomial of degree five, applied `iterations` times, drives all singular values towards one (Jordan
    2024).
    """
    updates = list(updates)
    if steps.supports_orthogonalisation(updates):
        return steps.orthogonalise(updates, iterations)
    orthogonal = []
    for update in updates:
        matrix = update.permute(0, 2, 3, 1).flatten(1)  # (O, H·W·C), a view for channels-last memory
        wide = len(matrix) <= matrix.shape[1]
        x = matrix / (matrix.norm() + 1e-7)
        x = x if wide else x.T
        for _ in range(iterations):
            square = x @ x.T
            x = torch.addmm(
                x, torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445
            )
        x = x if wide else x.T
        o, c, h, w = update.shape
        orthogonal.append(x.reshape(o, h, w, c).permute(0, 3, 1, 2))
    return orthogonal


def _collect_gradients(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters that have a gradient, and their gradients with that of the L2 penalty."""
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    gradients = [parameter.grad for parameter in parameters]
    if group["weight_decay"] and parameters:
        gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
    return parameters, gradients
