"""Read a Workload from an ONNX graph: every product with its loop bounds, everything else by what it computes.

A tensor that depends on no input of the graph is a weight. Integer widths come from the types of quantized tensors,
through QuantizeLinear / DequantizeLinear pairs, or from the integer operators. Activations are not measured, so
they are taken as dense.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware_models.errors import InputError
from hardware_models.inputs.onnx_model import Model, elements, label, load_model
from hardware_models.inputs.onnx_operators import (
    COMPUTES,
    EXACT,
    MOVES,
    PRODUCTS,
    SHAPES,
    Product,
)
from hardware_models.inputs.onnx_products import Sizes, convolution, matrix_product
from hardware_models.inputs.onnx_weights import weight_signal
from hardware_models.inputs.operands import Signal, activation, operations, weight
from hardware_models.whole_numbers import ceil_divide
from hardware_models.workload import Form, Layer, Operator, Workload

_DOMAINS = ("", "ai.onnx", "com.microsoft")


def read_onnx(path: Path, input_shapes: Mapping[str, Sequence[int]] | None = None) -> Workload:
    """Return the Workload of an ONNX file.

    Args:
        path: the file; data beside it is not read.
        input_shapes: sizes of inputs by name, where the graph leaves them open; an open first axis is 1.

    Raises:
        InputError: the package `onnx` is missing; the file is damaged; a size stays open; an operator has no rule.
    """
    model = load_model(path, input_shapes)
    reader = _Reader(model)
    for index, node in enumerate(model.nodes):
        reader.read(index, node)
    if not reader.layers:
        raise InputError(f"{path} computes nothing from its inputs; export the network with its input connected.")
    layers = tuple(
        Layer(**values, consumers=tuple(reader.consumers.get(values["name"], ()))) for values in reader.layers
    )
    return Workload(name=path.stem, timesteps=1, batch=reader.batch, layers=layers, notes=reader.notes())


class _Reader:
    """Walks the graph once, in execution order."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.layers: list[dict[str, Any]] = []
        self.consumers: dict[str, dict[str, None]] = {}
        self.batch = next((size for name in model.inputs for size in model.shapes.get(name, ())[:1] if size), 1)
        self._sources: dict[str, dict[str, None]] = {name: {} for name in model.inputs}
        self._formats: dict[str, tuple[Form, int]] = {}
        self._names: set[str] = set()
        self._unread: list[str] = []
        self._repeated: list[str] = []

    def read(self, index: int, node: Any) -> None:
        """Read one node."""
        read = [name for name in node.input if name in self._sources]
        if not read or node.op_type in SHAPES:
            self._refuse_bodies(node)
            return
        kind = node.op_type if node.domain in _DOMAINS else None
        if kind in PRODUCTS:
            self._product(index, node, PRODUCTS[kind])
        elif kind in COMPUTES:
            operator = COMPUTES[kind]
            if operator == "add" and len(read) < 2:
                operator = "elementwise"
            self._plain(index, node, operator, read)
        elif kind in MOVES:
            self._pass(node, read)
        else:
            self._refuse(node)
        self._follow_format(node)

    def notes(self) -> tuple[str, ...]:
        """Return what the reader of the figures has to know."""
        notes = ["Read from an ONNX graph: activations are not measured and taken as dense."]
        if self.batch > 1:
            notes.append(f"The first axis of the inputs is the batch: {self.batch} samples.")
        if self._unread:
            notes.append(
                "Weights that are computed, or stored in another file, are taken as dense (export them inside the "
                f"graph to have them measured): {_few(self._unread)}."
            )
        if self._repeated:
            notes.append(
                "These run several times a sample, as their first axis is a multiple of the batch; each run counts as "
                f"a timestep of theirs: {_few(self._repeated)}."
            )
        return tuple(notes)

    def _refuse_bodies(self, node: Any) -> None:
        """A body reads tensors of the graph around it without naming them as inputs."""
        if node.op_type in ("If", "Loop", "Scan"):
            self._refuse(node)

    def _refuse(self, node: Any) -> None:
        raise InputError(
            f"{self.model.path}: node {label(node)} has an operator without a rule, so what it computes is unknown; "
            "export the network so that it consists of Conv, Gemm, MatMul, pools, normalizations and element-wise "
            "operators, or cut this part out."
        )

    def _name(self, index: int, node: Any) -> str:
        base = node.name or f"{node.op_type}_{index}"
        name, count = base, 1
        while name in self._names:
            count += 1
            name = f"{base}#{count}"
        self._names.add(name)
        return name

    def _pass(self, node: Any, read: list[str]) -> None:
        merged = {source: None for name in read for source in self._sources[name]}
        for name in node.output:
            self._sources[name] = merged

    def _plain(self, index: int, node: Any, operator: Operator, read: list[str]) -> None:
        """Record a layer that edges run through, as in a measured Workload."""
        size = elements(self.model.shape(node.output[0], node))
        self.layers.append(
            {
                "name": self._name(index, node),
                "operator": operator,
                "op": node.op_type,
                "timesteps": 1,
                "out_elements": ceil_divide(size, self.batch),
            }
        )
        self._pass(node, read)

    def _product(self, index: int, node: Any, product: Product) -> None:
        places = (product.left, product.right)
        if max(places) >= len(node.input):
            raise InputError(f"{self.model.path}: node {label(node)} lacks an operand; export the graph anew.")
        tensors = [node.input[place] for place in places]
        depends = [tensor in self._sources for tensor in tensors]
        if not depends[0] and (product.convolution or not depends[1]):
            raise InputError(f"{self.model.path}: node {label(node)} multiplies a constant; fold it before the export.")
        if product.convolution:
            sizes = convolution(self.model, node, tensors, self.batch)
        else:
            sizes = matrix_product(self.model, node, tensors, depends, self.batch)
        name = self._name(index, node)
        signals = self._signals(name, node, product, tensors, depends, sizes)
        read = {key: signal for key, (signal, _) in signals.items()}
        macs, acs, driven_by = operations(sizes.bounds, sizes.runs, self.batch, read)
        self.layers.append(
            {
                "name": name,
                "operator": sizes.operator,
                "op": node.op_type,
                "timesteps": sizes.runs,
                "bounds": sizes.bounds,
                "operands": tuple(
                    weight(signal, count) if key == "weight" else activation(key, signal, count, self.batch)
                    for key, (signal, count) in signals.items()
                ),
                "out_elements": math.prod(sizes.bounds.out_size) * sizes.bounds.out_channels,
                "macs": macs,
                "acs": sum(acs),
                "acs_by_timestep": acs,
                "driven_by": driven_by,
            }
        )
        if sizes.runs > 1:
            self._repeated.append(name)
        for tensor in tensors:
            for source in self._sources.get(tensor, ()):
                self.consumers.setdefault(source, {})[name] = None
        for output in node.output:
            self._sources[output] = {name: None}

    def _signals(
        self, name: str, node: Any, product: Product, tensors: list[str], depends: list[bool], sizes: Sizes
    ) -> dict[str, tuple[Signal, int]]:
        """Return the operands by name, each with its size."""
        stored = [elements(self.model.shape(tensor, node)) for tensor in tensors]
        signals = [self._activation(tensor, sizes.runs) for tensor in tensors]
        counts = [ceil_divide(count, self.batch * sizes.runs) for count in stored]
        if sizes.operator == "matmul":
            return {side: (signals[i], counts[i]) for i, side in enumerate(("left", "right"))}
        if all(depends):
            self._unread.append(name)
            return {"input": (signals[0], counts[0]), "weight": (signals[1], stored[1])}
        place = depends.index(False)
        zero = product.right_zero if place == 1 else -1
        zero_point = node.input[zero] if 0 < zero < len(node.input) and node.input[zero] else None
        signal, was_read = weight_signal(self.model, tensors[place], zero_point)
        if not was_read:
            self._unread.append(name)
        return {"input": (signals[1 - place], counts[1 - place]), "weight": (signal, stored[place])}

    def _activation(self, tensor: str, runs: int) -> Signal:
        form, bits = self._formats.get(tensor) or self.model.formats.get(tensor, ("float", 32))
        return Signal(form, bits, True, (1.0,) * runs)

    def _follow_format(self, node: Any) -> None:
        """Remember the integers that de-quantized values are, through what keeps them."""
        if node.op_type == "DequantizeLinear":
            known = self.model.formats.get(node.input[0])
        elif node.op_type in EXACT:
            read = [name for name in node.input if name in self._sources]
            found = [self._formats[name] for name in read if name in self._formats]
            known = max(found) if found and len(found) == len(read) else None
        else:
            known = None
        if known is not None:
            for name in node.output:
                self._formats[name] = known


def _few(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
