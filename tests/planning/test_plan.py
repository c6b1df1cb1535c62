"""What is planned for a budget: on data sets and costs plan up here, no clock involved but where said."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataOptions
from foveal.errors import RecipeError
from foveal.planning import memory_estimate
from foveal.planning import plan as planning
from foveal.planning.image_size import ImagePlan
from foveal.planning.networks import NETWORK_SIZES
from foveal.planning.plan import (
    MAX_FLIP_ASYMMETRY,
    Plan,
    PlanRequest,
    compute_max_useful_epochs,
    plan_dataset,
)
from foveal.planning.step_time import Costs
from foveal.recipe import builtin
from foveal.recipe.budget import Budget
from foveal.recipe.networks import Sprint
from foveal.recipe.recipe import Image


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """A machine on which a step costs its batch times its widest layer, in tenths of milliseconds."""
    measured_widths = []

    def fake_costs(recipe: object, _dataset: object, *, seed: int) -> Costs:
        assert isinstance(recipe.model, Sprint)
        measured_widths.append(recipe.model.widths)
        step = recipe.batch_size * max(recipe.model.widths) * 1e-4
        return Costs(low=step / 4, full=step, image=1e-5)

    monkeypatch.setattr(planning, "measure_costs", fake_costs)
    return measured_widths


def plan_noise(
    data: Path, cache: Path, seconds: float, *, changed: dict[str, object] | None = None, tested: bool = False
) -> Plan:
    base = replace(builtin.budgeted(), image=Image(size=16))
    dataset: Dataset = open_dataset(DataOptions(data, cache=cache), base.image)
    for path, value in (changed or {}).items():
        base = replace(base, **{path: value})
    request = PlanRequest(
        budget=Budget(seconds=seconds),
        clock=lambda: 2.0,
        changed=frozenset(changed or ()),
        seed=0,
        includes_test=tested,
    )
    images = ImagePlan(image=base.image, share=None, reasons=())
    return plan_dataset(dataset, base, request, images)


def test_more_time_never_means_less_training(noise: Path, cache: Path, costs: list) -> None:
    plans = [plan_noise(noise, cache, seconds) for seconds in (3, 6, 12, 30, 100, 1000, 100_000)]
    widths = [max(each.recipe.model.widths) for each in plans]
    assert widths == sorted(widths)
    for one, more in pairwise(plans):
        if one.recipe.model == more.recipe.model:
            assert one.recipe.steps <= more.recipe.steps


def test_what_is_planned_fits(noise: Path, cache: Path, costs: list) -> None:
    for seconds in (5.0, 20.0, 60.0):
        plan = plan_noise(noise, cache, seconds, tested=True)
        assert plan.recipe.steps is not None
        end = (
            2.0
            + plan.recipe.steps * plan.pace.compute_mean_seconds(0, 1)
            + plan.reserve_seconds
            + plan.evaluation_seconds
        )
        assert end <= seconds + plan.pace.full


def test_a_budget_without_end_stops_where_more_does_not_help(noise: Path, cache: Path, costs: list) -> None:
    plan = plan_noise(noise, cache, 1e6)
    assert plan.recipe.model.widths == NETWORK_SIZES[-1].widths
    assert plan.recipe.steps == plan.max_steps
    assert plan.recipe.epochs == compute_max_useful_epochs(200)
    assert "hardly buy anything" in plan.outlook
    assert any("more are not expected to help" in each for each in plan.reasons)


def test_a_budget_too_small_for_anything_is_one_step(noise: Path, cache: Path, costs: list) -> None:
    plan = plan_noise(noise, cache, 1.0)
    assert (plan.recipe.steps, plan.recipe.epochs) == (1, 1)
    assert plan.recipe.model.widths == NETWORK_SIZES[0].widths
    assert any("too small" in each for each in plan.reasons)


def test_only_the_first_network_that_is_too_wide_is_measured(noise: Path, cache: Path, costs: list) -> None:
    plan_noise(noise, cache, 4.0)
    assert costs == [size.widths for size in NETWORK_SIZES[: len(costs)]]
    assert 1 <= len(costs) < len(NETWORK_SIZES)


def test_the_users_settings_stay(noise: Path, cache: Path, costs: list) -> None:
    plan = plan_noise(noise, cache, 20.0, changed={"batch_size": 7, "low_resolution": None})
    assert plan.recipe.batch_size == 7
    assert plan.recipe.low_resolution is None


def test_small_sets_get_small_batches(noise: Path, cache: Path, costs: list) -> None:
    assert plan_noise(noise, cache, 20.0).recipe.batch_size == 200 // planning.MIN_STEPS_PER_EPOCH


def test_letters_are_not_mirrored_and_noise_is(noise: Path, cache: Path, costs: list, digits: Path) -> None:
    assert plan_noise(noise, cache, 20.0).recipe.augmentation.alternate
    plan = plan_noise(digits, cache, 20.0)
    assert not plan.recipe.augmentation.flip
    assert any(each.startswith("never mirrored") for each in plan.reasons)
    assert 0.5 < MAX_FLIP_ASYMMETRY < 0.9


@pytest.mark.parametrize("path", ["epochs", "steps", "validate_every"])
def test_what_the_budget_decides_is_refused_as_a_setting(path: str) -> None:
    with pytest.raises(RecipeError, match=f"{path} is decided by the budget"):
        planning._refuse_settings({path})


def test_memory_limits_width_and_batch(
    noise: Path, cache: Path, costs: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = plan_noise(noise, cache, 1000)
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda: 30_000_000)
    little = plan_noise(noise, cache, 1000)
    assert max(_widths(little)) < max(_widths(plenty))
    assert little.recipe.batch_size <= plenty.recipe.batch_size
    assert (
        "more memory would pay for a wider network" in little.outlook
        or little.recipe.steps == little.max_steps
    )
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda: 0)
    assert (
        plan_noise(noise, cache, 1000).recipe.batch_size == 16
    )  # what is left is refused when training begins


def _widths(plan: Plan) -> tuple[int, ...]:
    assert isinstance(plan.recipe.model, Sprint)
    return plan.recipe.model.widths
