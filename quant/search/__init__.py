"""Mixed precision: which width serves which layer, searched for against error, energy, latency and size."""

from quant.search.cost import ChipCost, Cost
from quant.search.elastic import Choice, Elastic, ElasticPerceptron
from quant.search.evaluation import Evaluate, QuickEvaluation
from quant.search.loop import SearchSettings, search, starts
from quant.search.nsga2 import nsga2
from quant.search.pareto import hypervolume, on_front
from quant.search.predictor import Predictor
from quant.search.result import Point, SearchResult, save_recipe
from quant.search.space import Space, Variable, search_space

__all__ = [
    "ChipCost",
    "Choice",
    "Cost",
    "Elastic",
    "ElasticPerceptron",
    "Evaluate",
    "Point",
    "Predictor",
    "QuickEvaluation",
    "SearchResult",
    "SearchSettings",
    "Space",
    "Variable",
    "hypervolume",
    "nsga2",
    "on_front",
    "save_recipe",
    "search",
    "search_space",
    "starts",
]
