"""A run and what was measured of it -> one offline HTML page, its pictures, and every number as JSON."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from foveal.evaluation.metrics import Evaluation
from foveal.evaluation.roc import ClassCurves
from foveal.files.events import Event, LearningRateCut, Resumed, Trained
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import DatasetRecord, EnvironmentRecord, EpochRecord
from foveal.reporting.budget_findings import findings_of_budget
from foveal.reporting.confidence_findings import findings_of_confidence, summary
from foveal.reporting.findings import Finding, findings_of_evaluation
from foveal.reporting.gallery import Gallery
from foveal.reporting.training_findings import findings_of_history

if TYPE_CHECKING:
    from foveal.models.registry import LayerRow


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report tells, as plain data."""

    title: str
    recipe: Mapping[str, Any]
    """`recipe.json`."""
    dataset: DatasetRecord
    """The images, classes and splits."""
    environment: EnvironmentRecord
    """What the run was trained with and on."""
    history: Sequence[EpochRecord]
    events: Sequence[Event] = ()
    """`events.jsonl`: how training ended, and the learning-rate cut after the last epoch."""
    validation: Evaluation | None = None
    test: Evaluation | None = None
    curves: Sequence[ClassCurves] = ()
    """Of the test split if that was judged, else of the validation split."""
    layers: "Sequence[LayerRow]" = ()
    gallery: Gallery | None = None
    """The errors, of the same split."""

    @classmethod
    def of_run(
        cls,
        folder: RunFolder,
        *,
        validation: Evaluation | None = None,
        test: Evaluation | None = None,
        curves: Sequence[ClassCurves] = (),
        layers: "Sequence[LayerRow]" = (),
        gallery: Gallery | None = None,
    ) -> "Report":
        """Gather what a run folder holds and put the evaluations beside it."""
        return cls(
            title=folder.path.resolve().name,
            recipe=folder.recipe,
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
    def judged(self) -> Evaluation | None:
        """The evaluation that the report goes into: the test split's, else the validation split's."""
        return self.test or self.validation

    @property
    def next_learning_rate(self) -> float | None:
        """The rate that another epoch would have trained with, where it was cut after the last one."""
        for event in self.events:
            if isinstance(event, LearningRateCut) and self.history and event.epoch == self.history[-1].epoch:
                return event.learning_rate
        return None

    @property
    def scheduled(self) -> bool:
        """Whether the learning rate followed a schedule by the step."""
        return self.recipe.get("anneal") is not None

    @cached_property
    def findings(self) -> list[Finding]:
        """All that is said in sentences, computed."""
        e = self.judged
        judged = [] if e is None else [*findings_of_evaluation(e), *findings_of_confidence(e)]
        of_history = findings_of_history(
            self.history, next_learning_rate=self.next_learning_rate, scheduled=self.scheduled
        )
        return [*judged, *of_history, *findings_of_budget(self.events)]

    @cached_property
    def summary(self) -> Finding | None:
        """The whole in a few plain words, if something was judged."""
        return None if self.judged is None else summary(self.judged)

    @property
    def seconds(self) -> float | None:
        """How long training took (since it was last resumed), if it has ended."""
        ends = [event.seconds for event in self.events if isinstance(event, Trained)]
        return ends[-1] if ends else None

    @property
    def stopped(self) -> str | None:
        """Why training ended, if it has: "finished" or "early"."""
        ends = [event.stopped for event in self.events if isinstance(event, Trained)]
        return ends[-1] if ends else None

    @property
    def resumed(self) -> bool:
        """Whether training was ever resumed."""
        return any(isinstance(event, Resumed) for event in self.events)

    @property
    def command(self) -> str:
        """The command that trains the same run again, from the run's `recipe.json`."""
        then = self.environment
        parts = ["foveal", "train", PurePath(then.data).name, "--recipe", "recipe.json"]
        for option in ("validation", "group", "seed"):
            if (value := getattr(then, option)) is not None:
                parts += [f"--{option}", str(value)]
        return shlex.join(parts)
