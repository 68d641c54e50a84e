"""QCFS: train a network with the staircase that its spiking neurons will compute, then convert it without loss.

Bu et al., "Optimal ANN-SNN Conversion for High-accuracy and Ultra-low-latency Spiking Neural Networks", ICLR 2022,
arXiv:2303.04347. A neuron with threshold lambda that starts at half of it sends, of a constant input x, within T
timesteps the rate

    h(x) = lambda clip(floor(T x / lambda + 1/2) / T, 0, 1),

so a network that was trained with h in place of ReLU, L in place of T, equals its spiking form at T = L, but for inputs
that change over the timesteps. Thresholds are learned with the weights.

    quantized = with_qcfs(capture(model, example), levels=8, batches=batches)
    ... train quantized.graph as any module ...
    network = qcfs_to_spiking(quantized, timesteps=8, batches=batches)
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from hardware_models.errors import InputError
from neuro.coding.calibrate import calibrate
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import to_spiking
from neuro.coding.scheme import Scheme
from quant.capture import Captured
from quant.capture.operators import operator_name

_PASS = ("view", "reshape", "_unsafe_view", "flatten", "permute", "transpose", "contiguous", "clone", "dropout",
         "max_pool1d", "max_pool2d", "max_pool3d")  # fmt: skip
"""Operators that hand on the values of a staircase and make no others."""
_ORIGIN = "qcfs_replaces"


class QCFS(nn.Module):
    """Quantization, clip, floor and shift: h(x) = lambda clip(floor(L x / lambda + 1/2) / L, 0, 1).

    The gradient goes straight through the floor. Shape and units are those of the input.

    Args:
        threshold: lambda at first; a parameter.
        levels: L.

    Raises:
        InputError: a threshold that is not positive, or less than one level.
    """

    def __init__(self, threshold: float, levels: int) -> None:
        super().__init__()
        if not threshold > 0 or levels < 1:
            raise InputError(
                f"QCFS was given threshold {threshold} and {levels} levels; give more than 0 and at least 1."
            )
        self.threshold, self.levels = nn.Parameter(torch.tensor(float(threshold))), levels

    def forward(self, x: Tensor) -> Tensor:
        """Return h(x)."""
        share = (x / self.threshold).clamp(0, 1)
        stairs = torch.floor(share * self.levels + 0.5) / self.levels
        found: Tensor = (share + (stairs - share).detach()) * self.threshold
        return found

    def extra_repr(self) -> str:
        return f"threshold={float(self.threshold):.4g}, levels={self.levels}"


def with_qcfs(captured: Captured, levels: int, batches: Iterable[tuple[Tensor, ...]]) -> Captured:
    """Put a `QCFS` in place of every ReLU, ReLU6 and clamp from 0, and return the network; its graph is to be trained.

    Args:
        captured: left as it is.
        levels: L of every activation.
        batches: inputs, `[B, ...]`, whose largest activations are the first thresholds.

    Raises:
        InputError: no ReLU, no data, an activation that is always 0, or less than one level.
    """
    graph = copy.deepcopy(captured.graph)
    rectifiers = [node for node in graph.graph.nodes if _rectifies(node)]
    if not rectifiers:
        raise InputError("the network has no ReLU or ReLU6 that QCFS could replace; convert it without.")
    largest = _Largest(graph, [node.name for node in rectifiers]).find(batches)
    samples = dict(captured.samples)
    for node in rectifiers:
        if not largest[node.name] > 0:
            raise InputError(
                f"activation {node.name} is 0 for all of the data; give data that the network responds to."
            )
        name = f"qcfs.{node.name}"
        graph.add_submodule(name, QCFS(largest[node.name], levels))
        with graph.graph.inserting_before(node):
            made = graph.graph.call_module(name, (node.args[0],))
        made.meta = {**node.meta, _ORIGIN: (node.target, node.args[1:], node.kwargs)}
        samples[made.name] = samples[node.name]
        node.replace_all_uses_with(made)
        graph.graph.erase_node(node)
    graph.recompile()
    return replace(captured, graph=graph, samples=samples)


def qcfs_to_spiking(
    quantized: Captured, timesteps: int, batches: Sequence[tuple[Tensor, ...]], *, piece: int | None = None
) -> SpikingNetwork:
    """Convert a network of `with_qcfs` with the thresholds it learned: rate coding, binary spikes.

    A neuron that sends a QCFS activation, as it is or after max pooling, has lambda for its unit. Neurons that send
    other values (the input, sums, averages) are calibrated.

    Args:
        quantized: the trained network; left as it is.
        timesteps: T; at T = L the networks are nearly equal.
        batches: inputs to calibrate the other neurons with.
        piece: timesteps computed at once; None for as many as run well.

    Raises:
        InputError: no QCFS in the network, a learned threshold that is not positive, or no data.
    """
    plain, thresholds = _without_qcfs(quantized)
    network = to_spiking(plain, Scheme("rate", "binary", 1), timesteps, piece=piece)
    calibrate(network, batches, method="search")
    encoders = network.encoders()
    for node in network.graph.graph.nodes:
        if node.op == "call_module" and node.target in encoders:
            origin = _origin(node.args[0])
            if origin in thresholds:
                encoders[node.target].unit = thresholds[origin].to(encoders[node.target].unit.device)
    return network


def _rectifies(node: fx.Node) -> bool:
    """Whether a node is ReLU, ReLU6 (which is captured as a hard tanh from 0) or a clamp from 0."""
    if node.op != "call_function":
        return False
    name = operator_name(node)
    lowest: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("min")
    return name in ("relu", "relu6") or bool(name in ("hardtanh", "clamp", "clamp_min") and lowest == 0)


def _without_qcfs(quantized: Captured) -> tuple[Captured, dict[str, Tensor]]:
    """Return the network with its ReLUs back, and the learned threshold of each by node."""
    graph = copy.deepcopy(quantized.graph)
    samples, thresholds = dict(quantized.samples), {}
    for node in list(graph.graph.nodes):
        if node.op != "call_module" or _ORIGIN not in node.meta:
            continue
        activation = graph.get_submodule(str(node.target))
        assert isinstance(activation, QCFS)
        threshold = activation.threshold.detach()
        if not threshold > 0:
            raise InputError(f"{node.target} learned the threshold {float(threshold):.4g}; train it with a lower rate.")
        target, args, kwargs = node.meta[_ORIGIN]
        with graph.graph.inserting_before(node):
            made = graph.graph.call_function(target, (node.args[0], *args), kwargs)
        made.meta = {key: value for key, value in node.meta.items() if key != _ORIGIN}
        samples[made.name], thresholds[made.name] = samples[node.name], threshold
        node.replace_all_uses_with(made)
        graph.graph.erase_node(node)
    if not thresholds:
        raise InputError("the network has no QCFS activation; make it with with_qcfs and train it.")
    graph.delete_all_unused_submodules()
    graph.recompile()
    return replace(quantized, graph=graph, samples=samples), thresholds


def _origin(value: Any) -> str:
    """The node that made the values which `value` hands on."""
    while isinstance(value, fx.Node) and value.op == "call_function" and operator_name(value) in _PASS:
        value = value.args[0]
    return value.name if isinstance(value, fx.Node) else ""


class _Largest(fx.Interpreter):
    """Finds the largest value of some nodes."""

    def __init__(self, module: fx.GraphModule, names: list[str]) -> None:
        super().__init__(module)
        self._largest = dict.fromkeys(names, 0.0)

    @torch.no_grad()
    def find(self, batches: Iterable[tuple[Tensor, ...]]) -> dict[str, float]:
        """Return it by node."""
        found = False
        for batch in batches:
            self.run(*batch)
            found = True
        if not found:
            raise InputError("there is no data to set the thresholds with; give at least one batch of real inputs.")
        return self._largest

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._largest:
            self._largest[n.name] = max(self._largest[n.name], float(value.max()))
        return value
