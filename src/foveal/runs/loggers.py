"""What a run measures, sent to TensorBoard or MLflow; the run folder stays the truth.

A logger sends what it finds in the run folder and has not sent yet, so it can be called at any time: after
every epoch, after an interruption, long after the run. It changes nothing in the run, and where it fails,
training goes on.
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
from foveal.errors import MissingExtraError, RecipeError
from foveal.files.run_folder import EpochRecord, RunFolder, read_json
from foveal.files.typed_json import nearest

AGAIN: Final = 60.0
"""Seconds after which a logger that failed is tried again; and once more at the end."""
_MANNERS: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""MLflow's own variables: left alone it waits for minutes for a server that is down, prints where results go,
and reports its use to its makers. The user's come first."""


_WITH_PASSWORD: Final = re.compile(r"//[^/@\s]*@")

Figures = dict[tuple[str, int], float]
"""By name and step."""


class Logger(Protocol):
    """Something that takes figures by step; it is asked what it has before it is given more."""

    def sent(self) -> Figures:
        """Return what it has."""

    def write(self, figures: Figures, settings: Mapping[str, str]) -> None:
        """Take figures, and the run's settings."""

    def close(self, *, finished: bool) -> None:
        """Let go; `finished` says that the run is, too."""


def check(kinds: str | Iterable[str]) -> tuple[str, ...]:
    """Return the loggers asked for, each once.

    Raises:
        RecipeError: one is unknown.
        MissingExtraError: its library is not installed.
    """
    asked = tuple(dict.fromkeys([kinds] if isinstance(kinds, str) else kinds))
    for kind in asked:
        if kind not in _KINDS:
            raise RecipeError(f"unknown logger {kind!r}; {nearest(kind, _KINDS)}")
        if find_spec(kind) is None:
            raise MissingExtraError(kind, "log")
    if "mlflow" in asked and "MLFLOW_TRACKING_URI" not in os.environ and find_spec("sqlalchemy") is None:
        raise RecipeError(
            "MLflow's own local store needs all of MLflow: pip install mlflow; or name a server: "
            "MLFLOW_TRACKING_URI=http://…"
        )
    return asked


class Loggers:
    """All loggers of a run."""

    def __init__(self, kinds: Iterable[str], folder: RunFolder) -> None:
        self._folder = folder
        self._open: dict[str, Logger] = {}
        self._failed: dict[str, float] = {}
        self._kinds = tuple(kinds)
        self._sent: dict[str, Figures] = {}

    def send(self) -> None:
        """Send what is missing to all that have not failed lately."""
        self._each([kind for kind in self._kinds if time.monotonic() >= self._failed.get(kind, 0.0)])

    def finish(self) -> None:
        """Send what is missing, try again whoever failed, and let go: the run is finished."""
        self._each(self._kinds, finished=True)

    def leave(self) -> None:
        """Let go of those that answer, in haste: the run is interrupted."""
        self._each([kind for kind in self._kinds if kind not in self._failed], finished=False)

    def _each(self, kinds: Iterable[str], *, finished: bool | None = None) -> None:
        for kind in kinds:
            try:
                with _mannered():
                    self._send(kind)
                    if finished is not None:
                        self._open.pop(kind).close(finished=finished)
            except Exception as error:  # a library's, a server's: none of it may stop a run
                if kind not in self._failed:
                    reason = progress.printable(_WITH_PASSWORD.sub("//", " ".join(str(error).split())), 200)
                    progress.warn(
                        f"{kind} takes nothing ({reason}); training goes on, and what is missing is sent "
                        f"later, or by: foveal resume {self._folder.path} --log {kind}"
                    )
                self._failed[kind] = time.monotonic() + AGAIN
                self._open.pop(kind, None)

    def _send(self, kind: str) -> None:
        if kind not in self._open:
            self._open[kind] = _KINDS[kind](self._folder)
            self._sent[kind] = self._open[kind].sent()
        sent = self._sent[kind]
        # An epoch that was trained anew, after divergence say, has other figures: these follow.
        figures = {key: value for key, value in _figures(self._folder) if not _same(sent.get(key), value)}
        if figures:
            self._open[kind].write(figures, dict(_flat(self._folder.recipe)))
            sent |= figures


def _same(sent: float | None, value: float) -> bool:
    """Say whether a figure was sent, in single precision at least."""
    return sent is not None and abs(sent - value) <= 1e-6 * abs(value)


def _figures(folder: RunFolder) -> Iterator[tuple[tuple[str, int], float]]:
    """Give all that a run has measured, by name and step: epochs, then what it was judged by at the end."""
    history = folder.history()
    for record in history:
        for name in EpochRecord.__dataclass_fields__:
            value = getattr(record, name)
            if name not in ("epoch", "step") and value is not None:
                yield (name, record.epoch), float(value)
    if history and folder.evaluation.is_file():
        test = read_json(folder.evaluation).get("test")
        if test is not None:
            for name in ("accuracy", "loss"):
                yield (f"test_{name}", history[-1].epoch), float(test[name])


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Give the leaves of a recipe by their paths."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _flat(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)


@contextmanager
def _mannered() -> Iterator[None]:
    """Have MLflow wait seconds, not minutes, for a server that does not answer, and print nothing."""
    ours = {name: value for name, value in _MANNERS.items() if name not in os.environ}
    os.environ.update(ours)
    levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in ours:
            del os.environ[name]


class TensorBoard:
    """Event files in the run's folder `tensorboard`: `tensorboard --logdir RUN`."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / "tensorboard"
        self._settings = False
        self._writer: Any = None

    def sent(self) -> Figures:
        """Read what the event files hold; one that a kill tore ends where it is torn."""
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util.tensor_util import make_ndarray

        found: Figures = {}
        for file in sorted(self._path.glob("events.out.tfevents.*")):
            for event in EventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    if value.tag == "settings":
                        self._settings = True
                    else:
                        found[_untagged(value.tag), event.step] = float(make_ndarray(value.tensor))
        return found

    def write(self, figures: Figures, settings: Mapping[str, str]) -> None:
        """Write figures, and wait until they are on disk."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._writer is None:
            self._writer = EventFileWriter(str(self._path))
        if not self._settings:
            table = "\n".join(f"    {key} = {value}" for key, value in settings.items())
            self._writer.add_event(Event(wall_time=time.time(), step=0, summary=text_pb("settings", table)))
            self._settings = True
        for (name, step), value in figures.items():
            summary = scalar_pb(_tagged(name), value)
            self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


def _tagged(name: str) -> str:
    """Name a figure so that TensorBoard draws training and validation beside each other."""
    of, _, figure = name.rpartition("_")
    return name if figure == "rate" else f"{figure}/{of or 'training'}"


def _untagged(tag: str) -> str:
    figure, _, of = tag.partition("/")
    return tag if not of else figure if of == "training" else f"{of}_{figure}"


class MLflow:
    """A run in MLflow's store, at MLFLOW_TRACKING_URI if that is set: named as the folder, found by a tag."""

    def __init__(self, folder: RunFolder) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        self._id = self._find(folder)

    def _find(self, folder: RunFolder) -> str:
        """Return the id of the run's counterpart, which is made if it is not there."""
        name = progress.printable(PurePath(str(folder.environment["data"])).name or "foveal", 100)
        experiment = self._client.get_experiment_by_name(name)
        place = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        tag = _identity(folder)
        for found in self._client.search_runs([place], filter_string=f"tags.foveal_run = '{tag}'"):
            self._client.update_run(found.info.run_id, status="RUNNING")
            return str(found.info.run_id)
        tags = {"foveal_run": tag, "foveal": str(folder.environment["foveal"])}
        made = self._client.create_run(
            place, run_name=progress.printable(folder.path.resolve().name, 100), tags=tags
        )
        return str(made.info.run_id)

    def sent(self) -> Figures:
        """Ask the store what it has: of a step that has several figures, the last."""
        names = self._client.get_run(self._id).data.metrics
        return {
            (name, each.step): each.value
            for name in names
            for each in self._client.get_metric_history(self._id, name)
        }

    def write(self, figures: Figures, settings: Mapping[str, str]) -> None:
        """Send figures and settings, a step at a time: whole or not at all."""
        from mlflow.entities import Metric, Param

        now = int(1000 * time.time())
        params = [Param(key, value[:500]) for key, value in settings.items()]
        for step in dict.fromkeys(step for _, step in figures):
            metrics = [Metric(name, value, now, at) for (name, at), value in figures.items() if at == step]
            self._client.log_batch(self._id, metrics=metrics, params=params)
            params = []

    def close(self, *, finished: bool) -> None:
        """Say how the run stands."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


def _identity(folder: RunFolder) -> str:
    """Return what tells this run from all others, wherever its folder lies: a digest of its beginning."""
    first = folder.events()[0]
    return hashlib.sha256(
        f"{first['time']} {folder.environment['seed']} {folder.dataset['fingerprint']}".encode()
    ).hexdigest()


_KINDS: Final[Mapping[str, Any]] = {"tensorboard": TensorBoard, "mlflow": MLflow}
