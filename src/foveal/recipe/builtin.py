"""The named recipes, and reading one from a TOML or JSON file."""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from foveal.errors import RecipeError
from foveal.files.typed_json import nearest
from foveal.recipe.recipe import (
    SGD,
    Adam,
    Anneal,
    Augmentation,
    Image,
    LowResolution,
    ModelS,
    Muon,
    Recipe,
    RMSprop,
    Sprint,
)

FILE_LIMIT = 1_000_000
"""Bytes of a recipe's file. Written out whole, a recipe has about two thousand."""


def model_s_01() -> Recipe:
    """Return the notebook's predecessor: three convolutions, no dropout, no BatchNorm; 30 epochs of 64.

    The notebook lists what it added: three convolutions, width, a 256-unit layer, BatchNorm, dropout and
    another optimizer. So much is known. Our choice, as it does not say: widths 16, 32 and 64, SGD with
    momentum 0.9 at 0.01, and the same plateau and early stopping, which it does not list as new.

    `python benchmarks/model_s.py cifar10`: 72.40 % on CIFAR-10's test images, one seed, 22 epochs.
    """
    return Recipe(
        name="model-s-01",
        model=ModelS(widths=(16, 32, 64), convolutions=1, batch_norm=False, dense=0, dropout=0.0),
        optimizer=SGD(learning_rate=0.01, momentum=0.9),
    )


def model_s_02() -> Recipe:
    """Return the notebook's model: 815,018 trainable parameters, RMSprop at 0.001, plateau, early stopping.

    The notebook's own log ends at 81.55 % on CIFAR-10's test images. `python benchmarks/model_s.py cifar10`:
    83.02 ± 0.47 % (mean and standard deviation of the seeds 0, 1 and 2), 20 to 26 epochs.
    """
    return Recipe(name="model-s-02", model=ModelS(), optimizer=RMSprop())


def model_s_03() -> Recipe:
    """Return what the notebook plans next: augmentation, L2 on all kernels, Adam; 40 epochs of 64.

    Our choice, as it gives no figures: mirroring and shifts of up to 4 pixels, l2 = 0.0001, Adam at 0.001.

    `python benchmarks/model_s.py cifar10`: 87.53 % on CIFAR-10's test images, one seed, 40 epochs.
    """
    return Recipe(
        name="model-s-03",
        model=ModelS(),
        optimizer=Adam(),
        epochs=40,
        l2=1e-4,
        augmentation=Augmentation(flip=True, shift=4),
    )


def sprint() -> Recipe:
    """Return the shortest way to the notebook's accuracy on CIFAR-10: 320 steps, 40 % of them at 16 pixels.

    `foveal train cifar10 --recipe sprint --validation train2 --evaluate`: 82.79 ± 0.12 % on CIFAR-10's test
    images (mean and standard deviation of ten seeds), 15 s in all on two AVX-512 cores with the images
    packed, 20 s with nothing cached (`python benchmarks/process.py cifar10`). The family of airbench94_muon
    (Keller Jordan 2024); what each part buys is in docs/sprint.md.
    """
    return Recipe(
        name="sprint",
        model=Sprint(),
        optimizer=Muon(),
        epochs=2,
        batch_size=250,
        label_smoothing=0.2,
        mixing="images",
        augmentation=Augmentation(flip=True, alternate=True),
        low_resolution=LowResolution(),
        anneal=Anneal(),
        plateau=None,
        early_stopping=None,
    )


def sharp_93() -> Recipe:
    """Return 93 % on CIFAR-10's test images, six views averaged: `sprint`'s family, wider, nine epochs.

    `python benchmarks/sharp.py cifar10 --recipe sharp-93`: 93.64 % with views, 92.84 % without (two seeds),
    in 0.38 of the notebook's time.
    """
    return _sharp("sharp-93", epochs=9)


def sharp_94() -> Recipe:
    """Return 94 % on CIFAR-10's test images, six views averaged: the same for fifteen epochs.

    `python benchmarks/sharp.py cifar10 --recipe sharp-94`: 94.18 % with views, 93.27 % without (two seeds),
    in 0.65 of the notebook's time.
    """
    return _sharp("sharp-94", epochs=15)


def _sharp(name: str, *, epochs: int) -> Recipe:
    return replace(
        sprint(),
        name=name,
        model=Sprint(widths=(64, 256, 256)),
        epochs=epochs,
        batch_size=500,
        augmentation=Augmentation(flip=True, alternate=True, shift=2),
    )


def budgeted() -> Recipe:
    """Return what the plan of a time budget starts from: `planning` decides size, width, batch and steps."""
    return Recipe(
        name="budget",
        model=Sprint(),
        optimizer=Muon(),
        image=Image(channels="auto"),
        validate_every=None,  # an annealed run is best at its end: there is nothing to select
        label_smoothing=0.2,
        mixing="images",
        augmentation=Augmentation(flip=True, alternate=True),
        anneal=Anneal(),
        plateau=None,
        early_stopping=None,
    )


def digits() -> Recipe:
    """Return the demo's recipe: Model S at 16 pixels for a thousand small grey scans.

    `python benchmarks/digits.py digits`: 99.32 ± 0.25 % on scikit-learn's digits (mean and standard deviation
    of five seeds), about 10 s each on one core. Not tuned: written once and kept.
    """
    return Recipe(
        name="digits",
        model=ModelS(widths=(32, 64), momentum=0.9),
        optimizer=Adam(),
        image=Image(size=16, channels="auto"),
        epochs=20,
        batch_size=32,
        augmentation=Augmentation(shift=1),
    )


RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "model-s-01": model_s_01,
    "model-s-02": model_s_02,
    "model-s-03": model_s_03,
    "sprint": sprint,
    "sharp-93": sharp_93,
    "sharp-94": sharp_94,
    "digits": digits,
}


def load(name: str | Path | Recipe) -> Recipe:
    """Return a named recipe, or read one from a .toml or .json file.

    Raises:
        RecipeError: no such recipe (the nearest known is suggested), or the file does not fit.
    """
    if isinstance(name, Recipe):
        return name
    if (make := RECIPES.get(str(name))) is not None:
        return make()
    path = Path(name)
    if path.suffix not in (".toml", ".json"):
        raise RecipeError(f"unknown recipe {str(name)!r}; {nearest(str(name), RECIPES)}")
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= FILE_LIMIT):
            raise RecipeError(f"{path} is no ordinary file of at most {FILE_LIMIT:,} bytes, so no recipe")
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is no {path.suffix[1:].upper()}: {error}") from error
    return Recipe.from_json(value)
