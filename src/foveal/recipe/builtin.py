"""The built-in recipes, with their measured results; and reading a recipe from a TOML or JSON file."""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from foveal.errors import RecipeError
from foveal.files.typed_json import nearest
from foveal.recipe.networks import ModelS, Sprint
from foveal.recipe.optimizers import SGD, Adam, Muon, RMSprop
from foveal.recipe.recipe import Augmentation, Image, Recipe
from foveal.recipe.schedules import Anneal, LowResolution

MAX_RECIPE_FILE_SIZE = 1_000_000
"""The largest recipe file that is read, in bytes. A complete recipe takes about two thousand."""


def model_s_01() -> Recipe:
    """Return the notebook's predecessor: three convolutions, no dropout, no BatchNorm; 30 epochs of 64.

    The notebook lists what its second model added to this
    one: three convolutions, more filters, a 256-unit layer, batch normalisation, dropout and another
    optimizer. The rest is not known, so these are our choices: widths of 16, 32 and 64, and SGD with
    momentum 0.9 at 0.01. Plateau and early stopping are the same, as the notebook does not list them as new.

    `python -m benchmarks.accuracy.model_s cifar10`: 72.40 % on CIFAR-10's test images, one seed, 22 epochs.
    """
    return Recipe(
        name="model-s-01",
        model=ModelS(widths=(16, 32, 64), convolutions=1, batch_norm=False, dense=0, dropout=0.0),
        optimizer=SGD(learning_rate=0.01, momentum=0.9),
    )


def model_s_02() -> Recipe:
    """Return the notebook's model: 815,018 trainable parameters, RMSprop at 0.001, plateau, early stopping.

    The notebook's own log ends at 81.55 % on CIFAR-10's test images.

    `python -m benchmarks.accuracy.model_s cifar10`: 83.02 ± 0.47 % (mean and standard deviation of the seeds
    0, 1 and 2), 20 to 26 epochs.
    """
    return Recipe(name="model-s-02", model=ModelS(), optimizer=RMSprop())


def model_s_03() -> Recipe:
    """Return what the notebook plans next: augmentation, L2 on all kernels, Adam; 40 epochs of 64.

    The notebook gives no figures, so these are our choices: flips and shifts of up to 4 pixels, l2 = 0.0001,
    Adam at 0.001.

    `python -m benchmarks.accuracy.model_s cifar10`: 87.53 % on CIFAR-10's test images, one seed, 40 epochs.
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

    The design is that of airbench94_muon (Keller Jordan 2024); docs/sprint.md shows what each part
    contributes.

    `foveal train cifar10 --recipe sprint --validation train2 --evaluate`: 82.79 ± 0.12 % on CIFAR-10's test
    images (mean and standard deviation of ten seeds). It takes 15 s on two AVX-512 cores if the images are
    decoded already, and 20 s if not (`python -m benchmarks.speed.process cifar10`).
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

    `python -m benchmarks.accuracy.sharp cifar10 --recipe sharp-93`: 93.64 % with the average of six views of
    each image, 92.84 % without (two seeds), in 0.38 of the notebook's time.
    """
    return _sharp("sharp-93", epochs=9)


def sharp_94() -> Recipe:
    """Return 94 % on CIFAR-10's test images, six views averaged: the same for fifteen epochs.

    `python -m benchmarks.accuracy.sharp cifar10 --recipe sharp-94`: 94.18 % with the average of six views of
    each image, 93.27 % without (two seeds), in 0.65 of the notebook's time.
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
    """Return the recipe that planning for a time budget starts from.

    `foveal.planning` decides image size, network width, batch size and the number of steps.
    """
    return Recipe(
        name="budget",
        model=Sprint(),
        optimizer=Muon(),
        image=Image(channels="auto"),
        validate_every=None,  # an annealed run is best at its end, so there is no epoch to choose
        label_smoothing=0.2,
        mixing="images",
        augmentation=Augmentation(flip=True, alternate=True),
        anneal=Anneal(),
        plateau=None,
        early_stopping=None,
    )


def digits() -> Recipe:
    """Return the demo's recipe: Model S at 16 pixels for a thousand small grey scans.

    It was written once and never tuned, but for the momentum of BatchNorm. With 0.9, running averages lag
    behind on sets of a hundred images, whose epochs have three steps. On the digits the validation loss is
    the same with 0.7 and 0.9 (five seeds: 0.0184 and 0.0183).

    `python -m benchmarks.accuracy.digits digits`: 99.04 ± 0.38 % on scikit-learn's digits (mean and standard
    deviation of five seeds), about 10 s each on one core.
    """
    return Recipe(
        name="digits",
        model=ModelS(widths=(32, 64), momentum=0.7),
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
"""The built-in recipes by name, each as a function that builds it."""


def load_recipe(name: str | Path | Recipe) -> Recipe:
    """Return a built-in recipe by its name, or read one from a .toml or .json file.

    >>> foveal.load_recipe("model-s-02").epochs
    30

    Raises:
        RecipeError: There is no such recipe, or the file is no recipe. The nearest known name is suggested.
    """
    if isinstance(name, Recipe):
        return name
    if (build_recipe := RECIPES.get(str(name))) is not None:
        return build_recipe()
    path = Path(name)
    if path.suffix not in (".toml", ".json"):
        raise RecipeError(f"unknown recipe {str(name)!r}; {nearest(str(name), RECIPES)}")
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= MAX_RECIPE_FILE_SIZE):
            raise RecipeError(
                f"{path} is no ordinary file of at most {MAX_RECIPE_FILE_SIZE:,} bytes, so no recipe"
            )
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is no {path.suffix[1:].upper()}: {error}") from error
    if isinstance(value, dict):
        value.pop("digest", None)  # the recipe of a run, which a person may have edited
    return Recipe.from_json(value)
