"""What is planned for a budget: on data sets and costs made up here, no clock involved but where said."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataOptions
from foveal.data.scan import scan
from foveal.errors import RecipeError
from foveal.planning import image_size as looking
from foveal.planning import memory_estimate
from foveal.planning import plan_dataset as planning
from foveal.planning.image_size import ImagePlan, choose_image_size
from foveal.planning.networks import NETWORK_SIZES, apply_network_size
from foveal.planning.plan_dataset import ASYMMETRIC, Plan, max_useful_epochs, plan_dataset
from foveal.planning.step_time import Costs, measure_costs
from foveal.recipe import builtin
from foveal.recipe.networks import Sprint
from foveal.recipe.recipe import Image


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
def costs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """A machine on which a step costs its batch times its widest layer, in tenths of milliseconds."""
    asked = []

    def measured(recipe: object, _dataset: object, *, seed: int) -> Costs:
        assert isinstance(recipe.model, Sprint)
        asked.append(recipe.model.widths)
        step = recipe.batch_size * max(recipe.model.widths) * 1e-4
        return Costs(low=step / 4, full=step, image=1e-5)

    monkeypatch.setattr(planning, "measure", measured)
    return asked


def planned(
    data: Path, cache: Path, seconds: float, *, changed: dict[str, object] | None = None, tested: bool = False
) -> Plan:
    base = replace(builtin.budgeted(), image=Image(size=16))
    dataset: Dataset = open_dataset(DataOptions(data, cache=cache), base.image)
    for path, value in (changed or {}).items():
        base = replace(base, **{path: value})
    return plan_dataset(
        dataset, base, changed=set(changed or ()), seconds=seconds, clock=lambda: 2.0, seed=0, tested=tested
    )


def test_more_time_never_means_less_training(noise: Path, cache: Path, costs: list) -> None:
    plans = [planned(noise, cache, seconds) for seconds in (3, 6, 12, 30, 100, 1000, 100_000)]
    widths = [max(each.recipe.model.widths) for each in plans]
    assert widths == sorted(widths)
    for one, more in pairwise(plans):
        if one.recipe.model == more.recipe.model:
            assert one.recipe.steps <= more.recipe.steps


def test_what_is_planned_fits(noise: Path, cache: Path, costs: list) -> None:
    for seconds in (5.0, 20.0, 60.0):
        made = planned(noise, cache, seconds, tested=True)
        assert made.recipe.steps is not None
        end = 2.0 + made.recipe.steps * made.pace.seconds(0, 1) + made.reserve + made.judging
        assert end <= seconds + made.pace.full


def test_a_budget_without_end_stops_where_more_does_not_help(noise: Path, cache: Path, costs: list) -> None:
    made = planned(noise, cache, 1e6)
    assert made.recipe.model.widths == NETWORK_SIZES[-1].widths
    assert made.recipe.steps == made.most
    assert made.recipe.epochs == max_useful_epochs(200)
    assert "hardly buy anything" in made.more
    assert any("more are not expected to help" in each for each in made.why)


def test_a_budget_too_small_for_anything_is_one_step(noise: Path, cache: Path, costs: list) -> None:
    made = planned(noise, cache, 1.0)
    assert (made.recipe.steps, made.recipe.epochs) == (1, 1)
    assert made.recipe.model.widths == NETWORK_SIZES[0].widths
    assert any("too small" in each for each in made.why)


def test_only_the_first_network_that_is_too_wide_is_measured(noise: Path, cache: Path, costs: list) -> None:
    planned(noise, cache, 4.0)
    assert costs == [rung.widths for rung in NETWORK_SIZES[: len(costs)]]
    assert 1 <= len(costs) < len(NETWORK_SIZES)


def test_the_users_settings_stay(noise: Path, cache: Path, costs: list) -> None:
    made = planned(noise, cache, 20.0, changed={"batch_size": 7, "low_resolution": None})
    assert made.recipe.batch_size == 7
    assert made.recipe.low_resolution is None


def test_small_sets_get_small_batches(noise: Path, cache: Path, costs: list) -> None:
    assert planned(noise, cache, 20.0).recipe.batch_size == 200 // planning.STEPS_AN_EPOCH


def test_letters_are_not_mirrored_and_noise_is(noise: Path, cache: Path, costs: list, digits: Path) -> None:
    assert planned(noise, cache, 20.0).recipe.augmentation.alternate
    made = planned(digits, cache, 20.0)
    assert not made.recipe.augmentation.flip
    assert any(each.startswith("never mirrored") for each in made.why)
    assert 0.5 < ASYMMETRIC < 0.9


@pytest.mark.parametrize("path", ["epochs", "steps", "validate_every"])
def test_what_the_budget_decides_is_refused_as_a_setting(path: str) -> None:
    with pytest.raises(RecipeError, match=f"{path} is decided by the budget"):
        planning._refuse_settings({path})


# ---- before decoding


def looked(
    data: Path, seconds: float, *, fitting: float, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> ImagePlan:
    """Look at a data set on a machine that trains on so many images of 32 pixels in the time there is."""

    def fit(image: Image, _seconds: float) -> float:
        return fitting * (32 / image.size) ** 2

    monkeypatch.setattr(looking, "_images_that_fit", fit)
    return choose_image_size(scan(data), Image(), changed=(), seconds=seconds, left=seconds, cache=cache)


@pytest.mark.parametrize(
    ("side", "size"), [(8, 16), (16, 16), (28, 32), (32, 32), (40, 48), (96, 96), (300, 96)]
)
def test_the_smallest_size_that_loses_nothing(
    side: int, size: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = lay(tmp_path / "data", 5, side=side)
    found = looked(data, 60.0, fitting=1e9, monkeypatch=monkeypatch, cache=cache)
    assert (found.image.size, found.share) == (size, None)


def test_large_images_are_halved_before_any_is_left_out(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = lay(tmp_path / "data", 20, side=90, test=1)
    found = looked(data, 60.0, fitting=45, monkeypatch=monkeypatch, cache=cache)  # 42 train and validate
    assert (found.image.size, found.share) == (48, None) or found.image.size == 48
    assert any("halved to 48" in each for each in found.why)


def test_a_sample_of_what_cannot_be_seen_once(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = looked(noise, 60.0, fitting=26, monkeypatch=monkeypatch, cache=tmp_path)
    assert found.share == pytest.approx(26 * 4 / 208)  # images of 16 pixels cost a quarter
    assert any("sample of 50.0%" in each for each in found.why)


def test_a_sample_of_what_cannot_be_decoded_in_time(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = looked(noise, 1e-3, fitting=1e9, monkeypatch=monkeypatch, cache=tmp_path)
    assert found.share is not None
    assert found.share < 0.5
    open_dataset(DataOptions(noise, cache=tmp_path), found.image)
    again = looked(noise, 1e-3, fitting=1e9, monkeypatch=monkeypatch, cache=tmp_path)
    assert again.share is None  # what is decoded already costs no time


def test_the_machine_is_measured_for_real(noise: Path, cache: Path) -> None:
    recipe = apply_network_size(replace(builtin.budgeted(), image=Image(size=16)), NETWORK_SIZES[0], ())
    dataset = open_dataset(DataOptions(noise, cache=cache), Image(size=16))
    cost = measure_costs(replace(recipe, batch_size=50), dataset, seed=0)
    assert 0 < cost.image < cost.full < 5
    assert cost.low == cost.full  # 16 pixels are not halved


def test_memory_limits_width_and_batch(
    noise: Path, cache: Path, costs: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = planned(noise, cache, 1000)
    monkeypatch.setattr(memory_estimate, "available", lambda: 30_000_000)
    little = planned(noise, cache, 1000)
    assert max(_widths(little)) < max(_widths(plenty))
    assert little.recipe.batch_size <= plenty.recipe.batch_size
    assert "more memory would pay for a wider network" in little.more or little.recipe.steps == little.most
    monkeypatch.setattr(memory_estimate, "available", lambda: 0)
    assert planned(noise, cache, 1000).recipe.batch_size == 16  # what is left is refused when training begins


def _widths(found: Plan) -> tuple[int, ...]:
    assert isinstance(found.recipe.model, Sprint)
    return found.recipe.model.widths
