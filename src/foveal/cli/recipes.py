"""`foveal recipes`."""

import argparse
import json
from typing import TYPE_CHECKING

from foveal.cli.options import Verbs
from foveal.cli.output import print_result
from foveal.errors import RecipeError

if TYPE_CHECKING:
    from foveal.recipe.recipe import Recipe


def add_verbs(verbs: Verbs) -> None:
    """Add this verb to the parser."""
    recipes = verbs.add_parser("recipes", help="list the recipes, or show one layer by layer")
    recipes.add_argument("name", metavar="NAME", nargs="?")
    recipes.add_argument("--classes", metavar="N", type=int, default=10, help="default: 10")
    recipes.add_argument("--json", action="store_true", help="print the recipe as JSON")
    recipes.set_defaults(call=_recipes)


def _recipes(args: argparse.Namespace) -> int:
    from foveal.recipe import builtin
    from foveal.tables import text_table

    if args.classes < 2:
        raise RecipeError(f"--classes is {args.classes}; a classifier needs two or more")
    if args.name is not None:
        recipe = builtin.load_recipe(args.name)
        if args.json:
            print_result(json.dumps(recipe.to_json(), indent=2))
        else:
            _show_recipe(recipe, n_classes=args.classes)
    elif args.json:
        print_result(json.dumps({name: make().to_json() for name, make in builtin.RECIPES.items()}))
    else:
        rows = [
            [name, (make.__doc__ or "").removeprefix("Return ").partition("\n")[0]]
            for name, make in builtin.RECIPES.items()
        ]
        print_result(text_table(["recipe", "what it is"], rows))
    return 0


def _show_recipe(recipe: "Recipe", *, n_classes: int) -> None:
    from foveal.models import registry

    channels = 1 if recipe.image.channels == "grey" else 3
    size = recipe.image.size
    network = registry.build_network(recipe.model, size=size, channels=channels, classes=n_classes, seed=0)
    print_result(f"{recipe.name}: images {size} × {size} × {channels}, {n_classes} classes\n")
    print_result(registry.format_layer_table(network, size=size, channels=channels))
    print_result("\nsettings (--set KEY=VALUE):")
    for path, value in _list_settings(recipe):
        print_result(f"  {path} = {value}")


def _list_settings(recipe: "Recipe") -> list[tuple[str, str]]:
    settings = []
    for key, value in recipe.to_json().items():
        if isinstance(value, dict):
            settings += [
                (f"{key}.{part}", json.dumps(child)) for part, child in value.items() if part != "name"
            ]
        elif key != "name":
            settings.append((key, "none" if value is None else json.dumps(value)))
    return settings
