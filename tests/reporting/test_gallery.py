"""Which errors a report shows, and whether its tiles are the right pictures."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from foveal.models import registry
from foveal.recipe import builtin
from foveal.reporting import gallery as galleries
from foveal.reporting.gallery import Gallery, ImageSet, build_gallery

CLASSES = ("ant", "bee", "cow")


def images(n: int = 90, size: int = 8, channels: int = 3) -> ImageSet:
    """Images of one colour each: image i has the grey value i."""
    pixels = np.zeros((n, size, size, channels), dtype=np.uint8)
    pixels += np.arange(n, dtype=np.uint8)[:, None, None, None]
    return ImageSet(
        pixels=pixels, labels=np.arange(n) % 3, paths=[f"{i}.png" for i in range(n)], classes=CLASSES
    )


def probabilities(labels: np.ndarray, predicted: np.ndarray, sure: np.ndarray) -> np.ndarray:
    p = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
    p[np.arange(len(labels)), predicted] = sure
    return p


def tile(found: Gallery, place: int) -> np.ndarray:
    sheet = found.sheet
    with Image.open(io.BytesIO(sheet.content)) as opened:
        assert opened.size == (sheet.columns * sheet.side, sheet.rows * sheet.side)
        whole = np.array(opened)
    top, left = place // sheet.columns * sheet.side, place % sheet.columns * sheet.side
    return whole[top : top + sheet.side, left : left + sheet.side]


OWN = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))  # explains nothing


def made(
    monkeypatch: pytest.MonkeyPatch | None = None, **sizes: int
) -> tuple[Gallery, np.ndarray, np.ndarray]:
    for name, value in sizes.items():
        assert monkeypatch is not None
        monkeypatch.setattr(galleries, name, value)
    all_images = images()
    rows = np.arange(30, 90)  # the test split
    labels = all_images.labels[rows]
    predicted = labels.copy()
    predicted[:20] = (labels[:20] + 1) % 3  # images 30 … 49 are wrong
    sure = np.linspace(0.5, 0.99, 60)
    found = build_gallery(
        all_images, rows, probabilities(labels, predicted, sure), network=OWN, training=None
    )
    assert found is not None
    return found, predicted, sure


def test_every_error_is_in_its_cell_with_its_picture() -> None:
    found, _, sure = made()
    assert sum(cell.n for cell in found.cells) == 20
    assert [cell.n for cell in found.cells] == sorted((cell.n for cell in found.cells), reverse=True)
    seen = set()
    for cell in found.cells:
        assert cell.predicted == (cell.label + 1) % 3
        chances = []
        for place in cell.images:
            shown = found.images[place]
            number = int(shown.path.removesuffix(".png"))
            seen.add(number)
            assert (shown.label, shown.predicted) == (CLASSES[cell.label], CLASSES[cell.predicted])
            assert number % 3 == cell.label
            assert shown.probability == pytest.approx(sure[number - 30])
            chances.append(shown.probability)
            assert (tile(found, place) == number).all()  # 8 pixels a side are kept without loss
        assert chances == sorted(chances, reverse=True)
    assert seen == set(range(30, 50))


def test_the_worst_are_those_it_was_surest_of() -> None:
    found, _, _ = made()
    order = [int(found.images[each.image].path.removesuffix(".png")) for each in found.worst]
    assert order == list(range(49, 29, -1))
    assert all(each.for_predicted is None and each.neighbours == () for each in found.worst)


def test_there_are_no_more_pictures_than_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, _ = made(monkeypatch, MAX_IMAGES_PER_CELL=4, MAX_IMAGES_IN_CELLS=10, MAX_EXPLAINED_ERRORS=2)
    assert [len(cell.images) for cell in found.cells] == [4, 4, 2]
    assert sum(cell.n for cell in found.cells) == 20
    assert len(found.worst) == 2
    assert len(found.images) <= 12


def test_no_errors_no_gallery() -> None:
    all_images = images()
    rows = np.arange(60)
    p = probabilities(all_images.labels[rows], all_images.labels[rows], np.full(60, 0.9))
    assert build_gallery(all_images, rows, p, network=OWN, training=None) is None


def test_reasons_and_neighbours() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
    pixels[70:] = pixels[:10]  # the last ten test images are among the training images, too
    labels = np.arange(80) % 3
    all_images = ImageSet(
        pixels=pixels, labels=labels, paths=[f"{i}.png" for i in range(80)], classes=CLASSES
    )
    network = registry.build_network(builtin.sprint().model, size=32, channels=3, classes=3, seed=0)
    registry.prepare_network(network, torch.from_numpy(pixels))
    rows = np.arange(60, 80)
    p = probabilities(labels[rows], (labels[rows] + 1) % 3, np.linspace(0.5, 0.9, 20))
    found = build_gallery(all_images, rows, p, network=network, training=np.arange(60))
    assert found is not None
    assert found.searched == 60
    for each in found.worst:
        number = int(found.images[each.image].path.removesuffix(".png"))
        assert len(each.neighbours) == 3
        nearest = each.neighbours[0]
        if number >= 70:
            assert nearest.path == f"{number - 70}.png"
            assert nearest.similarity == pytest.approx(1, abs=1e-4)
            assert nearest.label == CLASSES[(number - 70) % 3]
            picture = tile(found, nearest.tile).astype(int)
            # Noise, compressed: off, but by less than any other image is.
            off = np.abs(pixels[:60].astype(int) - picture).mean(axis=(1, 2, 3))
            assert off.argmin() == number - 70
        else:
            assert nearest.similarity < 0.9999
        assert each.for_predicted is not None
        assert each.for_true is not None
        assert tile(found, each.for_predicted).std() > 0


@pytest.mark.parametrize(("size", "channels", "side"), [(8, 1, 8), (96, 3, 64), (96, 1, 64)])
def test_grey_and_large_images(size: int, channels: int, side: int) -> None:
    all_images = images(size=size, channels=channels)
    rows = np.arange(30)
    p = probabilities(all_images.labels[rows], (all_images.labels[rows] + 1) % 3, np.full(30, 0.9))
    found = build_gallery(all_images, rows, p, network=OWN, training=None)
    assert found is not None
    assert found.sheet.side == side
    for place, shown in enumerate(found.images):
        assert tile(found, place).mean() == pytest.approx(int(shown.path.removesuffix(".png")), abs=3)
