from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foveal.data.augment import Augment, AugmentationDraws, apply_augmentation, shrink_images
from foveal.data.batches import (
    Batch,
    count_steps_per_epoch,
    get_training_parts,
    iter_training_batches,
    shuffle_into_batches,
)
from foveal.data.dataset import Dataset
from foveal.data.decode import Decoding
from foveal.data.options import DataOptions
from foveal.data.pack import Pack
from foveal.data.split import Splits
from foveal.errors import DataError
from foveal.recipe.builtin import load_recipe
from foveal.recipe.networks import Sprint
from foveal.recipe.recipe import Augmentation, Image, Recipe
from foveal.recipe.schedules import LowResolution
from foveal.types import Ints

NOTEBOOK = tuple(np.arange(start, start + 10_000) for start in (0, 10_000, 20_000, 30_000))


def parts_of(sizes: Sequence[int]) -> tuple[Ints, ...]:
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
        options=DataOptions("data"),
        share=None,
        n_listed=n,
    )


PLAIN = replace(load_recipe("model-s-02"), batch_size=8)
CHANGED = replace(PLAIN, augmentation=Augmentation(flip=True, shift=2))
SPRINT = replace(
    load_recipe("sprint"),
    batch_size=8,
    epochs=3,
    image=Image(size=8),
    low_resolution=LowResolution(size=4, share=0.5),
    model=Sprint(widths=(8, 8)),
)
"""Alternating flips, shifts, low resolution first, all folders mixed."""


def batches(
    data: Dataset,
    *,
    recipe: Recipe = PLAIN,
    augment: Augment | None = None,
    seed: int = 1,
    epoch: int = 1,
    position: int = 0,
) -> list[Batch]:
    """Batches of an epoch of a run whose steps are whole epochs."""
    steps = recipe.epochs * count_steps_per_epoch(get_training_parts(data, recipe), recipe.batch_size)

    def shrink(step: int) -> int:
        return recipe.get_shrink_factor(step / steps)

    options = {"seed": seed, "epoch": epoch, "position": position, "shrink": shrink, "augment": augment}
    return list(iter_training_batches(data, recipe, **options))


def same(one: Sequence[Batch], other: Sequence[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.seed == b.seed
        for a, b in zip(one, other, strict=True)
    )


def test_the_notebook_s_four_folders_give_628_steps() -> None:
    order = shuffle_into_batches(NOTEBOOK, 64, seed=0, epoch=1)
    assert len(order) == count_steps_per_epoch(NOTEBOOK, 64) == 628
    assert sorted(map(len, order)) == [16] * 4 + [64] * 624
    assert all(len({row // 10_000 for row in batch.tolist()}) == 1 for batch in order)
    assert np.array_equal(np.sort(np.concatenate(order)), np.arange(40_000))


def test_batches_of_all_parts_are_shuffled_among_each_other() -> None:
    order = [int(batch[0]) // 10_000 for batch in shuffle_into_batches(NOTEBOOK, 64, seed=0, epoch=1)]
    changes = sum(a != b for a, b in pairwise(order))
    assert 400 < changes < 540  # three of four neighbours, if at random
    short = [
        index
        for index, batch in enumerate(shuffle_into_batches(NOTEBOOK, 64, seed=0, epoch=1))
        if len(batch) == 16
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
    order = shuffle_into_batches(parts, batch_size, seed=seed, epoch=epoch)

    assert len(order) == count_steps_per_epoch(parts, batch_size)
    assert sorted(np.concatenate(order).tolist()) == list(range(sum(sizes)))
    assert all(1 <= len(batch) <= batch_size for batch in order)
    part_of = {row: index for index, part in enumerate(parts) for row in part.tolist()}
    assert all(len({part_of[row] for row in batch.tolist()}) == 1 for batch in order)
    again = shuffle_into_batches(parts, batch_size, seed=seed, epoch=epoch)
    assert all(np.array_equal(one, other) for one, other in zip(order, again, strict=True))


def test_seeds_and_epochs_differ() -> None:
    orders = {
        (seed, epoch): np.concatenate(shuffle_into_batches(NOTEBOOK, 64, seed=seed, epoch=epoch)).tobytes()
        for seed in range(4)
        for epoch in range(1, 5)
    }
    assert len(set(orders.values())) == 16


def test_a_part_is_shuffled_fully() -> None:
    """No window: the first batch draws from the whole part."""
    first = shuffle_into_batches([np.arange(10_000)], 10_000, seed=0, epoch=1)[0]
    assert abs(np.corrcoef(first, np.arange(10_000))[0, 1]) < 0.05


def test_a_batch_holds_the_images_and_their_labels() -> None:
    data = dataset()
    order = shuffle_into_batches(data.splits.train, 8, seed=1, epoch=1)
    made = batches(data)

    assert len(made) == len(order) == 8
    for batch, rows in zip(made, order, strict=True):
        assert (batch.images.dtype, batch.labels.dtype) == (torch.uint8, torch.int64)
        assert np.array_equal(batch.images.numpy(), data.pack.pixels[rows])
        assert np.array_equal(batch.labels.numpy(), rows % 3)


@pytest.mark.parametrize("recipe", [PLAIN, CHANGED, SPRINT], ids=["plain", "changed", "sprint"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_starting_at_a_position_is_skipping_to_it(recipe: Recipe, epoch: int) -> None:
    """So an interrupted epoch goes on with the very images, augmentation and dropout it would have had."""
    data = dataset()
    everything = batches(data, recipe=recipe, epoch=epoch)
    for position in range(len(everything) + 1):
        assert same(batches(data, recipe=recipe, epoch=epoch, position=position), everything[position:])


@pytest.mark.parametrize("recipe", [CHANGED, SPRINT], ids=["changed", "sprint"])
def test_seed_and_epoch_decide_all(recipe: Recipe) -> None:
    data = dataset()
    assert same(batches(data, recipe=recipe), batches(data, recipe=recipe))
    assert not same(batches(data, recipe=recipe), batches(data, recipe=recipe, seed=2))
    assert not same(batches(data, recipe=recipe), batches(data, recipe=recipe, epoch=2))


def test_augmentation_does_not_change_the_order() -> None:
    data = dataset()
    flips = replace(PLAIN, augmentation=Augmentation(flip=True))
    plain, changed = batches(data), batches(data, recipe=flips)
    for one, other in zip(plain, changed, strict=True):
        assert torch.equal(one.labels, other.labels)
        assert one.seed == other.seed
    assert any(not torch.equal(one.images, other.images) for one, other in zip(plain, changed, strict=True))


def test_the_recipes_augmentation_is_drawn_from_the_batchs_own_generator() -> None:
    """Flips, then down and right: the draws that Model S's third recipe was measured with."""
    data = dataset()
    order = shuffle_into_batches(data.splits.train, 8, seed=1, epoch=4)
    for index, batch in enumerate(batches(data, recipe=CHANGED, epoch=4)):
        random = np.random.default_rng([1, 4, 2, index])
        flipped = random.random(len(order[index])) < 0.5
        down, right = random.integers(-2, 3, size=(2, len(order[index])))
        draws = AugmentationDraws(flipped=flipped, down=down, right=right)
        assert np.array_equal(batch.images.numpy(), apply_augmentation(data.pack.pixels, order[index], draws))


def test_alternating_flips_show_every_image_both_ways() -> None:
    """Epoch by epoch, whatever batch an image comes in; another seed begins with others."""
    recipe = replace(PLAIN, augmentation=Augmentation(flip=True, alternate=True), mixing="images")
    data = dataset()

    def find_flipped(epoch: int, seed: int = 1) -> dict[int, bool]:
        found = {}
        order = shuffle_into_batches(get_training_parts(data, recipe), 8, seed=seed, epoch=epoch)
        for rows, batch in zip(order, batches(data, recipe=recipe, epoch=epoch, seed=seed), strict=True):
            for row, image in zip(rows.tolist(), batch.images.numpy(), strict=True):
                flipped = np.array_equal(image, data.pack.pixels[row][:, ::-1])
                assert flipped or np.array_equal(image, data.pack.pixels[row])
                found[row] = flipped
        return found

    first, second = find_flipped(1), find_flipped(2)
    assert len(first) == 57
    assert all(first[row] != second[row] for row in first)
    assert find_flipped(3) == first
    assert find_flipped(1, seed=2) != first
    assert 10 < sum(first.values()) < 47


def test_low_resolution_comes_first() -> None:
    """Half of the 24 steps of three epochs of 8: the change falls into the middle of the second."""
    data = dataset()
    sizes = [
        batch.images.shape[1] for epoch in (1, 2, 3) for batch in batches(data, recipe=SPRINT, epoch=epoch)
    ]
    assert sizes == [4] * 12 + [8] * 12


def test_small_images_are_the_large_ones_shrunk() -> None:
    data = dataset()
    small, large = batches(data, recipe=SPRINT), batches(data, recipe=replace(SPRINT, low_resolution=None))
    for one, other in zip(small, large, strict=True):
        assert np.array_equal(one.images.numpy(), shrink_images(other.images.numpy(), 2))
        assert torch.equal(one.labels, other.labels)
        assert one.seed == other.seed


def test_a_users_augmentation_sees_full_images() -> None:
    data = dataset()
    seen: list[tuple[int, ...]] = []

    def note(images: NDArray[np.uint8], _: np.random.Generator) -> NDArray[np.uint8]:
        seen.append(images.shape[1:])
        return images

    recipe = replace(SPRINT, augmentation=Augmentation())
    made = batches(data, recipe=recipe, augment=note)
    assert set(seen) == {(8, 8, 3)}
    assert same(made, batches(data, recipe=recipe))
    assert made[0].images.shape[1:] == (4, 4, 3)


def test_mixing_images_takes_all_folders_together() -> None:
    data = dataset((37, 20))
    assert [len(part) for part in get_training_parts(data, PLAIN)] == [37, 20]
    (whole,) = get_training_parts(data, SPRINT)
    assert sorted(whole.tolist()) == sorted(np.concatenate(data.splits.train).tolist())
    assert [len(batch.labels) for batch in batches(data, recipe=replace(SPRINT, low_resolution=None))].count(
        8
    ) == 7
    folder = {row: index for index, part in enumerate(data.splits.train) for row in part.tolist()}
    mixed = shuffle_into_batches(get_training_parts(data, SPRINT), 8, seed=1, epoch=1)
    assert any(len({folder[row] for row in batch.tolist()}) == 2 for batch in mixed)


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
