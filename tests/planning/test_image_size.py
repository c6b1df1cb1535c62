"""The size of images, chosen before any is decoded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foveal.data.dataset import open_dataset
from foveal.data.options import DataOptions
from foveal.data.scan import scan
from foveal.planning import image_size
from foveal.planning.image_size import ImagePlan, choose_image_size
from foveal.recipe.recipe import Image


def choose(
    data: Path, seconds: float, *, fitting: float, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> ImagePlan:
    """Choose for a data set on a machine that trains on so many images of 32 pixels in the time there is."""

    def fit(image: Image, _seconds: float) -> float:
        return fitting * (32 / image.size) ** 2

    monkeypatch.setattr(image_size, "_count_images_that_fit", fit)
    return choose_image_size(
        scan(data), Image(), changed=(), budget_seconds=seconds, seconds_left=seconds, cache=cache
    )


@pytest.mark.parametrize(
    ("side", "size"), [(8, 16), (16, 16), (28, 32), (32, 32), (40, 48), (96, 96), (300, 96)]
)
def test_the_smallest_size_that_loses_nothing(
    side: int,
    size: int,
    tmp_path: Path,
    cache: Path,
    lay_noise: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = lay_noise(tmp_path / "data", 5, side=side)
    plan = choose(data, 60.0, fitting=1e9, monkeypatch=monkeypatch, cache=cache)
    assert (plan.image.size, plan.share) == (size, None)


def test_large_images_are_halved_before_any_is_left_out(
    tmp_path: Path, cache: Path, lay_noise: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = lay_noise(tmp_path / "data", 20, side=90, test=1)
    plan = choose(data, 60.0, fitting=45, monkeypatch=monkeypatch, cache=cache)  # 42 train and validate
    assert (plan.image.size, plan.share) == (48, None) or plan.image.size == 48
    assert any("halved to 48" in each for each in plan.reasons)


def test_a_sample_of_what_cannot_be_seen_once(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = choose(noise, 60.0, fitting=26, monkeypatch=monkeypatch, cache=tmp_path)
    assert plan.share == pytest.approx(26 * 4 / 208)  # images of 16 pixels cost a quarter
    assert any("sample of 50.0%" in each for each in plan.reasons)


def test_a_sample_of_what_cannot_be_decoded_in_time(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = choose(noise, 1e-3, fitting=1e9, monkeypatch=monkeypatch, cache=tmp_path)
    assert plan.share is not None
    assert plan.share < 0.5
    open_dataset(DataOptions(noise, cache=tmp_path), plan.image)
    again = choose(noise, 1e-3, fitting=1e9, monkeypatch=monkeypatch, cache=tmp_path)
    assert again.share is None  # what is decoded already costs no time
