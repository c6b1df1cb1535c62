"""Logits of a network on images, test-time augmentation, and the files of predictions."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.commands import show_command
from foveal.errors import RunError
from foveal.evaluation.calibration import softmax
from foveal.files import tensor_file
from foveal.files.atomic import outside_faults, write_bytes
from foveal.files.tensor_file import Claim, TensorFileError
from foveal.memory import is_shortage
from foveal.progress import csv_cell
from foveal.types import Ints, Pixels

BATCH_SIZE = 100
"""The number of images in a batch. It is halved where memory is short. It does not change predictions."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One of the views of an image whose logits are averaged in test-time augmentation."""

    weight: float
    """The weight of its logits in the average. The weights of all views add up to 1."""
    shift: int = 0
    """By how many pixels the image moves down and to the right: 1, 0, or -1 for up and to the left."""
    flipped: bool = False
    """Whether the image is flipped horizontally after it has moved."""

    def apply(self, images: Pixels) -> Pixels:
        """Return this view of uint8 images (N, S, S, C).

        The pixels that move in are reflected at the border, which is not repeated, as in training.
        """
        size = images.shape[1]
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")  # (N, S + 2, S + 2, C)
        window = slice(1 - self.shift, 1 - self.shift + size)
        moved = padded[:, window, window]
        return np.ascontiguousarray(moved[:, :, ::-1] if self.flipped else moved)


def make_tta_views(*, flip: bool) -> tuple[View, ...]:
    """Return the views of test-time augmentation: the image as it is first, then moved by a pixel both ways.

    With `flip` each view is there unflipped and flipped, at half the weight. This is right where training
    flips images, and wrong for digits, text and the like.

    Source: Jordan 2024, arXiv:2404.00498; airbench94's `tta_level=2`.
    """
    sides = (False, True) if flip else (False,)
    return tuple(
        View(weight=weight / len(sides), shift=shift, flipped=flipped)
        for shift, weight in ((0, 1 / 2), (-1, 1 / 4), (1, 1 / 4))
        for flipped in sides
    )


def compute_logits(
    network: nn.Module, pixels: Pixels, indices: Ints | None = None, *, view: View | None = None
) -> NDArray[np.float32]:
    """Return a network's logits, float32 (N, classes), on uint8 images (N, S, S, C).

    Args:
        network: It is in evaluation mode meanwhile: no dropout, and running statistics in normalisation.
        pixels: The images. They may be a memory map.
        indices: Which of the images are taken, (n,). None takes all.
        view: The view of the images that the network is given.
    """
    n = len(pixels) if indices is None else len(indices)
    was_training = network.training
    network.eval()
    logits: list[NDArray[np.float32]] = []
    start, batch_size = 0, BATCH_SIZE
    try:
        with torch.inference_mode():
            while start < n:
                batch = slice(start, start + batch_size)
                try:
                    images = np.array(
                        pixels[batch if indices is None else indices[batch]]
                    )  # a copy in memory
                    if view is not None:
                        images = view.apply(images)
                    logits.append(network(torch.from_numpy(images)).float().numpy())
                except (MemoryError, RuntimeError) as error:
                    if batch_size == 1 or not is_shortage(error):
                        raise
                    batch_size //= 2
                else:
                    start += batch_size
    finally:
        network.train(was_training)
    return np.concatenate(logits)


def average_logits(
    network: nn.Module,
    pixels: Pixels,
    indices: Ints | None = None,
    *,
    views: Sequence[View],
    first_logits: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the weighted average of a network's logits, float32 (N, classes), over several views.

    `pixels` and `indices` are as in `compute_logits`. The first view must be the image as it is. Its logits
    are `first_logits`, float32 (N, classes), and are not computed again.
    """
    first, *others = views
    assert (first.shift, first.flipped) == (0, False)
    average = first.weight * first_logits
    for view in others:
        average += view.weight * compute_logits(network, pixels, indices, view=view)
    return average


def save_predictions(
    folder: Path,
    split: str,
    *,
    paths: Sequence[str],
    labels: Ints,
    logits: NDArray[np.float32],
    classes: Sequence[str],
    temperature: float | None,
) -> None:
    """Write a split's predictions: `<split>.csv` with a line an image, and `<split>.safetensors`.

    The confidences in the CSV file are those of the model in use, with its temperature. The logits are as
    trained. `labels` (N,) are the true classes.

    Raises:
        OutsideError: The disk refuses.
    """
    with outside_faults(folder):
        folder.mkdir(exist_ok=True)
    probabilities = softmax(logits, temperature)
    y_pred = probabilities.argmax(axis=1)
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(["path", "label", "predicted", "confidence"])
    for path, label, predicted, row in zip(
        paths, labels.tolist(), y_pred.tolist(), probabilities, strict=True
    ):
        names = (csv_cell(path), csv_cell(classes[label]), csv_cell(classes[predicted]))
        lines.writerow([*names, f"{row[predicted]:.6f}"])
    write_bytes(folder / f"{split}.csv", text.getvalue().encode("utf-8", "surrogateescape"))
    tensors = {"logits": torch.tensor(logits), "labels": torch.tensor(labels)}
    write_bytes(folder / f"{split}.safetensors", tensor_file.encode_with_digest(tensors, {}))


def load_predictions(folder: Path, split: str, *, n: int, classes: int) -> tuple[NDArray[np.float32], Ints]:
    """Return a split's logits, float32 (n, classes), and labels (n,) that `save_predictions` wrote.

    Raises:
        RunError: They are missing, damaged, or of other shapes.
    """
    path = folder / f"{split}.safetensors"
    expected = {"logits": Claim(torch.float32, (n, classes)), "labels": Claim(torch.int64, (n,))}
    try:
        header = tensor_file.read_header(path)
        tensor_file.check_claims(header.claims, expected)
        content = tensor_file.read_content(path, header)
        tensor_file.check_digest(content, header)
        stored = tensor_file.parse_tensors(content)
        if n and not 0 <= int(stored["labels"].min()) <= int(stored["labels"].max()) < classes:
            raise TensorFileError("its labels are of no class")
    except TensorFileError as error:
        again = show_command("evaluate", folder.parent, "--split", split)
        raise RunError(f"{path} cannot be used: {error}; evaluate the run again: {again}") from error
    return stored["logits"].numpy(), stored["labels"].numpy()
