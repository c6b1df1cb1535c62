"""What a report tells of a run: its records, its evaluations and the findings from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

from foveal.commands import show_command
from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.roc import ClassCurves
from foveal.files.events import Event, LearningRateCut, Resumed, Trained
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import DatasetRecord, EnvironmentRecord, EpochRecord
from foveal.reporting.budget_findings import describe_budget
from foveal.reporting.confidence_findings import describe_confidence, summarise
from foveal.reporting.data_findings import describe_dataset
from foveal.reporting.findings import Finding, describe_evaluation
from foveal.reporting.gallery import Gallery
from foveal.reporting.training_findings import describe_history
from foveal.reporting.usefulness import describe_uselessness

if TYPE_CHECKING:
    from foveal.models.registry import Layer


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a report tells, as plain data."""

    title: str
    recipe: Mapping[str, object]
    """The recipe as JSON."""
    dataset: DatasetRecord
    """The images, classes and splits."""
    environment: EnvironmentRecord
    """What the run was trained with and on."""
    history: Sequence[EpochRecord]
    """The epochs, in order."""
    events: Sequence[Event] = ()
    """What happened to the run, oldest first."""
    validation: Evaluation | None = None
    """The evaluation on the validation split."""
    test: Evaluation | None = None
    """The evaluation on the test split."""
    curves: Sequence[ClassCurves] = ()
    """The curves of the classes that have any, from the split of `evaluation`."""
    layers: "Sequence[Layer]" = ()
    """The layers of the network, in order."""
    gallery: Gallery | None = None
    """The errors on the split of `evaluation`, with their images."""

    @classmethod
    def from_run(
        cls,
        folder: RunFolder,
        *,
        validation: Evaluation | None = None,
        test: Evaluation | None = None,
        curves: Sequence[ClassCurves] = (),
        layers: "Sequence[Layer]" = (),
        gallery: Gallery | None = None,
    ) -> "Report":
        """Join the records of a run folder with what was measured of the run."""
        recipe = folder.recipe
        assert isinstance(recipe, dict)
        return cls(
            title=folder.path.resolve().name,
            recipe=recipe,
            dataset=folder.dataset,
            environment=folder.environment,
            history=folder.history(),
            events=folder.events(),
            validation=validation,
            test=test,
            curves=curves,
            layers=layers,
            gallery=gallery,
        )

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation that the report explains: on the test split, else on the validation split."""
        return self.test or self.validation

    @property
    def next_learning_rate(self) -> float | None:
        """The learning rate of the next epoch, if it was cut after the last one."""
        for event in self.events:
            if isinstance(event, LearningRateCut) and self.history and event.epoch == self.history[-1].epoch:
                return event.learning_rate
        return None

    @property
    def scheduled(self) -> bool:
        """Whether a schedule set the learning rate of each step."""
        return self.recipe.get("anneal") is not None

    @cached_property
    def findings(self) -> list[Finding]:
        """All findings: about the evaluation, the data, the training and the time budget."""
        of_evaluation: list[Finding] = []
        if self.evaluation is not None:
            of_evaluation = [
                *describe_uselessness(self.evaluation),
                *describe_evaluation(self.evaluation),
                *describe_confidence(self.evaluation),
            ]
        of_training = describe_history(
            self.history, next_learning_rate=self.next_learning_rate, scheduled=self.scheduled
        )
        of_data = describe_dataset(self.dataset)
        return [*of_evaluation, *of_data, *of_training, *describe_budget(self.events)]

    @cached_property
    def summary(self) -> Finding | None:
        """The summary of the evaluation in plain words; None without an evaluation."""
        if self.evaluation is None:
            return None
        summary, doubts = summarise(self.evaluation), describe_uselessness(self.evaluation)
        return replace(summary, sentence=" ".join(finding.sentence for finding in (*doubts, summary)))

    @property
    def seconds(self) -> float | None:
        """The seconds of training since the run began or was last resumed; None if it has not ended."""
        return None if self._end is None else self._end.seconds

    @property
    def stopped(self) -> str | None:
        """Why training ended: "finished", "early" or "budget"; None if it has not ended."""
        return None if self._end is None else self._end.stopped

    @property
    def resumed(self) -> bool:
        """Whether training was ever resumed."""
        return any(isinstance(event, Resumed) for event in self.events)

    @property
    def command(self) -> str:
        """The shell command that trains the same run again from its `recipe.json`."""
        words = ["--recipe", "recipe.json"]
        for option in ("layout", "validation", "group", "seed"):
            value = getattr(self.environment, option)
            if str(value).startswith("-"):  # it must not be taken for an option
                words.append(f"--{option}={value}")
            elif value is not None:
                words += [f"--{option}", str(value)]
        if (table := self.environment.table) is not None:
            words += [f"--columns={role}={name}" for role, name in table.columns.items()]
            words += [] if table.images is None else [f"--images={table.images}"]
        return show_command("train", PurePath(PurePath(self.environment.data).name), *words)

    @property
    def _end(self) -> Trained | None:
        return next((event for event in reversed(self.events) if isinstance(event, Trained)), None)
