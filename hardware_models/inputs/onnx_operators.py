"""ONNX operators by what they cost: products, computing element by element, moving data, or nothing known."""

from __future__ import annotations

from typing import Final, NamedTuple

from hardware_models.workload import Operator


class Product(NamedTuple):
    """Where a product of operands finds them among a node's inputs.

    Attributes:
        left: the input that is the activation of a convolution or the left matrix.
        right: the weight or right matrix.
        right_zero: the zero point of the right operand; -1 where it has none.
        convolution: whether it slides a window.
    """

    left: int
    right: int
    right_zero: int = -1
    convolution: bool = False


PRODUCTS: Final[dict[str, Product]] = {
    "Conv": Product(0, 1, convolution=True),
    "ConvTranspose": Product(0, 1, convolution=True),
    "ConvInteger": Product(0, 1, 3, convolution=True),
    "QLinearConv": Product(0, 3, 5, convolution=True),
    "Gemm": Product(0, 1),
    "MatMul": Product(0, 1),
    "MatMulInteger": Product(0, 1, 3),
    "QLinearMatMul": Product(0, 3, 5),
}

_NORMS = (
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LRN"),
    *("LpNormalization", "MeanVarianceNormalization", "RMSNormalization"),
)
_POOLS = (
    *("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool", "MaxRoiPool"),
    *("QLinearAveragePool", "QLinearGlobalAveragePool", "RoiAlign"),
)
_REDUCTIONS = (
    *("CumSum", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
_ADDITIONS = ("Add", "QLinearAdd", "Sub", "Sum")
_ELEMENTWISE = (
    *("Abs", "Acos", "Acosh", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot"),
    *("BitwiseOr", "BitwiseXor", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div", "DynamicQuantizeLinear", "Elu", "Equal"),
    *("Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Hardmax", "LeakyRelu"),
    *("Less", "LessOrEqual", "Log", "LogSoftmax", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or"),
    *("PRelu", "Pow", "Reciprocal", "Relu", "Resize", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh"),
    *("Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Upsample", "Xor"),
)

COMPUTES: Final[dict[str, Operator]] = {
    **dict.fromkeys(_NORMS, "norm"),
    **dict.fromkeys(_POOLS, "pool"),
    **dict.fromkeys(_REDUCTIONS, "reduce"),
    **dict.fromkeys(_ADDITIONS, "add"),
    **dict.fromkeys(_ELEMENTWISE, "elementwise"),
}
"""Operators that compute on values of their own shape or less; additions of two activations are `add`."""

EXACT: Final = frozenset(
    (
        *("Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity"),
        *("MaxPool", "Pad", "Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose"),
        "Unsqueeze",
    )
)
"""Operators after which de-quantized values still are the same integers times their scale."""

MOVES: Final = (EXACT - {"MaxPool", "Relu"}) | {
    *("ArgMax", "ArgMin", "Cast", "CastLike", "Compress", "DequantizeLinear", "IsInf", "IsNaN", "NonMaxSuppression"),
    *("NonZero", "OneHot", "QuantizeLinear", "ReverseSequence", "TopK", "Trilu", "Unique", "Where"),
}
"""Operators that move or choose data and compute nothing that a cost model counts: edges run through them."""

SHAPES: Final = frozenset(("Shape", "Size", "ConstantOfShape", "EyeLike"))
"""Operators that read the shape of a tensor and none of its values."""

WEIGHT_CHAIN: Final = frozenset(
    (
        *("Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Transpose"),
        "Unsqueeze",
    )
)
"""Operators between a stored weight and its use that keep which of its values are zero."""
