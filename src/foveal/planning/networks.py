"""Networks to choose from, narrow to wide, and what a recipe becomes with each."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from foveal.recipe.networks import Sprint
from foveal.recipe.recipe import Recipe
from foveal.recipe.schedules import LowResolution

SMALLEST_HALVED = 16
"""Pixels: images are not trained on below this size."""
DEEP = 64
"""From this size on the network has one more group, of half the first one's width, before the others."""


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """A width of network, and what it needs to be worth its time."""

    widths: tuple[int, ...]
    images: int
    """Images, one as often as it comes, below which a narrower network does better in the same time."""
    batch_size: int


NETWORK_SIZES = (
    NetworkSize(widths=(32, 64, 80), images=0, batch_size=250),
    NetworkSize(widths=(48, 96, 96), images=50_000, batch_size=250),
    NetworkSize(widths=(64, 128, 128), images=100_000, batch_size=500),
    NetworkSize(widths=(64, 192, 192), images=250_000, batch_size=500),
    NetworkSize(widths=(64, 256, 256), images=350_000, batch_size=500),
)


def apply_network_size(recipe: Recipe, rung: NetworkSize, changed: Collection[str]) -> Recipe:
    """Give a recipe a rung's network and batch, and small images first where they can be halved."""
    model, size = recipe.model, recipe.image.size
    assert isinstance(model, Sprint)
    if "model.widths" not in changed:
        first = (rung.widths[0] // 2,) if size >= DEEP else ()
        model = replace(model, widths=(*first, *rung.widths))
        recipe = replace(recipe, model=model)
    if "batch_size" not in changed:
        recipe = replace(recipe, batch_size=rung.batch_size)
    if not any(path.startswith("low_resolution") for path in changed):
        small = size // 2
        halved = size % 2 == 0 and small >= SMALLEST_HALVED and small >> len(model.widths) >= 1
        recipe = replace(recipe, low_resolution=LowResolution(size=small) if halved else None)
    return recipe


def widths(recipe: Recipe) -> str:
    """Write a recipe's widths."""
    assert isinstance(recipe.model, Sprint)
    return "-".join(map(str, recipe.model.widths))
