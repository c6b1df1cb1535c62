"""Weights and images -> logits, and what is kept of them per image."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from foveal.errors import RunError
from foveal.evaluation.calibration import softmax
from foveal.files import tensor_file
from foveal.files.atomic import outside_faults, write_bytes
from foveal.files.tensor_file import Claim, TensorFileError
from foveal.memory import is_shortage
from foveal.progress import cell

BATCH_SIZE = 100
"""Images at a time, or fewer where memory is short. It changes speed and memory, not what is predicted."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One of the ways to show a network an image that it is to judge."""

    weight: float
    """What its logits count for in the average; the weights of all views add up to 1."""
    shift: int = 0
    """By how many pixels the image moves down and to the right: 1, 0, or -1 for up and to the left."""
    mirrored: bool = False
    """Whether left and right change places, after it has moved."""

    def of(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return uint8 images (N, S, S, C) as they are seen this way.

        What moves in from outside is the image mirrored at its border, the border row itself not repeated,
        as in training.
        """
        size = images.shape[1]
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")  # (N, S + 2, S + 2, C)
        window = slice(1 - self.shift, 1 - self.shift + size)
        seen = padded[:, window, window]
        return np.ascontiguousarray(seen[:, :, ::-1] if self.mirrored else seen)


def make_tta_views(*, mirrored: bool) -> tuple[View, ...]:
    """Return the views of test-time augmentation: the image as it is first, then moved by a pixel either way.

    With `mirrored` each is there as its mirror image too, at half the weight. That is right where training
    mirrors, and wrong for digits, text and the like.

    Source: Jordan 2024, arXiv:2404.00498; airbench94's `tta_level=2`.
    """
    sides = (False, True) if mirrored else (False,)
    return tuple(
        View(weight=weight / len(sides), shift=shift, mirrored=side)
        for shift, weight in ((0, 1 / 2), (-1, 1 / 4), (1, 1 / 4))
        for side in sides
    )


def compute_logits(
    network: nn.Module,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64] | None = None,
    *,
    view: View | None = None,
) -> NDArray[np.float32]:
    """Run a network over uint8 images (N, S, S, C), or over some rows of them, seen in one `view`.

    Returned are its logits, float32 (N, classes). The network is in evaluation mode meanwhile: no dropout,
    moving averages instead of the batch's own.
    """
    n = len(pixels) if rows is None else len(rows)
    training = network.training
    network.eval()
    found: list[NDArray[np.float32]] = []
    start, batch = 0, BATCH_SIZE
    try:
        with torch.inference_mode():
            while start < n:
                piece = slice(start, start + batch)
                try:
                    images = np.array(pixels[piece if rows is None else rows[piece]])  # off the memory map
                    if view is not None:
                        images = view.of(images)
                    found.append(network(torch.from_numpy(images)).float().numpy())
                except (MemoryError, RuntimeError) as error:
                    if batch == 1 or not is_shortage(error):
                        raise
                    batch = batch // 2
                else:
                    start += batch
    finally:
        network.train(training)
    return np.concatenate(found)


def average_logits(
    network: nn.Module,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64] | None = None,
    *,
    views: Sequence[View],
    plain: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Average a network's logits over several `views` of uint8 images (N, S, S, C), or of some rows of them.

    `plain` are its `logits` on the same images, float32 (N, classes), of which this returns the average: the
    first view must be the image as it is, and is not computed again.
    """
    first, *others = views
    assert (first.shift, first.mirrored) == (0, False)
    average = first.weight * plain
    for view in others:
        average += view.weight * compute_logits(network, pixels, rows, view=view)
    return average


def save_predictions(
    folder: Path,
    split: str,
    *,
    paths: Sequence[str],
    labels: NDArray[np.int64],
    logits: NDArray[np.float32],
    classes: Sequence[str],
    temperature: float | None,
) -> None:
    """Keep a split's predictions: a line an image in `<split>.csv`, the logits in `<split>.safetensors`.

    The confidences are those that the model gives in use, at its temperature; the logits are as trained.
    """
    with outside_faults(folder):
        folder.mkdir(exist_ok=True)
    found = softmax(logits, temperature)
    predicted = found.argmax(axis=1)
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["path", "label", "predicted", "confidence"])
    for path, label, guess, row in zip(paths, labels.tolist(), predicted.tolist(), found, strict=True):
        names = (cell(path), cell(classes[label]), cell(classes[guess]))
        rows.writerow([*names, f"{row[guess]:.6f}"])
    write_bytes(folder / f"{split}.csv", text.getvalue().encode("utf-8", "surrogateescape"))
    write_bytes(folder / f"{split}.safetensors", save({"logits": logits, "labels": labels}))


def load_predictions(
    folder: Path, split: str, *, n: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read a split's logits (n, classes) and labels (n,) that `save_predictions` kept.

    Raises:
        RunError: they are missing, damaged, or of other shapes.
    """
    path = folder / f"{split}.safetensors"
    expected = {"logits": Claim(torch.float32, (n, classes)), "labels": Claim(torch.int64, (n,))}
    try:
        header = tensor_file.read_header(path)
        tensor_file.check_claims(header.claims, expected)
        stored = tensor_file.unpack(tensor_file.read_content(path, header))
        if n and not 0 <= int(stored["labels"].min()) <= int(stored["labels"].max()) < classes:
            raise TensorFileError("its labels are of no class")
    except TensorFileError as error:
        raise RunError(f"{path} cannot be used: {error}; evaluate the run again") from error
    return stored["logits"].numpy(), stored["labels"].numpy()
