"""What a recipe makes of a folder, to be looked at before anything is trained."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from foveal import progress
from foveal.data.dataset import Dataset, open_dataset
from foveal.data.options import DataOptions
from foveal.models import registry
from foveal.recipe import builtin
from foveal.recipe import overrides as changes
from foveal.recipe.recipe import Recipe
from foveal.reporting import notebook
from foveal.reporting.notebook import Picture
from foveal.tables import html_table, text_table

LISTED = 40
"""Classes that the table names."""


class Network(str):
    """The table of a network's layers, with its parameters. It shows itself as it is laid out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, kw_only=True)
class DataView:
    """Images as a recipe's network will see them. It shows itself as a table: images by class and split."""

    dataset: Dataset
    recipe: Recipe

    def examples(self, each: int = 4, *, most: int = 10) -> Picture:
        """Draw the first training images of each class, a column a class, of `most` classes at most."""
        pixels, names = self.dataset.pack.pixels, self.dataset.classes[:most]
        rows = self.dataset.rows("train")
        labels = self.dataset.labels[rows]
        images, captions = [], []
        for place in range(each):
            for label, name in enumerate(names):
                ours = rows[labels == label]
                images.append(pixels[ours[place]] if place < len(ours) else np.full_like(pixels[0], 255))
                captions.append("" if place else progress.printable(name, 12))
        about = f"the first training images of {len(names)} classes"
        return notebook.examples(images, captions, columns=len(names), about=about)

    @property
    def network(self) -> Network:
        """The layers of the recipe's network for these classes, with what each has to learn."""
        decoding = self.dataset.pack.decoding
        shape = {"size": decoding.size, "channels": decoding.channels}
        network = registry.build(self.recipe.model, **shape, classes=len(self.dataset.classes), seed=0)
        return Network(registry.show_table(network, **shape))

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
        counts = [self.dataset.class_counts(part) for part in parts]
        rows = [
            [progress.printable(name, 40), *(f"{count[label]:,}" for count in counts)]
            for label, name in enumerate(self.dataset.classes[:LISTED])
        ]
        if (more := len(self.dataset.classes) - LISTED) > 0:
            rows.append([f"… and {more:,} more", "", "", ""])
        return [*rows, ["all", *(f"{len(part):,}" for part in parts)]]

    def __repr__(self) -> str:
        return f"{self._headline()}\n\n{text_table(_HEADER, self._rows(), right={1, 2, 3})}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self._headline())}</p>{html_table(_HEADER, self._rows())}"


_HEADER = ["class", "training", "validation", "test"]


def look(
    data: str | os.PathLike[str],
    *,
    recipe: str | Path | Recipe,
    validation: str | None = None,
    group: str | None = None,
    seed: int = 0,
    settings: Iterable[str] = (),
    cache: str | os.PathLike[str] | None = None,
) -> DataView:
    """Open a data set as `train` with the same arguments would, and train nothing.

    Raises:
        UserError: the data, the recipe or a setting is refused.
        OutsideError: the disk failed.
    """
    chosen, _ = changes.change(builtin.load(recipe), settings)
    options = DataOptions(data, validation=validation, group=group, cache=cache)
    dataset = open_dataset(options, chosen.image, seed=seed)
    return DataView(dataset=dataset, recipe=chosen)
