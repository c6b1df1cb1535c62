"""A comparison as one HTML page that needs no network, with images where it is of two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foveal.comparison import recipes, result
from foveal.comparison.recipes import RecipeComparison
from foveal.comparison.result import Comparison, Disagreement
from foveal.progress import printable
from foveal.reporting.html import encode_data_url, render_template

MAX_IMAGES_PER_SIDE = 24
"""The page shows at most so many images that only one of two runs gets right."""
MAX_CONFUSIONS = 30
"""The page lists at most so many confusions, those first that differ most surely."""


@dataclass(frozen=True, kw_only=True)
class _Image:
    path: str
    label: str
    predicted: str
    """The class that the other run predicted."""
    picture: bytes | None
    """The image as PNG; None where it is not at hand."""


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The images that only one of two runs gets right."""

    name: str
    count: int
    note: str
    images: list[_Image]


@dataclass(frozen=True, kw_only=True)
class _Table:
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def select_gallery_images(
    comparison: Comparison | RecipeComparison,
) -> tuple[tuple[Disagreement, ...], tuple[Disagreement, ...]]:
    """Return the images that the page shows: those only the first run gets right, and those only the second.

    Both are empty unless two runs are compared.
    """
    if isinstance(comparison, RecipeComparison) or len(comparison.pairs) != 1:
        return (), ()
    first, second = (
        tuple(image for image in comparison.images if image.predicted[side] == image.label)[
            :MAX_IMAGES_PER_SIDE
        ]
        for side in (0, 1)
    )
    return first, second


def render_comparison(comparison: Comparison | RecipeComparison, pictures: Mapping[str, bytes]) -> str:
    """Return the page; `pictures` are the images at hand as PNG, by their paths.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    sentences = [pair.describe() for pair in comparison.pairs]
    tables: list[_Table] = []
    sides: list[_Side] = []
    if isinstance(comparison, RecipeComparison):
        names = [group.name for group in comparison.groups]
        methods, scope = recipes.METHODS, ""
    else:
        names = [contender.name for contender in comparison.contenders]
        methods, scope = result.METHODS, comparison.recipes
        if len(comparison.pairs) == 1:
            sentences.append(comparison.pairs[0].describe_mistakes())
            tables = _lay_out_tables(comparison.pairs[0])
            sides = _lay_out_sides(comparison, pictures)
    return render_template(
        "compare.html.j2",
        {"address": lambda png: encode_data_url(png, "png")},
        title=printable(", ".join(names), 120),
        comparison=comparison,
        contenders=comparison.lay_out(),
        sentences=sentences,
        methods=methods,
        scope=scope,
        tables=tables,
        sides=sides,
    )


def _lay_out_tables(pair: result.Pair) -> list[_Table]:
    header, rows = result.lay_out_classes(pair.classes)
    classes = _Table(title="Classes", header=header, rows=rows)
    header, rows = result.lay_out_confusions(pair.confusions[:MAX_CONFUSIONS])
    confusions = _Table(title="Confusions, those first that surely changed", header=header, rows=rows)
    return [classes, confusions]


def _lay_out_sides(comparison: Comparison, pictures: Mapping[str, bytes]) -> list[_Side]:
    pair = comparison.pairs[0]
    names, counts = (pair.first, pair.second), (pair.only_first, pair.only_second)
    return [
        _Side(
            name=names[side],
            count=counts[side],
            note="" if pictures else "The images themselves are not where they were, so none is shown.",
            images=[
                _Image(
                    path=image.path,
                    label=image.label,
                    predicted=image.predicted[1 - side],
                    picture=pictures.get(image.path),
                )
                for image in images
            ],
        )
        for side, images in enumerate(select_gallery_images(comparison))
        if images
    ]
