"""Where a run is: everything that changes while it trains, and how that is saved and taken up again."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from foveal import progress
from foveal.data.batches import Batch
from foveal.errors import RunError
from foveal.files.atomic import outside_faults
from foveal.files.events import CheckpointDamaged, Resumed, RolledBack
from foveal.files.run_folder import RunFolder
from foveal.recipe.networks import Custom
from foveal.recipe.overrides import describe_changes
from foveal.recipe.recipe import Recipe
from foveal.training import checkpoint, optimizers
from foveal.training.checkpoint import Checkpoint, DamagedError
from foveal.training.epoch import Step, TrainingState, balanced_class_weights, run_epoch
from foveal.training.schedules import Anneal, Best, EarlyStopping, Plateau, Progress

FORCING = "to go on all the same, not to the same bits: --force"
"""What can be done where an exact resume is refused."""


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
    recipe: Recipe
    state: TrainingState
    course: Progress
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
            recipe=recipe,
            state=TrainingState(
                network=network,
                optimizer=optimizers.build(recipe.optimizer, network, l2=recipe.l2),
                class_weights=balanced_class_weights(class_counts) if balanced else None,
                label_smoothing=recipe.label_smoothing,
            ),
            course=Progress(steps=steps),
            anneal=Anneal(**asdict(recipe.anneal)) if recipe.anneal else None,
            plateau=Plateau(**asdict(plateau)) if plateau else None,
            early_stopping=EarlyStopping(**asdict(stopping)) if stopping else None,
        )

    def steps(self, batches: Iterable[Batch]) -> Iterator[Step]:
        """Train on the rest of an epoch's batches, each with its own learning rate, until the course ends.

        Raises:
            DivergenceError: the loss is not finite; the weights are those from before the step.
        """

        def rated() -> Iterator[Batch]:
            for batch in batches:
                if self.step >= self.course.steps:
                    return
                self.state.learning_rate = self.rate()
                yield batch

        for step in run_epoch(self.state, rated(), done=self.step):
            self.so_far.add(step)
            self.position += 1
            self.step += 1
            yield step

    @property
    def ended(self) -> bool:
        """Whether all steps are done and the last epoch was judged, or early stopping has decided."""
        return self.stopping or (self.step >= self.course.steps and self.position == 0)

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

    def resume(self, *, force: bool = False) -> list[str]:
        """Take up the newest checkpoint that is whole, if there is one, and cut the history back to it.

        Returned is in what the recipe was changed since.

        Raises:
            RunError: the recipe is not that of the checkpoint, unless `force` takes that; or a checkpoint is
                whole and does not fit.
        """
        paths = [
            checkpoint.checkpoint_path(self.folder.checkpoints, step)
            for step in checkpoint.checkpoint_steps(self.folder.checkpoints)
        ]
        recorded = (checkpoint.recorded_recipe(path) for path in reversed(paths))
        then = next((each for each in recorded if each is not None), self.recipe.to_json())
        changed = describe_changes(then, self.recipe.to_json())
        if changed and not force:
            raise RunError(f"{self.folder.path} cannot be resumed: the setting {changed[0]}; {FORCING}")
        planned = self.course.steps
        self.restore_latest()
        if changed and self.course.steps != planned:
            self.course.correct(self.step, max(planned, self.step))
        self.folder.add_event(Resumed(epoch=self.epoch, step=self.step))
        return [f"the setting {each}" for each in changed]

    def roll_back(self) -> None:
        """Take up the newest checkpoint once more, with half the learning rate."""
        here = self.step
        self.restore_latest()
        self.slowed = True
        self.folder.add_event(RolledBack(step=here, to=self.step, epoch=self.epoch))
        self.save()

    def restore_best(self) -> None:
        """Give the network the weights of the best epoch, and keep that checkpoint and the last one only.

        Which others there are depends on the clock.

        Raises:
            RunError: their checkpoint is damaged.
        """
        try:
            best = self._read(self.best.step)
        except RunError as error:
            again = f"to train the missing part again: foveal resume {self.folder.path}"
            raise RunError(f"{error}; {again}") from error
        best.restore(self.state.network)
        checkpoint.prune(self.folder.checkpoints, keep={self.best.step}, last=1)

    def restore_latest(self) -> None:
        """Go to the newest checkpoint that is whole, and whose best epoch's is; without any, to the start.

        Raises:
            RunError: one is whole and does not fit; or none is, and the start is not known.
        """
        for step in reversed(checkpoint.checkpoint_steps(self.folder.checkpoints)):
            try:
                found = self._read(step)
                if (best := found.state["best"]["step"]) not in (0, step):
                    self._read(best)
            except DamagedError as error:
                progress.warn(f"{error}; going on from the one before")
                self.folder.add_event(CheckpointDamaged(step=step))
                path = checkpoint.checkpoint_path(self.folder.checkpoints, step)
                with outside_faults(path):
                    path.rename(path.with_suffix(".damaged"))  # it counts no longer, but may be wanted
                continue
            found.restore(self.state.network, self.state.optimizer)
            self._load_state_dict(found.state)
            break
        else:
            if self.step > 0 or isinstance(self.recipe.model, Custom):
                raise RunError(f"{self.folder.path} has no whole checkpoint left; train anew")
        self.folder.cut_history(self.epoch - 1)

    def _read(self, step: int) -> Checkpoint:
        path = checkpoint.checkpoint_path(self.folder.checkpoints, step)
        found = checkpoint.read_checkpoint(path, self.state.network, self.state.optimizer)
        if found.state.keys() != self._state_dict().keys() or found.state["best"].keys() != {
            "loss",
            "epoch",
            "step",
        }:
            raise RunError(f"the checkpoint {path} does not fit: another version of Foveal wrote it")
        return found

    def _state_dict(self) -> dict[str, Any]:
        """Return everything but tensors that going on needs, as JSON values."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "step": self.step,
            "recipe": self.recipe.to_json(),
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
        self.course = Progress(**state["course"])
        self.best.load_state_dict(state["best"])
        if self.plateau is not None:
            self.plateau.load_state_dict(state["plateau"])
        if self.early_stopping is not None:
            self.early_stopping.load_state_dict(state["early_stopping"])
