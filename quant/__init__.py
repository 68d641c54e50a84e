"""Low-bit variants of networks: binary, ternary and k-bit."""

from quant.network import QuantizedNetwork
from quant.quantize import quantize
from quant.recipes import Recipe, load_recipe, recipe_names

__all__ = ["QuantizedNetwork", "Recipe", "load_recipe", "quantize", "recipe_names"]
