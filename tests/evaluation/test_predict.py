from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.evaluation.predict import BATCH_SIZE, View, average_logits, compute_logits, make_tta_views

Fold = Callable[[int, int], int]


class Toy(nn.Module):
    """uint8 (N, S, S, C) -> logits (N, 5). Every pixel counts, and nothing is linear."""

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(size * size * channels, 5)
        self.dropout = nn.Dropout(0.5)
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8
        assert images.is_contiguous()
        self.seen.append(len(images))
        return self.dropout(torch.sin(9 * self.dense(images.flatten(1).float() / 255)))


def images_of(n: int, size: int, channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, size=(n, size, size, channels), dtype=np.uint8)


# ---- the same by other means: an image at a time, a pixel at a time

SIX = [
    (0, False, 1 / 4),
    (0, True, 1 / 4),
    *((move, side, 1 / 8) for move in (-1, 1) for side in (False, True)),
]
THREE = [(0, False, 1 / 2), (-1, False, 1 / 4), (1, False, 1 / 4)]


def reflected(place: int, size: int) -> int:
    return {-1: 1, size: size - 2}.get(place, place)


def repeated(place: int, size: int) -> int:
    return min(max(place, 0), size - 1)


def around(place: int, size: int) -> int:
    return place % size


def naive(
    network: Toy,
    images: NDArray[np.uint8],
    views: list[tuple[int, bool, float]],
    *,
    fold: Fold = reflected,
    mirrored_first: bool = False,
    across: int = 1,
) -> NDArray[np.float64]:
    """Average by the contract's words; the keywords are ways to get it wrong."""
    size = images.shape[1]
    rows = []
    for image in images:
        total = np.zeros(5)
        for move, mirrored, weight in views:
            seen = np.zeros_like(image)
            for y in range(size):
                for x in range(size):
                    column = size - 1 - x if mirrored else x
                    if mirrored and mirrored_first:
                        source = size - 1 - fold(x - across * move, size)
                    else:
                        source = fold(column - across * move, size)
                    seen[y, x] = image[fold(y - move, size), source]
            with torch.no_grad():
                total += weight * network(torch.from_numpy(seen[None]))[0].double().numpy()
        rows.append(total)
    return np.array(rows)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mirrored", [True, False])
def test_views_are_averaged_as_the_contract_says(channels: int, *, mirrored: bool) -> None:
    network = Toy(5, channels).eval()
    images = images_of(BATCH_SIZE + 30, 5, channels)
    rows = np.random.default_rng(2).permutation(len(images))[: BATCH_SIZE + 7]
    right = SIX if mirrored else THREE
    views = make_tta_views(flip=mirrored)
    plain = compute_logits(network, images, rows)
    found = average_logits(network, images, rows, views=views, first_logits=plain)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive(network, images[rows], right), atol=1e-5)
    all_rows = average_logits(network, images, views=views, first_logits=compute_logits(network, images))
    np.testing.assert_array_equal(all_rows[rows[:5]].argmax(1), found[:5].argmax(1))

    few = images[rows[:20]]
    equal_weights = [(move, side, 1 / len(right)) for move, side, _ in right]
    wrong = [
        naive(network, few, THREE if mirrored else SIX),
        naive(network, few, equal_weights),
        naive(network, few, right, fold=repeated),
        naive(network, few, right, fold=around),
        naive(network, few, right, across=-1),
        naive(network, few, right[:-1]),
        *([naive(network, few, right, mirrored_first=True)] if mirrored else []),
    ]
    for each in (*wrong, plain[:20]):
        assert np.abs(found[:20] - each).max() > 0.01  # the comparison above can fail


def test_an_image_moves_and_is_mirrored() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)

    def seen(**how: int) -> list[list[int]]:
        return View(weight=1, **how).apply(image)[0, :, :, 0].tolist()  # type: ignore[arg-type]

    assert seen() == image[0, :, :, 0].tolist()
    assert seen(flipped=True) == [[3, 2, 1, 0], [7, 6, 5, 4], [11, 10, 9, 8], [15, 14, 13, 12]]
    assert seen(shift=1) == [[5, 4, 5, 6], [1, 0, 1, 2], [5, 4, 5, 6], [9, 8, 9, 10]]
    assert seen(shift=-1) == [[5, 6, 7, 6], [9, 10, 11, 10], [13, 14, 15, 14], [9, 10, 11, 10]]
    assert seen(shift=1, flipped=True) == [row[::-1] for row in seen(shift=1)]


@pytest.mark.parametrize(("mirrored", "n"), [(True, 6), (False, 3)])
def test_as_many_views_as_it_says(n: int, *, mirrored: bool) -> None:
    views = make_tta_views(flip=mirrored)
    assert len(set(views)) == n
    assert sum(view.weight for view in views) == 1
    assert any(view.flipped for view in views) is mirrored
    assert all(a.weight >= b.weight for a, b in pairwise(views))

    network = Toy(4, 1)
    images = images_of(2 * BATCH_SIZE + 1, 4, 1)
    plain = compute_logits(network, images)
    average_logits(network, images, views=views, first_logits=plain)
    assert sum(network.seen) == n * len(images)  # what it costs
    assert max(network.seen) == BATCH_SIZE


def test_dropout_is_off_meanwhile_and_the_network_left_as_it_was() -> None:
    network = Toy(4, 3).train()
    images = images_of(9, 4, 3)
    views = make_tta_views(flip=True)
    plain = compute_logits(network, images)
    once, again = (average_logits(network, images, views=views, first_logits=plain) for _ in range(2))
    assert np.array_equal(once, again)
    assert network.training
    assert np.array_equal(plain, compute_logits(network.eval(), images))  # what was given stays as it was
