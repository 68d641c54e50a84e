"""Packed inference on the CPU: weights and activations of few bits as bit planes, products exact to the integer.

weight = PackedWeight.from_codes(codes, scale, "binary")      # what a file stores
operand = prepare(weight, SIGNS)                              # laid out for the fastest algorithm
x = pack_signs(image, threshold, operand.layout)              # float32 [B, H, W, C] to bit planes
y = conv(x, operand, padding=1, epilogue=Epilogue(scale))     # float32 [B, H', W', O]; int32 without an epilogue

packed = pack(quantize(model, "w1a1", example))               # a whole network; packed.operators says what became of it
save(packed, path)                                            # one bit for each binary weight
packed = load(path, quantize(model, "w1a1", example))         # the same network again, whatever weights the model has
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
from quant.packed.file import load, save
from quant.packed.network import PackedNetwork, PackedOperator, pack
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
    "PackedNetwork",
    "PackedOperator",
    "PackedWeight",
    "conv",
    "levels",
    "linear",
    "load",
    "pack",
    "pack_levels",
    "pack_signs",
    "pack_spikes",
    "prepare",
    "save",
    "scale_shift",
]
