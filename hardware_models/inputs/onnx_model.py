"""Load an ONNX file without trusting it: one model, its shapes inferred, its tensors described.

External data is never read and nothing is unpickled. The package `onnx` is needed only here and in `onnx_graph`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from hardware_models.errors import InputError, unknown_name
from hardware_models.workload import Form

Dims = tuple[int | None, ...]


@dataclass
class Model:
    """An ONNX graph as plain tables.

    Attributes:
        path: its file, for messages.
        nodes: `NodeProto` in execution order.
        inputs: names of what it reads, without stored weights.
        shapes: sizes of every tensor that has some; None for a size that stayed open.
        formats: form and width of every tensor's values, as stored.
        stored: `TensorProto` of every weight or constant.
        producers: the node that computes each tensor.
    """

    path: Path
    nodes: Sequence[Any]
    inputs: list[str]
    shapes: dict[str, Dims] = field(default_factory=dict)
    formats: dict[str, tuple[Form, int]] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    producers: dict[str, Any] = field(default_factory=dict)

    def shape(self, tensor: str, node: Any) -> tuple[int, ...]:
        """Return the sizes of a tensor that `node` reads or writes.

        Raises:
            InputError: a size stayed open.
        """
        dims = self.shapes.get(tensor)
        sizes = tuple(size for size in dims if size is not None) if dims is not None else None
        if dims is None or sizes is None or len(sizes) != len(dims):
            shown = "unknown" if dims is None else "x".join("?" if size is None else str(size) for size in dims)
            raise InputError(
                f"{self.path}: the shape of {tensor!r} at node {label(node)} is {shown}; give the sizes of the graph's "
                f"inputs, for example {self.inputs[0] if self.inputs else 'input'}=1,3,224,224, or export with fixed "
                "ones."
            )
        if min(sizes, default=1) < 1:
            raise InputError(
                f"{self.path}: {tensor!r} at node {label(node)} has the sizes {sizes}, where none may be below 1; "
                "export the graph anew."
            )
        return sizes


def label(node: Any) -> str:
    """Return a node's name and operator, for messages."""
    name = node.name or (node.output[0] if node.output else "")
    return f"{name!r} ({node.domain + '.' if node.domain else ''}{node.op_type})"


def load_model(path: Path, input_shapes: Mapping[str, Sequence[int]] | None) -> Model:
    """Read a file and infer its shapes; an open first axis of an input is a batch of 1.

    Raises:
        InputError: the package is missing; the file is damaged; a size stays open or does not fit.
    """
    onnx = _package()
    proto = _parse(onnx, path)
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in stored]
    _fix_sizes(path, proto, inputs, input_shapes or {})
    proto = _inferred(onnx, path, proto)
    graph = proto.graph
    if graph.sparse_initializer:
        raise InputError(f"{path} stores sparse tensors, which are not read; export it with dense weights.")
    model = Model(path, graph.node, [value.name for value in inputs], stored=stored)
    for value in (*graph.input, *graph.value_info, *graph.output):
        _describe(model, value)
    for node in graph.node:
        for name in node.output:
            model.producers[name] = node
        for item in node.attribute:
            if node.op_type == "Constant" and item.name == "value":
                stored[node.output[0]] = item.t
    for name, tensor in stored.items():
        model.shapes[name] = tuple(tensor.dims)
        if (stored_as := _FORMATS.get(tensor.data_type)) is not None:
            model.formats[name] = stored_as
    return model


def _package() -> Any:
    try:
        for part in ("checker", "inliner", "shape_inference", "numpy_helper"):
            importlib.import_module(f"onnx.{part}")
        return importlib.import_module("onnx")
    except ImportError as error:
        raise InputError(
            f"reading ONNX needs the package onnx, which cannot be loaded ({error}); run: pip install 'neuro[onnx]'."
        ) from error


def _parse(onnx: Any, path: Path) -> Any:
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give an ONNX file.") from error
    # protobuf's own exception has no common base with others and moves between versions.
    except Exception as error:
        _damaged(path, error)
    if not proto.graph.node:
        raise InputError(f"{path} holds no graph of operators; it is damaged or no ONNX file: export it anew.")
    if not all(isinstance(name, str) for name in _all_names(proto.graph)):
        raise InputError(f"{path} is damaged (a name in it is no text); export it anew.")
    return proto


def _all_names(graph: Any) -> Iterator[Any]:
    """Yield every name; protobuf hands out bytes where one is no UTF-8."""
    yield graph.name
    for named in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield named.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (item.name for item in node.attribute)


def _inferred(onnx: Any, path: Path, proto: Any) -> Any:
    """Return the model checked, without local functions, with the shapes that can be inferred."""
    try:
        onnx.checker.check_model(_checkable(onnx, proto))
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        _damaged(path, error)


def _checkable(onnx: Any, proto: Any) -> Any:
    """Return a model that the checker takes: without files beside it, every result with some shape.

    Values in other files become inputs. The checker wants shapes that neither runtimes nor inference need.
    """
    external = [tensor for tensor in proto.graph.initializer if is_external(tensor)]
    if not external and all(value.type.tensor_type.HasField("shape") for value in proto.graph.output):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    kept = [tensor for tensor in proto.graph.initializer if not is_external(tensor)]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    given = {value.name for value in copy.graph.input}
    for tensor in external:
        if tensor.name not in given:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            copy.graph.input.append(value)
    for value in copy.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return copy


def is_external(tensor: Any) -> bool:
    """Return whether a stored tensor's values lie in another file."""
    return bool(tensor.data_location == 1 or tensor.external_data)


def _damaged(path: Path, error: Exception) -> NoReturn:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    raise InputError(f"{path} is damaged or no valid ONNX file ({reason}); export it anew.") from error


def _fix_sizes(path: Path, proto: Any, inputs: Iterable[Any], given: Mapping[str, Sequence[int]]) -> None:
    """Set the sizes of the inputs, and everywhere the symbols that they settle."""
    inputs = list(inputs)
    for name in given:
        if name not in [value.name for value in inputs]:
            raise unknown_name("input", name, [value.name for value in inputs])
    settled: dict[str, int] = {}
    for value in inputs:
        _fix_input(path, value, given.get(value.name), settled)
    for value in (*proto.graph.value_info, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in settled:
                dim.dim_value = settled[dim.dim_param]


def _fix_input(path: Path, value: Any, given: Sequence[int] | None, settled: dict[str, int]) -> None:
    if not value.type.HasField("tensor_type"):
        raise InputError(f"{path}: the input {value.name!r} is no tensor; export the graph with tensors only.")
    dims = value.type.tensor_type.shape.dim
    shown = [dim.dim_value or dim.dim_param or "?" for dim in dims]
    if given is not None and (len(given) != len(dims) or min(given, default=1) < 1):
        raise InputError(f"{path}: the input {value.name!r} has the sizes {shown}; give as many, of 1 or more.")
    for axis, dim in enumerate(dims):
        known = dim.dim_value or settled.get(dim.dim_param)
        size = given[axis] if given is not None else known or (1 if axis == 0 else None)
        if size is None:
            raise InputError(
                f"{path}: size {axis + 1} of the input {value.name!r} is open ({shown[axis]}); give its sizes, for "
                f"example {value.name}={','.join(str(s) if isinstance(s, int) else '1' for s in shown)}."
            )
        if known and known != size:
            raise InputError(f"{path}: the input {value.name!r} has the sizes {shown}; they cannot become {given}.")
        if dim.dim_param:
            settled[dim.dim_param] = size
        dim.dim_value = size


def _describe(model: Model, value: Any) -> None:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return
    if tensor.HasField("shape"):
        model.shapes[value.name] = tuple(
            dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim
        )
    if tensor.elem_type in _FORMATS:
        model.formats[value.name] = _FORMATS[tensor.elem_type]


# By the numbers of TensorProto.DataType, which are part of the file format.
_FORMATS: dict[int, tuple[Form, int]] = {
    **{number: ("float", bits) for number, bits in ((1, 32), (10, 16), (11, 64), (16, 16))},
    **dict.fromkeys((17, 18, 19, 20), ("float", 8)),
    23: ("float", 4),
    **dict.fromkeys((2, 3), ("integer", 8)),
    **dict.fromkeys((4, 5), ("integer", 16)),
    **dict.fromkeys((6, 12), ("integer", 32)),
    **dict.fromkeys((7, 13), ("integer", 64)),
    **dict.fromkeys((21, 22), ("integer", 4)),
    9: ("integer", 1),
}


def elements(shape: Sequence[int]) -> int:
    """Return how many values a shape holds."""
    return math.prod(shape)
