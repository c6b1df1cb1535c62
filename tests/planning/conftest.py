"""Data sets of noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture


def lay(root: Path, n: int, *, side: int = 12, test: int = 4) -> Path:
    """Noise of two classes: bright and dark."""
    random = np.random.default_rng(0)
    for split, count in (("train", n), ("val", test), ("test", test)):
        for label, low in (("bright", 128), ("dark", 0)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(low, low + 128, (side, side, 3), dtype=np.uint8)
                Picture.fromarray(pixels).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay(tmp_path_factory.mktemp("noise") / "data", 100)


@pytest.fixture
def lay_noise() -> Callable[..., Path]:
    return lay
