"""What the stored weights of an ONNX graph are: how many are not zero, and how few levels they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_models.errors import InputError
from hardware_models.inputs.onnx_model import Model, is_external, label
from hardware_models.inputs.onnx_operators import WEIGHT_CHAIN
from hardware_models.inputs.operands import Signal
from hardware_models.workload import Form

Values = npt.NDArray[Any]


def weight_signal(model: Model, tensor: str, zero: str | None) -> tuple[Signal, bool]:
    """Return a weight's form, width and density, and whether its values could be read.

    Weights of one magnitude are binary or ternary up to its scale, as a measured Workload has them; others have
    the format that they are stored in, the integer one where they are de-quantized. Values that lie in another
    file, or are computed, are taken as dense.

    Args:
        model: the graph.
        tensor: the weight as a product reads it.
        zero: the zero point that the product subtracts.
    """
    form, bits = model.formats.get(tensor, ("float", 32))
    node = model.producers.get(tensor)
    name = tensor
    chain = []
    while name not in model.stored and node is not None and node.op_type in WEIGHT_CHAIN:
        if node.op_type == "DequantizeLinear":
            form, bits = model.formats.get(node.input[0], (form, bits))
        chain.append(node)
        name = node.input[0]
        node = model.producers.get(name)
    unread = Signal(form, bits, True, (1.0,))
    if name not in model.stored or is_external(model.stored[name]):
        return unread, False
    values = _values(model, name)
    for link in reversed(chain):
        values = _apply(model, link, values)
    if zero is not None:
        values = values - _aligned(values, _constant(model, zero), 0)
    if not values.size:
        raise InputError(f"{model.path}: the weight {name!r} is empty; export the graph anew.")
    return _described(values, form, bits), True


def _described(values: Values, form: Form, bits: int) -> Signal:
    nonzero = int(np.count_nonzero(values))
    density = (nonzero / values.size,)
    if not nonzero:
        return Signal(form, bits, True, density)
    levels = np.abs(values[values != 0])
    if levels.min() != levels.max():
        return Signal(form, bits, True, density)
    if (values < 0).any() and (values > 0).any():
        return Signal("ternary", 2, True, density)
    return Signal("binary", 1, bool((values < 0).any()), density)


def _apply(model: Model, node: Any, values: Values) -> Values:
    """Return values that are zero where the result of a node of the chain is, and of as many levels.

    The order of values does not matter, so views are skipped; a de-quantized value is kept as its integer.
    """
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    if node.op_type == "DequantizeLinear" and len(node.input) > 2 and node.input[2]:
        return values.astype(np.int64) - _aligned(values, _constant(model, node.input[2]).astype(np.int64), axis)
    if node.op_type == "QuantizeLinear":
        zero = _constant(model, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros((), np.uint8)
        scaled = np.rint(values / _aligned(values, _constant(model, node.input[1]), axis))
        limits = np.iinfo(zero.dtype)
        return np.clip(scaled + _aligned(values, zero.astype(np.int64), axis), limits.min, limits.max)
    return values


def _aligned(values: Values, per_axis: Values, axis: int) -> Values:
    """Return one value, or one for each index of an axis, shaped to broadcast over `values`."""
    if per_axis.size == 1:
        return per_axis.reshape(())
    shape = [1] * values.ndim
    if not -values.ndim <= axis < values.ndim or values.shape[axis] != per_axis.size:
        # Between views, or by blocks: the axis is not the stored one's any more.
        return per_axis.reshape(-1)[:1].reshape(())
    shape[axis] = -1
    return per_axis.reshape(shape)


def _constant(model: Model, name: str) -> Values:
    if name not in model.stored or is_external(model.stored[name]):
        return np.zeros((), np.int8)
    return _values(model, name)


def _values(model: Model, name: str) -> Values:
    from onnx import numpy_helper

    try:
        values = numpy_helper.to_array(model.stored[name])
    # Whatever a damaged tensor raises in numpy or protobuf.
    except Exception as error:
        node = model.producers.get(name)
        place = f" at node {label(node)}" if node is not None else ""
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{model.path}: the stored tensor {name!r}{place} is damaged ({reason}); export the graph anew."
        ) from error
    # 4-bit and 8-bit formats come as types of their own, which plain arithmetic does not take.
    return np.asarray(values, dtype=np.float32) if values.dtype.kind not in "fiub" else np.asarray(values)
