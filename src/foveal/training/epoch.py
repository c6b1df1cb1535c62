"""One pass over the training images, as an ordinary generator over steps."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.data.batches import Batch
from foveal.errors import DivergenceError
from foveal.training.optimizers import Optimizer


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step measured, with the weights as they were before it."""

    images: int
    loss: float
    """Mean over the batch of the (weighted) cross-entropy, in nats."""
    correct: int


@dataclass(kw_only=True)
class TrainingState:
    """What a step changes: the network, and the optimizer's memory of it."""

    network: nn.Module
    optimizer: Optimizer
    class_weights: Tensor | None
    """float (classes,), or None: all alike."""
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    @property
    def learning_rate(self) -> float:
        """The rate of the next step; where parts of the network have rates of their own, the first part's."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        groups = self.optimizer.param_groups
        for group in groups:  # their ratios stay
            group["lr"] = rate * (group["initial_lr"] / groups[0]["initial_lr"])


def run_epoch(state: TrainingState, batches: Iterable[Batch], *, done: int = 0) -> Iterator[Step]:
    """Train on each batch in turn and yield what its step measured.

    Whoever takes the steps may change the learning rate between them. So many are `done` before.

    Raises:
        DivergenceError: the loss is not finite, and at which step; the weights are those from before it.
    """
    state.network.train()
    for number, batch in enumerate(batches, start=done + 1):
        torch.manual_seed(batch.seed)
        state.optimizer.zero_grad()
        logits = state.network(batch.images)  # (N, classes)
        loss = training_loss(logits, batch.labels, state.class_weights, label_smoothing=state.label_smoothing)
        measured = loss.item()
        if not math.isfinite(measured):
            raise DivergenceError(
                f"the training loss became {measured} at step {number}; a smaller learning rate may help: "
                f"--set learning_rate={state.learning_rate / 10:g}"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        correct = int((logits.detach().argmax(1) == batch.labels).sum())
        yield Step(images=len(batch.labels), loss=measured, correct=correct)


def training_loss(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None, *, label_smoothing: float = 0.0
) -> Tensor:
    """Return the mean cross-entropy of logits (N, K) against labels (N,), in nats.

    With label smoothing the target gives each class smoothing / K, and the label's own 1 − smoothing more.
    Class weights multiply each image's loss and the mean is still over N, as in Keras; torch's own
    `weight=` would divide by the sum of the weights instead.
    """
    if class_weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    return (each * class_weights[labels]).mean()


def balanced_class_weights(counts: Iterable[int]) -> Tensor:
    """Return float (classes,): n / (classes · n_c), scikit-learn's "balanced", from counts per class."""
    n = torch.tensor(list(counts), dtype=torch.float64)
    return (n.sum() / (len(n) * n)).float()
