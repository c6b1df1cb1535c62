"""What to do: recipes as frozen dataclasses that check their values and are written as JSON.

Begin to read here. A recipe is complete: together with the data and a seed it trains the same model again.
An unknown key, a value out of range or a setting without effect is a `RecipeError`.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from foveal.files.typed_json import read
from foveal.recipe.checks import require
from foveal.recipe.networks import Custom, ModelS, Sprint
from foveal.recipe.optimizers import SGD, Adam, Muon, RMSprop
from foveal.recipe.schedules import Anneal, EarlyStopping, LowResolution, Plateau

ResizeMode = Literal["stretch", "crop", "pad"]
"""What happens to an image that is not square before it is resized."""
Channels = Literal["rgb", "grey", "auto"]
"""The colour channels of images. `auto` means grey if every image of the data set is grey, else RGB."""
MAX_PIXELS = 25_000_000
"""The largest size of a picture by default. One of this size takes up to 450 MB while it is decoded."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """How image files become the square arrays of pixels that the network takes.

    >>> foveal.Image(size=64, fit="pad", background="white").channels
    'rgb'
    """

    size: int = 32
    """The height and width of the images in pixels, from 8 to 512."""
    fit: ResizeMode = "stretch"
    """How an image becomes square: `stretch` it, `crop` it at its centre, or `pad` it with the background."""
    channels: Channels = "rgb"
    """`rgb` (three channels), `grey` (luminance) or `auto` (grey if every image of the data set is grey)."""
    background: str = "black"
    """The colour under transparent pixels and around padded images: a CSS name or #rrggbb."""
    max_pixels: int = MAX_PIXELS
    """The largest number of pixels of a picture. A larger one is left out before it is decoded."""

    def __post_init__(self) -> None:
        require(8 <= self.size <= 512, f"image.size is {self.size}; it must lie between 8 and 512 pixels")
        require(
            1 <= self.max_pixels <= 1_000_000_000,
            f"image.max_pixels is {self.max_pixels}; it must lie between 1 and 1,000,000,000",
        )


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to the training images, drawn anew in every epoch.

    >>> foveal.Augmentation(flip=True, shift=4).alternate
    False
    """

    flip: bool = False
    """Whether images are flipped left to right with probability ½. Do not use it for text or digits."""
    alternate: bool = False
    """Whether each image is flipped in every second epoch instead of at random. It needs `flip`."""
    shift: int = 0
    """The largest random shift in each direction, in pixels. The border is filled by reflection."""

    def __post_init__(self) -> None:
        require(self.flip or not self.alternate, "augmentation.alternate has no effect without flip")
        require(0 <= self.shift <= 64, f"augmentation.shift is {self.shift}; it must lie between 0 and 64")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a model is trained, except the data and the seed.

    >>> from dataclasses import replace
    >>> recipe = replace(foveal.load_recipe("sprint"), batch_size=125)
    >>> foveal.Recipe.from_json(recipe.to_json()) == recipe
    True
    """

    name: str
    """The name of the recipe. It becomes a part of the run folder's name."""
    model: ModelS | Sprint | Custom
    """The network and its layers."""
    optimizer: RMSprop | Adam | SGD | Muon
    """The optimizer with its hyperparameters."""
    image: Image = field(default_factory=Image)
    """The size and the colour channels of the images."""
    epochs: int = 30
    """The largest number of passes over the training images."""
    steps: int | None = None
    """The number of optimizer steps, even if it ends within an epoch. By default `epochs` decides."""
    validate_every: int | None = 1
    """The number of epochs between validations. With none, only the last epoch is validated."""
    batch_size: int = 64
    """The number of images in each training batch."""
    l2: float = 0.0
    """The L2 penalty l2·Σw² on the kernels of convolutional and dense layers, as Keras' regularizers.l2."""
    class_weights: Literal["none", "balanced"] = "none"
    """With `balanced`, each class counts equally in the training loss, however few images it has.

    The weight of an image is n / (number of classes · number of images in its class), as in scikit-learn.
    """
    label_smoothing: float = 0.0
    """The share of each label that is spread evenly over all classes (Szegedy et al. 2016, section 7)."""
    mixing: Literal["folders", "images"] = "folders"
    """Whether a batch is drawn from one training folder, as in the notebook, or from all images together."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """The random changes to the training images. By default there are none."""
    low_resolution: LowResolution | None = None
    """Training on smaller images first. By default all steps train on images of full size."""
    anneal: Anneal | None = None
    """The linear learning rate schedule. It excludes `plateau`."""
    plateau: Plateau | None = field(default_factory=Plateau)
    """The cuts of the learning rate when the validation loss stops improving. It excludes `anneal`."""
    early_stopping: EarlyStopping | None = field(default_factory=EarlyStopping)
    """When training stops early. With none, all epochs are trained."""

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_schedules()
        self._check_image_sizes()

    def _check_numbers(self) -> None:
        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", self.name) is not None,
            f"name is {self.name[:80]!r}; it must be letters, digits, '.', '_' and '-', at most 61",
        )
        require(1 <= self.epochs <= 1_000_000, f"epochs is {self.epochs}; it must be 1 or more")
        require(self.steps is None or self.steps >= 1, f"steps is {self.steps}; it must be 1 or more")
        require(
            self.validate_every is None or self.validate_every >= 1,
            f"validate_every is {self.validate_every}; it must be 1 or more",
        )
        require(1 <= self.batch_size <= 1_000_000, f"batch_size is {self.batch_size}; it must be 1 or more")
        require(self.l2 >= 0, f"l2 is {self.l2}; it must be 0 or more")
        require(
            0 <= self.label_smoothing < 1,
            f"label_smoothing is {self.label_smoothing}; it must lie in [0, 1)",
        )

    def _check_schedules(self) -> None:
        require(
            self.validate_every == 1 or (self.plateau is None and self.early_stopping is None),
            "plateau and early_stopping decide after every epoch; leave validate_every 1",
        )
        require(
            self.l2 == 0 or not isinstance(self.optimizer, Muon),
            "l2 has no effect under muon, which keeps the norm of the filters; leave it 0",
        )
        require(
            self.anneal is None or self.plateau is None,
            "anneal and plateau both set the learning rate; leave one out, with plateau=none, say",
        )

    def _check_image_sizes(self) -> None:
        require(
            self.augmentation.shift < self.image.size,
            f"augmentation.shift is {self.augmentation.shift}; it must be less than image.size",
        )
        smallest = self.image.size
        if self.low_resolution is not None:
            smallest = self.low_resolution.size
            require(
                smallest < self.image.size and self.image.size % smallest == 0,
                f"low_resolution.size is {smallest}; image.size, {self.image.size}, must be a multiple of it",
            )
            require(
                not isinstance(self.model, ModelS),
                "low_resolution: Model S's dense layers take images of one size only",
            )
        if not isinstance(self.model, Custom):
            require(
                smallest >> len(self.model.widths) >= 1,
                f"image.size is {smallest}: too small for {len(self.model.widths)} poolings",
            )

    def get_shrink_factor(self, progress: float) -> int:
        """Return the factor by which images are made smaller at a point of training.

        Args:
            progress: The share of all steps that is done, from 0 to 1.
        """
        low = self.low_resolution
        return self.image.size // low.size if low is not None and progress < low.share else 1

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values. `Recipe.from_json` reads it back equal."""
        jsonable: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return jsonable

    @classmethod
    def from_json(cls, value: object) -> "Recipe":
        """Read a recipe from JSON values.

        Raises:
            RecipeError: There is an unknown key or a value that does not fit; the message names its path.
        """
        recipe = read(value, cls, "recipe")
        assert isinstance(recipe, Recipe)
        return recipe
