"""What a search found: recipes with their figures, and files of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import yaml

from hardware_models.errors import RunError
from hardware_models.files import write_atomically
from quant.recipes import Recipe
from quant.search.elastic import Choice
from quant.search.nsga2 import Configuration
from quant.search.pareto import hypervolume

SCHEMA: Final = "neuro.bit-front/1"


@dataclass(frozen=True)
class Point:
    """One configuration.

    Attributes:
        configuration: indices of the chosen values.
        recipe: for `quant.quantize`.
        choice: of an elastic network; empty for another.
        figures: `error`, as measured or else as predicted, and the costs: `size_bits`, `energy_j` (J), `latency_s` (s).
        measured_error: None where it was not measured.
        predicted_error: before it was measured; None where it was measured without a prediction.
    """

    configuration: Configuration
    recipe: Recipe
    choice: Choice
    figures: Mapping[str, float]
    measured_error: float | None
    predicted_error: float | None

    @property
    def measured(self) -> bool:
        """Whether its error was measured."""
        return self.measured_error is not None

    def values(self, objectives: Sequence[str]) -> list[float]:
        """Return its figures of some objectives."""
        return [self.figures[name] for name in objectives]


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        objectives: what was minimised.
        front: measured points that no other measured one beats, by the first objective.
        hoped: points that were not measured, by which the predictor expects the front to grow.
        measured: all that were measured, in that order.
        agreement: Kendall's tau of predicted and measured errors of each round, before the round was learned from; NaN
            where either is constant.
    """

    objectives: tuple[str, ...]
    front: tuple[Point, ...]
    hoped: tuple[Point, ...]
    measured: tuple[Point, ...]
    agreement: tuple[float, ...]

    def values(self) -> npt.NDArray[np.float64]:
        """Return the objectives of the front, `[N, D]`."""
        return np.array([point.values(self.objectives) for point in self.front])

    def hypervolume(self, reference: Sequence[float]) -> float:
        """Return the volume that the front dominates, up to `reference` `[D]`."""
        return hypervolume(self.values(), reference)

    def save(self, folder: str | Path) -> None:
        """Write `front.json` and a recipe `NAME.yaml` for each point of the front.

        Raises:
            RunError: a file cannot be written.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"could not make {place}: {error.strerror}; write to another directory.") from error
        for point in self.front:
            save_recipe(point.recipe, place / f"{point.recipe.name}.yaml")
        with write_atomically(place / "front.json") as file:
            json.dump(self.to_document(), file, indent=1)

    def to_document(self) -> dict[str, Any]:
        """Return the points of `front` and `hoped` as plain data."""
        both = {"front": self.front, "hoped": self.hoped}
        return {
            "schema": SCHEMA,
            "objectives": list(self.objectives),
            **{name: [_document(point) for point in points] for name, points in both.items()},
        }


def _document(point: Point) -> dict[str, Any]:
    return {
        "recipe": point.recipe.name,
        "choice": dict(point.choice),
        "figures": dict(point.figures),
        "measured": point.measured,
        "predicted_error": point.predicted_error,
    }


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe as a file that `load_recipe` reads.

    Raises:
        RunError: it cannot be written.
    """
    data = recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    with write_atomically(Path(path)) as file:
        yaml.safe_dump({"schema": recipe.schema_version, **data}, file, sort_keys=False, allow_unicode=True)
