"""Images in memory become what files of them become."""

from typing import Any

import numpy as np
import pytest

from foveal.data.arrays import Arrays
from foveal.data.dataset import open_dataset
from foveal.data.decode import Decoding, decode, encode_png, resize_images
from foveal.data.options import DataOptions
from foveal.errors import DataError
from foveal.recipe.recipe import Image


def arrays(n: int = 40, channels: int = 1, **changes: Any) -> Arrays:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, 9, 12, channels), dtype=np.uint8)
    return Arrays(**{"images": images, "labels": np.arange(n) % 4, "classes": tuple("abcd"), **changes})


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("wanted", [1, 3])
def test_they_are_brought_to_size_as_files_are(fit: Any, channels: int, wanted: int) -> None:
    images = arrays(5, channels).images
    decoding = Decoding(size=16, channels=wanted, fit=fit, background="white")
    for image, brought in zip(images, resize_images(images, decoding), strict=True):
        file = encode_png(image if channels == 3 else image[..., 0])
        np.testing.assert_array_equal(brought, decode(file, decoding).pixels)


def test_what_has_the_size_is_not_copied() -> None:
    images = np.zeros((3, 8, 8, 1), dtype=np.uint8)
    decoding = Decoding(size=8, channels=1, fit="stretch", background="black")
    assert np.shares_memory(resize_images(images, decoding), images)


def test_grey_is_found_out_and_colour_is_kept() -> None:
    grey = np.repeat(arrays().images, 3, axis=3)
    auto = Image(size=8, channels="auto")
    assert open_dataset(arrays(images=grey), auto).pack.decoding.channels == 1
    assert open_dataset(arrays(channels=3), auto).pack.decoding.channels == 3
    assert open_dataset(arrays(), Image(size=8)).pack.decoding.channels == 3


def test_a_share_of_every_class_validates_and_equal_images_stay_together() -> None:
    images = arrays().images.copy()
    images[20:] = images[:20]  # each is there twice, with the same label
    splits = open_dataset(arrays(images=images, validation_share=0.2), Image(size=8), seed=3).splits
    validating = set(splits.validation.tolist())
    assert {row + 20 for row in validating if row < 20} == {row for row in validating if row >= 20}
    assert len(splits.train[0]) + len(validating) == 40
    assert sorted(np.unique(splits.validation % 4)) == [0, 1, 2, 3]
    other = open_dataset(arrays(images=images, validation_share=0.2), Image(size=8), seed=4).splits
    assert set(other.validation.tolist()) != validating
    assert len(open_dataset(DataOptions(arrays(), validation="none"), Image(size=8)).splits.validation) == 0


def test_the_record_of_it_is_whole() -> None:
    record = open_dataset(arrays(), Image(size=8)).to_record()
    assert record.splits["train"].files[0][0].startswith("X[")
    assert record.fingerprint != open_dataset(arrays(n=39), Image(size=8)).to_record().fingerprint


@pytest.mark.parametrize("options", [{"validation": "train2"}, {"group": "X"}])
def test_folders_and_groups_are_refused(options: Any) -> None:
    with pytest.raises(DataError, match="neither split folders nor groups"):
        open_dataset(DataOptions(arrays(), **options), Image(size=8))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="1 or 3 channels"):
        arrays(channels=2)
    with pytest.raises(DataError, match="one class only"):
        arrays(classes=("a",))
