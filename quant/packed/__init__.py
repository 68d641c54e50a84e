"""Packed inference on the CPU: weights and activations of few bits as bit planes, products exact to the integer.

weight = PackedWeight.from_codes(codes, scale, "binary")      # what a file stores
operand = prepare(weight, SIGNS)                              # laid out for the fastest algorithm
x = pack_signs(image, threshold, operand.layout)              # float32 [B, H, W, C] to bit planes
y = conv(x, operand, padding=1, epilogue=Epilogue(scale))     # float32 [B, H', W', O]; int32 without an epilogue
"""

from quant.packed.activations import (
    SIGNS,
    SPIKES,
    ActivationFormat,
    Layout,
    PackedActivation,
    levels,
    pack_levels,
    pack_signs,
    pack_spikes,
)
from quant.packed.operands import Operand, prepare
from quant.packed.products import Epilogue, conv, linear, scale_shift
from quant.packed.weights import PackedWeight

__all__ = [
    "SIGNS",
    "SPIKES",
    "ActivationFormat",
    "Epilogue",
    "Layout",
    "Operand",
    "PackedActivation",
    "PackedWeight",
    "conv",
    "levels",
    "linear",
    "pack_levels",
    "pack_signs",
    "pack_spikes",
    "prepare",
    "scale_shift",
]
