"""From a quantized network to an ONNX graph, with quantizers as each format has them.

Quantizers are replaced by modules that stand for ONNX nodes; all other operators are PyTorch's exporter's. Weights are
written as what they become, since their scales may be made of them: a file holds no weight in full precision.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from quant.capture.complaints import quiet, said
from quant.capture.constants import attribute, drop_unread
from quant.export.common import BATCH, library, twice
from quant.network import QuantizedNetwork
from quant.quantizers import Quantizer

Translate = Callable[[str, Quantizer, Tensor | None], nn.Module]
"""From a quantizer's name, itself and the weight it reads to the module that stands for its nodes; for a weight that
module takes no argument, for a value (None) the value."""

MOST_BYTES = 2**31 - 2**20
"""Of all tensors: one file of ONNX holds 2 GB, with a little for its nodes."""


def node(operator: str, inputs: tuple[Tensor, ...], like: Tensor, dtype: torch.dtype, **attributes: Any) -> Tensor:
    """Stand for one ONNX node, whose result has the shape of `like`.

    Args:
        operator: such as `Clip`, or `domain::Quant`.
        inputs: its inputs.
        like: a tensor of the result's shape.
        dtype: of the result.
        **attributes: of the node.
    """
    version = 1 if "::" in operator else None
    made: Tensor = torch.onnx.ops.symbolic(operator, inputs, attributes, dtype=dtype, shape=like.shape, version=version)
    return made


def onnx_model(network: QuantizedNetwork, inputs: tuple[Tensor, ...], translate: Translate) -> Any:
    """Return the network as an `onnx.ModelProto` for batches of any size.

    Raises:
        InputError: a library that is not installed, an operator that ONNX does not have, or a graph of more than 2 GB.
    """
    library("onnx")
    library("onnxscript")
    graph = _translated(network, translate)
    batch = torch.export.Dim(BATCH)
    shapes = tuple({0: batch} for _ in inputs)
    with quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                graph, twice(inputs), dynamo=True, dynamic_shapes=shapes, optimize=False, verbose=False
            )
        except Exception as error:
            raise InputError(
                f"the network cannot be written as ONNX ({said(error)}); export it as program, packed or safetensors."
            ) from error
        assert program is not None
        _simplify(program.model)
        size = sum(one.const_value.nbytes for one in program.model.graph.initializers.values() if one.const_value)
        if size > MOST_BYTES:
            raise InputError(f"the network takes {size / 1e9:.1f} GB, an ONNX file at most 2; export as safetensors.")
        return program.model_proto


def _translated(network: QuantizedNetwork, translate: Translate) -> fx.GraphModule:
    """A copy of the graph with translated quantizers."""
    module: fx.GraphModule = copy.deepcopy(network.layers).eval()
    quantizers = network.quantizers()
    made: dict[str, nn.Module] = {}
    weights = []
    for one in module.graph.nodes:
        name = str(one.target)
        if one.op != "call_module" or name not in quantizers:
            continue
        (read,) = one.args
        weight = attribute(module, str(read.target)) if read.op == "get_attr" else None
        if name not in made:  # a quantizer of several values is translated once
            made[name] = translate(name, quantizers[name], weight)
            module.set_submodule(name, made[name])
        if weight is not None:
            one.args = ()
            weights.append(str(read.target))
    module.graph.eliminate_dead_code()
    drop_unread(module, weights)
    module.recompile()
    return module


def _simplify(model: Any) -> None:
    """Fold constants, but no node that tells the width of a code; drop what only tells where a node came from."""
    keeps = ("Quant", "BipolarQuant", "QuantizeLinear", "DequantizeLinear", "Clip")
    optimizer = library("onnxscript.optimizer")
    optimizer.optimize_ir(model, should_fold=lambda one: False if one.op_type in keeps else None)
    model.metadata_props.clear()
    for one in [*model.graph.all_nodes(), *model.graph.inputs, *model.graph.outputs]:
        one.metadata_props.clear()
    for one in model.graph.all_nodes():
        for value in one.outputs:
            value.metadata_props.clear()
