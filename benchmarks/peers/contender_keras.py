"""The notebook on TensorFlow as a contender: what `notebook_keras.py` does, in pieces.

Other scripts start it, in an environment that has TensorFlow; see `contender.py`.

    python benchmarks/contender_keras.py DATA steps
    python benchmarks/contender_keras.py DATA epochs
    python benchmarks/contender_keras.py DATA evaluate
    python benchmarks/contender_keras.py DATA read

`steps` answers to `steps`: train so many steps, at most to the epoch's end. They belong to one call of
`model.fit` that is halted between two batches, so an epoch's first steps contain what the notebook's input
does at the beginning of every epoch. `epochs` answers to `epoch`: a whole epoch with validation and the
notebook's callbacks. `evaluate` answers to `evaluate` (`model.evaluate` on the test folder, as the
notebook calls it) and `evaluate cached` (the same with the decoded batches kept in memory). `read` answers
to `read`: list all six folders and go through every batch once.
"""

import argparse
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import notebook_keras as notebook
from contender import Channel

WARM_UP = 30
"""Steps before the first that counts, in a `fit` of their own."""


def main() -> None:
    """Be this contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("work", choices=("steps", "epochs", "evaluate", "read"))
    parser.add_argument(
        "--out", type=Path, help="where the best model is saved; by default it is thrown away"
    )
    parser.add_argument("--limit", type=int, help="only so many batches a folder: a trial")
    asked = parser.parse_args()
    channel = Channel()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    work: Callable[[Any, Channel, argparse.Namespace], None] = {
        "steps": steps,
        "epochs": epochs,
        "evaluate": evaluate,
        "read": read,
    }[asked.work]
    work(tf, channel, asked)


def about(tf: Any) -> dict[str, Any]:  # noqa: ANN401 - whichever TensorFlow there is
    """Say what this process runs on."""
    names = {name: version(name) for name in ("keras", "numpy")}
    return {"versions": {"tensorflow": tf.__version__, **names}}


def steps(tf: Any, channel: Channel, asked: argparse.Namespace) -> None:  # noqa: ANN401
    """Train for ever, halted between two batches until somebody asks for more."""
    training, _, _ = notebook.datasets(tf, asked.data, asked.limit)
    model = notebook.compiled_model(tf.keras)
    model.fit(notebook.folder(tf, asked.data / notebook.TRAINING[0], WARM_UP))

    class Halting(tf.keras.callbacks.Callback):  # type: ignore[misc]
        """Counts the steps of a request; answers and waits when they are done."""

        _supports_tf_logs = True  # spares Keras 2 turning its metrics into numbers for us, every step

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            """Go on with the request that came at the end of the epoch before, or wait for the first."""
            if epoch == 0:
                channel.ready(**about(tf))
                self._take()
            self._first = True

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            """Count a step."""
            self._done += 1
            if self._done == self._wanted:
                self._answer()
                self._take()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            """Answer early: a request never reaches into the next epoch."""
            if self._done:
                self._answer()
                self._take()
            self._began = time.perf_counter()  # what Keras does between epochs belongs to the next

        def _take(self) -> None:
            self._wanted, self._done, self._first = channel.wait()["n"], 0, False
            self._began = time.perf_counter()

        def _answer(self) -> None:
            seconds = time.perf_counter() - self._began
            channel.answer(seconds=seconds, steps=self._done, first=self._first)

    model.fit(training, epochs=100_000, callbacks=[Halting()])


def epochs(tf: Any, channel: Channel, asked: argparse.Namespace) -> None:  # noqa: ANN401
    """Train as the notebook does, halted between two epochs until somebody asks for one.

    It is ready when the notebook would begin with its first epoch. When the notebook's early stopping ends
    a training, another begins.
    """
    training, validation, _ = notebook.datasets(tf, asked.data, asked.limit)
    heard = False

    class Halting(tf.keras.callbacks.Callback):  # type: ignore[misc]
        """Waits before an epoch, and answers after it."""

        def on_train_begin(self, logs: object = None) -> None:
            """Wait for the first request."""
            nonlocal heard
            if not heard:
                heard = True
                channel.ready(**about(tf))
                self._take()
            else:  # the request came at the end of the training before
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
        with TemporaryDirectory(dir=asked.out) as scratch:
            callbacks = [*notebook.decisions(tf.keras, Path(scratch)), halting]
            model = notebook.compiled_model(tf.keras)
            model.fit(training, validation_data=validation, epochs=30, callbacks=callbacks)


def evaluate(tf: Any, channel: Channel, asked: argparse.Namespace) -> None:  # noqa: ANN401
    """Judge the test folder whenever asked."""
    _, _, test = notebook.datasets(tf, asked.data, asked.limit)
    cached = notebook.folder(tf, asked.data / notebook.TEST, asked.limit)
    cached = cached.cache().prefetch(buffer_size=tf.data.AUTOTUNE)
    model = notebook.compiled_model(tf.keras)
    for data in (test, cached):  # warms up, and fills the cache
        model.evaluate(data)
    channel.ready(**about(tf))
    while True:
        data = cached if channel.wait()["do"] == "evaluate cached" else test
        began = time.perf_counter()
        loss, _ = model.evaluate(data)
        channel.answer(seconds=time.perf_counter() - began, loss=float(loss))


def read(tf: Any, channel: Channel, asked: argparse.Namespace) -> None:  # noqa: ANN401
    """List the folders and go through all batches, anew whenever asked."""
    names = [*notebook.TRAINING, notebook.VALIDATION, notebook.TEST]
    channel.ready(**about(tf))
    while True:
        channel.wait()
        began = time.perf_counter()
        folders = [notebook.folder(tf, asked.data / name, asked.limit) for name in names]
        listed = time.perf_counter() - began
        images = sum(len(labels) for folder in folders for _, labels in folder)
        channel.answer(seconds=time.perf_counter() - began, listing_seconds=listed, images=images)


if __name__ == "__main__":
    main()
