"""Weights and images -> logits, and what is kept of them per image."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import nn

from foveal.errors import RunError
from foveal.evaluation.metrics import softmax
from foveal.run import outside_faults, write_bytes

BATCH = 100
"""Images at a time. It changes speed and memory, not what is predicted."""


def logits(
    network: nn.Module, pixels: NDArray[np.uint8], rows: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Run a network over uint8 images (N, S, S, C), or over some rows of them.

    Returned are its logits, float32 (N, classes). The network is in evaluation mode meanwhile: no dropout,
    moving averages instead of the batch's own.
    """
    n = len(pixels) if rows is None else len(rows)
    training = network.training
    network.eval()
    found = []
    try:
        with torch.inference_mode():
            for start in range(0, n, BATCH):
                piece = slice(start, start + BATCH)
                images = np.array(pixels[piece if rows is None else rows[piece]])  # off the memory map
                found.append(network(torch.from_numpy(images)).float().numpy())
    finally:
        network.train(training)
    return np.concatenate(found)


def save_predictions(
    folder: Path,
    split: str,
    *,
    paths: Sequence[str],
    labels: NDArray[np.int64],
    logits: NDArray[np.float32],
    classes: Sequence[str],
) -> None:
    """Keep a split's predictions: a line an image in `<split>.csv`, the logits in `<split>.safetensors`."""
    with outside_faults(folder):
        folder.mkdir(exist_ok=True)
    probabilities = softmax(logits)
    predicted = probabilities.argmax(axis=1)
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["path", "label", "predicted", "confidence"])
    for path, label, guess, row in zip(
        paths, labels.tolist(), predicted.tolist(), probabilities, strict=True
    ):
        rows.writerow([path, classes[label], classes[guess], f"{row[guess]:.6f}"])
    write_bytes(folder / f"{split}.csv", text.getvalue().encode("utf-8", "surrogateescape"))
    write_bytes(folder / f"{split}.safetensors", save({"logits": logits, "labels": labels}))


def load_predictions(folder: Path, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read a split's logits (N, classes) and labels (N,) that `save_predictions` kept.

    Raises:
        RunError: they are missing or damaged.
    """
    path = folder / f"{split}.safetensors"
    try:
        stored = load_file(path)
        return stored["logits"], stored["labels"]
    except (OSError, SafetensorError, KeyError) as error:
        raise RunError(f"{path} cannot be read: {error}; evaluate the run again") from error
