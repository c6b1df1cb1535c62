"""What to do: recipes as frozen dataclasses, strict values in, JSON out.

A recipe is complete: together with the data and a seed it trains the same model again. Nothing is
guessed: an unknown key, a value out of range or a setting without effect is a `RecipeError`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from foveal.errors import RecipeError
from foveal.files.typed_json import read

ResizeMode = Literal["stretch", "crop", "pad"]
Channels = Literal["rgb", "grey", "auto"]


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise RecipeError(complaint)


@dataclass(frozen=True, kw_only=True)
class Image:
    """How an image file becomes the square of pixels that the network sees."""

    size: int = 32
    """Height and width in pixels."""
    fit: ResizeMode = "stretch"
    """What happens to an image that is no square: stretched, cropped at its centre, or padded."""
    channels: Channels = "rgb"
    """Three channels, one (luminance), or `auto`: one if every image of the data set is grey."""
    background: str = "black"
    """The colour under transparent pixels and around padded images: a CSS name or #rrggbb."""

    def __post_init__(self) -> None:
        _require(8 <= self.size <= 512, f"image.size is {self.size}; it must lie between 8 and 512 pixels")


@dataclass(frozen=True, kw_only=True)
class ModelS:
    """Blocks of 3×3 convolutions with ReLU, each block ending in 2×2 max pooling; then dense layers."""

    name: Literal["model-s"] = "model-s"
    widths: tuple[int, ...] = (32, 64, 128)
    """Filters of each block's convolutions."""
    convolutions: int = 2
    """Convolutions in each block."""
    batch_norm: bool = True
    """Whether batch normalisation follows each convolution's ReLU."""
    momentum: float = 0.99
    """The share of its old value that a moving average of batch normalisation keeps at each step."""
    dense: int = 256
    """Units of the hidden dense layer; 0 leaves it out."""
    dropout: float = 0.5
    """Dropout rate after flattening and after the hidden dense layer."""

    def __post_init__(self) -> None:
        _require(len(self.widths) > 0, "model.widths is empty; name at least one block's filters")
        _require(all(1 <= w <= 4096 for w in self.widths), "model.widths: each must lie between 1 and 4096")
        _require(1 <= self.convolutions <= 16, "model.convolutions must lie between 1 and 16")
        _require(0 <= self.momentum < 1, "model.momentum must lie in [0, 1)")
        _require(0 <= self.dense <= 65536, "model.dense must lie between 0 and 65536")
        _require(0 <= self.dropout < 1, "model.dropout must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Sprint:
    """A whitening layer, then groups of two 3×3 convolutions, with 2×2 max pooling after the first of each.

    The family of Keller Jordan's airbench (arXiv:2404.00498).
    """

    name: Literal["sprint"] = "sprint"
    widths: tuple[int, ...] = (32, 64, 80)
    """Filters of each group's convolutions. The kernels take multiples of 16."""
    whitening: int = 16
    """Filters of the whitening layer, 2×2 pixels each, fixed from the data; even."""
    activation: Literal["relu", "silu"] = "silu"
    momentum: float = 0.85
    """The share of its old value that a moving average of batch normalisation keeps at each step."""

    def __post_init__(self) -> None:
        _require(len(self.widths) > 0, "model.widths is empty; name at least one group's filters")
        _require(all(1 <= w <= 4096 for w in self.widths), "model.widths: each must lie between 1 and 4096")
        _require(
            2 <= self.whitening <= 24 and self.whitening % 2 == 0,
            f"model.whitening is {self.whitening}; it must be even and lie between 2 and 24",
        )
        _require(0 <= self.momentum < 1, "model.momentum must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Custom:
    """A network of the user's own, passed from Python."""

    name: Literal["custom"] = "custom"
    architecture: str
    """The qualified name of its class, for the record only: it is never imported by that name."""


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """RMSprop as Keras computes it: epsilon stands inside the square root."""

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: float = 0.001
    rho: float = 0.9
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        _check_optimizer(self.learning_rate, self.epsilon, {"rho": self.rho})


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam as Keras computes it: epsilon is the paper's epsilon-hat, after the bias correction."""

    name: Literal["adam"] = "adam"
    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        _check_optimizer(self.learning_rate, self.epsilon, {"beta_1": self.beta_1, "beta_2": self.beta_2})


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check_optimizer(self.learning_rate, 1.0, {"momentum": self.momentum})


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Muon (Jordan 2024) for the filters of convolutions; Nesterov's momentum for everything else."""

    name: Literal["muon"] = "muon"
    learning_rate: float = 0.24
    """Of the filters: each step changes them by an orthogonal matrix times this."""
    momentum: float = 0.6
    iterations: int = 3
    """Of Newton and Schulz's towards that matrix."""
    bias_learning_rate: float = 26.5
    """Of biases: shifts of batch normalisation, for the mean loss of a batch."""
    head_learning_rate: float = 335.0
    """Of the last layer."""
    sgd_momentum: float = 0.85

    def __post_init__(self) -> None:
        _check_optimizer(
            self.learning_rate, 1.0, {"momentum": self.momentum, "sgd_momentum": self.sgd_momentum}
        )
        for name in ("bias_learning_rate", "head_learning_rate"):
            _require(
                getattr(self, name) > 0, f"optimizer.{name} is {getattr(self, name)}; it must be above 0"
            )
        _require(1 <= self.iterations <= 20, "optimizer.iterations must lie between 1 and 20")


def _check_optimizer(learning_rate: float, epsilon: float, decays: Mapping[str, float]) -> None:
    _require(learning_rate > 0, f"optimizer.learning_rate is {learning_rate}; it must be above 0")
    _require(epsilon > 0, f"optimizer.epsilon is {epsilon}; it must be above 0")
    for name, value in decays.items():
        _require(0 <= value < 1, f"optimizer.{name} is {value}; it must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Cut the learning rate when the validation loss stops improving."""

    factor: float = 0.1
    patience: int = 3
    """Epochs without improvement before a cut."""
    min_delta: float = 1e-4
    """The least fall of the loss that counts as an improvement."""

    def __post_init__(self) -> None:
        _require(0 < self.factor < 1, f"plateau.factor is {self.factor}; it must lie between 0 and 1")
        _require(self.patience >= 1, f"plateau.patience is {self.patience}; it must be 1 or more")
        _require(self.min_delta >= 0, f"plateau.min_delta is {self.min_delta}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Stop when the validation loss has not improved for a while."""

    patience: int = 6
    """Epochs without improvement before training stops."""

    def __post_init__(self) -> None:
        _require(self.patience >= 1, f"early_stopping.patience is {self.patience}; it must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to the training images, new in every epoch."""

    flip: bool = False
    """Mirror left and right with probability ½. Wrong for digits, text and the like."""
    alternate: bool = False
    """Mirror each image in every second epoch, by turns, in place of chance."""
    shift: int = 0
    """Shift by up to so many pixels in each direction, mirroring at the border."""

    def __post_init__(self) -> None:
        _require(self.flip or not self.alternate, "augmentation.alternate has no effect without flip")
        _require(0 <= self.shift <= 64, f"augmentation.shift is {self.shift}; it must lie between 0 and 64")


@dataclass(frozen=True, kw_only=True)
class Anneal:
    """Let the learning rate fall in a straight line from its full value to zero at the last step."""

    warm_up: float = 0.0
    """The share of all steps over which it first rises from zero."""

    def __post_init__(self) -> None:
        _require(0 <= self.warm_up < 1, f"anneal.warm_up is {self.warm_up}; it must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class LowResolution:
    """Train on smaller images first: early on, coarse shapes teach as much and cost less."""

    size: int = 16
    """Height and width in pixels; image.size must be a multiple of it."""
    share: float = 0.4
    """Of all steps."""

    def __post_init__(self) -> None:
        _require(self.size >= 4, f"low_resolution.size is {self.size}; it must be 4 or more")
        _require(0 < self.share <= 1, f"low_resolution.share is {self.share}; it must lie in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a model is trained, apart from the data and the seed."""

    name: str
    model: ModelS | Sprint | Custom
    optimizer: RMSprop | Adam | SGD | Muon
    image: Image = field(default_factory=Image)
    epochs: int = 30
    """At most so many passes over the training images."""
    steps: int | None = None
    """Optimizer steps after which training ends, even in the middle of an epoch; none: epochs decide."""
    validate_every: int | None = 1
    """Epochs from one validation to the next; none: only the last epoch, which always is, is validated."""
    batch_size: int = 64
    l2: float = 0.0
    """Penalty l2·Σw² on the kernels of convolutional and dense layers, as Keras' regularizers.l2."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs each image by n / (classes · images of its class) in the training loss."""
    label_smoothing: float = 0.0
    """The share of each label that is spread evenly over all classes (Szegedy et al. 2016, section 7)."""
    mixing: Literal["folders", "images"] = "folders"
    """What a batch is drawn from: one training folder, as in the notebook, or all images together."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    low_resolution: LowResolution | None = None
    anneal: Anneal | None = None
    plateau: Plateau | None = field(default_factory=Plateau)
    early_stopping: EarlyStopping | None = field(default_factory=EarlyStopping)

    def __post_init__(self) -> None:
        _require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", self.name) is not None,
            f"name is {self.name[:80]!r}; it must be letters, digits, '.', '_' and '-', at most 61",
        )
        _require(1 <= self.epochs <= 1_000_000, f"epochs is {self.epochs}; it must be 1 or more")
        _require(self.steps is None or self.steps >= 1, f"steps is {self.steps}; it must be 1 or more")
        _require(
            self.validate_every is None or self.validate_every >= 1,
            f"validate_every is {self.validate_every}; it must be 1 or more",
        )
        _require(
            self.validate_every == 1 or (self.plateau is None and self.early_stopping is None),
            "plateau and early_stopping decide after every epoch; leave validate_every 1",
        )
        _require(1 <= self.batch_size <= 1_000_000, f"batch_size is {self.batch_size}; it must be 1 or more")
        _require(self.l2 >= 0, f"l2 is {self.l2}; it must be 0 or more")
        _require(
            self.augmentation.shift < self.image.size,
            f"augmentation.shift is {self.augmentation.shift}; it must be less than image.size",
        )
        _require(
            0 <= self.label_smoothing < 1,
            f"label_smoothing is {self.label_smoothing}; it must lie in [0, 1)",
        )
        _require(
            self.l2 == 0 or not isinstance(self.optimizer, Muon),
            "l2 has no effect under muon, which keeps the norm of the filters; leave it 0",
        )
        _require(
            self.anneal is None or self.plateau is None,
            "anneal and plateau both set the learning rate; leave one out, with plateau=none, say",
        )
        smallest = self.image.size
        if self.low_resolution is not None:
            smallest = self.low_resolution.size
            _require(
                smallest < self.image.size and self.image.size % smallest == 0,
                f"low_resolution.size is {smallest}; image.size, {self.image.size}, must be a multiple of it",
            )
        if isinstance(self.model, ModelS):
            _require(
                self.low_resolution is None,
                "low_resolution: Model S's dense layers take images of one size only",
            )
        if not isinstance(self.model, Custom):
            _require(
                smallest >> len(self.model.widths) >= 1,
                f"image.size is {smallest}: too small for {len(self.model.widths)} poolings",
            )

    def shrink_at(self, progress: float) -> int:
        """Say by which factor images are to be shrunk at a point of the run's progress, from 0 to 1."""
        low = self.low_resolution
        return self.image.size // low.size if low is not None and progress < low.share else 1

    def to_json(self) -> dict[str, Any]:
        """Write the recipe as JSON values; `Recipe.from_json` reads it back equal."""
        jsonable: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return jsonable

    @classmethod
    def from_json(cls, value: object) -> "Recipe":
        """Read a recipe from JSON values, refusing unknown keys and wrong types.

        Raises:
            RecipeError: with the path of the value that does not fit.
        """
        recipe = read(value, cls, "recipe")
        assert isinstance(recipe, Recipe)
        return recipe
