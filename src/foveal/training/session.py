"""The state of a run: everything that changes during training, and how it is saved and restored."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from foveal.commands import show_command
from foveal.data.batches import Batch
from foveal.errors import RunError
from foveal.files.atomic import outside_faults
from foveal.files.events import CheckpointDamaged, Resumed, RolledBack
from foveal.files.run_folder import RunFolder
from foveal.progress import warn
from foveal.recipe.networks import Custom
from foveal.recipe.overrides import describe_changes
from foveal.recipe.recipe import Recipe
from foveal.training import checkpoint, optimizers
from foveal.training.checkpoint import Checkpoint, DamagedError
from foveal.training.epoch import Step, TrainingState, compute_balanced_class_weights, run_epoch
from foveal.training.schedules import BestEpoch, EarlyStopper, LinearAnneal, Progress, ReduceOnPlateau

FORCE_ADVICE = "to go on all the same, not to the same bits: --force"
"""The advice in messages that refuse an exact resume."""


@dataclass(kw_only=True)
class EpochTotals:
    """Sums over the steps so far of the current epoch."""

    images: int = 0
    """The number of images."""
    loss_sum: float = 0.0
    """The sum of the images' losses."""
    correct: int = 0
    """The number of images that were classified correctly in their step."""

    def add(self, step: Step) -> None:
        """Add a step."""
        self.images += step.images
        self.loss_sum += step.loss * step.images
        self.correct += step.correct

    @property
    def loss(self) -> float:
        """The mean loss of the images so far."""
        return self.loss_sum / self.images

    @property
    def accuracy(self) -> float:
        """The share of the images so far that were classified correctly in their step."""
        return self.correct / self.images


@dataclass(kw_only=True)
class Session:
    """A run in progress."""

    folder: RunFolder
    """The run folder, where checkpoints, history and events are written."""
    recipe: Recipe
    """The recipe that is trained."""
    state: TrainingState
    """The network, the optimizer and the loss."""
    progress: Progress
    """The number of steps in all, and the share of them that is done at each step."""
    anneal: LinearAnneal | None
    """The learning rate schedule, if the recipe has one."""
    plateau: ReduceOnPlateau | None
    """The cuts of the learning rate, if the recipe has them."""
    early_stopping: EarlyStopper | None
    """The decision to stop early, if the recipe has it."""
    best: BestEpoch = field(default_factory=BestEpoch)
    """The best epoch so far."""
    epoch: int = 1
    """The number of the current epoch, from 1."""
    batches_done: int = 0
    """The number of batches of the current epoch that are done."""
    step: int = 0
    """The number of optimizer steps since the run began."""
    totals: EpochTotals = field(default_factory=EpochTotals)
    """The sums over the steps of the current epoch."""
    stopped_early: bool = False
    """Whether early stopping, or the caller, has decided to stop."""
    rate_halved: bool = False
    """Whether training diverged once and continues with half the learning rate."""

    @classmethod
    def begin(
        cls, folder: RunFolder, recipe: Recipe, network: nn.Module, class_counts: list[int], *, steps: int
    ) -> "Session":
        """Return a new session before its first step.

        Args:
            folder: The run folder.
            recipe: The recipe to train.
            network: The network with its initial weights.
            class_counts: The number of training images of each class.
            steps: The number of optimizer steps in all.
        """
        balanced = recipe.class_weights == "balanced"
        plateau, stopping = recipe.plateau, recipe.early_stopping
        return cls(
            folder=folder,
            recipe=recipe,
            state=TrainingState(
                network=network,
                optimizer=optimizers.build_optimizer(recipe.optimizer, network, l2=recipe.l2),
                class_weights=compute_balanced_class_weights(class_counts) if balanced else None,
                label_smoothing=recipe.label_smoothing,
            ),
            progress=Progress(steps=steps),
            anneal=LinearAnneal(**asdict(recipe.anneal)) if recipe.anneal else None,
            plateau=ReduceOnPlateau(**asdict(plateau)) if plateau else None,
            early_stopping=EarlyStopper(**asdict(stopping)) if stopping else None,
        )

    def train_steps(self, batches: Iterable[Batch]) -> Iterator[Step]:
        """Train on the remaining batches of an epoch, each with its own learning rate, and yield each step.

        Training ends after the last step of the run, even if there are more batches.

        Raises:
            DivergenceError: The loss is not finite. The weights are those from before the step.
        """

        def iter_batches_with_rates() -> Iterator[Batch]:
            for batch in batches:
                if self.step >= self.progress.steps:
                    return
                self.state.learning_rate = self._compute_learning_rate()
                yield batch

        for step in run_epoch(self.state, iter_batches_with_rates(), steps_done=self.step):
            self.totals.add(step)
            self.batches_done += 1
            self.step += 1
            yield step

    @property
    def ended(self) -> bool:
        """Whether all steps are done and the last epoch is validated, or the run has stopped early."""
        return self.stopped_early or (self.step >= self.progress.steps and self.batches_done == 0)

    def count_epochs(self, steps_per_epoch: int) -> int:
        """Return the number of epochs of the run. The last of them may be incomplete."""
        return -(-self.progress.steps // steps_per_epoch)

    def _compute_learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        if self.anneal is None:
            return self.state.learning_rate
        initial_rate: float = self.state.optimizer.param_groups[0]["initial_lr"]
        factor = self.anneal.compute_factor(self.progress.at(self.step), self.progress.steps)
        return initial_rate * factor / (2 if self.rate_halved else 1)

    def begin_next_epoch(self) -> None:
        """Move to the beginning of the next epoch."""
        self.epoch += 1
        self.batches_done = 0
        self.totals = EpochTotals()

    # ---- saving and restoring

    def save(self) -> None:
        """Write a checkpoint. The one before and the one of the best epoch are kept, others are deleted."""
        path = checkpoint.locate_checkpoint(self.folder.checkpoints, self.step)
        checkpoint.save_checkpoint(path, self.state.network, self.state.optimizer, self._state_dict())
        checkpoint.prune_checkpoints(self.folder.checkpoints, keep={self.best.step})

    def resume(self, *, force: bool = False, extended: bool = False) -> list[str]:
        """Restore the newest undamaged checkpoint, if there is one, and cut the history to fit it.

        Args:
            force: Whether to accept a recipe that is not that of the checkpoint.
            extended: Whether the recipe may have another number of epochs than that of the checkpoint. The
                steps that are done are those of such a run.

        Returns:
            A phrase for each change of the recipe since the checkpoint.

        Raises:
            RunError: The recipe is not that of the checkpoint and `force` is false, or an undamaged
                checkpoint does not fit the network.
        """
        paths = [
            checkpoint.locate_checkpoint(self.folder.checkpoints, step)
            for step in checkpoint.list_checkpoint_steps(self.folder.checkpoints)
        ]
        recorded = (checkpoint.read_recorded_recipe(path) for path in reversed(paths))
        before = next((recipe for recipe in recorded if recipe is not None), None)
        if before is None:  # so only an undamaged recipe.json can tell
            before = self.folder.recipe
        if extended and isinstance(before, Mapping):
            before = {**before, "epochs": self.recipe.epochs}
        changes = describe_changes(before, self.recipe.to_json())
        if changes and not force:
            raise RunError(f"{self.folder.path} cannot be resumed: the setting {changes[0]}; {FORCE_ADVICE}")
        planned_steps = self.progress.steps
        self.restore_latest()
        if changes and self.progress.steps != planned_steps:
            self.progress.correct(self.step, max(planned_steps, self.step))
        elif extended:
            self.progress = Progress(steps=planned_steps)
        self.folder.add_event(Resumed(epoch=self.epoch, step=self.step))
        return [f"the setting {change}" for change in changes]

    def forget_losses(self) -> None:
        """Let all decisions from validation losses start anew, because these were measured on other images.

        A run at its end keeps its last weights, as one without validation.
        """
        self.best = BestEpoch()
        if self.plateau is not None:
            self.plateau.load_state_dict({"best": None, "waited": 0})
        if self.early_stopping is not None:
            state = self.early_stopping.state_dict()
            self.early_stopping.load_state_dict({**state, "best": None, "waited": 0})
        if self.ended:
            self.best.update(None, epoch=self.epoch - 1, step=self.step)
        self.folder.forget_validation()

    def roll_back(self) -> None:
        """Return to the newest checkpoint, after training diverged, with half the learning rate."""
        diverged_at = self.step
        self.restore_latest()
        self.rate_halved = True
        if self.anneal is None:
            self.state.learning_rate /= 2  # with a schedule, each step's rate is halved as it is computed
        self.folder.add_event(RolledBack(step=diverged_at, to=self.step, epoch=self.epoch))
        self.save()

    def restore_best(self) -> None:
        """Load the weights of the best epoch, and keep only that checkpoint and the last one.

        Which other checkpoints there are depends on the clock.

        Raises:
            RunError: The checkpoint of the best epoch is damaged.
        """
        try:
            best = self._read_checkpoint(self.best.step)
        except RunError as error:
            again = f"to train the missing part again: {show_command('resume', self.folder.path)}"
            raise RunError(f"{error}; {again}") from error
        best.restore(self.state.network)
        checkpoint.prune_checkpoints(self.folder.checkpoints, keep={self.best.step}, last=1)

    def restore_latest(self) -> None:
        """Restore the newest undamaged checkpoint whose best epoch has an undamaged checkpoint, too.

        Without any, the session stays at its start. Damaged checkpoints are renamed.

        Raises:
            RunError: A checkpoint is undamaged but does not fit, or none is left and the start is not known.
        """
        for step in reversed(checkpoint.list_checkpoint_steps(self.folder.checkpoints)):
            try:
                latest = self._read_checkpoint(step)
                if (best_step := latest.state["best"]["step"]) not in (0, step):
                    self._read_checkpoint(best_step)
            except DamagedError as error:
                warn(f"{error}; going on from the one before")
                self.folder.add_event(CheckpointDamaged(step=step))
                path = checkpoint.locate_checkpoint(self.folder.checkpoints, step)
                with outside_faults(path):
                    path.rename(path.with_suffix(".damaged"))  # not deleted, because somebody may want it
                continue
            latest.restore(self.state.network, self.state.optimizer)
            self._load_state_dict(latest.state)
            break
        else:
            if self.step > 0 or isinstance(self.recipe.model, Custom):
                raise RunError(f"{self.folder.path} has no whole checkpoint left; train anew")
        self.folder.cut_history(self.epoch - 1)

    def _read_checkpoint(self, step: int) -> Checkpoint:
        path = checkpoint.locate_checkpoint(self.folder.checkpoints, step)
        stored = checkpoint.read_checkpoint(path, self.state.network, self.state.optimizer)
        expected = self._state_dict()
        if stored.state.keys() != expected.keys() or stored.state["best"].keys() != expected["best"].keys():
            raise RunError(f"the checkpoint {path} does not fit: another version of Foveal wrote it")
        return stored

    def _state_dict(self) -> dict[str, Any]:
        """Return everything but the tensors that a resumed run needs, as JSON values."""
        return {
            "epoch": self.epoch,
            "batches_done": self.batches_done,
            "step": self.step,
            "recipe": self.recipe.to_json(),
            "totals": asdict(self.totals),
            "stopped_early": self.stopped_early,
            "rate_halved": self.rate_halved,
            "progress": asdict(self.progress),
            "best": self.best.state_dict(),
            "plateau": self.plateau.state_dict() if self.plateau else None,
            "early_stopping": self.early_stopping.state_dict() if self.early_stopping else None,
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.batches_done, self.step = state["epoch"], state["batches_done"], state["step"]
        self.totals = EpochTotals(**state["totals"])
        self.stopped_early, self.rate_halved = state["stopped_early"], state["rate_halved"]
        self.progress = Progress(**state["progress"])
        self.best.load_state_dict(state["best"])
        if self.plateau is not None:
            self.plateau.load_state_dict(state["plateau"])
        if self.early_stopping is not None:
            self.early_stopping.load_state_dict(state["early_stopping"])
