"""Where a run is: everything that changes while it trains, and how that is saved and taken up again."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from foveal import progress
from foveal.errors import RunError
from foveal.recipe import Recipe
from foveal.run import RunFolder
from foveal.training import checkpoint, optimizers
from foveal.training.epoch import Step, TrainingState, balanced_class_weights
from foveal.training.schedules import Anneal, Best, Course, EarlyStopping, Plateau


@dataclass(kw_only=True)
class EpochSoFar:
    """Sums over the steps of an epoch under way."""

    images: int = 0
    loss_sum: float = 0.0
    """Over images."""
    correct: int = 0

    def add(self, step: Step) -> None:
        """Count a step."""
        self.images += step.images
        self.loss_sum += step.loss * step.images
        self.correct += step.correct

    @property
    def loss(self) -> float:
        """Mean over the images so far."""
        return self.loss_sum / self.images

    @property
    def accuracy(self) -> float:
        """Share of the images so far that were right when their turn came."""
        return self.correct / self.images


@dataclass(kw_only=True)
class Session:
    """A run in progress."""

    folder: RunFolder
    state: TrainingState
    course: Course
    anneal: Anneal | None
    plateau: Plateau | None
    early_stopping: EarlyStopping | None
    best: Best = field(default_factory=Best)
    epoch: int = 1
    """The epoch under way, from 1."""
    position: int = 0
    """Batches of it that are done."""
    step: int = 0
    """Optimizer steps since the run began."""
    so_far: EpochSoFar = field(default_factory=EpochSoFar)
    stopping: bool = False
    """Whether early stopping has decided."""
    slowed: bool = False
    """Whether training diverged once and goes on with half the learning rate."""

    @classmethod
    def begin(
        cls, folder: RunFolder, recipe: Recipe, network: nn.Module, class_counts: list[int], *, steps: int
    ) -> "Session":
        """Set up a run at its first step, of so many in all."""
        balanced = recipe.class_weights == "balanced"
        plateau, stopping = recipe.plateau, recipe.early_stopping
        return cls(
            folder=folder,
            state=TrainingState(
                network=network,
                optimizer=optimizers.build(recipe.optimizer, network, l2=recipe.l2),
                class_weights=balanced_class_weights(class_counts) if balanced else None,
                label_smoothing=recipe.label_smoothing,
            ),
            course=Course(steps=steps),
            anneal=Anneal(**asdict(recipe.anneal)) if recipe.anneal else None,
            plateau=Plateau(**asdict(plateau)) if plateau else None,
            early_stopping=EarlyStopping(**asdict(stopping)) if stopping else None,
        )

    def count(self, step: Step) -> None:
        """Move on by one step."""
        self.so_far.add(step)
        self.position += 1
        self.step += 1

    @property
    def progress(self) -> float:
        """How far the run has come, from 0 to 1."""
        return self.course.progress(self.step)

    def epochs(self, per_epoch: int) -> int:
        """Return how many epochs, the last of them perhaps not a whole one, the course has."""
        return -(-self.course.steps // per_epoch)

    def rate(self) -> float:
        """Return the learning rate of the step that comes next."""
        if self.anneal is None:
            return self.state.learning_rate
        full: float = self.state.optimizer.param_groups[0]["initial_lr"]
        return full * self.anneal.factor(self.progress, self.course.steps) / (2 if self.slowed else 1)

    def next_epoch(self) -> None:
        """Move on to the beginning of the next epoch."""
        self.epoch += 1
        self.position = 0
        self.so_far = EpochSoFar()

    # ---- saving and going on

    def save(self) -> None:
        """Write a checkpoint; keep it, the one before and the best."""
        path = checkpoint.checkpoint_path(self.folder.checkpoints, self.step)
        checkpoint.save_checkpoint(path, self.state.network, self.state.optimizer, self._state_dict())
        checkpoint.prune(self.folder.checkpoints, keep={self.best.step})

    def go_on(self) -> None:
        """Take up the newest checkpoint that is whole, if there is one, and cut the history back to it."""
        self._take_up()
        self.folder.event("resumed", epoch=self.epoch, step=self.step)

    def go_back(self) -> None:
        """Take up the newest checkpoint once more, with half the learning rate."""
        here = self.step
        self._take_up()
        self.slowed = True
        self.folder.event("went back", step=here, to=self.step, epoch=self.epoch)
        self.save()

    def _take_up(self) -> None:
        for step in reversed(checkpoint.checkpoint_steps(self.folder.checkpoints)):
            path = checkpoint.checkpoint_path(self.folder.checkpoints, step)
            try:
                state = checkpoint.load_checkpoint(path, self.state.network, self.state.optimizer)
            except RunError as error:
                progress.warn(f"{error}; going on from the one before")
                self.folder.event("checkpoint damaged", step=step)
                path.rename(path.with_suffix(".damaged"))  # it counts no longer, but somebody may want it
            else:
                self._load_state_dict(state)
                break
        self.folder.cut_history(self.epoch - 1)

    def restore_best(self) -> None:
        """Give the network the weights of the best epoch."""
        path = checkpoint.checkpoint_path(self.folder.checkpoints, self.best.step)
        checkpoint.load_checkpoint(path, self.state.network)

    def _state_dict(self) -> dict[str, Any]:
        """Return everything but tensors that going on needs, as JSON values."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "step": self.step,
            "so_far": asdict(self.so_far),
            "stopping": self.stopping,
            "slowed": self.slowed,
            "course": asdict(self.course),
            "best": self.best.state_dict(),
            "plateau": self.plateau.state_dict() if self.plateau else None,
            "early_stopping": self.early_stopping.state_dict() if self.early_stopping else None,
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.position, self.step = state["epoch"], state["position"], state["step"]
        self.so_far = EpochSoFar(**state["so_far"])
        self.stopping, self.slowed = state["stopping"], state["slowed"]
        self.course = Course(**state["course"])
        self.best.load_state_dict(state["best"])
        if self.plateau is not None:
            self.plateau.load_state_dict(state["plateau"])
        if self.early_stopping is not None:
            self.early_stopping.load_state_dict(state["early_stopping"])
