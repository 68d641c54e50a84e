"""From a module and example inputs to a program of `torch.export` whose batch, and nothing else, is dynamic."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_map_only

from hardware_models.errors import InputError
from quant.capture.complaints import batch_complaint, complaint, forward_complaint, quiet

Inputs = dict[str, Tensor] | tuple[Tensor, ...]
"""The example inputs of a network, by position or by the names that its `forward` has for them."""


def export(model: nn.Module, inputs: Inputs) -> tuple[ExportedProgram, Any]:
    """Return the program and what the module itself answers to `inputs` with every sample twice.

    Raises:
        InputError: a module in training mode, NaN among its weights, or one that `torch.export` cannot capture.
    """
    _check(model)
    twice = doubled(inputs)  # a batch of one would be taken for a constant
    with torch.no_grad(), _plain_attention():
        # This also fills what a module keeps from its first call on, which must not happen in the trace.
        _run(model, doubled(inputs, 1), forward_complaint)
        answer = _run(model, doubled(inputs), batch_complaint)
        by_position, by_name = ((), twice) if isinstance(twice, dict) else (twice, {})
        shapes = _dynamic_shapes(model, by_position, by_name)

        def trace() -> ExportedProgram:
            return torch.export.export(model, by_position, by_name, dynamic_shapes=shapes, strict=False)

        with quiet():
            try:
                program = trace()
            except Exception as error:
                raise complaint(error, trace) from error
    return program, answer


def positional(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the inputs in their order."""
    return tuple(inputs.values()) if isinstance(inputs, dict) else inputs


def doubled(inputs: Inputs, times: int = 2) -> Inputs:
    """Return new inputs with the batch twice, or as often as it says; a network may write into them."""
    if isinstance(inputs, dict):
        return {name: torch.cat([x] * times) for name, x in inputs.items()}
    return tuple(torch.cat([x] * times) for x in inputs)


def check_inputs(inputs: Inputs) -> None:
    """Refuse inputs that are no batches of the same size."""
    for x in positional(inputs):
        if not isinstance(x, Tensor):
            raise InputError(
                f"an example input is {type(x).__name__}, expected a tensor; fix other arguments in a module around "
                "the network."
            )
    shapes = ", ".join(str(list(x.shape)) for x in positional(inputs)) or "nothing"
    sizes = {x.shape[0] if x.dim() else 0 for x in positional(inputs)}
    if len(sizes) != 1 or 0 in sizes:
        raise InputError(
            f"the example inputs have shapes {shapes}; give tensors with the batch as their first axis, the same for "
            "all, with at least one sample."
        )


def _run(model: nn.Module, inputs: Inputs, explain: Callable[[Exception, tuple[Tensor, ...]], InputError]) -> Any:
    try:
        return model(**inputs) if isinstance(inputs, dict) else model(*inputs)
    except Exception as error:
        raise explain(error, positional(inputs)) from error


def _check(model: nn.Module) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("a TorchScript module cannot be captured; give the module that it was made from.")
    training = [path or "the network" for path, module in model.named_modules() if module.training]
    if training:
        raise InputError(f"{training[0]} is in training mode; call model.eval() before it is captured.")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise InputError(f"{name} holds NaN; give the weights of a training that converged.")
        if tensor.dtype in (torch.float16, torch.bfloat16, torch.float64):
            raise InputError(
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}, expected float32, in which spikes are summed; "
                "call model.float() before it is captured."
            )


def _dynamic_shapes(model: nn.Module, by_position: tuple[Tensor, ...], by_name: dict[str, Tensor]) -> dict[str, Any]:
    """The batch is dynamic and nothing else; in the structure that the signature of `forward` gives to the inputs."""
    batch: Any = Dim("batch", min=1, max=1 << 20)
    signature = inspect.signature(model.forward)
    named = {one.name for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD}
    for name in sorted(set(by_name) - named):  # torch.export loses track of them
        raise InputError(
            f"forward takes the input {name} only among any keywords; name it in a module around the network."
        )
    arguments = signature.bind(*by_position, **by_name).arguments
    return {name: tree_map_only(Tensor, lambda _: {0: batch}, value) for name, value in arguments.items()}


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep PyTorch's encoder layers from their fused operators, which hide what they compute."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
