"""A chip's figures as arrays, so that every equation covers uncertainty and hardware variants at once.

A figure is an array `[S, H, 1]`: S draws of what is uncertain, H hardware variants, 1 for the layers.

With corners (the default) S is 3: the values; every figure at the end of its band that makes the chip cheap;
every figure at the other end. The band that follows is the widest that the figures allow.

With Monte Carlo draw 0 is the values; in every other draw each figure is drawn by itself from the triangular
distribution on its band with its value as the mode.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.chip import Chip
from hardware_models.engine import LARGEST_SIZE, FigureSpec, Question, engine
from hardware_models.errors import InputError, unknown_name
from hardware_models.quantity import Quantity
from hardware_models.whole_numbers import whole_numbers
from hardware_models.yaml_files import validated

Array = npt.NDArray[Any]


class Hardware:
    """The figures of `chip` for an engine.

    Args:
        chip: the chip.
        variants: figures that vary, by name: `[H]` values in base units, all of one length. A figure keeps the
            relative width of its band.
        samples: Monte Carlo draws; 0 for corners.
        seed: of the draws.

    Raises:
        InputError: a variant of a figure that the chip lacks, of uneven length, not finite or not positive; samples
            or a seed that are no whole number of at least 0.
    """

    def __init__(
        self, chip: Chip, variants: Mapping[str, npt.ArrayLike] | None = None, samples: int = 0, seed: int = 0
    ) -> None:
        self.chip = chip
        self.settings: Any = validated(engine(chip.engine).Settings, chip.settings, f"chip {chip.name}: settings")
        self.samples = int(whole_numbers("samples", samples, least=0))
        self.seed = int(whole_numbers("seed", seed, least=0))
        self.used: dict[str, Quantity] = {}
        self._specs: tuple[FigureSpec, ...] = engine(chip.engine).FIGURES
        self._variants = {name: self._checked_variant(name, values) for name, values in (variants or {}).items()}
        lengths = {len(values) for values in self._variants.values()}
        if len(lengths) > 1:
            raise InputError(f"the variants have {sorted(lengths)} values; give every figure as many.")
        self.variant_count = lengths.pop() if lengths else 1

    @property
    def draw_count(self) -> int:
        """S, the length of the first axis."""
        return 1 + self.samples if self.samples else 3

    def __call__(self, name: str, needed_for: str) -> Array:
        """Return the figure called `name` in base units, `[S, H or 1, 1]`.

        Raises:
            InputError: the chip has no such figure; the message says what it is `needed_for`.
        """
        figure = self.chip.figure(name, needed_for)
        self.used[name] = figure
        drawn = self._draw(name, figure)[:, None, None]
        if name not in self._variants:
            return drawn
        relative = drawn / figure.si if figure.si else np.ones_like(drawn)
        return relative * self._variants[name][None, :, None]

    def size(self, name: str, needed_for: str) -> npt.NDArray[np.int64]:
        """Return a structural figure as whole numbers, `[1, H or 1, 1]`; a missing one is an `InputError`."""
        figure = self.chip.figure(name, needed_for)
        self.used[name] = figure
        values = self._variants.get(name, np.array([figure.si]))
        return np.rint(values).astype(np.int64)[None, :, None]

    def get(self, name: str) -> Array | None:
        """Return the figure called `name` as by a call, or None where the chip has none."""
        return self(name, "this estimate") if name in self else None

    def __contains__(self, name: str) -> bool:
        return name in self.chip.figures

    def answers(self, question: Question) -> bool:
        """Whether the chip answers `question`; where it does not, its figures must not be asked for."""
        return question not in self.chip.refuses

    def block(self, start: int, stop: int) -> Hardware:
        """Return the hardware variants `start` to `stop` only."""
        variants = {name: values[start:stop] for name, values in self._variants.items()}
        return Hardware(self.chip, variants, self.samples, self.seed)

    def _draw(self, name: str, figure: Quantity) -> npt.NDArray[np.float64]:
        low, high = figure.si_band
        kind = self._spec(name).kind
        if self.samples:
            random = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
            drawn = random.triangular(low, figure.si, high, self.samples) if low < high else figure.si
            return np.concatenate([[figure.si], np.broadcast_to(drawn, self.samples)])
        if kind == "size":
            return np.full(3, figure.si)
        return np.array([figure.si, low, high] if kind == "cost" else [figure.si, high, low])

    def _spec(self, name: str) -> FigureSpec:
        return next(spec for spec in self._specs if spec.matches(name))

    def _checked_variant(self, name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        if name not in self.chip.figures:
            raise unknown_name(f"figure of chip {self.chip.name}", name, self.chip.figures)
        given = np.atleast_1d(np.asarray(values))
        if given.ndim != 1 or not given.size or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
            raise InputError(f"the variants of {name!r} must be a list of finite numbers, one for each variant.")
        array: npt.NDArray[np.float64] = given.astype(np.float64)
        kind = self._spec(name).kind
        if (array < (kind == "size")).any() or (kind == "rate" and not array.all()):
            least = {"size": "at least 1", "rate": "more than 0", "cost": "at least 0"}[kind]
            raise InputError(f"the variants of {name!r} must be finite numbers of {least}; mend {array.min():g}.")
        if kind == "size" and ((array != np.rint(array)).any() or array.max() > LARGEST_SIZE):
            raise InputError(f"the variants of {name!r} must be whole numbers of at most {LARGEST_SIZE:g}.")
        return array
