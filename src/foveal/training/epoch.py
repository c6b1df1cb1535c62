"""One pass over the training images, as a generator that yields after each step."""

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
    """The number of images in the batch."""
    loss: float
    """The mean cross-entropy of the batch, in nats, weighted if there are class weights."""
    correct: int
    """The number of images that were classified correctly."""


@dataclass(kw_only=True)
class TrainingState:
    """What a step needs and changes: the network, the optimizer, and the weights of the loss."""

    network: nn.Module
    """The network that is trained."""
    optimizer: Optimizer
    """The optimizer of the network's parameters."""
    class_weights: Tensor | None
    """The weight of each class in the loss, float (classes,), or None if all count alike."""
    label_smoothing: float = 0.0
    """The share of each label that is spread evenly over all classes."""

    def __post_init__(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, of the first group of parameters if there are several."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        groups = self.optimizer.param_groups
        for group in groups:  # the ratios between groups stay
            group["lr"] = rate * (group["initial_lr"] / groups[0]["initial_lr"])


def run_epoch(state: TrainingState, batches: Iterable[Batch], *, steps_done: int = 0) -> Iterator[Step]:
    """Train on the given batches, usually the rest of an epoch, and yield what each step measured.

    The learning rate is read at each step, so the iterator of batches may set it.

    Args:
        state: What the steps change.
        batches: The batches of the epoch.
        steps_done: The number of steps of the run before these, for messages.

    Raises:
        DivergenceError: The loss of a step is not finite. The weights are those from before that step.
    """
    state.network.train()
    for number, batch in enumerate(batches, start=steps_done + 1):
        torch.manual_seed(batch.seed)
        state.optimizer.zero_grad()
        logits = state.network(batch.images)  # (N, classes)
        loss = compute_training_loss(
            logits, batch.labels, state.class_weights, label_smoothing=state.label_smoothing
        )
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


def compute_training_loss(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None, *, label_smoothing: float = 0.0
) -> Tensor:
    """Return the mean cross-entropy of logits (N, K) and labels (N,), in nats.

    With label smoothing each class has the target smoothing / K, and the label's class 1 − smoothing more.
    Class weights multiply the loss of each image, and the sum is divided by N as in Keras. torch's own
    `weight=` would divide it by the sum of the weights.
    """
    if class_weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)  # (N,)
    return (losses * class_weights[labels]).mean()


def compute_balanced_class_weights(counts: Iterable[int]) -> Tensor:
    """Return the weights n / (classes · n_c), float (classes,), from the number of images n_c of each class.

    These are the weights of scikit-learn's `class_weight="balanced"`.
    """
    n = torch.tensor(list(counts), dtype=torch.float64)
    return (n.sum() / (len(n) * n)).float()
