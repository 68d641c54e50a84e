"""`capture`: a module in evaluation mode as a functional graph of ATen operators, for batches of any size.

`torch.export` is the front end. Operators that hide products are written out, BatchNorm is folded into the operator
before it, and what depends on no input is computed once and kept as a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from hardware_models.errors import InputError
from quant.capture.complaints import quiet
from quant.capture.constants import compute_constants, drop_unread, tensor_names
from quant.capture.export import Inputs, check_inputs, doubled, export, positional
from quant.capture.normalization import fold_batch_norm
from quant.capture.outputs import first_output, named_leaves
from quant.capture.samples import SamplePlace, batch_symbol, find_samples, line
from quant.capture.written_out import written_out

_AGREEMENT = 1e-3
"""Largest difference between graph and network, of the output's norm: far above rounding, far below a wrong rule."""


@dataclass(frozen=True)
class Captured:
    """A network as a graph.

    Attributes:
        graph: runs the network on inputs by position; parameters keep their names, BatchNorm's are gone. Every node has
            the operator as its target and, in `meta`, the fake value and the stack of modules it came from.
        example: the inputs it was captured with, each `[B, ...]`.
        samples: by the name of a node that depends on the inputs, where its value holds the samples of the batch.
        folded: module paths of the BatchNorm layers that were folded, each with the operator that took it.
        output: which of several outputs the graph returns, such as `.logits` or `[0]`; empty where there is one.
        others: how many outputs are left out.
    """

    graph: fx.GraphModule
    example: tuple[Tensor, ...]
    samples: dict[str, SamplePlace]
    folded: dict[str, str]
    output: str = ""
    others: int = 0


def capture(
    model: nn.Module | ExportedProgram,
    example: Tensor | Inputs,
    also_written_out: Mapping[Any, Any] | None = None,
    *,
    fold: bool = True,
) -> Captured:
    """Capture `model` with a dynamic batch.

    Args:
        model: a module in evaluation mode, or a program that `torch.export` made with a dynamic batch.
        example: its input, inputs by position, or inputs by name, each with the batch as first axis. The graph is run
            on them: to find the samples, and to see that it computes what the module does.
        also_written_out: further decompositions of operators, as `ExportedProgram.run_decompositions` takes them.
        fold: fold BatchNorm; else it stays an operator of the graph, for a network that is to be trained.

    Returns:
        The graph of the first output that is a floating point tensor with the batch as first axis; it computes what
        the module computes, up to the rounding of folded BatchNorm.

    Raises:
        InputError: a module in training mode, control flow that depends on data, an operator that mixes the samples
            of a batch or draws random numbers, or a shape that depends on more than the batch.
    """
    inputs: Inputs = (example,) if isinstance(example, Tensor) else example
    check_inputs(inputs)
    module = getattr(model, "_orig_mod", model)  # what torch.compile was given
    if isinstance(module, ExportedProgram):
        program, answer = module, None
    else:
        program, answer = export(module, inputs)
    names = [path for path, _ in named_leaves(answer)]
    graph, output, others = _plain_graph(program, names, also_written_out or {})
    compute_constants(graph)
    folded = fold_batch_norm(graph) if fold else {}
    drop_unread(graph, tensor_names(graph))
    samples = find_samples(graph, positional(inputs))
    result = samples[_output(graph.graph).name]
    if (result.axis, result.outer) != (0, 1):
        raise InputError("the network's output does not hold its samples one after the other in its first axis.")
    if answer is not None:
        _compare(graph, positional(doubled(inputs)), dict(named_leaves(answer))[output])
    return Captured(graph, positional(inputs), samples, folded, output, others)


@torch.no_grad()
def _plain_graph(
    program: ExportedProgram, names: list[str], also_written_out: Mapping[Any, Any]
) -> tuple[fx.GraphModule, str, int]:
    """A graph module that takes tensors and returns one, without torch.export's guards and trees."""
    # Without oneDNN, or recurrent layers would become one operator of that library.
    with quiet(), torch.backends.mkldnn.flags(enabled=False):
        module = program.run_decompositions({**written_out(), **also_written_out}).module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    graph = module.graph
    graph.set_codegen(fx.graph.CodeGen())
    graph._tracer_cls = None  # torch.export's own cannot be made again where the graph is unpickled
    batch_symbol(graph)
    written = _without_writes(graph)
    output = graph.output_node()
    returned = list(output.args[0]) if isinstance(output.args[0], list | tuple) else [output.args[0]]
    first, name = first_output(returned, names)
    output.args = (first,)
    for node in reversed(list(graph.nodes)):
        if node.op == "call_module" or "assert" in str(node.target) or "_guard" in str(node.target):
            graph.erase_node(node)  # checks of the captured shapes
    _by_position(graph)
    _without_dropout(graph)
    graph.eliminate_dead_code()
    for buffer in written:
        if graph.find_nodes(op="get_attr", target=buffer):
            raise InputError(
                f"the network changes its buffer {buffer} whenever it runs, and its output depends on it; convert a "
                "network whose answer depends on its input alone."
            )
    return fx.GraphModule(module, graph), name, len(returned) - 1  # what it copies has neither hooks nor trees


def _output(graph: fx.Graph) -> fx.Node:
    (found,) = graph.output_node().args
    assert isinstance(found, fx.Node)
    return found


def _without_writes(graph: fx.Graph) -> list[str]:
    """Take out what is written back into buffers and inputs; return the names of the buffers."""
    buffers = []
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.copy_.default:
            if node.args[0].op == "get_attr":
                buffers.append(node.args[0].target)
            node.replace_all_uses_with(node.args[1])
            graph.erase_node(node)
    return buffers


def _by_position(graph: fx.Graph) -> None:
    """Give every argument of an operator its position where it has one."""
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or not node.kwargs:
            continue
        named, args = dict(node.kwargs), list(node.args)
        wanted = [one for one in schema.arguments if not one.kwarg_only]
        last = max((i for i, one in enumerate(wanted) if one.name in named), default=-1)
        for one in wanted[len(args) : last + 1]:
            args.append(named.pop(one.name, one.default_value))
        node.args, node.kwargs = tuple(args), named


_TRAINS = {"dropout": 2, "feature_dropout": 2, "alpha_dropout": 2, "feature_alpha_dropout": 2, "rrelu": 3}
"""Random operators that are harmless in evaluation mode, and which argument says that they train."""


def _without_dropout(graph: fx.Graph) -> None:
    for node in graph.nodes:
        tags = getattr(node.target, "tags", ())
        if torch.Tag.nondeterministic_seeded not in tags:
            continue
        name = node.target.overloadpacket.__name__
        trains = _TRAINS.get(name)
        if trains is None or (len(node.args) > trains and node.args[trains]):
            raise InputError(
                f"{line(node)}: {node.target} draws random numbers also in evaluation mode; convert a network whose "
                "answer depends on its input alone."
            )
        if "dropout" in name:
            node.replace_all_uses_with(node.args[0])


@torch.no_grad()
def _compare(graph: fx.GraphModule, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
    """Hold the graph to what the network answered, also for half as many samples."""
    half = len(answer) // 2
    for count in (2 * half, half):
        found = graph(*(x[:count] for x in inputs))
        error = float((found - answer[:count]).norm() / answer[:count].norm().clamp(min=1e-30))
        if not error <= _AGREEMENT:
            raise InputError(
                f"the captured graph differs from the network by {error:.1e} of the output on {count} samples; its "
                "answer must depend on each sample alone, and be finite."
            )
