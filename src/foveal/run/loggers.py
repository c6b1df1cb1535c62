"""What a run measures, sent to TensorBoard or MLflow.

A logger sends what stands in the run folder and was not sent yet. So it can be called at any time: after
every epoch, after an interruption, long after the run. It changes nothing in the run folder. Where it fails,
training continues.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any, Final, Protocol

from foveal import progress
from foveal.commands import show_command
from foveal.errors import MissingExtraError, RecipeError
from foveal.files.run_folder import RunFolder
from foveal.files.run_records import EpochRecord
from foveal.files.typed_json import nearest

RETRY_SECONDS: Final = 60.0
"""The seconds after which a logger that failed is tried again. It is tried once more at the end."""
_MLFLOW_VARIABLES: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables that MLflow reads, where the user has not set them. Without them it waits for minutes for a
server that is down, prints where results go, and reports its use to its makers."""


_CREDENTIALS: Final = re.compile(r"//[^/@\s]*@")

Figures = dict[tuple[str, int], float]
"""Figures by their name and step."""


class Logger(Protocol):
    """A place where figures are sent. It tells what it has before it is given more."""

    def read_sent(self) -> Figures:
        """Return the figures that it has."""

    def write(self, figures: Figures, settings: Mapping[str, str]) -> None:
        """Store figures and the run's settings."""

    def close(self, *, finished: bool) -> None:
        """Close the connection. `finished` tells whether the run has ended."""


def check_loggers(kinds: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of loggers, each once.

    Raises:
        RecipeError: A logger is unknown.
        MissingExtraError: The library of a logger is not installed.
    """
    names = tuple(dict.fromkeys([kinds] if isinstance(kinds, str) else kinds))
    for kind in names:
        if kind not in _KINDS:
            raise RecipeError(f"unknown logger {kind!r}; {nearest(kind, _KINDS)}")
        if find_spec(kind) is None:
            raise MissingExtraError(kind, "log")
    if "mlflow" in names and "MLFLOW_TRACKING_URI" not in os.environ and find_spec("sqlalchemy") is None:
        raise RecipeError(
            "MLflow's own local store needs all of MLflow: pip install mlflow; or name a server: "
            "MLFLOW_TRACKING_URI=http://…"
        )
    return names


class Loggers:
    """All loggers of a run.

    Args:
        kinds: Their names, as `check_loggers` returned them.
        folder: The run folder.
    """

    def __init__(self, kinds: Iterable[str], folder: RunFolder) -> None:
        self._folder = folder
        self._open: dict[str, Logger] = {}
        self._retry_at: dict[str, float] = {}
        self._kinds = tuple(kinds)
        self._sent: dict[str, Figures] = {}

    def send(self) -> None:
        """Send what is missing to all loggers that have not failed lately."""
        self._send_to([kind for kind in self._kinds if time.monotonic() >= self._retry_at.get(kind, 0.0)])

    def finish(self) -> None:
        """Send what is missing to all loggers, and close them: the run has ended."""
        self._send_to(self._kinds, finished=True)

    def leave(self) -> None:
        """Close the loggers that answer, in haste: the run is interrupted."""
        self._send_to([kind for kind in self._kinds if kind not in self._retry_at], finished=False)

    def _send_to(self, kinds: Iterable[str], *, finished: bool | None = None) -> None:
        for kind in kinds:
            try:
                with _quiet_mlflow():
                    self._send(kind)
                    if finished is not None:
                        self._open.pop(kind).close(finished=finished)
            except Exception as error:  # no fault of a library or a server may stop a run
                if kind not in self._retry_at:
                    reason = progress.printable(_CREDENTIALS.sub("//", " ".join(str(error).split())), 200)
                    progress.warn(
                        f"{kind} takes nothing ({reason}); training goes on, and what is missing is sent "
                        f"later, or by: {show_command('resume', self._folder.path, '--log', kind)}"
                    )
                self._retry_at[kind] = time.monotonic() + RETRY_SECONDS
                self._open.pop(kind, None)

    def _send(self, kind: str) -> None:
        if kind not in self._open:
            self._open[kind] = _KINDS[kind](self._folder)
            self._sent[kind] = self._open[kind].read_sent()
        sent = self._sent[kind]
        # An epoch that was trained anew, after divergence for example, has other figures. They are sent too.
        figures = {
            key: value for key, value in _iter_figures(self._folder) if not _is_same(sent.get(key), value)
        }
        if figures:
            self._open[kind].write(figures, dict(_iter_settings(self._folder.recipe)))
            sent |= figures


def _is_same(sent: float | None, value: float) -> bool:
    """Return whether a figure was sent, at least in single precision."""
    return sent is not None and abs(sent - value) <= 1e-6 * abs(value)


def _iter_figures(folder: RunFolder) -> Iterator[tuple[tuple[str, int], float]]:
    """Yield all that a run has measured, by name and step: the epochs, then the test."""
    history = folder.history()
    for record in history:
        for name in EpochRecord.__dataclass_fields__:
            value = getattr(record, name)
            if name not in ("epoch", "step") and value is not None:
                yield (name, record.epoch), float(value)
    if history and folder.evaluation.is_file():
        test = folder.scores.test
        if test is not None:
            yield ("test_accuracy", history[-1].epoch), test.accuracy
            yield ("test_loss", history[-1].epoch), test.loss


def _iter_settings(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings of a recipe with their paths."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _iter_settings(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """Let MLflow wait seconds, not minutes, for a server that does not answer, and print nothing."""
    added = {name: value for name, value in _MLFLOW_VARIABLES.items() if name not in os.environ}
    os.environ.update(added)
    levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in added:
            del os.environ[name]


class TensorBoard:
    """Event files in the folder `tensorboard` of the run. `tensorboard --logdir RUN` shows them."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / "tensorboard"
        self._has_settings = False
        self._writer: Any = None

    def read_sent(self) -> Figures:
        """Read the event files. One that was cut by a kill ends there."""
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util.tensor_util import make_ndarray

        figures: Figures = {}
        for file in sorted(self._path.glob("events.out.tfevents.*")):
            for event in EventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    if value.tag == "settings":
                        self._has_settings = True
                    else:
                        figures[_name_of_tag(value.tag), event.step] = float(make_ndarray(value.tensor))
        return figures

    def write(self, figures: Figures, settings: Mapping[str, str]) -> None:
        """Write figures, and wait until they are on the disk."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._writer is None:
            self._writer = EventFileWriter(str(self._path))
        if not self._has_settings:
            table = "\n".join(f"    {key} = {value}" for key, value in settings.items())
            self._writer.add_event(Event(wall_time=time.time(), step=0, summary=text_pb("settings", table)))
            self._has_settings = True
        for (name, step), value in figures.items():
            summary = scalar_pb(_tag_of_name(name), value)
            self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def close(self, *, finished: bool) -> None:  # noqa: ARG002 - an event file does not tell
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


def _tag_of_name(name: str) -> str:
    """Return a tag that lets TensorBoard draw training and validation beside each other."""
    split, _, figure = name.rpartition("_")
    return name if figure == "rate" else f"{figure}/{split or 'training'}"


def _name_of_tag(tag: str) -> str:
    figure, _, split = tag.partition("/")
    return tag if not split else figure if split == "training" else f"{split}_{figure}"


class MLflow:
    """A run in MLflow's store, at MLFLOW_TRACKING_URI if that is set. A tag finds it again."""

    def __init__(self, folder: RunFolder) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        self._id = self._find_run(folder)

    def _find_run(self, folder: RunFolder) -> str:
        """Return the id of the run in the store. It is made if it is not there."""
        name = progress.printable(PurePath(folder.environment.data).name or "foveal", 100)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = (
            self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        )
        tag = _digest_identity(folder)
        for run in self._client.search_runs([experiment_id], filter_string=f"tags.foveal_run = '{tag}'"):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        tags = {"foveal_run": tag, "foveal": folder.environment.foveal}
        run = self._client.create_run(
            experiment_id, run_name=progress.printable(folder.path.resolve().name, 100), tags=tags
        )
        return str(run.info.run_id)

    def read_sent(self) -> Figures:
        """Read what the store has. Where a step has several figures, it is the last."""
        names = self._client.get_run(self._id).data.metrics
        return {
            (name, metric.step): metric.value
            for name in names
            for metric in self._client.get_metric_history(self._id, name)
        }

    def write(self, figures: Figures, settings: Mapping[str, str]) -> None:
        """Send figures and settings, one step at a time."""
        from mlflow.entities import Metric, Param

        now = int(1000 * time.time())
        params = [Param(key, value[:500]) for key, value in settings.items()]
        for step in dict.fromkeys(step for _, step in figures):
            metrics = [Metric(name, value, now, step) for (name, at), value in figures.items() if at == step]
            self._client.log_batch(self._id, metrics=metrics, params=params)
            params = []

    def close(self, *, finished: bool) -> None:
        """Mark the run as finished or stopped."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


def _digest_identity(folder: RunFolder) -> str:
    """Return a digest that tells this run from all others, wherever its folder lies."""
    first = folder.events()[0]
    return hashlib.sha256(
        f"{first.time} {folder.environment.seed} {folder.dataset.fingerprint}".encode()
    ).hexdigest()


_KINDS: Final[Mapping[str, Any]] = {"tensorboard": TensorBoard, "mlflow": MLflow}
