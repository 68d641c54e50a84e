"""`neuro recipes`: the recipes of low-bit variants."""

from __future__ import annotations

import argparse
import json

DESCRIPTION = """\
List the recipes that neuro convert --to takes, or show one as YAML, to start a recipe of your own
from.

  neuro recipes
  neuro recipes w4a4 > mine.yaml
  neuro convert --model timm:resnet18 --to mine.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="show this recipe")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print the list, or one recipe."""
    from neuro.cli.terminal import Terminal
    from quant.recipes import load_recipe, recipe_names, recipe_text

    if args.name and not args.json:
        print(recipe_text(args.name), end="")
        return 0
    recipes = [load_recipe(name) for name in ([args.name] if args.name else recipe_names())]
    if args.json:
        print(json.dumps([recipe.model_dump(by_alias=True) for recipe in recipes], indent=1))
        return 0
    console = Terminal(soft_wrap=True)
    width = max(len(recipe.name) for recipe in recipes)
    for recipe in recipes:
        source = f" [{recipe.source}]" if recipe.source else ""
        console.print(f"{recipe.name:<{width}}  {recipe.summary}{source}", markup=False, highlight=False)
    return 0
