"""What the width of operands does on a unit built for one width.

Narrower operands: on a `fixed` unit they cost what native ones cost; on a `scaled` one (bit-serial or
composable) energy and time fall with the product of the widths, a_bits * b_bits / (native a * native b).

Wider operands: `passes` cuts them into native parts, ceil(a / native a) * ceil(b / native b) operations;
`quantize` takes the network as quantized to the native width, which the estimate says (`narrowed`); its accuracy then
is that of the quantized network, which an estimate does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from hardware_models.engine import Narrowed
from hardware_models.layer_table import LayerTable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Widths:
    """Operands as a unit handles them, `[L]`: widths in bits, and operations per nominal operation."""

    input_bits: Array
    weight_bits: Array
    operations: Array


class Precision(BaseModel):
    """Widths of an arithmetic unit and what it does with others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_bits: int = Field(ge=1, le=128)
    weight_bits: int = Field(ge=1, le=128)
    narrower: Literal["fixed", "scaled"] = "fixed"
    wider: Literal["quantize", "passes"] = "quantize"

    def apply(self, input_bits: Array, weight_bits: Array) -> Widths:
        """Return the widths that layers of the given operand widths `[L]` run at."""
        inputs, weights = input_bits, weight_bits
        if self.wider == "quantize":
            inputs, weights = np.minimum(inputs, self.input_bits), np.minimum(weights, self.weight_bits)
        operations = self._parts(inputs / self.input_bits) * self._parts(weights / self.weight_bits)
        return Widths(inputs, weights, operations)

    def results(self, bits: Array) -> Array:
        """Return the widths that results of `bits` are handed on at: no wider than a unit that quantizes reads them."""
        return np.minimum(bits, self.input_bits) if self.wider == "quantize" else bits

    def _parts(self, share: Array) -> Array:
        """Return the native operations along one operand whose width is `share` of the native one."""
        return np.where((share > 1) | (self.narrower == "fixed"), np.ceil(share), share)


def narrowed(layers: LayerTable, input_bits: Array, weight_bits: Array) -> dict[str, Narrowed]:
    """Return, by name, the layers that run at fewer bits than they were given with.

    Args:
        layers: the layers that run on the chip.
        input_bits: `[L]` widths that they run at.
        weight_bits: `[L]` widths that their weights, or second operands, run at.
    """
    given = np.stack([layers.input_bits, layers.weight_bits], axis=-1)
    run = np.stack([input_bits, weight_bits], axis=-1)
    cut = np.flatnonzero((run < given).any(axis=-1))
    return {layers.names[row]: Narrowed(_pair(given[row]), _pair(run[row])) for row in cut}


def powers_of_two(layers: LayerTable) -> Iterator[str]:
    """Yield in words how units that multiply numbers take power-of-two spikes, if any drive these layers."""
    bits = layers.input_bits[layers.shifted]
    if len(bits):
        width = f"{bits.min()}" if bits.min() == bits.max() else f"{bits.min()} to {bits.max()}"
        yield (
            f"Power-of-two spikes drive {len(bits)} layers; they are stored and read as the integers that they are, of "
            f"{width} bits."
        )


def _pair(widths: Array) -> tuple[int, int]:
    return int(widths[0]), int(widths[1])
