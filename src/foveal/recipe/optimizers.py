"""The optimizers that a recipe can name: their hyperparameters.

`foveal.training.optimizers` has the arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from foveal.recipe.checks import require


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """RMSprop as Keras computes it: epsilon stands inside the square root (Hinton 2012, lecture 6e).

    >>> foveal.RMSprop(learning_rate=0.0005).rho
    0.9
    """

    name: Literal["rmsprop"] = "rmsprop"
    """The name of this optimizer in recipe files."""
    learning_rate: float = 0.001
    """The learning rate at the start of training."""
    rho: float = 0.9
    """The decay rate of the moving average of squared gradients."""
    epsilon: float = 1e-7
    """A small number that is added to the average of squared gradients before the square root."""

    def __post_init__(self) -> None:
        _check_optimizer(self.learning_rate, self.epsilon, {"rho": self.rho})


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam as Keras computes it (Kingma and Ba 2015): epsilon is that of the end of section 2.

    >>> foveal.Adam().beta_2
    0.999
    """

    name: Literal["adam"] = "adam"
    """The name of this optimizer in recipe files."""
    learning_rate: float = 0.001
    """The learning rate at the start of training."""
    beta_1: float = 0.9
    """The decay rate of the moving average of gradients."""
    beta_2: float = 0.999
    """The decay rate of the moving average of squared gradients."""
    epsilon: float = 1e-7
    """A small number that is added to the root of the uncorrected average, the paper's epsilon-hat."""

    def __post_init__(self) -> None:
        _check_optimizer(self.learning_rate, self.epsilon, {"beta_1": self.beta_1, "beta_2": self.beta_2})


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum.

    >>> foveal.SGD(learning_rate=0.1).momentum
    0.9
    """

    name: Literal["sgd"] = "sgd"
    """The name of this optimizer in recipe files."""
    learning_rate: float = 0.01
    """The learning rate at the start of training."""
    momentum: float = 0.9
    """The share of the last update that is carried over to the next. With 0 there is no momentum."""

    def __post_init__(self) -> None:
        _check_optimizer(self.learning_rate, 1.0, {"momentum": self.momentum})


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Muon (Jordan 2024) for the filters of convolutions; SGD with Nesterov momentum for everything else.

    The learning rate of each of the three groups of parameters is scaled by the same schedule.

    >>> foveal.Muon(learning_rate=0.1).iterations
    3
    """

    name: Literal["muon"] = "muon"
    """The name of this optimizer in recipe files."""
    learning_rate: float = 0.24
    """The learning rate of convolution filters. A step adds an orthogonal matrix times this rate."""
    momentum: float = 0.6
    """The momentum of convolution filters."""
    iterations: int = 3
    """The number of Newton-Schulz iterations in each step. They make the update orthogonal."""
    bias_learning_rate: float = 26.5
    """The learning rate of biases, the shifts of batch normalisation included. The loss is a batch's mean."""
    head_learning_rate: float = 335.0
    """The learning rate of the last layer."""
    sgd_momentum: float = 0.85
    """The Nesterov momentum of the biases and the last layer."""

    def __post_init__(self) -> None:
        _check_optimizer(
            self.learning_rate, 1.0, {"momentum": self.momentum, "sgd_momentum": self.sgd_momentum}
        )
        for name in ("bias_learning_rate", "head_learning_rate"):
            value = getattr(self, name)
            require(value > 0, f"optimizer.{name} is {value}; it must be above 0")
        require(1 <= self.iterations <= 20, "optimizer.iterations must lie between 1 and 20")


OptimizerConfig = RMSprop | Adam | SGD | Muon
"""Any optimizer that a recipe can name."""


def _check_optimizer(learning_rate: float, epsilon: float, decays: Mapping[str, float]) -> None:
    require(learning_rate > 0, f"optimizer.learning_rate is {learning_rate}; it must be above 0")
    require(epsilon > 0, f"optimizer.epsilon is {epsilon}; it must be above 0")
    for name, value in decays.items():
        require(0 <= value < 1, f"optimizer.{name} is {value}; it must lie in [0, 1)")
