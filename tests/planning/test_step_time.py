"""Steps are measured on this machine."""

from dataclasses import replace
from pathlib import Path

from foveal.data.dataset import open_dataset
from foveal.data.options import DataOptions
from foveal.planning.networks import NETWORK_SIZES, apply_network_size
from foveal.planning.step_time import measure_costs
from foveal.recipe import builtin
from foveal.recipe.recipe import Image


def test_the_machine_is_measured_for_real(noise: Path, cache: Path) -> None:
    recipe = apply_network_size(replace(builtin.budgeted(), image=Image(size=16)), NETWORK_SIZES[0], ())
    dataset = open_dataset(DataOptions(noise, cache=cache), Image(size=16))
    cost = measure_costs(replace(recipe, batch_size=50), dataset, seed=0)
    assert 0 < cost.image < cost.full < 5
    assert cost.low == cost.full  # 16 pixels are not halved
