"""Crops by the kernel: byte for byte what NumPy makes."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foveal.data.augment import AugmentationDraws, apply_augmentation
from foveal.engine.compiled import load_library, without_kernels
from foveal.engine.crops import gather_crops, supports

pytestmark = pytest.mark.skipif(
    load_library().library is None, reason=f"no kernels: {load_library().description}"
)


def images(n: int, size: int, channels: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 12),
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 2**32),
)
def test_they_are_the_same_bytes_as_numpys(n: int, units: int, channels: int, shrink: int, seed: int) -> None:
    """Shifts go far beyond the image, where the fold at its border folds again."""
    size = units * shrink
    random = np.random.default_rng(seed)
    pixels = images(5, size, channels, seed)
    rows = random.integers(0, 5, n)
    down, right = random.integers(-3 * size, 3 * size + 1, (2, n))
    draws = AugmentationDraws(flipped=random.random(n) < 0.5, down=down, right=right)
    assert supports(pixels)
    found = apply_augmentation(pixels, rows, draws, shrink=shrink)
    with without_kernels():
        expected = apply_augmentation(pixels, rows, draws, shrink=shrink)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("shrink", [1, 2])
def test_each_pixel_comes_from_where_the_tables_say(shrink: int) -> None:
    pixels = images(4, 6, 3)
    random = np.random.default_rng(1)
    rows, down, across = random.integers(0, 4, 9), *random.integers(0, 6, (2, 9, 6))
    found = gather_crops(pixels, rows, down, across, shrink=shrink)
    for n in range(9):
        whole = pixels[rows[n]][down[n]][:, across[n]].astype(int)
        for i in range(6 // shrink):
            for j in range(6 // shrink):
                block = whole[i * shrink : (i + 1) * shrink, j * shrink : (j + 1) * shrink]
                assert found[n, i, j].tolist() == np.floor(block.mean((0, 1)) + 0.5).tolist()


def test_any_number_of_threads(threads: Callable[[int], None]) -> None:
    pixels = images(4, 6, 3)
    random = np.random.default_rng(1)
    rows, down, across = random.integers(0, 4, 9), *random.integers(0, 6, (2, 9, 6))
    made = []
    for number in (1, 2, 3):
        threads(number)
        made.append(gather_crops(pixels, rows, down, across, shrink=2))
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])


def test_tables_may_be_views() -> None:
    pixels = images(4, 6, 3)
    table = np.random.default_rng(1).integers(0, 6, (6, 6))
    rows = np.array([3, 0, 2, 0, 1, 0])[::2]
    found = gather_crops(pixels, rows, table[::2], table.T[::2], shrink=1)
    for n in range(3):
        assert np.array_equal(found[n], pixels[rows[n]][table[2 * n]][:, table.T[2 * n]])


def test_rows_that_are_not_there_are_our_own_bug() -> None:
    pixels, table = images(4, 6, 3), np.zeros((1, 6), dtype=np.int64)
    for row in (-1, 4):
        with pytest.raises(AssertionError):
            gather_crops(pixels, np.array([row]), table, table, shrink=1)


def test_what_the_kernel_cannot_read_does_not_fit() -> None:
    pixels = images(4, 6, 3)
    assert supports(pixels)
    assert not supports(pixels[:, :, ::-1])
    with without_kernels():
        assert not supports(pixels)
