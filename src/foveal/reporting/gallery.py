"""The images behind the numbers: the errors of each cell of a confusion matrix, some of them explained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from foveal.data.decode import encode_webp
from foveal.evaluation.attribution import can_explain, compute_embeddings, compute_evidence_maps
from foveal.evaluation.calibration import find_confident_errors
from foveal.types import Floats, Ints, Pixels

MAX_EXPLAINED_ERRORS: Final = 24
"""At most so many errors are explained, the most confident first."""
MAX_IMAGES_PER_CELL: Final = 12
"""A cell of the confusion matrix shows at most so many images, the most confident errors first."""
MAX_IMAGES_IN_CELLS: Final = 1200
"""All cells together show at most so many images; the cells with most errors come first."""
NEIGHBOURS_PER_ERROR: Final = 3
"""So many similar training images are shown beside each explained error."""
MAX_SEARCHED_IMAGES: Final = 10_000
"""Neighbours are searched among at most so many training images, drawn at random."""
MAX_TILE_SIDE: Final = 64
"""The largest side of a tile, in pixels; larger images are shrunk."""
MAX_COLUMNS: Final = 32
"""The largest number of tiles in a row of the sheet."""
_MAX_LOSSLESS_SIDE: Final = 16  # small tiles are much enlarged on the page, so their pixels must be exact
_COLOUR_FOR: Final = np.array([214, 72, 16])
_COLOUR_AGAINST: Final = np.array([20, 100, 200])


@dataclass(frozen=True, kw_only=True)
class MisclassifiedImage:
    """An image that was classified wrongly."""

    path: str
    label: str
    predicted: str
    probability: float
    """The probability of the predicted class."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the confusion matrix off its diagonal."""

    label: int
    """The index of the true class."""
    predicted: int
    """The index of the predicted class."""
    n: int
    """The number of errors."""
    images: tuple[int, ...]
    """The indices of the images shown, in `Gallery.images`."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training image that resembles an error in the eyes of the network."""

    path: str
    label: str
    similarity: float
    """The cosine of the angle between the two embeddings; it is at most 1."""
    tile: int
    """The index of its tile in the sheet."""


@dataclass(frozen=True, kw_only=True)
class ExplainedError:
    """A confident error with the evidence for both classes and the most similar training images."""

    image: int
    """The index of the image in `Gallery.images`."""
    true_probability: float
    """The probability of the true class."""
    for_predicted: int | None
    """The tile with the evidence for the predicted class; None if the network cannot be explained."""
    for_true: int | None
    """The tile with the evidence for the true class; None if the network cannot be explained."""
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One picture that holds all tiles, from left to right and row by row."""

    content: bytes
    """The picture in WebP format."""
    columns: int
    rows: int
    side: int
    """The side of a tile in pixels."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The errors that a report shows."""

    images: tuple[MisclassifiedImage, ...]
    """The images shown. The tile of each has the same index in the sheet."""
    cells: tuple[Cell, ...]
    """The cells that have errors, those with most errors first."""
    worst: tuple[ExplainedError, ...]
    """The explained errors, the most confident first."""
    searched: int
    """The number of training images among which neighbours were searched; 0 if none were."""
    sheet: Sheet


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """All images of a data set with their labels and paths."""

    pixels: Pixels
    """The images, (N, S, S, C)."""
    labels: Ints
    """The class indices, (N,)."""
    paths: Sequence[str]
    """The path of each image."""
    classes: Sequence[str]
    """The names of the classes."""


def build_gallery(
    images: ImageSet,
    indices: Ints,
    probabilities: Floats,
    *,
    network: nn.Module,
    training: Ints | None,
) -> Gallery | None:
    """Gather the errors of a network on some images; return None where there is no error.

    Args:
        images: All images of the data set.
        indices: Which of them were classified, (N,).
        probabilities: The probabilities of their classes, (N, K).
        network: The network, for evidence and neighbours.
        training: The indices among which neighbours are searched; None leaves neighbours out.
    """
    labels = images.labels[indices]
    predicted = probabilities.argmax(axis=1)
    errors = list(find_confident_errors(probabilities, labels, limit=len(indices)))
    if not errors:
        return None
    cells = _fill_cells(labels, predicted, errors)
    explained = errors[:MAX_EXPLAINED_ERRORS]
    shown = list(dict.fromkeys([*explained, *(error for cell in cells for error in cell.images)]))
    places = {error: place for place, error in enumerate(shown)}
    tiles = _TileSheet(images.pixels.shape[1])
    tiles.add(images.pixels[indices[shown]])
    if not can_explain(network):
        training = None
    return Gallery(
        images=tuple(
            MisclassifiedImage(
                path=images.paths[int(indices[error])],
                label=images.classes[int(labels[error])],
                predicted=images.classes[int(predicted[error])],
                probability=float(probabilities[error, predicted[error]]),
            )
            for error in shown
        ),
        cells=tuple(replace(cell, images=tuple(places[error] for error in cell.images)) for cell in cells),
        worst=_explain_errors(
            images,
            indices[explained],
            probabilities[explained],
            network=network,
            training=training,
            tiles=tiles,
        ),
        searched=0 if training is None else min(MAX_SEARCHED_IMAGES, len(training)),
        sheet=tiles.encode(),
    )


def _fill_cells(labels: Ints, predicted: NDArray[np.intp], errors: Sequence[int]) -> list[Cell]:
    """Divide the errors, most confident first, among cells; their `images` are errors here."""
    members: dict[tuple[int, int], list[int]] = {}
    for error in errors:
        members.setdefault((int(labels[error]), int(predicted[error])), []).append(error)
    cells, room = [], MAX_IMAGES_IN_CELLS
    for (label, guess), group in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        shown = tuple(group[: min(MAX_IMAGES_PER_CELL, room)])
        room -= len(shown)
        cells.append(Cell(label=label, predicted=guess, n=len(group), images=shown))
    return cells


def _explain_errors(
    images: ImageSet,
    errors: Ints,
    probabilities: Floats,
    *,
    network: nn.Module,
    training: Ints | None,
    tiles: "_TileSheet",
) -> tuple[ExplainedError, ...]:
    """Explain the errors at these indices, which are the first of the gallery's images."""
    labels, predicted = images.labels[errors], probabilities.argmax(axis=1)
    n = len(errors)
    for_predicted: Sequence[int | None] = [None] * n
    for_true: Sequence[int | None] = [None] * n
    neighbours: Sequence[tuple[Neighbour, ...]] = [()] * n
    if can_explain(network):
        pixels = np.array(images.pixels[errors])
        maps = [compute_evidence_maps(network, pixels, classes) for classes in (predicted, labels)]
        largest = np.maximum(*(np.abs(evidence).max(axis=(1, 2)) for evidence in maps))
        for_predicted, for_true = (
            range(first, first + n)
            for first in [tiles.add(_overlay_evidence(pixels, evidence, largest)) for evidence in maps]
        )
    if training is not None:
        neighbours = _find_neighbours(images, errors, training, network, tiles)
    return tuple(
        ExplainedError(
            image=place,
            true_probability=float(probabilities[place, labels[place]]),
            for_predicted=for_predicted[place],
            for_true=for_true[place],
            neighbours=neighbours[place],
        )
        for place in range(n)
    )


def _overlay_evidence(pixels: Pixels, maps: Floats, largest: Floats) -> Pixels:
    """Lay evidence (N, H, W) over grey images; orange speaks for the class, blue against it.

    `pixels` is (N, S, S, C) and `largest` (N,) the evidence drawn at full strength; returns (N, S, S, 3).
    """
    side = pixels.shape[1]
    scaled = torch.from_numpy(maps / np.maximum(largest, 1e-12)[:, None, None])[:, None]
    evidence = F.interpolate(scaled, size=(side, side), mode="bilinear", align_corners=False)[:, 0].numpy()
    grey = np.repeat(pixels.mean(axis=3, keepdims=True), 3, axis=3) * 0.7 + 40
    strength = np.abs(evidence)[..., None] * 0.8
    colour = np.where((evidence > 0)[..., None], _COLOUR_FOR, _COLOUR_AGAINST)
    overlay: Pixels = (grey * (1 - strength) + colour * strength).round().clip(0, 255).astype(np.uint8)
    return overlay


def _find_neighbours(
    images: ImageSet, errors: Ints, training: Ints, network: nn.Module, tiles: "_TileSheet"
) -> list[tuple[Neighbour, ...]]:
    """Find for each error the training images with the most similar embeddings."""
    searched = np.sort(np.random.default_rng(0).permutation(training)[:MAX_SEARCHED_IMAGES])
    of_errors = compute_embeddings(network, images.pixels, errors)
    similarity = of_errors @ compute_embeddings(network, images.pixels, searched).T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS_PER_ERROR]  # (N, neighbours)
    first_tile = tiles.add(images.pixels[searched[nearest].ravel()])
    return [
        tuple(
            Neighbour(
                path=images.paths[int(searched[column])],
                label=images.classes[int(images.labels[searched[column]])],
                similarity=float(similarity[row, column]),
                tile=first_tile + row * nearest.shape[1] + place,
            )
            for place, column in enumerate(columns.tolist())
        )
        for row, columns in enumerate(nearest)
    ]


class _TileSheet:
    """Collects tiles of one size, to encode them as a sheet."""

    def __init__(self, image_side: int) -> None:
        self._side = min(image_side, MAX_TILE_SIDE)
        self._tiles: list[Pixels] = []

    def add(self, pixels: Pixels) -> int:
        """Add images (N, S, S, C) and return the index of the first of their tiles."""
        first = len(self._tiles)
        rgb = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else np.array(pixels)
        if rgb.shape[1] > self._side:
            floats = torch.from_numpy(rgb).permute(0, 3, 1, 2).float()
            small = F.interpolate(floats, size=(self._side, self._side), mode="bilinear", antialias=True)
            rgb = small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        self._tiles += list(rgb)
        return first

    def encode(self) -> Sheet:
        """Put all tiles into one picture."""
        columns, side = min(MAX_COLUMNS, len(self._tiles)), self._side
        rows = -(-len(self._tiles) // columns)
        pixels = np.zeros((rows * side, columns * side, 3), dtype=np.uint8)
        for index, tile in enumerate(self._tiles):
            top, left = index // columns * side, index % columns * side
            pixels[top : top + side, left : left + side] = tile
        content = encode_webp(pixels, lossless=side <= _MAX_LOSSLESS_SIDE)
        return Sheet(content=content, columns=columns, rows=rows, side=side)
