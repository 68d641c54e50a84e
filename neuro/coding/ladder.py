"""`Ladder`: a function of one number by thresholds alone, with a bound on its error.

    f(x) ~ relu part + f_0 + sum_k h_k [x >= theta_k]

A neuron for each threshold fires while x is at or above it; its spike adds the step h_k. Nothing is multiplied.
Thresholds stand where the function has moved by twice the tolerance since the last one, so the error is at most the
tolerance everywhere; what grows without bound (GELU, SiLU, softplus) keeps its exact part, a rectifier, outside.
Few-spike approximation of functions: Stoeckl and Maass, "Optimized spiking neurons can classify images with high
accuracy through temporal coding with two spikes", Nature Machine Intelligence 3 (2021), arXiv:2002.00860; there the
steps are trained, here they are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hardware_models.errors import InputError

Unary = Callable[[Tensor], Tensor]

_GRID = 1 << 20
"""Points of a function that are looked at while thresholds are placed."""


@dataclass(frozen=True)
class Approximated:
    """A function that ladders know.

    Attributes:
        exact: the function.
        low, high: ends of the interval outside of which the rest is constant, to single precision.
        rectified: whether relu(x) is kept exact and only the rest is approximated.
        relative: whether the tolerance is a share of the value, which is then above 0, and not absolute.
        decades: whether the interval spans decades, so that its points are looked at by ratios.
    """

    exact: Unary
    low: float
    high: float
    rectified: bool = False
    relative: bool = False
    decades: bool = False

    def rest(self, x: Tensor) -> Tensor:
        """What thresholds have to make."""
        return self.exact(x) - x.relu() if self.rectified else self.exact(x)


FUNCTIONS: dict[str, Approximated] = {
    "gelu": Approximated(F.gelu, -6, 6, rectified=True),
    "gelu-tanh": Approximated(lambda x: F.gelu(x, approximate="tanh"), -6, 6, rectified=True),
    "silu": Approximated(F.silu, -20, 20, rectified=True),
    "mish": Approximated(F.mish, -20, 20, rectified=True),
    "softplus": Approximated(F.softplus, -20, 20, rectified=True),
    "elu": Approximated(F.elu, -20, 0, rectified=True),
    "sigmoid": Approximated(torch.sigmoid, -18, 18),
    "tanh": Approximated(torch.tanh, -10, 10),
    "erf": Approximated(torch.erf, -4, 4),
    "exp": Approximated(torch.exp, -18, 0, relative=True),
    "reciprocal": Approximated(torch.reciprocal, 2.0**-20, 2.0**20, relative=True, decades=True),
    "rsqrt": Approximated(torch.rsqrt, 2.0**-30, 2.0**20, relative=True, decades=True),
    "sqrt": Approximated(torch.sqrt, 2.0**-30, 2.0**20, relative=True, decades=True),
    "log": Approximated(torch.log, 2.0**-20, 2.0**20, decades=True),
}
"""By the name of the operator."""


class Ladder(nn.Module):
    """A function by thresholds.

    Args:
        name: a name of `FUNCTIONS`.
        tolerance: largest error between the ends of the function's interval: absolute, or relative for `exp`,
            `reciprocal`, `rsqrt` and `sqrt`.

    Attributes:
        thresholds: theta_k, `[K]`, rising.
        levels: f_0 and the sums of steps up to each threshold, `[K + 1]`.
        bound: the error that was found on a grid; at most the tolerance.

    Raises:
        InputError: an unknown function or a tolerance that is no small number above 0.
    """

    thresholds: Tensor
    levels: Tensor

    def __init__(self, name: str, tolerance: float) -> None:
        super().__init__()
        if name not in FUNCTIONS:
            raise InputError(f"no ladder is known for {name!r}; there are ladders for {', '.join(FUNCTIONS)}.")
        if not 1e-6 <= tolerance < 1:
            raise InputError(f"the tolerance of a ladder was {tolerance}; give a number from 1e-6 to below 1.")
        self.name, self.tolerance, self.function = name, tolerance, FUNCTIONS[name]
        grid, values = self._grid()
        edges, levels = _steps(values, tolerance, self.function.relative)
        self.register_buffer("thresholds", grid[edges].float())
        self.register_buffer("levels", levels.float())
        self.bound = self._found_error(grid, values)

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x) to within the tolerance; the gradient is that of the function itself."""
        found = self.levels[torch.bucketize(x.detach().float(), self.thresholds, right=True)].to(x.dtype)
        rest = found + x.detach().relu() if self.function.rectified else found
        if torch.is_grad_enabled() and x.requires_grad:
            smooth = self.function.exact(x)
            return smooth + (rest - smooth).detach()
        return rest

    def reaches(self, x: Tensor) -> bool:
        """Whether the bound holds for all of `x`: functions over decades are cut off outside of their interval."""
        low, high = x.aminmax()
        return not self.function.decades or (float(low) >= self.function.low and float(high) <= self.function.high)

    def extra_repr(self) -> str:
        return f"{self.name}, {len(self.thresholds)} thresholds, error <= {self.bound:.1e}"

    def _grid(self) -> tuple[Tensor, Tensor]:
        """Points over the interval, evenly or by ratios, and what is to be made there, in double precision."""
        low, high = self.function.low, self.function.high
        if self.function.decades:
            points = torch.logspace(math.log2(low), math.log2(high), _GRID, base=2.0, dtype=torch.float64)
        else:
            points = torch.linspace(low, high, _GRID, dtype=torch.float64)
        return points, self.function.rest(points)

    def _found_error(self, grid: Tensor, values: Tensor) -> float:
        made = self.levels.double()[torch.bucketize(grid.float(), self.thresholds, right=True)]
        error = (made - values).abs()
        return float((error / values.abs() if self.function.relative else error).max())


def _steps(values: Tensor, tolerance: float, relative: bool) -> tuple[Tensor, Tensor]:
    """Return where the level changes (indices of `values`) and the levels, none off by more than `tolerance`.

    A level holds as long as the values stay within twice the tolerance of each other; it is their middle.
    """
    margin = 0.97 * tolerance  # for what lies between the points of the grid, and for single precision
    marks = torch.log(values) if relative else values
    width = 2 * math.log1p(margin) if relative else 2 * margin
    edges: list[int] = []
    levels: list[float] = []
    start = 0
    while True:
        end = _reach(marks, start, width)
        low, high = marks[start:end].aminmax()
        middle = (low + high) / 2
        levels.append(float(middle.exp() if relative else middle))
        if end == len(marks):
            return torch.tensor(edges, dtype=torch.long), torch.tensor(levels, dtype=torch.float64)
        edges.append(end)
        start = end


def _reach(marks: Tensor, start: int, width: float) -> int:
    """Return the first index from `start` at which the values have spread by more than `width`."""
    size = 64
    while True:
        piece = marks[start : start + size]
        spread = piece.cummax(0).values - piece.cummin(0).values
        beyond = int(torch.searchsorted(spread, width, right=True))
        if beyond < len(piece) or start + size >= len(marks):
            return max(start + beyond, start + 1)
        size *= 4
