"""How far each operator of a low-bit network is from the same operator of the float network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from quant.capture import capture
from quant.network import QuantizedNetwork, presented


@torch.no_grad()
def operator_errors(network: QuantizedNetwork, model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Return |y_q - y| / |y| of every quantized operator's result, by its node.

    Results of a spiking network are means over its timesteps.

    Args:
        network: quantized from `model`.
        model: the float network.
        inputs: a few samples, `[B, ...]`; all results are held at once.
    """
    nodes = {one.node for one in network.operators if one.inputs or one.weight}
    folds = not any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in network.modules())
    expected = _results(capture(model, inputs, fold=folds).graph, nodes, inputs)
    found = _results(network.layers, nodes, *presented((inputs,), network.timesteps))
    errors = {}
    for node in nodes & expected.keys() & found.keys():
        y, q = expected[node], found[node]
        if q.numel() == y.numel() * network.timesteps and network.timesteps > 1:
            q = q.view(network.timesteps, *y.shape).mean(0)
        if q.shape == y.shape:
            errors[node] = float((q - y).norm() / y.norm().clamp_min(1e-30))
    return errors


def _results(graph: fx.GraphModule, nodes: set[str], inputs: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n.name in nodes and isinstance(value, Tensor):
                found[n.name] = value
            return value

    Recorder(graph).run(inputs)
    return found
