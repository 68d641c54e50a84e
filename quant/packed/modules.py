"""The modules of a packed network. Images are `[B, C, ...]`, as torch has them, with channels last in memory."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from quant.packed.activations import Layout, PackedActivation
from quant.packed.formats import Packing
from quant.packed.operands import Operand
from quant.packed.products import Epilogue, conv, linear
from quant.packed.values import Steps


class Pack(nn.Module):
    """Quantizes and packs an activation, for all layers that want it in the same layout.

    Args:
        packing: how.
        layout: what the layers want.
        image: channels are axis 1; else the last.
    """

    def __init__(self, packing: Packing, layout: Layout, image: bool) -> None:
        super().__init__()
        self.packing, self.layout, self.image = packing, layout, image

    def forward(self, x: Tensor) -> PackedActivation:
        """Pack float32 `[B, C, ...]` or `[..., C]`."""
        return self.packing.pack(x, self.layout, self.image)

    def extra_repr(self) -> str:
        return f"{self.packing.format.bits} bit, {self.layout.form}"


class Product(nn.Module):
    """A packed convolution or linear layer with all that follows it in the same pass.

    Args:
        operand: the weight.
        epilogue: what follows the sums.
        places: stride, padding and dilation of a convolution; empty for a linear layer.
        contiguous: images are wanted with channels first in memory.
    """

    def __init__(self, operand: Operand, epilogue: Epilogue, places: dict[str, Any], contiguous: bool = False) -> None:
        super().__init__()
        self.operand, self.epilogue, self.places, self.contiguous = operand, epilogue, places, contiguous

    def forward(self, x: PackedActivation, residual: Tensor | None = None) -> Tensor:
        """Return float32 `[B, O, ...]`, or `[..., O]` of a linear layer; the residual has the same shape."""
        if not self.operand.kernel:
            return linear(x, self.operand, self.epilogue, residual)
        if residual is not None:
            residual = residual.movedim(1, -1)
        y = conv(x, self.operand, **self.places, epilogue=self.epilogue, residual=residual).movedim(-1, 1)
        return y.contiguous() if self.contiguous else y

    def sums(self, x: PackedActivation) -> Tensor:
        """Return the integer sums alone, int32 `[B, ..., O]`."""
        return conv(x, self.operand, **self.places) if self.operand.kernel else linear(x, self.operand)

    def extra_repr(self) -> str:
        weight = self.operand.weight
        return f"{weight.form} {list(weight.shape)}, {self.operand.algorithm}"


class Rounded(nn.Module):
    """Puts values on equal steps in one pass."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """Return the values, of the shape of x."""
        return self.steps.round(x)

    def extra_repr(self) -> str:
        return f"scale={self.steps.scale:g}, zero_point={self.steps.zero_point:g}"
