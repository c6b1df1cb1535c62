"""Measures whether images keep their class when they are flipped left to right."""

import numpy as np

from foveal.types import Ints, Pixels

MAX_IMAGES = 5000
"""The number of images that are measured, if there are so many."""


def measure_flip_asymmetry(pixels: Pixels, labels: Ints, indices: Ints, *, seed: int = 0) -> float:
    """Return how well images can be told from their mirror images if their class is known.

    Half of the images give each class a template: the mean of their antisymmetric part, image minus mirror
    image. The result is the share of the other half that the template tells from their mirror image. It is
    0.5 for a class that faces both sides alike, and 1 for letters and digits without symmetry.

    Args:
        pixels: The images, uint8 (N, S, S, C).
        labels: The label of every image, int64 (N,).
        indices: The images to measure, int64 (M,).
        seed: The seed of the sample and of its division.
    """
    random = np.random.default_rng(seed)
    drawn = np.sort(random.permutation(indices)[:MAX_IMAGES])
    images, drawn_labels = pixels[drawn].astype(np.float32), labels[drawn]
    antisymmetric = (images - images[:, :, ::-1]).reshape(len(images), -1)
    in_template = random.permutation(len(antisymmetric)) % 2 == 0
    n_correct, n_scores = 0.0, 0
    for label in np.unique(drawn_labels):
        in_class = drawn_labels == label
        template = antisymmetric[in_class & in_template].sum(0)
        scores = antisymmetric[in_class & ~in_template] @ template
        n_correct += float((scores > 0).sum() + 0.5 * (scores == 0).sum())
        n_scores += len(scores)
    return n_correct / n_scores if n_scores else 0.5
