"""Whether images may be mirrored left and right without becoming something else."""

import numpy as np
from numpy.typing import NDArray

MOST = 5000
"""Images that are looked at."""


def mirror_asymmetry(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], rows: NDArray[np.int64], *, seed: int = 0
) -> float:
    """Return how well some rows of images (N, S, S, C) can be told from their mirror images, class known.

    Half of the images give each class a template: the mean of their antisymmetric part, image minus mirror
    image. The result is the share of the other half that the template of their class finds the right way
    round: 0.5 where a class faces both sides alike, 1 for letters and digits without symmetry.
    """
    random = np.random.default_rng(seed)
    drawn = np.sort(random.permutation(rows)[:MOST])
    images, known = pixels[drawn].astype(np.float32), labels[drawn]
    odd = (images - images[:, :, ::-1]).reshape(len(images), -1)
    half = random.permutation(len(odd)) % 2 == 0
    right, judged = 0.0, 0
    for label in np.unique(known):
        ours = known == label
        template = odd[ours & half].sum(0)
        scores = odd[ours & ~half] @ template
        right += float((scores > 0).sum() + 0.5 * (scores == 0).sum())
        judged += len(scores)
    return right / judged if judged else 0.5
