"""What the width of operands does on a unit built for one width.

Narrower operands: on a `fixed` unit they cost what native ones cost; on a `scaled` one (bit-serial or
composable) energy and time fall with the product of the widths, a_bits * b_bits / (native a * native b).

Wider operands: `passes` cuts them into native parts, ceil(a / native a) * ceil(b / native b) operations;
`quantize` takes the network as quantized to the native width, which the estimate says; its accuracy then is
that of the quantized network, which an estimate does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Widths:
    """Operands as a unit handles them, `[L]`: widths in bits, and operations per nominal operation."""

    input_bits: Array
    weight_bits: Array
    operations: Array
    assumptions: tuple[str, ...]


class Precision(BaseModel):
    """Widths of an arithmetic unit and what it does with others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_bits: int = Field(ge=1, le=128)
    weight_bits: int = Field(ge=1, le=128)
    narrower: Literal["fixed", "scaled"] = "fixed"
    wider: Literal["quantize", "passes"] = "quantize"

    def apply(self, input_bits: Array, weight_bits: Array) -> Widths:
        """Return the widths that layers of the given operand widths `[L]` run at."""
        inputs, weights, said = input_bits, weight_bits, []
        if self.wider == "quantize":
            inputs, weights = np.minimum(inputs, self.input_bits), np.minimum(weights, self.weight_bits)
            cut = int(((inputs < input_bits) | (weights < weight_bits)).sum())
            if cut:
                said.append(
                    f"{_layers(cut)} wider operands than the {self.input_bits} x {self.weight_bits} bits of the unit; "
                    "they are taken as quantized to it, and what that does to accuracy is not known here."
                )
        operations = self._parts(inputs / self.input_bits) * self._parts(weights / self.weight_bits)
        return Widths(inputs, weights, operations, tuple(said))

    def _parts(self, share: Array) -> Array:
        """Return the native operations along one operand whose width is `share` of the native one."""
        return np.where((share > 1) | (self.narrower == "fixed"), np.ceil(share), share)


def _layers(number: int) -> str:
    return "1 layer has" if number == 1 else f"{number} layers have"
