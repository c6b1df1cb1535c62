"""Run the Keras notebook that Foveal replaces, on TensorFlow, and keep what it measured as data.

    foveal data get cifar10 DATA
    python -m benchmarks.peers.notebook_keras DATA --tensorflow 2.15
    python -m benchmarks.peers.notebook_keras DATA --tensorflow current --epochs 2

The first is the whole notebook: four training folders, thirty epochs at most with its callbacks, evaluation,
predictions on the test folder. `--epochs 2` is enough to compare the time of a step.

TensorFlow is installed into a virtual environment of its own, in the user's cache folder or where
`--environment` says; Foveal's environment is not touched. TensorFlow 2.15 with its Keras 2 exists for Python
3.9 to 3.11 only: with a newer Python the script looks for `python3.11`, or takes what `--python` names.

The result is one JSON file under `benchmarks/results/peers/`: the command, versions, hardware, load, seconds
of start-up, of every epoch and of the evaluation, peak memory, losses and accuracies. The notebook sets no
seed; `--seed` sets one. The only difference: predicting the test folder prints no progress bar per batch.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import RESULTS
from benchmarks.measurement import machine
from benchmarks.measurement.command_line import create_parser

TRAINING = ("train1", "train3", "train4", "train5")
VALIDATION = "train2"
TEST = "test"
SIDE = 32
BATCH = 64
CLASSES = 10


def main() -> int:
    """Read the command line; run here, or in an environment made for it."""
    options = parse_arguments()
    missing = [name for name in (*TRAINING, VALIDATION, TEST) if not (options.data / name).is_dir()]
    if missing:
        print(
            f"{options.data} has no {missing[0]}; make it with: foveal data get cifar10 DIR", file=sys.stderr
        )
        return 2
    if not options.here:
        return run_in_environment(options)
    result = run_notebook(options)
    out: Path = options.out or choose_free_file(result, options)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"test accuracy {result['test']['accuracy']:.4f}; everything is in {out}")
    return 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = create_parser(__doc__)
    parser.add_argument("data", type=Path, metavar="DATA", help="the class folders: train1 … train5, test")
    parser.add_argument("--tensorflow", choices=["2.15", "current"], default="current")
    parser.add_argument("--epochs", type=int, default=30, help="at most so many epochs (the notebook's: 30)")
    parser.add_argument("--limit", type=int, metavar="BATCHES", help="only so many batches a folder: a trial")
    parser.add_argument("--seed", type=int, help="a seed for everything random (the notebook sets none)")
    parser.add_argument("--environment", type=Path, metavar="DIR", help="where TensorFlow is installed")
    parser.add_argument("--python", metavar="PROGRAM", help="the Python to make that environment with")
    parser.add_argument("--here", action="store_true", help="use the TensorFlow of this very Python instead")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the result's file, in place of a numbered one"
    )
    return parser.parse_args()


# ---- the environment with TensorFlow


class UnavailableError(Exception):
    """TensorFlow cannot be installed here. The message says why; `exit_code` is the exit status."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_in_environment(options: argparse.Namespace) -> int:
    """Create the environment if it does not exist yet, and run this script in it."""
    try:
        python = prepare_environment(
            options.tensorflow, environment=options.environment, python=options.python
        )
    except UnavailableError as reason:
        print(reason, file=sys.stderr)
        return reason.exit_code
    command = [str(python), "-m", "benchmarks.peers.notebook_keras", *sys.argv[1:], "--here"]
    return subprocess.run(command, check=False).returncode


def prepare_environment(tensorflow: str, *, environment: Path | None, python: str | None = None) -> Path:
    """Install TensorFlow into an environment, unless it is there, and return the environment's Python.

    Args:
        tensorflow: "2.15" or "current".
        environment: The environment's folder. By default it is one in the user's cache.
        python: The Python to create it with. By default it is one that this TensorFlow exists for.

    Raises:
        UnavailableError: There is no such Python, or the installation failed.
    """
    base = python or find_suitable_python(tensorflow)
    if base is None:
        raise UnavailableError(
            "TensorFlow 2.15 needs Python 3.9 to 3.11, and there is no python3.11 on the PATH; "
            "install one, or name it with --python",
            exit_code=2,
        )
    folder = environment or default_environment(tensorflow)
    program = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    if not ready.is_file():
        print(f"installing TensorFlow {tensorflow} into {folder}", file=sys.stderr)
        install = [str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [base, "-m", "venv", "--clear", str(folder)],
            [*install, *list_requirements(tensorflow)],
        ):
            if subprocess.run(command, check=False).returncode:
                raise UnavailableError(
                    f"TensorFlow {tensorflow} could not be installed: see above", exit_code=3
                )
        ready.touch()  # This comes last, so that an installation cut short is repeated.
    return program


def find_suitable_python(tensorflow: str) -> str | None:
    """Return a Python that this TensorFlow exists for, or None."""
    if tensorflow == "current" or sys.version_info[:2] <= (3, 11):
        return sys.executable
    return shutil.which("python3.11")


def list_requirements(tensorflow: str) -> list[str]:
    """Return what pip has to install: the build for CPUs where there is one."""
    small = platform.machine().lower() in ("x86_64", "amd64") and sys.platform != "darwin"
    name = "tensorflow-cpu" if small else "tensorflow"
    return [f"{name}==2.15.*", "numpy<2"] if tensorflow == "2.15" else [name]


def default_environment(tensorflow: str) -> Path:
    """Return the environment's folder in the user's cache."""
    from platformdirs import user_cache_path

    return user_cache_path("foveal") / "benchmarks" / f"tensorflow-{tensorflow}"


# ---- the notebook


def run_notebook(options: argparse.Namespace) -> dict[str, Any]:
    """Do what the notebook does, cell by cell, and measure the time of each part."""
    started = datetime.now(UTC)
    load_before = machine.load_average()
    clock = Clock()

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np
    import tensorflow as tf

    keras = tf.keras
    tf.get_logger().setLevel("ERROR")
    if options.seed is not None:
        keras.utils.set_random_seed(options.seed)
    clock.lap("import")

    training, validation, test = create_datasets(tf, options.data, options.limit)
    clock.lap("datasets")

    model = create_compiled_model(keras)
    clock.lap("model")

    epochs = fit(keras, model, training, validation, options.epochs)
    clock.lap("fit")

    validation_loss, validation_accuracy = model.evaluate(validation)
    clock.lap("evaluate")

    n, accuracy = measure_test_accuracy(model, test)
    clock.lap("test")

    return {
        "schema": 1,
        "command": format_command(options, tf.__version__),
        "started": started.isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": version("keras"),
            "numpy": np.__version__,
        },
        "hardware": machine.describe_hardware(),
        "load": {"before": load_before, "after": machine.load_average()},
        "seed": options.seed,
        "limit": options.limit,
        "parameters": {
            "trainable": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
            "other": sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights),
        },
        "seconds": clock.summarise(),
        "peak_memory_bytes": machine.peak_memory(),
        "epochs": epochs,
        "best_epoch": min(epochs, key=lambda epoch: epoch["validation_loss"])["epoch"],
        "validation": {"loss": float(validation_loss), "accuracy": float(validation_accuracy)},
        "test": {"n": n, "accuracy": accuracy},
    }


def fit(
    keras: Any,  # noqa: ANN401 - whichever Keras there is
    model: Any,  # noqa: ANN401
    training: Any,  # noqa: ANN401 - tf.data.Dataset
    validation: Any,  # noqa: ANN401
    max_epochs: int,
) -> list[dict[str, Any]]:
    """Train the model with the notebook's callbacks, and return the history of its epochs."""
    clock = EpochClock()
    with tempfile.TemporaryDirectory() as scratch:
        timing = keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: clock.begin(),  # noqa: ARG005 - Keras passes them by name
            on_epoch_end=lambda epoch, logs: clock.end(),  # noqa: ARG005
        )
        history = model.fit(
            training,
            validation_data=validation,
            epochs=max_epochs,
            callbacks=[*create_callbacks(keras, Path(scratch)), timing],
        ).history
    rates = history.get("learning_rate", history.get("lr"))  # Keras 3 and Keras 2 use different names.
    return [
        {
            "epoch": number + 1,
            "seconds": round(clock.seconds[number], 3),
            "learning_rate": float(rates[number]),
            "loss": float(history["loss"][number]),
            "accuracy": float(history["accuracy"][number]),
            "validation_loss": float(history["val_loss"][number]),
            "validation_accuracy": float(history["val_accuracy"][number]),
        }
        for number in range(len(history["loss"]))
    ]


def measure_test_accuracy(model: Any, test: Any) -> tuple[int, float]:  # noqa: ANN401 - whichever Keras
    """Return the number of test images and the accuracy on them, batch by batch as the notebook does."""
    import numpy as np

    labels: list[int] = []
    predicted: list[int] = []
    for images, truth in test:  # The test folder comes shuffled, so the labels are gathered on the way.
        labels.extend(truth.numpy().tolist())
        predicted.extend(np.argmax(model.predict(images, verbose=0), axis=-1).tolist())
    correct = sum(int(a == b) for a, b in zip(labels, predicted, strict=True))
    return len(labels), correct / len(labels)


def read_folder(tf: Any, path: Path, limit: int | None = None) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """Return one folder's images in batches, at most `limit` of them."""
    images = tf.keras.utils.image_dataset_from_directory(path, image_size=(SIDE, SIDE), batch_size=BATCH)
    assert len(images.class_names) == CLASSES, f"{path} has {len(images.class_names)} classes"
    return images if limit is None else images.take(limit)


def create_datasets(tf: Any, data: Path, limit: int | None) -> tuple[Any, Any, Any]:  # noqa: ANN401
    """Return the training, validation and test data as the notebook makes them."""
    # Each folder is batched by itself, so each ends in a short batch: 4 x 157 steps an epoch.
    training = read_folder(tf, data / TRAINING[0], limit)
    for name in TRAINING[1:]:
        training = training.concatenate(read_folder(tf, data / name, limit))
    # Whole batches are shuffled: the buffer of 1000 holds all 628 of them.
    training = training.shuffle(buffer_size=1000).prefetch(buffer_size=tf.data.AUTOTUNE)
    validation = read_folder(tf, data / VALIDATION, limit).prefetch(buffer_size=tf.data.AUTOTUNE)
    test = read_folder(tf, data / TEST, limit).prefetch(buffer_size=tf.data.AUTOTUNE)
    return training, validation, test


def create_callbacks(keras: Any, scratch: Path) -> list[Any]:  # noqa: ANN401 - whichever Keras there is
    """Create the notebook's three callbacks. The best model goes into a temporary folder."""
    best = str(scratch / "best.keras")
    return [
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=3, verbose=1),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=6, restore_best_weights=True, verbose=1),
        keras.callbacks.ModelCheckpoint(filepath=best, save_best_only=True, monitor="val_loss", verbose=1),
    ]


def create_compiled_model(keras: Any) -> Any:  # noqa: ANN401 - whichever Keras there is
    """Create and compile the notebook's model."""
    model = create_model_s(keras)
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    return model


def create_model_s(keras: Any) -> Any:  # noqa: ANN401 - whichever Keras there is
    """Create Model S as in the notebook: "same" padding, BatchNorm after ReLU, softmax at the end."""
    layers = keras.layers
    inputs = keras.Input(shape=(SIDE, SIDE, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    for filters in (32, 64, 128):
        for _ in range(2):
            x = layers.Conv2D(filters=filters, kernel_size=3, activation="relu", padding="same")(x)
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(pool_size=2)(x)
    x = layers.Flatten()(x)  # (N, 2048)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs=inputs, outputs=layers.Dense(CLASSES, activation="softmax")(x))


# ---- measuring time


class Clock:
    """Measure the wall seconds between one call of `lap` and the next."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Record that the part called `name` has just ended."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now

    def summarise(self) -> dict[str, float]:
        """Return the seconds of every part, of the start-up and of the whole."""
        return {
            "startup": round(sum(self.laps[name] for name in ("import", "datasets", "model")), 3),
            **{name: round(seconds, 3) for name, seconds in self.laps.items()},
            "total": round(sum(self.laps.values()), 3),
        }


class EpochClock:
    """Measure each epoch from the end of the one before, so that shuffling, validating and saving count."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def begin(self) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def end(self) -> None:
        """Record the end of an epoch."""
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now


def format_command(options: argparse.Namespace, tensorflow: str) -> str:
    """Return the command that makes this result again, without the names of folders."""
    choice = "2.15" if tensorflow.startswith("2.15.") else "current"
    words = [f"python -m benchmarks.peers.notebook_keras DATA --tensorflow {choice}"]
    for name, default in (("epochs", 30), ("limit", None), ("seed", None)):
        value = getattr(options, name)
        if value != default:
            words += [f"--{name}", str(value)]
    return " ".join(words)


def choose_free_file(result: dict[str, Any], options: argparse.Namespace) -> Path:
    """Return the path of a file that does not exist yet, because results are never replaced."""
    stem = f"notebook-tensorflow-{result['versions']['tensorflow']}-epochs-{options.epochs}"
    stem += f"-limit-{options.limit}" if options.limit is not None else ""
    number = 1
    while (RESULTS / "peers" / f"{stem}-run-{number}.json").exists():
        number += 1
    return RESULTS / "peers" / f"{stem}-run-{number}.json"


if __name__ == "__main__":
    sys.exit(main())
