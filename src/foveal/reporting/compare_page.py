"""A comparison -> one HTML page that works offline, with a gallery where two runs are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foveal.comparison import recipes, result
from foveal.comparison.recipes import RecipeComparison
from foveal.comparison.result import Comparison, Disagreement
from foveal.progress import printable
from foveal.reporting.html import data_url, fill

SHOWN = 24
"""Images of each side in the gallery."""
MOST_CONFUSIONS = 30


@dataclass(frozen=True, kw_only=True)
class _Side:
    name: str
    count: int
    note: str
    shown: list[dict[str, Any]]


def gallery(
    found: Comparison | RecipeComparison,
) -> tuple[tuple[Disagreement, ...], tuple[Disagreement, ...]]:
    """Return the images that the page shows: those that the first alone gets right, and the second alone."""
    if isinstance(found, RecipeComparison) or len(found.pairs) != 1:
        return (), ()
    first, second = (
        tuple(each for each in found.images if each.predicted[side] == each.label)[:SHOWN] for side in (0, 1)
    )
    return first, second


def render(found: Comparison | RecipeComparison, pictures: Mapping[str, bytes]) -> str:
    """Fill the page; `pictures` are PNG files by the images' paths, as many as there are.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    if isinstance(found, RecipeComparison):
        names = [each["name"] for each in found.groups]
        parts: dict[str, Any] = {
            "sentences": [pair.sentence() for pair in found.pairs],
            "methods": recipes.METHODS,
            "scope": "",
            "tables": [],
        }
    else:
        names = [each["name"] for each in found.contenders]
        parts = {
            "sentences": [pair.sentence() for pair in found.pairs],
            "methods": result.METHODS,
            "scope": found.recipes,
            "tables": [],
        }
        if len(found.pairs) == 1:
            (pair,) = found.pairs
            parts["sentences"].append(pair.of_mistakes())
            parts["tables"] = [
                ("Classes", *result.class_rows(pair.classes)),
                (
                    "Confusions, those first that surely changed",
                    *result.confusion_rows(pair.confusions[:MOST_CONFUSIONS]),
                ),
            ]
    return fill(
        "compare.html.j2",
        {"address": lambda png: data_url(png, "png")},
        title=printable(", ".join(names), 120),
        found=found,
        contenders=found.rows(),
        sides=_sides(found, pictures),
        **parts,
    )


def _sides(found: Comparison | RecipeComparison, pictures: Mapping[str, bytes]) -> list[_Side]:
    if isinstance(found, RecipeComparison):
        return []
    sides = []
    for side, images in enumerate(gallery(found)):
        if not images:
            continue
        pair = found.pairs[0]
        shown = []
        for each in images:
            shown.append(
                {
                    "path": each.path,
                    "label": each.label,
                    "wrong": each.predicted[1 - side],
                    "picture": pictures.get(each.path),
                }
            )
        sides.append(
            _Side(
                name=(pair.first, pair.second)[side],
                count=(pair.only_first, pair.only_second)[side],
                note="" if pictures else "The images themselves are not where they were, so none is shown.",
                shown=shown,
            )
        )
    return sides
