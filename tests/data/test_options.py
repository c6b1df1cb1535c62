from pathlib import Path

import numpy as np
import pytest

from foveal.data.arrays import Arrays
from foveal.data.options import DataOptions


def test_a_plain_folder_stands_for_its_options() -> None:
    options = DataOptions("data", validation="train2")
    assert DataOptions.of(options) is options
    assert DataOptions.of("data") == DataOptions("data")
    arrays = Arrays(images=np.zeros((2, 8, 8, 1), np.uint8), labels=np.arange(2), classes=("a", "b"))
    assert DataOptions.of(arrays).source is arrays


def test_the_cache_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert DataOptions("data").cache_folder is None
    assert DataOptions("data", cache="cache").cache_folder == tmp_path.resolve() / "cache"


def test_splits_are_named_in_lower_case() -> None:
    assert DataOptions("data").validation_split is None
    assert DataOptions("data", validation="Train2").validation_split == "train2"
