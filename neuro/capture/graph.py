"""`capture`: a module in evaluation mode as a functional graph of ATen operators, for batches of any size.

`torch.export` is the front end. Attention is written out so that both of its products are visible, BatchNorm is folded
into the operator before it, and what depends on no input is computed once and kept as a constant.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from hardware_models.errors import InputError
from neuro.capture.attention import WRITTEN_OUT
from neuro.capture.complaints import complaint
from neuro.capture.constants import compute_constants
from neuro.capture.normalization import fold_batch_norm
from neuro.capture.samples import SamplePlace, find_samples


@dataclass(frozen=True)
class Captured:
    """A network as a graph.

    Attributes:
        graph: runs the network; parameters keep their names, BatchNorm's are gone where it was folded. Every node has
            the operator as its target and, in `meta`, the fake value and the stack of modules it came from.
        example: the inputs it was captured with, each `[B, ...]`.
        samples: by the name of a node that depends on the inputs, where its value holds the samples of the batch.
        folded: module paths of the BatchNorm layers that were folded, each with the operator that took it.
    """

    graph: fx.GraphModule
    example: tuple[Tensor, ...]
    samples: dict[str, SamplePlace]
    folded: dict[str, str]


def capture(model: nn.Module | ExportedProgram, example: Tensor | tuple[Tensor, ...]) -> Captured:
    """Capture `model` with a dynamic batch.

    Args:
        model: a module in evaluation mode, or a program that `torch.export` made with a dynamic batch.
        example: its inputs, each with the batch as first axis. Only shapes and, where samples share an axis with
            something else, values as a probe are used.

    Returns:
        The graph; it computes what the module computes, up to the rounding of folded BatchNorm.

    Raises:
        InputError: a module in training mode, control flow that depends on data, an operator that mixes the samples
            of a batch, or a shape that depends on more than the batch.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    program = model if isinstance(model, ExportedProgram) else _export(model, inputs)
    graph = _plain_graph(program.run_decompositions(WRITTEN_OUT))
    compute_constants(graph)
    folded = fold_batch_norm(graph)
    return Captured(graph, inputs, find_samples(graph, inputs), folded)


def _export(model: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    training = [path or "the network" for path, module in model.named_modules() if module.training]
    if training:
        raise InputError(f"{training[0]} is in training mode; call model.eval() before it is captured.")
    if not inputs or any(x.dim() == 0 or x.shape[0] < 1 for x in inputs):
        raise InputError("the example inputs need a batch as their first axis, with at least one sample.")
    twice = tuple(torch.cat([x, x]) if x.shape[0] == 1 else x for x in inputs)  # 1 would be taken for a constant
    batch = Dim("batch", min=1, max=1 << 20)
    try:
        with torch.no_grad():
            return torch.export.export(model, twice, dynamic_shapes=_shapes(model, twice, batch), strict=False)
    except Exception as error:
        raise complaint(error) from error


def _shapes(model: nn.Module, inputs: tuple[Tensor, ...], batch: Any) -> Any:
    """The batch is dynamic and nothing else; in the structure that `torch.export` wants for the signature."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return (tuple({0: batch} for _ in inputs),)
    return tuple({0: batch} for _ in inputs)


def _plain_graph(program: ExportedProgram) -> fx.GraphModule:
    """A graph module that takes tensors and returns the first output, without torch.export's guards and trees."""
    module = program.module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    graph = module.graph
    graph.set_codegen(fx.graph.CodeGen())
    (output,) = [node for node in graph.nodes if node.op == "output"]
    first = next((node for node in output.all_input_nodes if isinstance(node.meta.get("val"), Tensor)), None)
    if first is None:
        raise InputError("the network returns no tensor that depends on its input; convert the part that does.")
    output.args = (first,)
    for node in list(graph.nodes):
        if node.op == "call_module" or "assert" in str(node.target) or "_guard" in str(node.target):
            graph.erase_node(node)  # checks of the captured shapes
    graph.eliminate_dead_code()
    module.recompile()
    return module
