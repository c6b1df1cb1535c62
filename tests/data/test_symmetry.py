import numpy as np
import pytest
from sklearn.datasets import load_digits

from foveal.data.symmetry import measure_flip_asymmetry


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)


def test_noise_faces_both_sides_alike() -> None:
    images, labels = noise(2000), np.arange(2000) % 4
    assert measure_flip_asymmetry(images, labels, np.arange(2000)) == pytest.approx(0.5, abs=0.05)


def test_digits_do_not() -> None:
    found = load_digits()
    images = (found.images * 15).astype(np.uint8)[..., None]
    assert measure_flip_asymmetry(images, found.target, np.arange(len(images))) > 0.85


def test_a_class_that_faces_left_and_one_that_faces_right_are_told_apart_by_class() -> None:
    """Over both classes the mean image is symmetric; within each it is not."""
    images, labels = noise(400), np.arange(400) % 2
    images[labels == 0, :, :4] //= 4
    images[labels == 1, :, 4:] //= 4
    assert measure_flip_asymmetry(images, labels, np.arange(400)) == 1


def test_only_the_rows_asked_for_are_looked_at() -> None:
    images, labels = noise(400), np.zeros(400, dtype=np.int64)
    images[200:, :, :4] = 0
    assert measure_flip_asymmetry(images, labels, np.arange(200)) < 0.65
    assert measure_flip_asymmetry(images, labels, np.arange(200, 400)) == 1


def test_a_class_of_one_image_cannot_be_judged() -> None:
    assert measure_flip_asymmetry(noise(1), np.array([0]), np.array([0])) in (0.5, 0.0, 1.0)
