"""The model folder: the weights and everything that is needed to predict with them."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from foveal import __version__, progress
from foveal.data.decode import Decoding, resize_images
from foveal.data.decode_worker import Outcome
from foveal.data.deep_range import FULL_RANGE, fills_sixteen_bits
from foveal.data.workers import Job, decode_files
from foveal.deployment.inputs import ImageInput, Item, collect_items
from foveal.deployment.predictions import Prediction, Predictions, describe_accuracy, find_true_label
from foveal.errors import ModelError, UserError
from foveal.evaluation.calibration import TEMPERATURE_RANGE, softmax
from foveal.evaluation.predict import compute_logits
from foveal.files import tensor_file
from foveal.files.atomic import outside_faults, read_json_with_digest, write_bytes, write_json_with_digest
from foveal.files.lock import advise_to_finish
from foveal.files.run_records import find_duplicate
from foveal.files.tensor_file import TensorFileError
from foveal.files.typed_json import read, to_json
from foveal.models import registry
from foveal.recipe.recipe import Recipe

WEIGHTS_FILE = "model.safetensors"
"""The name of the file of weights."""
CONFIG_SCHEMA = 4
"""The version of `config.json`. Version 1 had no digest of the weights, 2 no temperature, 3 no threshold."""
MAX_CONFIG_BYTES = 16_000_000
"""The largest size of `config.json`. Most of it are names of classes."""
MAX_CHUNK_BYTES = 64_000_000
"""The size of the pixels that are predicted at a time, so that many files need no more memory than few."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The content of `config.json`."""

    IGNORE_UNKNOWN: ClassVar[bool] = True

    schema: int
    """The version of the file."""
    foveal: str = ""
    """The version of Foveal that wrote the file."""
    weights: str
    """The SHA-256 digest of the file of weights, as hexadecimal digits."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the logits."""
    decoding: Decoding
    """The settings that make pixels of image files."""
    recipe: Recipe
    """The recipe of the training."""
    temperature: float | None
    """The divisor of the logits that calibrates probabilities, or None without calibration."""
    threshold: float | None
    """The probability below which an answer is unsure, or None without one."""

    def __post_init__(self) -> None:
        low, high = TEMPERATURE_RANGE
        if self.temperature is not None and not low <= self.temperature <= high:
            raise ModelError(f"has the temperature {self.temperature:g}, which nothing calibrates to")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ModelError(f"has the threshold {self.threshold:g}, which is no probability")
        size, recipe_size = self.decoding.size, self.recipe.image.size
        if size != recipe_size:
            raise ModelError(f"names two sizes of images, {size} and {recipe_size}")
        if (name := find_duplicate(self.classes)) is not None:
            raise ModelError(f"names the class {name!r} twice")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A trained network with everything that is needed to use it."""

    network: nn.Module
    """The network: uint8 (N, S, S, C) -> logits (N, classes)."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the logits."""
    decoding: Decoding
    """The settings that make pixels of image files."""
    recipe: Recipe
    """The recipe of the training."""
    temperature: float | None
    """The divisor of the logits that calibrates probabilities, or None without calibration."""
    threshold: float | None = None
    """The probability below which an answer is unsure. It is None where none was chosen or none is needed."""

    def save(self, folder: Path, *, about: str) -> None:
        """Write `model.safetensors`, `config.json` and `README.md` (`about`, as Markdown) into a folder."""
        with outside_faults(folder):
            folder.mkdir(exist_ok=True)
        copies = {  # because safetensors takes no tensors that share memory
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.network.state_dict().items()
        }
        content = save(copies)
        write_bytes(folder / WEIGHTS_FILE, content)
        config = ModelConfig(
            schema=CONFIG_SCHEMA,
            foveal=__version__,
            weights=hashlib.sha256(content).hexdigest(),
            classes=self.classes,
            decoding=self.decoding,
            recipe=self.recipe,
            temperature=self.temperature,
            threshold=self.threshold,
        )
        write_bytes(folder / "README.md", about.encode("utf-8", "surrogateescape"))
        write_json_with_digest(
            folder / "config.json", to_json(config)
        )  # last: a folder with a config is complete

    def predict(self, *images: ImageInput) -> Predictions:
        """Classify files, folders, patterns, arrays, PIL images, bytes, open files, or lists of any of these.

        Arrays are uint8 (H, W), (H, W, C) or (N, H, W, C), with 1 or 3 channels (RGB). An image that cannot
        be read keeps its place, with the reason instead of a class. Where the folders in a given folder have
        the names of the model's classes, the accuracy is a note of the predictions.

        >>> import numpy as np
        >>> predictions = foveal.Run("runs/first").bundle.predict(np.zeros((2, 8, 8, 1), np.uint8))
        >>> [prediction.path for prediction in predictions]
        ['input[0]', 'input[1]']

        Raises:
            DataError: Something is no image, or an array is not of pixels. The message says what to do.
            ModelError: There is no image.
        """
        items = collect_items(images)
        if not items:
            names = " ".join(str(image) for image in images if isinstance(image, str | os.PathLike))
            raise ModelError(f"no file matches {names or 'an empty list'}; name images, folders or patterns")
        predictions: list[Prediction] = []
        with progress.bar(len(items), "predicting", "images") as bar:
            chunk = max(1, MAX_CHUNK_BYTES // (self.decoding.size**2 * self.decoding.channels))
            for start in range(0, len(items), chunk):
                predictions += self._predict_chunk(items[start : start + chunk], bar)
        return Predictions(predictions, self._describe(items, predictions))

    def _predict_chunk(self, items: list[Item], bar: progress.Bar) -> Iterator[Prediction]:
        shape = (len(items), self.decoding.size, self.decoding.size, self.decoding.channels)
        temporary = Path(tempfile.gettempdir())
        with outside_faults(temporary), tempfile.TemporaryDirectory(prefix="foveal-") as folder:
            file = Path(folder) / "pixels"
            np.zeros(shape, dtype=np.uint8).tofile(file)
            jobs: list[Job] = []
            for index, item in enumerate(items):
                if item.path is not None:
                    jobs.append((index, item.path))
                elif item.content is not None:  # it becomes a file, because only other processes decode
                    content = Path(folder) / f"{index}"
                    content.write_bytes(item.content)
                    jobs.append((index, str(content)))
            outcomes = decode_files(
                Path(), jobs, decoding=self.decoding, pixels=file, n_images=len(items), bar=bar
            )
            outcomes |= self._decode_sixteen_bits(jobs, outcomes, file, len(items))
            pixels = np.fromfile(file, dtype=np.uint8).reshape(shape)
        for index, item in enumerate(items):
            if item.pixels is not None:
                pixels[index] = resize_images(item.pixels, self.decoding)[0]
        n_clipped = sum(1 for outcome in outcomes.values() if outcome.clipped)
        if n_clipped:
            progress.warn(
                f"{n_clipped} images have pixels outside the range of the model's data set; they were clipped"
            )
        probabilities = softmax(compute_logits(self.network, pixels), self.temperature)
        for index, item in enumerate(items):
            outcome = outcomes.get(index, Outcome(error=item.error))
            yield self._make_prediction(item, outcome, probabilities[index].tolist())

    def _decode_sixteen_bits(
        self, jobs: Sequence[Job], outcomes: Mapping[int, Outcome], file: Path, n_images: int
    ) -> dict[int, Outcome]:
        """Decode pictures of 16 bits for a model without deep images: as their copies of 8 bits."""
        deep = {index: outcome.deep for index, outcome in outcomes.items() if outcome.deep is not None}
        ordinary = [job for job in jobs if job[0] in deep and fills_sixteen_bits(deep[job[0]])]
        if not ordinary:
            return {}
        decoding = replace(self.decoding, deep_range=FULL_RANGE)
        with progress.bar(len(ordinary), "scaling deep images", "images") as bar:
            return decode_files(Path(), ordinary, decoding=decoding, pixels=file, n_images=n_images, bar=bar)

    def _make_prediction(self, item: Item, outcome: Outcome, probabilities: list[float]) -> Prediction:
        error = outcome.error
        if outcome.deep is not None:
            error = "a deep image, but the model's data set had none: no range is known that would scale it"
        true_label = None if item.folders is None else find_true_label(item.folders, self.classes)[0]
        if error is not None:
            return Prediction(path=item.name, error=error, true_label=true_label)
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return Prediction(
            path=item.name,
            label=self.classes[best],
            probability=probabilities[best],
            probabilities=dict(zip(self.classes, probabilities, strict=True)),
            unsure=None if self.threshold is None else probabilities[best] < self.threshold,
            true_label=true_label,
        )

    def _describe(self, items: list[Item], predictions: list[Prediction]) -> Iterator[str]:
        """Yield notes: the accuracy where folders tell the classes, and the number of unsure answers."""
        if (accuracy := describe_accuracy(predictions)) is not None:
            folders = [find_true_label(item.folders, self.classes)[1] for item in items if item.folders]
            others = sorted({name for name in folders if name is not None})
            yield (
                accuracy
                if not others
                else (
                    f"no accuracy is told, because some folders are no classes of the model: "
                    f"{progress.printable(others[0])}"
                    + (f" and {len(others) - 1:,} more" if others[1:] else "")
                )
            )
        n_unsure = sum(1 for prediction in predictions if prediction.unsure)
        if n_unsure:
            yield (
                f"{n_unsure:,} of {len(predictions):,} answers are unsure: their probability is below "
                f"{self.threshold:.4f}, the model's threshold"
            )


def predict(model: str | os.PathLike[str], *images: ImageInput) -> Predictions:
    """Classify images with the model of a folder or a run; see `Bundle.predict`.

    >>> predictions = foveal.predict("runs/first", "digits/test/7")
    >>> len(predictions), len(predictions[0].probabilities)
    (35, 10)
    """
    return load_bundle(model).predict(*images)


def load_bundle(path: str | os.PathLike[str], *, model: nn.Module | None = None) -> Bundle:
    """Load a model from its folder, or from its run.

    Args:
        path: A run folder, or the `model` folder inside one.
        model: An instance of the user's own network, if it was trained with one. Its weights are replaced.

    Raises:
        ModelError: There is no model, or the weights do not fit the network.
    """
    folder = Path(path)
    if (folder / "recipe.json").is_file():  # a run
        folder /= "model"
        if not (folder / "config.json").is_file():
            raise ModelError(f"{path} is a run without a finished model; {advise_to_finish(Path(path))}")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{path} is neither a model folder nor a run; name one that `foveal train` made")
    config = _read_config(folder / "config.json")
    try:
        network = _load_network(folder / WEIGHTS_FILE, config, model)
    except TensorFileError as error:
        raise ModelError(f"{folder / WEIGHTS_FILE} cannot be used: {error}") from error
    return Bundle(
        network=network.eval(),
        classes=config.classes,
        decoding=config.decoding,
        recipe=config.recipe,
        temperature=config.temperature,
        threshold=config.threshold,
    )


def _read_config(file: Path) -> ModelConfig:
    """Read `config.json`.

    Raises:
        ModelError: It is not as Foveal writes it, or of another version.
    """
    try:
        value = read_json_with_digest(file, limit=MAX_CONFIG_BYTES)
        schema = value.get("schema", CONFIG_SCHEMA)
        if schema != CONFIG_SCHEMA:
            raise ModelError(f"has the schema {schema!r}; this Foveal reads {CONFIG_SCHEMA}")
        return read(value, ModelConfig, "")
    except ModelError as error:
        raise ModelError(f"{file} {error}") from None
    except UserError as error:
        raise ModelError(f"{file} is no model's configuration: {str(error).strip()}") from error


def _load_network(file: Path, config: ModelConfig, model: nn.Module | None) -> nn.Module:
    """Build the network, or take the user's own, and load the weights into it.

    Raises:
        TensorFileError: The file of weights is damaged or does not fit the network.
    """
    size, channels, n_classes = config.decoding.size, config.decoding.channels, len(config.classes)
    header = tensor_file.read_header(file)
    if model is None:
        expected = registry.list_claims(config.recipe.model, size=size, channels=channels, classes=n_classes)
        tensor_file.check_claims(header.claims, expected)  # before a network of that size is built
        network = registry.build_network(
            config.recipe.model, size=size, channels=channels, classes=n_classes, seed=0
        )
    else:
        network = registry.wrap_custom_network(model, size=size, channels=channels, classes=n_classes)
        tensor_file.check_claims(header.claims, registry.list_claims_of(network))
    content = tensor_file.read_content(file, header)
    if hashlib.sha256(content).hexdigest() != config.weights:
        raise TensorFileError("it is damaged: its digest is not that in config.json")
    tensors = tensor_file.parse_tensors(content)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(tensors[name])
    return network
