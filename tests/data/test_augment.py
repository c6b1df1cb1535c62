from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foveal.data.augment import Augment, flip, from_recipe, shift
from foveal.recipe import Augmentation

Images = NDArray[np.uint8]


def images(n: int = 64, size: int = 9, channels: int = 3, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def both(batch: Images, random: np.random.Generator) -> Images:
    augment = from_recipe(Augmentation(flip=True, shift=2))
    assert augment is not None
    return augment(batch, random)


def shifted(batch: Images, random: np.random.Generator) -> Images:
    return shift(batch, 2, random)


ALL: list[Callable[[Images, np.random.Generator], Images]] = [flip, shifted, both]


@pytest.mark.parametrize("change", ALL)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 64])
def test_shape_and_type_stay_and_the_input_is_left_alone(change: Augment, channels: int, n: int) -> None:
    given_ = images(n, channels=channels)
    before = given_.copy()
    found = change(given_, generator())

    assert (found.shape, found.dtype) == (given_.shape, np.uint8)
    assert np.array_equal(given_, before)


@pytest.mark.parametrize("change", ALL)
def test_the_generator_decides_alone(change: Augment) -> None:
    assert np.array_equal(change(images(), generator(1)), change(images(), generator(1)))
    assert not np.array_equal(change(images(), generator(1)), change(images(), generator(2)))


@pytest.mark.parametrize("change", ALL)
def test_images_never_mix(change: Augment) -> None:
    """Each result is made of one image: of one value, if that is."""
    values = np.arange(64, dtype=np.uint8)
    plain = np.broadcast_to(values[:, None, None, None], (64, 9, 9, 3))
    assert np.array_equal(change(plain, generator()), plain)


@pytest.mark.parametrize("change", ALL)
def test_an_image_s_fate_does_not_hang_on_the_others(change: Augment) -> None:
    one, other = images(seed=1), images(seed=2)
    other[5] = one[5]
    assert np.array_equal(change(one, generator())[5], change(other, generator())[5])


def test_flip_mirrors_about_half_and_leaves_the_rest() -> None:
    batch = images(1000)
    found = flip(batch, generator())
    mirrored = (found == batch[:, :, ::-1]).all(axis=(1, 2, 3))
    left = (found == batch).all(axis=(1, 2, 3))

    assert (mirrored ^ left).all()
    assert 420 < mirrored.sum() < 580  # five standard deviations


@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_shift_is_padding_by_reflection_and_cropping(pixels: int, size: int, seed: int) -> None:
    batch = images(6, size=size)
    found = shift(batch, pixels, generator(seed))

    down, right = generator(seed).integers(-pixels, pixels + 1, size=(2, 6))
    around = (0, 0), (pixels, pixels), (pixels, pixels), (0, 0)
    padded = np.pad(batch, around, mode="reflect")
    for each, image in enumerate(found):
        top, left = pixels + down[each], pixels + right[each]
        assert np.array_equal(image, padded[each, top : top + size, left : left + size])


def test_every_shift_comes_about_equally_often() -> None:
    batch = np.zeros((5000, 9, 9, 1), dtype=np.uint8)
    batch[:, 4, 4] = 1  # a point at the centre shows where it went
    _, rows, columns, _ = shift(batch, 2, generator()).nonzero()
    counts = np.bincount(5 * (rows - 2) + columns - 2, minlength=25)

    assert counts.sum() == 5000
    assert (np.abs(counts - 200) < 5 * np.sqrt(200)).all()


def test_a_recipe_without_augmentation_has_none() -> None:
    assert from_recipe(Augmentation()) is None


def test_a_recipe_flips_then_shifts() -> None:
    batch = images()
    random = generator(3)
    assert np.array_equal(both(batch, generator(3)), shift(flip(batch, random), 2, random))

    flips, shifts = from_recipe(Augmentation(flip=True)), from_recipe(Augmentation(shift=2))
    assert flips is not None
    assert shifts is not None
    assert np.array_equal(flips(batch, generator(3)), flip(batch, generator(3)))
    assert np.array_equal(shifts(batch, generator(3)), shift(batch, 2, generator(3)))
