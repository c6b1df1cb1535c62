"""What the files of a run hold, as frozen dataclasses: the only way in which they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

EvaluationSplit = Literal["validation", "test"]
"""A split that a model can be evaluated on."""
MAX_SEED = 2**63
"""Seeds lie below this number."""


def find_duplicate(names: Sequence[str]) -> str | None:
    """Return the first name that occurs twice, or None. Classes are told apart by their names."""
    if len(set(names)) == len(names):
        return None
    return next(name for index, name in enumerate(names) if name in names[:index])


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch measured: a line of `history.jsonl`. Losses are mean cross-entropies in nats.

    `loss` and `accuracy` are running means over the epoch's training batches, taken while the weights move
    and with dropout and augmentation on. The validation figures are taken once, at the end of the epoch, with
    both off. So compare training figures with those of other epochs, not with validation figures.

    >>> foveal.Run("runs/first").history[0].epoch
    1
    """

    epoch: int
    """The number of the epoch, from 1."""
    step: int
    """The number of optimizer steps since the run began."""
    learning_rate: float
    """The learning rate of this epoch."""
    loss: float
    """The mean training loss."""
    accuracy: float
    """The share of training images that were classified correctly."""
    validation_loss: float | None
    """The mean validation loss. It is None where nothing validates."""
    validation_accuracy: float | None
    """The share of validation images that were classified correctly, or None."""


@dataclass(frozen=True, kw_only=True)
class TableRecord:
    """How a table of labels was read."""

    images: str | None
    """The folder of the images, relative to the table's folder. It is None where the user named none."""
    columns: Mapping[str, str]
    """The columns that the user named, by their role: path, label, split or group."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentRecord:
    """What a run was trained with and on: `environment.json`."""

    foveal: str
    """The version of Foveal."""
    code: str = ""
    """The digest of the code that decides on the run's bits."""
    python: str = ""
    """The version of Python."""
    torch: str = ""
    """The version of PyTorch."""
    numpy: str = ""
    """The version of NumPy."""
    pillow: str = ""
    """The version of Pillow."""
    platform: str = ""
    """The operating system and its version."""
    machine: str = ""
    """The type of the machine, such as x86_64."""
    instructions: str = ""
    """The instruction set that PyTorch uses, such as AVX512."""
    cores: int | None = None
    """The number of processor cores."""
    threads: int
    """The number of threads that train."""
    kernels: str = ""
    """How Foveal's own kernels were compiled, or why there are none."""
    seed: int
    """The seed of weights, batches, augmentation and random splits."""
    command: tuple[str, ...] = ()
    """The words of the command that began the run."""
    data: str
    """The folder of the images, or the table of their labels."""
    table: TableRecord | None = None
    """How the table was read, or None where folders have the labels."""
    validation: str | None
    """The split that the user asked to validate with."""
    group: str | None
    """The regular expression that keeps groups together."""
    share: float | None
    """The share of the images that was used, where a budget does not allow all of them."""
    cache: str | None
    """The folder of decoded images that the user named."""
    layout: Literal["classes", "splits", "subfolders"] | None = None
    """What the user said that the folders are, or None where that was found out."""
    own_augmentation: bool
    """Whether images are augmented by the user's own function."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < MAX_SEED:
            raise ValueError(f"the seed is {self.seed}, which no run has")


@dataclass(frozen=True, kw_only=True)
class SplitRecord:
    """The images of one split."""

    n: int
    """The number of images."""
    classes: tuple[int, ...]
    """The number of images of each class."""
    files: tuple[tuple[str, ...], ...]
    """The relative path and the digest of each image."""


@dataclass(frozen=True, kw_only=True)
class SampleRecord:
    """A sample that took the place of all images."""

    of: int
    """The number of files in the folder."""
    files: int
    """The number of files in the sample."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file that is not used."""

    path: str
    """The relative path of the file."""
    reason: str
    """Why it is not used."""


@dataclass(frozen=True, kw_only=True)
class EqualFiles:
    """Files that hold the same bytes although they belong to different classes or splits."""

    kind: Literal["classes", "splits"]
    """What the files differ in."""
    between: tuple[str, ...]
    """The two splits. It is empty for classes."""
    n: int
    """The number of files: all that are in two classes, or those of the first split."""
    pairs: tuple[tuple[str, ...], ...]
    """The relative paths of the first pairs."""


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """What a run was trained on: `dataset.json`."""

    schema: int = 1
    fingerprint: str
    """The digest of all images and labels."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the model's outputs."""
    rule: str
    """How the images were divided, in words."""
    decoding: Mapping[str, object] | None = None
    """How image files become pixels."""
    splits: Mapping[str, SplitRecord]
    """The images of "train", "validation" and "test"."""
    sampled: SampleRecord | None = None
    """The sample that took the place of all images, or None where all are used."""
    left_out: tuple[LeftOut, ...]
    """The files that are not used."""
    equal_files: tuple[EqualFiles, ...] = ()
    """The files that hold the same bytes although they belong to different classes or splits."""

    def __post_init__(self) -> None:
        if self.splits.keys() != {"train", "validation", "test"}:
            raise ValueError("its splits are not train, validation and test")
        if (name := find_duplicate(self.classes)) is not None:
            raise ValueError(f"it names the class {name!r} twice")


@dataclass(frozen=True, kw_only=True)
class Score:
    """How a model did on one split, in short."""

    IGNORE_UNKNOWN: ClassVar[bool] = True
    n: int
    """The number of images."""
    loss: float
    """The mean cross-entropy in nats."""
    accuracy: float
    """The share of images that were classified correctly."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What `evaluation.json` says of a run, in short. The file holds much more."""

    IGNORE_UNKNOWN: ClassVar[bool] = True
    validation: Score | None
    test: Score | None


@dataclass(frozen=True, kw_only=True)
class Writer:
    """The process that writes to a run: `.writer.json`."""

    pid: int
    """The number of the process."""
    host: str
    """The name of the machine."""
    since: str = ""
    """When it began to write, in ISO 8601."""
    birth: str = ""
    """What tells the process from a later one with the same number. Empty where the system does not say."""
    ended: str = ""
    """When it stopped to write, in ISO 8601. Empty while it writes, and where it was killed."""
