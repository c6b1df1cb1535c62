import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foveal.data.augment import AugmentationDraws, apply_augmentation, draw_augmentation, shrink_images
from foveal.engine.compiled import without_kernels
from foveal.recipe.recipe import Augmentation

Images = NDArray[np.uint8]
FLIP, SHIFT = Augmentation(flip=True), Augmentation(shift=2)
BOTH = Augmentation(flip=True, shift=2)
ALL = [FLIP, SHIFT, BOTH]


def images(n: int = 64, size: int = 9, channels: int = 3, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def change(config: Augmentation, batch: Images, random: np.random.Generator, shrink: int = 1) -> Images:
    draws = draw_augmentation(config, len(batch), random)
    return apply_augmentation(batch, np.arange(len(batch)), draws, shrink=shrink)


def flip(batch: Images, random: np.random.Generator) -> Images:
    """What the recipes' mirroring was before it was done together with the shift."""
    flipped = random.random(len(batch)) < 0.5
    return np.where(flipped[:, None, None, None], batch[:, :, ::-1], batch)


def shift(batch: Images, pixels: int, random: np.random.Generator) -> Images:
    """And their shift: padding by reflection, and cropping."""
    down, right = random.integers(-pixels, pixels + 1, size=(2, len(batch)))
    padded = np.pad(batch, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="reflect")
    size = batch.shape[1]
    made = np.empty_like(batch)
    for n in range(len(batch)):
        top, left = pixels + down[n], pixels + right[n]
        made[n] = padded[n, top : top + size, left : left + size]
    return made


@pytest.fixture(params=["kernels", "NumPy"])
def _way(request: pytest.FixtureRequest) -> object:
    """Each test runs by the kernel and, as where there is no compiler, by NumPy."""
    if request.param == "kernels":
        yield
    else:
        with without_kernels():
            yield


pytestmark = pytest.mark.usefixtures("_way")


@pytest.mark.parametrize("config", ALL, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 64])
def test_shape_and_type_stay_and_the_input_is_left_alone(config: Augmentation, channels: int, n: int) -> None:
    given_ = images(n, channels=channels)
    before = given_.copy()
    found = change(config, given_, generator())

    assert (found.shape, found.dtype) == (given_.shape, np.uint8)
    assert np.array_equal(given_, before)


@pytest.mark.parametrize("config", ALL, ids=str)
def test_the_generator_decides_alone(config: Augmentation) -> None:
    assert np.array_equal(change(config, images(), generator(1)), change(config, images(), generator(1)))
    assert not np.array_equal(change(config, images(), generator(1)), change(config, images(), generator(2)))


@pytest.mark.parametrize("config", ALL, ids=str)
def test_images_never_mix(config: Augmentation) -> None:
    """Each result is made of one image: of one value, if that is."""
    values = np.arange(64, dtype=np.uint8)
    plain = np.broadcast_to(values[:, None, None, None], (64, 9, 9, 3)).copy()
    assert np.array_equal(change(config, plain, generator()), plain)


@pytest.mark.parametrize("config", ALL, ids=str)
def test_an_image_s_fate_does_not_hang_on_the_others(config: Augmentation) -> None:
    one, other = images(seed=1), images(seed=2)
    other[5] = one[5]
    assert np.array_equal(change(config, one, generator())[5], change(config, other, generator())[5])


def test_flip_mirrors_about_half_and_leaves_the_rest() -> None:
    batch = images(1000)
    found = change(FLIP, batch, generator())
    flipped = (found == batch[:, :, ::-1]).all(axis=(1, 2, 3))
    left = (found == batch).all(axis=(1, 2, 3))

    assert (flipped ^ left).all()
    assert 420 < flipped.sum() < 580  # five standard deviations


@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_shift_is_padding_by_reflection_and_cropping(pixels: int, size: int, seed: int) -> None:
    batch = images(6, size=size)
    found = change(Augmentation(shift=pixels), batch, generator(seed))
    assert np.array_equal(found, shift(batch, pixels, generator(seed)))


def test_every_shift_comes_about_equally_often() -> None:
    batch = np.zeros((5000, 9, 9, 1), dtype=np.uint8)
    batch[:, 4, 4] = 1  # a point at the centre shows where it went
    _, rows, columns, _ = change(SHIFT, batch, generator()).nonzero()
    counts = np.bincount(5 * (rows - 2) + columns - 2, minlength=25)

    assert counts.sum() == 5000
    assert (np.abs(counts - 200) < 5 * np.sqrt(200)).all()


def test_a_recipe_without_augmentation_changes_nothing_and_draws_nothing() -> None:
    random = generator(1)
    assert np.array_equal(change(Augmentation(), images(), random), images())
    assert random.random() == generator(1).random()


def test_a_recipe_flips_then_shifts() -> None:
    """The draws of Model S's third recipe are those it always had: flips, then down and right."""
    batch = images()
    random = generator(3)
    assert np.array_equal(change(BOTH, batch, generator(3)), shift(flip(batch, random), 2, random))
    assert np.array_equal(change(FLIP, batch, generator(3)), flip(batch, generator(3)))
    assert np.array_equal(change(SHIFT, batch, generator(3)), shift(batch, 2, generator(3)))


def test_rows_are_taken_in_their_order_and_more_than_once() -> None:
    batch, rows = images(8), np.array([5, 0, 5, 7])
    draws = draw_augmentation(BOTH, 4, generator(2))
    expected = np.stack(
        [
            apply_augmentation(
                batch[row : row + 1],
                np.zeros(1, dtype=np.int64),
                AugmentationDraws(
                    flipped=draws.flipped[n : n + 1],
                    down=draws.down[n : n + 1],
                    right=draws.right[n : n + 1],
                ),
            )[0]
            for n, row in enumerate(rows)
        ]
    )
    assert np.array_equal(apply_augmentation(batch, rows, draws), expected)


def test_a_view_of_images_is_taken_too() -> None:
    batch = images(8)[:, :, ::-1]
    draws = draw_augmentation(BOTH, 8, generator(2))
    rows = np.arange(8)
    assert np.array_equal(
        apply_augmentation(batch, rows, draws), apply_augmentation(np.ascontiguousarray(batch), rows, draws)
    )


# ---- by turns


def test_alternating_flips_show_each_image_both_ways_in_two_epochs() -> None:
    config = Augmentation(flip=True, alternate=True)
    first = generator(0).random(50) < 0.5
    for epoch in range(1, 6):
        flipped = [
            draw_augmentation(config, 50, generator(epoch + k), first_flipped=first, epoch=epoch + k).flipped
            for k in (0, 1)
        ]
        assert (flipped[0] ^ flipped[1]).all()
        assert np.array_equal(flipped[0], first if epoch % 2 else ~first)


def test_alternating_flips_draw_nothing() -> None:
    config = Augmentation(flip=True, alternate=True, shift=3)
    draws = draw_augmentation(config, 20, generator(5), first_flipped=np.zeros(20, dtype=np.bool_), epoch=1)
    down, right = generator(5).integers(-3, 4, size=(2, 20))
    assert np.array_equal(draws.down, down)
    assert np.array_equal(draws.right, right)
    assert not draws.flipped.any()


# ---- smaller


@given(st.sampled_from([1, 2, 3, 4]), st.integers(1, 4), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_shrunk_pixels_are_means_with_halves_rounded_up(factor: int, units: int, n: int, seed: int) -> None:
    size = factor * units
    batch = images(n, size=size, seed=seed)
    found = shrink_images(batch, factor)
    blocks = batch.reshape(n, units, factor, units, factor, 3)
    expected = np.floor(blocks.mean((2, 4)) + 0.5)
    assert (found.dtype, found.shape) == (np.uint8, (n, units, units, 3))
    assert np.array_equal(found, expected)


def test_halves_are_rounded_up_and_white_stays_white() -> None:
    for values, mean in (([0, 0, 1, 1], 1), ([0, 0, 0, 1], 0), ([254, 255, 254, 255], 255), ([255] * 4, 255)):
        batch = np.array(values, dtype=np.uint8).reshape(1, 2, 2, 1)
        assert shrink_images(batch, 2).item() == mean
        assert change(Augmentation(), batch, generator(), shrink=2).item() == mean


def test_shrinking_comes_last() -> None:
    batch = images(20, size=8)
    assert np.array_equal(
        change(BOTH, batch, generator(4), shrink=2), shrink_images(change(BOTH, batch, generator(4)), 2)
    )
