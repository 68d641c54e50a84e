"""Figures with a band that several networks on several chips read, and what the networks cost for values of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np

from hardware_models.chip import Chip
from hardware_models.engine import FigureSpec, Question, Run, engine
from hardware_models.errors import InputError, unknown_name
from hardware_models.estimate import estimate
from hardware_models.layer_table import LayerTable
from hardware_models.quantity import Quantity
from hardware_models.totals import Floats
from hardware_models.variants import estimate_variants

Objective = Literal["energy_j", "latency_s", "energy_delay_js"]

QUESTIONS: Final[dict[str, tuple[Question, ...]]] = {
    "energy_j": ("energy",),
    "latency_s": ("latency",),
    "energy_delay_js": ("energy", "latency"),
}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network on a chip.

    Attributes:
        name: for people; different for every candidate.
        network: its columns.
        chip: where it runs.
        run: how.
    """

    name: str
    network: LayerTable
    chip: Chip
    run: Run = field(default_factory=Run)


@dataclass(frozen=True)
class UncertainFigure:
    """A figure with a band.

    Attributes:
        name: as chips call it.
        quantity: its value, band and source.
        chips: names of the chips that have it.
    """

    name: str
    quantity: Quantity
    chips: tuple[str, ...]

    @property
    def label(self) -> str:
        """Figure and chips, for people."""
        return f"{self.name} of {', '.join(self.chips)}"

    def quantile(self, share: Floats) -> Floats:
        """Return the value in base units below which `share` of the triangular distribution lies.

        The distribution spans the band with the value as its mode, as in Monte Carlo bands.
        """
        (low, high), mode = self.quantity.si_band, self.quantity.si
        rising = low + np.sqrt(share * (high - low) * (mode - low))
        falling = high - np.sqrt((1 - share) * (high - low) * (high - mode))
        return np.clip(np.where(share * (high - low) < mode - low, rising, falling), low, high)


class Costs:
    """What candidates cost for values of the figures that are uncertain.

    A figure is one and the same for all chips that have it under the same name with the same value, band and source.
    Sizes are taken as they are, and so is what the objective does not read.

    Args:
        candidates: networks on chips.
        objective: `energy_j`, `latency_s`, or their product `energy_delay_js`, of one inference.

    Raises:
        InputError: no candidates or one name twice; a chip that refuses the objective, or cannot run its network.
    """

    def __init__(self, candidates: Sequence[Candidate], objective: Objective) -> None:
        if objective not in get_args(Objective):
            raise unknown_name("objective", objective, get_args(Objective))
        names = [one.name for one in candidates]
        if not names or len(set(names)) < len(names):
            raise InputError(f"candidates are called {names}; give at least one, each by a name of its own.")
        self.candidates, self.objective = tuple(candidates), objective
        self._read = [_uncertain(one, objective) for one in candidates]
        found: dict[tuple[str, str], list[tuple[Quantity, str]]] = {}
        for one, read in zip(candidates, self._read, strict=True):
            for name, quantity in read.items():
                found.setdefault(_key(name, quantity), []).append((quantity, one.chip.name))
        self._columns = {key: column for column, key in enumerate(found)}
        self.figures = tuple(
            UncertainFigure(name, users[0][0], tuple(dict.fromkeys(chip for _, chip in users)))
            for (name, _), users in found.items()
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the candidates."""
        return tuple(one.name for one in self.candidates)

    def nominal(self) -> Floats:
        """Return the values of all figures, `[F]`, in base units."""
        return np.array([figure.quantity.si for figure in self.figures])

    def at(self, values: Floats) -> Floats:
        """Return the objective of each of C candidates, `[C, M]`, for M sets of `values`, `[M, F]`, in base units."""
        return np.array([self._cost(index, values) for index in range(len(self.candidates))])

    def at_shares(self, shares: Floats) -> Floats:
        """Return the same for `shares` `[M, F]` of each figure's distribution (`UncertainFigure.quantile`)."""
        values = np.empty_like(shares)
        for column, figure in enumerate(self.figures):
            values[:, column] = figure.quantile(shares[:, column])
        return self.at(values)

    def _cost(self, index: int, values: Floats) -> Floats:
        one = self.candidates[index]
        variants = {name: values[:, self._columns[_key(name, figure)]] for name, figure in self._read[index].items()}
        found = estimate_variants(one.network, _without_bands(one.chip), variants, one.run)
        known = {"energy": found.total_energy_j, "latency": found.total_latency_s}
        cost: Floats = np.ones(len(values))  # a candidate without uncertain figures costs as much for all
        for question in QUESTIONS[self.objective]:
            total = known[question]
            if total is None:
                raise InputError(f"chip {one.chip.name!r} does not tell {question}; leave out {one.name!r}.")
            cost = cost * total[0]
        return cost


def _uncertain(one: Candidate, objective: str) -> dict[str, Quantity]:
    """The figures with a band that a candidate's estimate reads, by name."""
    for question in QUESTIONS[objective]:
        if question in one.chip.refuses:
            reason = one.chip.refuses[question]
            raise InputError(f"chip {one.chip.name!r} refuses {question} ({reason}); leave out {one.name!r}.")
    specs: tuple[FigureSpec, ...] = engine(one.chip.engine).FIGURES
    figures = estimate(one.network, one.chip, one.run).figures
    return {
        name: figure
        for name, figure in figures.items()
        if figure.si_band[0] < figure.si_band[1] and next(spec for spec in specs if spec.matches(name)).kind != "size"
    }


def _without_bands(chip: Chip) -> Chip:
    """The chip as if its figures were exact: a variant would keep the relative width of a band, on top of its value."""
    exact = {name: one.model_copy(update={"low": None, "high": None}) for name, one in chip.figures.items()}
    return chip.model_copy(update={"figures": exact})


def _key(name: str, quantity: Quantity) -> tuple[str, str]:
    return name, quantity.model_dump_json()
