"""The model folder: weights and everything needed to use them; and predictions on files from it."""

import glob
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from foveal import __version__, progress
from foveal.data.decode import Decoding
from foveal.data.workers import Outcome, decode_files
from foveal.errors import ModelError, RunError
from foveal.evaluation.calibration import TEMPERATURE_RANGE, softmax
from foveal.evaluation.predict import compute_logits
from foveal.files import tensor_file
from foveal.files.atomic import outside_faults, read_json, write_bytes, write_json
from foveal.files.tensor_file import TensorFileError
from foveal.files.typed_json import read
from foveal.models import registry
from foveal.recipe.recipe import Recipe
from foveal.tables import text_table

WEIGHTS = "model.safetensors"
SCHEMA = 3
"""Of config.json. The first had no digest of the weights, the second no temperature."""
CONFIG_LIMIT = 16_000_000
"""Bytes of config.json, most of them names of classes."""
CHUNK_BYTES = 64_000_000
"""Pixels decoded and predicted at a time: memory does not grow with the number of files."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of one file."""

    path: str
    label: str | None
    """The likeliest class; None if the file could not be read."""
    probability: float | None
    """The probability that the model gives it."""
    probabilities: dict[str, float] | None
    """Of every class."""
    error: str | None
    """Why the file could not be read."""


class Predictions(Sequence[Prediction]):
    """Predictions in the order of the files; they show themselves as a table."""

    def __init__(self, rows: Iterable[Prediction]) -> None:
        self._rows = tuple(rows)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - an index or a slice
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def unreadable(self) -> list[Prediction]:
        """Those whose file could not be read."""
        return [row for row in self._rows if row.error is not None]

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """Lay out a line a file: path, class and probability."""
        rows = [
            [
                progress.printable(each.path),
                progress.printable(each.label) if each.label is not None else f"unreadable: {each.error}",
                "" if each.probability is None else f"{each.probability:.4f}",
            ]
            for each in self._rows
        ]
        return text_table(["file", "class", "probability"], rows, right={2})


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model ready for use: the network with everything that belongs to it."""

    network: nn.Module
    """uint8 (N, S, S, C) -> logits (N, classes)."""
    classes: tuple[str, ...]
    decoding: Decoding
    recipe: Recipe
    temperature: float | None
    """Divides the logits before probabilities are made of them; None where no image calibrated it."""

    def save(self, folder: Path, *, about: str) -> None:
        """Write `model.safetensors`, `config.json` and `README.md` (`about`, as Markdown) into a folder."""
        with outside_faults(folder):
            folder.mkdir(exist_ok=True)
        copies = {  # as safetensors takes no tensors that share memory
            name: each.detach().clone(memory_format=torch.contiguous_format)
            for name, each in self.network.state_dict().items()
        }
        content = save(copies)
        write_bytes(folder / WEIGHTS, content)
        config = {
            "schema": SCHEMA,
            "foveal": __version__,
            "weights": hashlib.sha256(content).hexdigest(),
            "classes": list(self.classes),
            "decoding": self.decoding.to_json(),
            "recipe": self.recipe.to_json(),
            "temperature": self.temperature,
        }
        write_bytes(folder / "README.md", about.encode("utf-8", "surrogateescape"))
        write_json(folder / "config.json", config)  # last: a folder with a config is a whole model

    def predict(self, files: Iterable[str | os.PathLike[str]]) -> Predictions:
        """Classify image files, folders of images, and glob patterns.

        A file that cannot be read keeps its place, with the reason instead of a class.

        Raises:
            ModelError: nothing matches.
        """
        names = list(expand(files))
        if not names:
            raise ModelError(f"no file matches {' '.join(map(str, files))}; name images, folders or patterns")
        rows: list[Prediction] = []
        with progress.bar(len(names), "predicting", "images") as bar:
            chunk = max(1, CHUNK_BYTES // (self.decoding.size**2 * self.decoding.channels))
            for start in range(0, len(names), chunk):
                rows += self._predict(names[start : start + chunk], bar)
        return Predictions(rows)

    def _predict(self, names: list[str], bar: progress.Bar) -> Iterator[Prediction]:
        shape = (len(names), self.decoding.size, self.decoding.size, self.decoding.channels)
        place = Path(tempfile.gettempdir())
        with outside_faults(place), tempfile.TemporaryDirectory(prefix="foveal-") as folder:
            file = Path(folder) / "pixels"
            np.zeros(shape, dtype=np.uint8).tofile(file)
            outcomes = decode_files(
                Path(), list(enumerate(names)), decoding=self.decoding, pixels=file, rows=len(names), bar=bar
            )
            pixels = np.fromfile(file, dtype=np.uint8).reshape(shape)
        outside = sum(1 for outcome in outcomes.values() if outcome.clipped)
        if outside:
            progress.warn(
                f"{outside} images have pixels outside the range of the model's data set; they were clipped"
            )
        found = softmax(compute_logits(self.network, pixels), self.temperature)
        for row, name in enumerate(names):
            yield self._prediction(name, outcomes[row], found[row].tolist())

    def _prediction(self, name: str, outcome: Outcome, probabilities: list[float]) -> Prediction:
        error = outcome.error
        if outcome.deep is not None:
            error = "deep greyscale, but the model's data set had none: no range is known that would scale it"
        if error is not None:
            return Prediction(path=name, label=None, probability=None, probabilities=None, error=error)
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return Prediction(
            path=name,
            label=self.classes[best],
            probability=probabilities[best],
            probabilities=dict(zip(self.classes, probabilities, strict=True)),
            error=None,
        )


def predict(model: str | os.PathLike[str], *files: str | os.PathLike[str]) -> Predictions:
    """Classify files with the model of a folder or a run; see `Bundle.predict`."""
    return load(model).predict(files)


def load(path: str | os.PathLike[str], *, model: nn.Module | None = None) -> Bundle:
    """Load a model from its folder, or from the run it came from.

    Args:
        path: a run folder, or the `model` folder inside one.
        model: an instance of the user's own network, if it was trained with one. Its weights are replaced.

    Raises:
        ModelError: no model there, or the weights do not fit the network.
    """
    folder = Path(path)
    if (folder / "recipe.json").is_file():  # a run
        folder /= "model"
        if not (folder / "config.json").is_file():
            raise ModelError(f"{path} is a run without a finished model; finish it: foveal resume {path}")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{path} is neither a model folder nor a run; name one that `foveal train` made")
    file = folder / "config.json"
    try:
        config = read_json(file, limit=CONFIG_LIMIT)
        if config["schema"] != SCHEMA:
            raise ModelError(f"{file} has the schema {config['schema']!r}; this Foveal reads {SCHEMA}")
        classes = read(config["classes"], tuple[str, ...], "classes")
        assert isinstance(classes, tuple)
        decoding = Decoding.from_json(config["decoding"])
        recipe = Recipe.from_json(config["recipe"])
        digest = read(config["weights"], str, "weights")
        temperature = read(config["temperature"], float | None, "temperature")
        assert temperature is None or isinstance(temperature, float)
        if temperature is not None and not TEMPERATURE_RANGE[0] <= temperature <= TEMPERATURE_RANGE[1]:
            raise ModelError(f"{file} has the temperature {temperature:g}, which nothing calibrates to")
        if decoding.size != recipe.image.size:
            raise ModelError(f"{file} names two sizes of images, {decoding.size} and {recipe.image.size}")
    except ModelError:
        raise
    except (RunError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file} is no model's configuration: {error}") from error
    shape = {"size": decoding.size, "channels": decoding.channels, "classes": len(classes)}
    try:
        header = tensor_file.read_header(folder / WEIGHTS)
        if model is None:
            expected = registry.claims(recipe.model, **shape)
            tensor_file.check_claims(header.claims, expected)  # before a network of that size is built
            network = registry.build(recipe.model, **shape, seed=0)
        else:
            network = registry.adopt(model, **shape)
            tensor_file.check_claims(header.claims, registry.claims_of(network))
        content = tensor_file.read_content(folder / WEIGHTS, header)
        if hashlib.sha256(content).hexdigest() != digest:
            raise TensorFileError("it is damaged: its digest is not that in config.json")
        stored = tensor_file.unpack(content)
    except TensorFileError as error:
        raise ModelError(f"{folder / WEIGHTS} cannot be used: {error}") from error
    with torch.no_grad():
        for name, each in network.state_dict().items():
            each.copy_(stored[name])
    return Bundle(
        network=network.eval(),
        classes=classes,
        decoding=decoding,
        recipe=recipe,
        temperature=temperature,
    )


def expand(files: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """List the files that names, folders and glob patterns stand for; a name without a match stays."""
    for each in files:
        name = os.fspath(each)
        if Path(name).is_dir():
            yield from _below(name)
        elif not Path(name).exists() and glob.has_magic(name):
            matches = glob.glob(name, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
            for match in sorted(matches) or [name]:
                yield from _below(match) if Path(match).is_dir() else [match]
        else:
            yield name


def _below(folder: str) -> Iterator[str]:
    """List the visible files in and below a folder, in order."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(place, name) for name in sorted(names) if not name.startswith("."))  # noqa: PTH118


def as_rows(predictions: Predictions) -> list[dict[str, Any]]:
    """Return predictions as JSON values."""
    return [asdict(each) for each in predictions]
