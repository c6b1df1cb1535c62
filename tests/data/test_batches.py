from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foveal.data.augment import Augment, from_recipe
from foveal.data.batches import Batch, epoch_order, steps_per_epoch, training_batches
from foveal.data.dataset import Dataset
from foveal.data.decode import Decoding
from foveal.data.pack import Pack
from foveal.data.split import Rows, Splits
from foveal.errors import DataError
from foveal.recipe import Augmentation

NOTEBOOK = tuple(np.arange(start, start + 10_000) for start in (0, 10_000, 20_000, 30_000))


def parts_of(sizes: Sequence[int]) -> tuple[Rows, ...]:
    """Parts of the given sizes, over rows that are not in order."""
    rows = np.random.default_rng(0).permutation(sum(sizes)).astype(np.int64)
    return tuple(np.split(rows, np.cumsum(sizes)[:-1]))


def dataset(sizes: Sequence[int] = (37, 20)) -> Dataset:
    """Row i of the pack is an image of random pixels, its label i modulo 3."""
    n = sum(sizes) + 5
    nothing = np.empty(0, dtype=np.int64)
    return Dataset(
        root=Path("data"),
        pack=Pack(
            pixels=np.random.default_rng(1).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8),
            paths=tuple(map(str, range(n))),
            digests=tuple(map(str, range(n))),
            errors={},
            clipped=0,
            decoding=Decoding(size=8, channels=3, fit="stretch", background="black"),
            retry=False,
        ),
        labels=np.arange(n) % 3,
        classes=("a", "b", "c"),
        splits=Splits(train=parts_of(sizes), validation=nothing, test=nothing, rule=""),
        left_out={},
        options={},
    )


def batches(
    data: Dataset, *, augment: Augment | None = None, seed: int = 1, epoch: int = 1, position: int = 0
) -> list[Batch]:
    return list(
        training_batches(data, batch_size=8, augment=augment, seed=seed, epoch=epoch, position=position)
    )


def same(one: Sequence[Batch], other: Sequence[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.seed == b.seed
        for a, b in zip(one, other, strict=True)
    )


def test_the_notebook_s_four_folders_give_628_steps() -> None:
    order = epoch_order(NOTEBOOK, 64, seed=0, epoch=1)
    assert len(order) == steps_per_epoch(NOTEBOOK, 64) == 628
    assert sorted(map(len, order)) == [16] * 4 + [64] * 624
    assert all(len({row // 10_000 for row in batch.tolist()}) == 1 for batch in order)
    assert np.array_equal(np.sort(np.concatenate(order)), np.arange(40_000))


def test_batches_of_all_parts_are_shuffled_among_each_other() -> None:
    order = [int(batch[0]) // 10_000 for batch in epoch_order(NOTEBOOK, 64, seed=0, epoch=1)]
    changes = sum(a != b for a, b in pairwise(order))
    assert 400 < changes < 540  # three of four neighbours, if at random
    short = [
        index for index, batch in enumerate(epoch_order(NOTEBOOK, 64, seed=0, epoch=1)) if len(batch) == 16
    ]
    assert short != [624, 625, 626, 627]


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=4),
    st.integers(1, 60),
    st.integers(0, 2**63),
    st.integers(1, 1000),
)
def test_each_row_comes_once_an_epoch_in_a_batch_of_its_part(
    sizes: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    parts = parts_of(sizes)
    order = epoch_order(parts, batch_size, seed=seed, epoch=epoch)

    assert len(order) == steps_per_epoch(parts, batch_size)
    assert sorted(np.concatenate(order).tolist()) == list(range(sum(sizes)))
    assert all(1 <= len(batch) <= batch_size for batch in order)
    part_of = {row: index for index, part in enumerate(parts) for row in part.tolist()}
    assert all(len({part_of[row] for row in batch.tolist()}) == 1 for batch in order)
    again = epoch_order(parts, batch_size, seed=seed, epoch=epoch)
    assert all(np.array_equal(one, other) for one, other in zip(order, again, strict=True))


def test_seeds_and_epochs_differ() -> None:
    orders = {
        (seed, epoch): np.concatenate(epoch_order(NOTEBOOK, 64, seed=seed, epoch=epoch)).tobytes()
        for seed in range(4)
        for epoch in range(1, 5)
    }
    assert len(set(orders.values())) == 16


def test_a_part_is_shuffled_fully() -> None:
    """No window: the first batch draws from the whole part."""
    first = epoch_order([np.arange(10_000)], 10_000, seed=0, epoch=1)[0]
    assert abs(np.corrcoef(first, np.arange(10_000))[0, 1]) < 0.05


def test_a_batch_holds_the_images_and_their_labels() -> None:
    data = dataset()
    order = epoch_order(data.splits.train, 8, seed=1, epoch=1)
    made = batches(data)

    assert len(made) == len(order) == 8
    for batch, rows in zip(made, order, strict=True):
        assert (batch.images.dtype, batch.labels.dtype) == (torch.uint8, torch.int64)
        assert np.array_equal(batch.images.numpy(), data.pack.pixels[rows])
        assert np.array_equal(batch.labels.numpy(), rows % 3)


@pytest.mark.parametrize("augmented", [False, True])
def test_starting_at_a_position_is_skipping_to_it(augmented: bool) -> None:
    """So an interrupted epoch goes on with the very images, augmentation and dropout it would have had."""
    data = dataset()
    augment = from_recipe(Augmentation(flip=True, shift=2)) if augmented else None
    everything = batches(data, augment=augment)
    for position in range(len(everything) + 1):
        assert same(batches(data, augment=augment, position=position), everything[position:])


def test_seed_and_epoch_decide_all() -> None:
    data = dataset()
    augment = from_recipe(Augmentation(flip=True, shift=2))
    assert same(batches(data, augment=augment), batches(data, augment=augment))
    assert not same(batches(data, augment=augment), batches(data, augment=augment, seed=2))
    assert not same(batches(data, augment=augment), batches(data, augment=augment, epoch=2))


def test_augmentation_does_not_change_the_order() -> None:
    data = dataset()
    plain, changed = batches(data), batches(data, augment=from_recipe(Augmentation(flip=True)))
    for one, other in zip(plain, changed, strict=True):
        assert torch.equal(one.labels, other.labels)
        assert one.seed == other.seed
    assert any(not torch.equal(one.images, other.images) for one, other in zip(plain, changed, strict=True))


def test_every_step_has_random_numbers_of_its_own() -> None:
    seen: list[bytes] = []

    def note(images: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        seen.append(generator.bytes(16))
        return images

    data = dataset()
    seeds = [
        batch.seed
        for seed in (1, 2)
        for epoch in (1, 2)
        for batch in batches(data, augment=note, seed=seed, epoch=epoch)
    ]
    assert len(set(seen)) == len(seen) == 32
    assert len(set(seeds)) == 32
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_augmentation_never_touches_the_pack() -> None:
    data = dataset()
    before = data.pack.pixels.copy()

    def blacken(images: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        images[:] = 0
        return images

    assert all(int(batch.images.max()) == 0 for batch in batches(data, augment=blacken))
    assert np.array_equal(data.pack.pixels, before)


def test_an_augmentation_may_return_a_view() -> None:
    data = dataset()
    made = batches(data, augment=lambda images, generator: images[:, :, ::-1])
    for batch, plain in zip(made, batches(data), strict=True):
        assert torch.equal(batch.images, plain.images.flip(2))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (
            lambda images, _: images / 255,
            r"returned float64 \(8, 8, 8, 3\); it must return uint8 \(8, 8, 8, 3\)",
        ),
        (lambda images, _: images[:, 1:], r"returned uint8 \(8, 7, 8, 3\)"),
        (lambda images, _: images[:1], r"returned uint8 \(1, 8, 8, 3\)"),
        (lambda images, _: None, r"returned object \(\)"),
    ],
)
def test_an_augmentation_that_returns_something_else_is_refused(augment: Augment, message: str) -> None:
    with pytest.raises(DataError, match=f"the augmentation {message}"):
        batches(dataset((8,)), augment=augment)
