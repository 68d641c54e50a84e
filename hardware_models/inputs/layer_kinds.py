"""Kinds of hand-written layers, and the keys that each has."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from hardware_models.inputs.layer_signals import FIRED, INPUT, RIGHT, WEIGHT
from hardware_models.workload import Operator

Family = Literal["conv", "depthwise", "transposed", "linear", "matmul", "neuron", "pool", "global", "reduce", "plain"]


class Kind(NamedTuple):
    """What a kind of layer is.

    Attributes:
        operator: in the Workload.
        op: the operation's name in the Workload.
        family: which keys it has and how its sizes follow.
    """

    operator: Operator
    op: str
    family: Family


NEURONS: Final = ("if", "lif", "plif", "alif", "ilif", "cuba-lif", "izhikevich", "neuron")
"""Neuron models; every engine counts one update for each neuron and timestep."""

KINDS: Final[dict[str, Kind]] = {
    **{word: Kind("conv", "conv", "conv") for word in ("conv", "conv1d", "conv2d", "conv3d")},
    **{word: Kind("conv", "depthwise", "depthwise") for word in ("depthwise", "dwconv")},
    **{word: Kind("conv", "conv_transpose", "transposed") for word in ("conv_transpose", "deconv")},
    **{word: Kind("linear", "linear", "linear") for word in ("linear", "dense", "fc")},
    "matmul": Kind("matmul", "matmul", "matmul"),
    **{word: Kind("neuron", word, "neuron") for word in NEURONS},
    "pool": Kind("pool", "pool", "pool"),
    "maxpool": Kind("pool", "max_pool", "pool"),
    "avgpool": Kind("pool", "avg_pool", "pool"),
    "globalpool": Kind("pool", "global_pool", "global"),
    "reduce": Kind("reduce", "reduce", "reduce"),
    "norm": Kind("norm", "norm", "plain"),
    "batchnorm": Kind("norm", "batch_norm", "plain"),
    "layernorm": Kind("norm", "layer_norm", "plain"),
    "add": Kind("add", "add", "plain"),
    "mask": Kind("mask", "mask", "plain"),
    **{word: Kind("elementwise", word, "plain") for word in ("elementwise", "relu", "gelu", "sigmoid", "softmax")},
}

ALIASES: Final = {"out_channels": "filters", "out_features": "filters", "in_features": "in", "pad": "padding"}
"""Other names of keys, as PyTorch writes them."""

_ALWAYS = {"name", "kind", "from", "timesteps", "neuron", *FIRED}
_SHAPE = {"in", "channels", "height", "width"}
_WINDOW = {"kernel", "stride", "padding", "dilation"}
_OPERANDS = {*INPUT, *WEIGHT} - {""}

KEYS: Final[dict[Family, set[str]]] = {
    "conv": _ALWAYS | _SHAPE | _WINDOW | _OPERANDS | {"filters", "groups"},
    "depthwise": _ALWAYS | _SHAPE | _WINDOW | _OPERANDS | {"filters"},
    "transposed": _ALWAYS | _SHAPE | _WINDOW | _OPERANDS | {"filters", "groups", "output_padding"},
    "linear": _ALWAYS | _SHAPE | _OPERANDS | {"filters"},
    "matmul": _ALWAYS | {*INPUT, *RIGHT, "heads", "m", "k", "n"},
    "neuron": (_ALWAYS | _SHAPE) - {"neuron"},
    "pool": _ALWAYS | _SHAPE | _WINDOW,
    "global": _ALWAYS | _SHAPE,
    "reduce": _ALWAYS | _SHAPE | {"out"},
    "plain": _ALWAYS | _SHAPE,
}
"""The keys of each family of kinds."""

ALL_KEYS: Final = frozenset().union(*KEYS.values())

DEFAULTABLE: Final = ALL_KEYS - {"name", "kind", "from", "neuron", "out", *_SHAPE}
"""The keys that may stand among the defaults."""
