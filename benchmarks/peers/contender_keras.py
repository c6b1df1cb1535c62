"""The notebook on TensorFlow as a contender: what `notebook_keras.py` does, in pieces.

Other scripts start it, in an environment that has TensorFlow; see `contender.py`.

    python -m benchmarks.peers.contender_keras DATA steps
    python -m benchmarks.peers.contender_keras DATA epochs
    python -m benchmarks.peers.contender_keras DATA evaluate
    python -m benchmarks.peers.contender_keras DATA read

- `steps` answers the request `steps`: it trains that many steps, at most to the epoch's end. They belong to
  one call of `model.fit` that is halted between two batches. So an epoch's first steps contain what the
  notebook's input does at the beginning of every epoch.
- `epochs` answers `epoch`: a whole epoch with validation and the notebook's callbacks.
- `evaluate` answers `evaluate` (`model.evaluate` on the test folder, as the notebook calls it) and
  `evaluate cached` (the same with the decoded batches kept in memory).
- `read` answers `read`: it lists all six folders and goes through every batch once.
"""

import argparse
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measurement.command_line import create_parser
from benchmarks.peers import notebook_keras as notebook
from benchmarks.peers.contender import Channel

WARM_UP_STEPS = 30
"""The number of steps before the first that counts. They have a `fit` of their own."""


def main() -> None:
    """Read the command line, and answer requests until the input ends."""
    parser = create_parser(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", choices=("steps", "epochs", "evaluate", "read"))
    parser.add_argument(
        "--out", type=Path, help="where the best model is saved; by default it is thrown away"
    )
    parser.add_argument("--limit", type=int, help="only so many batches a folder: a trial")
    args = parser.parse_args()
    channel = Channel()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    work: Callable[[Any, Channel, argparse.Namespace], None] = {
        "steps": answer_steps,
        "epochs": answer_epochs,
        "evaluate": answer_evaluate,
        "read": answer_read,
    }[args.work]
    work(tf, channel, args)


def describe_libraries(tf: Any) -> dict[str, Any]:  # noqa: ANN401 - whichever TensorFlow there is
    """Return the versions of the libraries."""
    names = {name: version(name) for name in ("keras", "numpy")}
    return {"versions": {"tensorflow": tf.__version__, **names}}


def answer_steps(tf: Any, channel: Channel, args: argparse.Namespace) -> None:  # noqa: ANN401
    """Train without end, halted between two batches until the next request comes."""
    training, _, _ = notebook.create_datasets(tf, args.data, args.limit)
    model = notebook.create_compiled_model(tf.keras)
    model.fit(notebook.read_folder(tf, args.data / notebook.TRAINING[0], WARM_UP_STEPS))

    class Halting(tf.keras.callbacks.Callback):  # type: ignore[misc]
        """Counts the steps of a request, answers when they are done, and waits for the next."""

        _supports_tf_logs = True  # Keras 2 need not turn its metrics into numbers at every step.

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002 - Keras's signature
            """Continue the request that came at the end of the epoch before, or wait for the first."""
            if epoch == 0:
                channel.ready(**describe_libraries(tf))
                self._take()
            self._first = True

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
            """Count a step."""
            self._done += 1
            if self._done == self._requested:
                self._answer()
                self._take()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
            """Answer early: a request never reaches into the next epoch."""
            if self._done:
                self._answer()
                self._take()
            self._began = time.perf_counter()  # What Keras does between epochs belongs to the next.

        def _take(self) -> None:
            self._requested, self._done, self._first = channel.wait()["n"], 0, False
            self._began = time.perf_counter()

        def _answer(self) -> None:
            seconds = time.perf_counter() - self._began
            channel.answer(seconds=seconds, steps=self._done, first=self._first)

    model.fit(training, epochs=100_000, callbacks=[Halting()])


def answer_epochs(tf: Any, channel: Channel, args: argparse.Namespace) -> None:  # noqa: ANN401
    """Train as the notebook does, halted between two epochs until the next request comes.

    The contender is ready when the notebook would begin its first epoch. When the notebook's early stopping
    ends a training, another begins.
    """
    training, validation, _ = notebook.create_datasets(tf, args.data, args.limit)
    started = False

    class Halting(tf.keras.callbacks.Callback):  # type: ignore[misc]
        """Waits before an epoch, and answers after it."""

        def on_train_begin(self, logs: object = None) -> None:  # noqa: ARG002
            """Wait for the first request."""
            nonlocal started
            if not started:
                started = True
                channel.ready(**describe_libraries(tf))
                self._take()
            else:  # The request came at the end of the training before.
                self._began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401 - whichever Keras
            """Answer and wait."""
            seconds = time.perf_counter() - self._began
            accuracy = float(logs["val_accuracy"])
            channel.answer(seconds=seconds, epoch=epoch + 1, validation_accuracy=accuracy)
            self._take()

        def _take(self) -> None:
            channel.wait()
            self._began = time.perf_counter()

    halting = Halting()
    while True:
        with TemporaryDirectory(dir=args.out) as scratch:
            callbacks = [*notebook.create_callbacks(tf.keras, Path(scratch)), halting]
            model = notebook.create_compiled_model(tf.keras)
            model.fit(training, validation_data=validation, epochs=30, callbacks=callbacks)


def answer_evaluate(tf: Any, channel: Channel, args: argparse.Namespace) -> None:  # noqa: ANN401
    """Evaluate the test folder at each request."""
    _, _, test = notebook.create_datasets(tf, args.data, args.limit)
    cached = notebook.read_folder(tf, args.data / notebook.TEST, args.limit)
    cached = cached.cache().prefetch(buffer_size=tf.data.AUTOTUNE)
    model = notebook.create_compiled_model(tf.keras)
    for data in (test, cached):  # This warms up, and fills the cache.
        model.evaluate(data)
    channel.ready(**describe_libraries(tf))
    while True:
        data = cached if channel.wait()["do"] == "evaluate cached" else test
        began = time.perf_counter()
        loss, _ = model.evaluate(data)
        channel.answer(seconds=time.perf_counter() - began, loss=float(loss))


def answer_read(tf: Any, channel: Channel, args: argparse.Namespace) -> None:  # noqa: ANN401
    """List the folders and go through all batches at each request."""
    names = [*notebook.TRAINING, notebook.VALIDATION, notebook.TEST]
    channel.ready(**describe_libraries(tf))
    while True:
        channel.wait()
        began = time.perf_counter()
        folders = [notebook.read_folder(tf, args.data / name, args.limit) for name in names]
        listed = time.perf_counter() - began
        images = sum(len(labels) for folder in folders for _, labels in folder)
        channel.answer(seconds=time.perf_counter() - began, listing_seconds=listed, images=images)


if __name__ == "__main__":
    main()
