"""`preview`: what a recipe makes of a folder, before anything is trained."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from foveal import progress
from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataSource
from foveal.models import registry
from foveal.recipe import builtin, overrides
from foveal.recipe.overrides import Settings
from foveal.recipe.recipe import Recipe
from foveal.reporting import notebook
from foveal.reporting.notebook import Picture
from foveal.tables import html_table, text_table

MAX_CLASSES_IN_TABLE = 40
"""The number of classes that the table names."""


class Network(str):
    """The table of a network's layers and their parameters."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, kw_only=True)
class DataView:
    """Images as a recipe's network will see them. It shows itself as a table of images by class and split.

    >>> view = foveal.preview("digits", recipe="digits")
    >>> len(view.dataset.classes)
    10
    """

    dataset: Dataset
    """The decoded images."""
    recipe: Recipe
    """The recipe with the settings that were asked for."""

    def examples(self, per_class: int = 4, *, max_classes: int = 10) -> Picture:
        """Draw the first training images of each class, a column a class, of `most` classes at most."""
        pixels, names = self.dataset.pack.pixels, self.dataset.classes[:max_classes]
        indices = self.dataset.get_indices("train")
        labels = self.dataset.labels[indices]
        images, captions = [], []
        for row in range(per_class):
            for label, name in enumerate(names):
                of_class = indices[labels == label]
                images.append(pixels[of_class[row]] if row < len(of_class) else np.full_like(pixels[0], 255))
                captions.append("" if row else progress.printable(name, 12))
        description = f"the first training images of {len(names)} classes"
        return notebook.render_images(images, captions, columns=len(names), description=description)

    @property
    def network(self) -> Network:
        """The layers of the recipe's network for these classes, with what each has to learn."""
        decoding = self.dataset.pack.decoding
        shape = {"size": decoding.size, "channels": decoding.channels}
        network = registry.build_network(
            self.recipe.model, **shape, classes=len(self.dataset.classes), seed=0
        )
        return Network(registry.format_layer_table(network, **shape))

    def _headline(self) -> str:
        decoding = self.dataset.pack.decoding
        return (
            f"{decoding.size} × {decoding.size} pixels, {'grey' if decoding.channels == 1 else 'colour'}, "
            f"{len(self.dataset.classes):,} classes, in batches of {self.recipe.batch_size} "
            f"({self.dataset.splits.rule}; {len(self.dataset.left_out):,} files left out)"
        )

    def _rows(self) -> list[list[str]]:
        splits = self.dataset.splits
        parts = (np.concatenate(splits.train), splits.validation, splits.test)
        counts = [self.dataset.count_classes(part) for part in parts]
        rows = [
            [progress.printable(name, 40), *(f"{count[label]:,}" for count in counts)]
            for label, name in enumerate(self.dataset.classes[:MAX_CLASSES_IN_TABLE])
        ]
        if (more := len(self.dataset.classes) - MAX_CLASSES_IN_TABLE) > 0:
            rows.append([f"… and {more:,} more", "", "", ""])
        return [*rows, ["all", *(f"{len(part):,}" for part in parts)]]

    def __repr__(self) -> str:
        return f"{self._headline()}\n\n{text_table(_HEADER, self._rows(), right={1, 2, 3})}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self._headline())}</p>{html_table(_HEADER, self._rows())}"


_HEADER = ["class", "training", "validation", "test"]


def preview(
    data: DataSource, *, recipe: str | Path | Recipe, settings: Settings = (), seed: int = 0
) -> DataView:
    """Open a data set as `train` with the same arguments would, and train nothing.

    >>> foveal.preview("digits", recipe="digits").dataset.classes[:3]
    ('0', '1', '2')

    Raises:
        UserError: The data, the recipe or a setting is refused.
        OutsideError: The disk failed.
    """
    resolved, _ = overrides.apply_settings(builtin.load_recipe(recipe), settings)
    dataset = open_dataset(data, resolved.image, seed=seed)
    return DataView(dataset=dataset, recipe=resolved)
