"""Which figures of chips move what networks cost, and which of the networks or chips is the cheaper one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.studies.sobol_indices import SobolIndices, sobol_indices
from hardware_models.studies.uncertain_figures import Candidate, Costs, Objective, UncertainFigure
from hardware_models.totals import Floats
from hardware_models.whole_numbers import whole_numbers

__all__ = ["Candidate", "Ranking", "Tornado", "UncertainFigure", "ranking", "tornado", "variance_shares"]


@dataclass(frozen=True, eq=False)
class Tornado:
    """Each figure alone at the ends of its band, F figures by the largest relative swing first, C candidates.

    Attributes:
        names: of the candidates.
        figures: that have a band.
        value: the objective with all figures at their values, `[C]`.
        at_low, at_high: with one figure at that end of its band, `[C, F]`.
        reorders: whether the order of the candidates is another one at an end, `[F]`.
    """

    names: tuple[str, ...]
    figures: tuple[UncertainFigure, ...]
    value: Floats
    at_low: Floats
    at_high: Floats
    reorders: npt.NDArray[np.bool_]

    @property
    def swing(self) -> Floats:
        """Relative change from one end to the other, `[C, F]`: (at_high - at_low) / value."""
        relative: Floats = (self.at_high - self.at_low) / self.value[:, None]
        return relative


@dataclass(frozen=True, eq=False)
class Ranking:
    """How often which of C candidates is the cheaper one.

    Attributes:
        names: of the candidates.
        figures: that were drawn.
        beats: share of draws in which the row's candidate costs less than the column's, `[C, C]`; equal costs are
            nobody's win.
        cheapest: share of draws in which a candidate costs less than all others, `[C]`.
        value: the objective with all figures at their values, `[C]`.
        samples: number of draws.
    """

    names: tuple[str, ...]
    figures: tuple[UncertainFigure, ...]
    beats: Floats
    cheapest: Floats
    value: Floats
    samples: int


def tornado(candidates: Sequence[Candidate], objective: Objective = "energy_j") -> Tornado:
    """Return what each figure does alone: 1 + 2 F variants, all others at their values.

    Args:
        candidates: networks on chips; figures that they share move together (`Costs`).
        objective: `energy_j`, `latency_s` or `energy_delay_js`.

    Raises:
        InputError: as `Costs`; no figure with a band.
    """
    costs = _costs(candidates, objective)
    count = len(costs.figures)
    values = np.tile(costs.nominal(), (1 + 2 * count, 1))
    for column, figure in enumerate(costs.figures):
        values[1 + column, column], values[1 + count + column, column] = figure.quantity.si_band
    found = costs.at(values)
    value, low, high = found[:, 0], found[:, 1 : 1 + count], found[:, 1 + count :]
    largest = (np.abs(high - low) / value[:, None]).max(axis=0)
    order = np.argsort(-largest, kind="stable")
    ranks = found.argsort(axis=0, kind="stable")
    moved = (ranks != ranks[:, :1]).any(axis=0)
    return Tornado(
        names=costs.names,
        figures=tuple(costs.figures[column] for column in order),
        value=value,
        at_low=low[:, order],
        at_high=high[:, order],
        reorders=(moved[1 : 1 + count] | moved[1 + count :])[order],
    )


def variance_shares(
    candidates: Sequence[Candidate], objective: Objective = "energy_j", samples: int = 1024, seed: int = 0
) -> tuple[tuple[UncertainFigure, ...], SobolIndices]:
    """Return the F figures and their first-order and total Sobol indices for each of C candidates, `[C, F]`.

    Each figure is drawn by itself from the triangular distribution on its band with its value as the mode. See
    `sobol_indices` for the estimators.

    Args:
        candidates: networks on chips; a figure that a candidate does not read has indices of 0.
        objective: `energy_j`, `latency_s` or `energy_delay_js`.
        samples: N; every candidate is evaluated N (F + 2) times.
        seed: of the draws.

    Raises:
        InputError: as `Costs`; no figure with a band; a candidate whose cost does not vary.
    """
    costs = _costs(candidates, objective)
    ends = costs.at_shares(np.stack([np.zeros(len(costs.figures)), np.ones(len(costs.figures))]))
    steady = next((name for name, (low, high) in zip(costs.names, ends, strict=True) if low == high), None)
    if steady is not None:
        raise InputError(f"no figure with a band moves {objective} of {steady!r}; leave out that candidate.")
    return costs.figures, sobol_indices(costs.at_shares, len(costs.figures), samples, seed)


def ranking(
    candidates: Sequence[Candidate], objective: Objective = "energy_j", samples: int = 1000, seed: int = 0
) -> Ranking:
    """Return how often each candidate is cheaper than each other, over draws of all figures with a band.

    Figures that candidates share (`Costs`) are drawn once for all of them, so that an error which is common to both
    sides of a comparison does not blur it. What several chips have in common without stating it, such as equations that
    are off in the same direction, is not known here.

    Args:
        candidates: at least two networks on chips.
        objective: `energy_j`, `latency_s` or `energy_delay_js`.
        samples: draws.
        seed: of the draws.

    Raises:
        InputError: as `Costs`; fewer than two candidates.
    """
    if len(candidates) < 2:
        raise InputError(f"{len(candidates)} candidates cannot be ranked; give at least two.")
    samples = int(whole_numbers("samples", samples))
    costs = Costs(candidates, objective)
    random = np.random.default_rng(int(whole_numbers("seed", seed, least=0)))
    found = costs.at_shares(random.random((samples, len(costs.figures))))
    beats = (found[:, None, :] < found[None, :, :]).mean(axis=-1)
    others = np.sort(found, axis=0)[1]
    return Ranking(
        names=costs.names,
        figures=costs.figures,
        beats=beats,
        cheapest=((found == found.min(axis=0)) & (found < others)).mean(axis=1),
        value=costs.at(costs.nominal()[None])[:, 0],
        samples=samples,
    )


def _costs(candidates: Sequence[Candidate], objective: Objective) -> Costs:
    costs = Costs(candidates, objective)
    if not costs.figures:
        raise InputError("no figure that these chips are read for has a band; give chips whose figures have one.")
    return costs
