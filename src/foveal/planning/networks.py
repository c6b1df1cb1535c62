"""The networks that a plan chooses from, from narrow to wide, and the recipe for each."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from foveal.recipe.networks import Sprint
from foveal.recipe.recipe import Recipe
from foveal.recipe.schedules import LowResolution

MIN_LOW_RESOLUTION = 16
"""The smallest size in pixels that images are halved to for the first part of training."""
MIN_SIZE_FOR_EXTRA_GROUP = 64
"""From this image size in pixels on, a network has one more group, half as wide, before the others."""


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """A width of network, and what it needs to be worth its time."""

    widths: tuple[int, ...]
    """The number of filters in each group."""
    min_images: int
    """The number of images to train on, repeats included, below which a narrower network does better."""
    batch_size: int
    """The number of images in each batch."""


NETWORK_SIZES = (
    NetworkSize(widths=(32, 64, 80), min_images=0, batch_size=250),
    NetworkSize(widths=(48, 96, 96), min_images=50_000, batch_size=250),
    NetworkSize(widths=(64, 128, 128), min_images=100_000, batch_size=500),
    NetworkSize(widths=(64, 192, 192), min_images=250_000, batch_size=500),
    NetworkSize(widths=(64, 256, 256), min_images=350_000, batch_size=500),
)
"""The networks to choose from, from narrow to wide; docs/decisions/0007-time-budget.md says why."""


def apply_network_size(recipe: Recipe, size: NetworkSize, changed: Collection[str]) -> Recipe:
    """Return a recipe with the widths and the batch size of a network size.

    Images are halved for the first part of training if they are large enough. Settings whose path is in
    `changed` stay as they are.
    """
    model, image_size = recipe.model, recipe.image.size
    assert isinstance(model, Sprint)
    if "model.widths" not in changed:
        extra_group = (size.widths[0] // 2,) if image_size >= MIN_SIZE_FOR_EXTRA_GROUP else ()
        model = replace(model, widths=(*extra_group, *size.widths))
        recipe = replace(recipe, model=model)
    if "batch_size" not in changed:
        recipe = replace(recipe, batch_size=size.batch_size)
    if not any(path.startswith("low_resolution") for path in changed):
        half = image_size // 2
        can_halve = image_size % 2 == 0 and half >= MIN_LOW_RESOLUTION and half >> len(model.widths) >= 1
        recipe = replace(recipe, low_resolution=LowResolution(size=half) if can_halve else None)
    return recipe


def format_widths(recipe: Recipe) -> str:
    """Return the widths of a recipe's network as text, such as "32-64-80"."""
    assert isinstance(recipe.model, Sprint)
    return "-".join(map(str, recipe.model.widths))
