"""The images behind the numbers: the errors of every cell of a confusion matrix, the worst with reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from foveal.data.decode import encode_webp
from foveal.evaluation.attribution import can_explain, compute_embeddings, compute_evidence_maps
from foveal.evaluation.calibration import find_confident_errors

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]

WORST: Final = 24
"""Errors shown with reasons: those that the model was surest of."""
IN_A_CELL: Final = 12
"""Images shown of a cell of the confusion matrix, the surest first,"""
IN_ALL: Final = 1200
"""and of all cells, the fullest first; the predictions' file has the rest."""
NEIGHBOURS: Final = 3
"""Training images shown that look most like an error."""
SEARCHED: Final = 10_000
"""Training images among which they are sought, drawn at random."""
TILE: Final = 64
"""The largest side of a picture, in pixels."""
COLUMNS: Final = 32
_LOSSLESS: Final = 16
"""Pictures up to so many pixels a side are kept without loss: they are shown much enlarged."""
_FOR: Final = np.array([214, 72, 16])
_AGAINST: Final = np.array([20, 100, 200])


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An image that was classified wrongly."""

    path: str
    label: str
    predicted: str
    probability: float
    """Given to the predicted class."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the confusion matrix beside its diagonal."""

    label: int
    predicted: int
    n: int
    images: tuple[int, ...]
    """Places of the images in the gallery."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training image that looks like an error to the network."""

    path: str
    label: str
    similarity: float
    """The cosine between what the network makes of the two: at most 1."""
    tile: int


@dataclass(frozen=True, kw_only=True)
class Worst:
    """An error that the model was sure of, with reasons."""

    image: int
    """Its place in the gallery."""
    true_probability: float
    for_predicted: int | None
    """The tile with the evidence for the predicted class,"""
    for_true: int | None
    """and for the true one; None where the network cannot tell."""
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All pictures in one, as tiles from left to right, row by row."""

    content: bytes
    """WebP."""
    columns: int
    rows: int
    side: int
    """Of a tile, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """What a report shows of errors."""

    images: tuple[Shown, ...]
    """Their tiles are the sheet's first."""
    cells: tuple[Cell, ...]
    worst: tuple[Worst, ...]
    searched: int
    """Training images among which neighbours were sought; 0 if none were."""
    sheet: Sheet


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images at hand, by row, with their labels and paths."""

    pixels: Pixels
    """(all, S, S, C)"""
    labels: Ints
    """(all,)"""
    paths: Sequence[str]
    classes: Sequence[str]


def build(
    images: Images,
    rows: Ints,
    probabilities: NDArray[np.float64],
    *,
    network: nn.Module,
    training: Ints | None,
) -> Gallery | None:
    """Gather the errors on `rows` (n,) of the images, by their probabilities (n, K); None without errors.

    `training` are the rows among which neighbours are sought; None leaves them out.
    """
    labels = images.labels[rows]
    predicted = probabilities.argmax(axis=1)
    order = np.array(find_confident_errors(probabilities, labels, limit=len(rows)), dtype=np.int64)
    if not len(order):
        return None
    cells, kept = _cells(labels[order], predicted[order], order)
    worst = [int(each) for each in order[:WORST]]
    places = {image: place for place, image in enumerate(dict.fromkeys([*worst, *kept]))}
    tiles = _Tiles(images.pixels.shape[1])
    tiles.add(images.pixels[rows[list(places)]])
    return Gallery(
        images=tuple(
            Shown(
                path=images.paths[int(rows[image])],
                label=images.classes[int(labels[image])],
                predicted=images.classes[int(predicted[image])],
                probability=float(probabilities[image, predicted[image]]),
            )
            for image in places
        ),
        cells=tuple(
            Cell(label=true, predicted=guess, n=n, images=tuple(places[image] for image in some))
            for true, guess, n, some in cells
        ),
        worst=_worst(
            images, rows, worst, places, probabilities, network=network, training=training, tiles=tiles
        ),
        searched=0 if training is None or not can_explain(network) else min(SEARCHED, len(training)),
        sheet=tiles.sheet(),
    )


def _cells(
    labels: Ints, predicted: Ints, order: Ints
) -> tuple[list[tuple[int, int, int, list[int]]], list[int]]:
    """Divide errors among cells (true, predicted, number, images shown), the fullest first.

    `order` holds the errors' places, the surest first, as do labels and predictions.
    """
    members: dict[tuple[int, int], list[int]] = {}
    for true, guess, image in zip(labels.tolist(), predicted.tolist(), order.tolist(), strict=True):
        members.setdefault((true, guess), []).append(image)
    cells, kept = [], list[int]()
    for (true, guess), some in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        shown = some[: min(IN_A_CELL, IN_ALL - len(kept))]
        kept += shown
        cells.append((true, guess, len(some), shown))
    return cells, kept


def _worst(
    images: Images,
    rows: Ints,
    chosen: list[int],
    places: dict[int, int],
    probabilities: NDArray[np.float64],
    *,
    network: nn.Module,
    training: Ints | None,
    tiles: "_Tiles",
) -> tuple[Worst, ...]:
    own = rows[chosen]
    true, predicted = images.labels[own], probabilities[chosen].argmax(axis=1)
    maps: list[tuple[int | None, int | None]] = [(None, None)] * len(chosen)
    found: list[tuple[Neighbour, ...]] = [()] * len(chosen)
    if can_explain(network):
        pixels = np.array(images.pixels[own])
        first, second = (
            compute_evidence_maps(network, pixels, predicted),
            compute_evidence_maps(network, pixels, true),
        )
        largest = np.maximum(np.abs(first).max(axis=(1, 2)), np.abs(second).max(axis=(1, 2)))
        one, two = (tiles.add(_overlaid(pixels, each, largest)) for each in (first, second))
        maps = [(one + place, two + place) for place in range(len(chosen))]
        if training is not None:
            found = _neighbours(images, own, training, network, tiles)
    return tuple(
        Worst(
            image=places[image],
            true_probability=float(probabilities[image, label]),
            for_predicted=of_predicted,
            for_true=of_true,
            neighbours=neighbours,
        )
        for image, label, (of_predicted, of_true), neighbours in zip(
            chosen, true.tolist(), maps, found, strict=True
        )
    )


def _overlaid(pixels: Pixels, maps: NDArray[np.float32], largest: NDArray[np.float32]) -> Pixels:
    """Lay evidence (N, H, W) over greyed images (N, S, S, C), orange for, blue against: (N, S, S, 3)."""
    side = pixels.shape[1]
    scaled = torch.from_numpy(maps / np.maximum(largest, 1e-12)[:, None, None])[:, None]
    wide = F.interpolate(scaled, size=(side, side), mode="bilinear", align_corners=False)[:, 0].numpy()
    grey = np.repeat(pixels.mean(axis=3, keepdims=True), 3, axis=3) * 0.7 + 40
    strength = np.abs(wide)[..., None] * 0.8
    colour = np.where((wide > 0)[..., None], _FOR, _AGAINST)
    laid: Pixels = (grey * (1 - strength) + colour * strength).round().clip(0, 255).astype(np.uint8)
    return laid


def _neighbours(
    images: Images, own: Ints, training: Ints, network: nn.Module, tiles: "_Tiles"
) -> list[tuple[Neighbour, ...]]:
    """Find the training images that look most like some images, to the network."""
    searched = np.sort(np.random.default_rng(0).permutation(training)[:SEARCHED])
    alike = (
        compute_embeddings(network, images.pixels, own)
        @ compute_embeddings(network, images.pixels, searched).T
    )
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :NEIGHBOURS]  # (errors, NEIGHBOURS)
    first = tiles.add(images.pixels[searched[nearest].ravel()])
    width = nearest.shape[1]
    return [
        tuple(
            Neighbour(
                path=images.paths[int(searched[column])],
                label=images.classes[int(images.labels[searched[column]])],
                similarity=float(alike[row, column]),
                tile=first + row * width + place,
            )
            for place, column in enumerate(columns.tolist())
        )
        for row, columns in enumerate(nearest)
    ]


class _Tiles:
    """Pictures on their way into a sheet."""

    def __init__(self, side: int) -> None:
        self._side = min(side, TILE)
        self._tiles: list[Pixels] = []

    def add(self, pixels: Pixels) -> int:
        """Take images (N, S, S, C); return the tile of the first."""
        first = len(self._tiles)
        coloured = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else np.array(pixels)
        if coloured.shape[1] > self._side:
            floats = torch.from_numpy(coloured).permute(0, 3, 1, 2).float()
            small = F.interpolate(floats, size=(self._side, self._side), mode="bilinear", antialias=True)
            coloured = small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        self._tiles += list(coloured)
        return first

    def sheet(self) -> Sheet:
        """Put them together."""
        columns, side = min(COLUMNS, len(self._tiles)), self._side
        rows = -(-len(self._tiles) // columns)
        whole = np.zeros((rows * side, columns * side, 3), dtype=np.uint8)
        for place, tile in enumerate(self._tiles):
            top, left = place // columns * side, place % columns * side
            whole[top : top + side, left : left + side] = tile
        content = encode_webp(whole, lossless=side <= _LOSSLESS)
        return Sheet(content=content, columns=columns, rows=rows, side=side)
