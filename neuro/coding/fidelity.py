"""Where accuracy is lost: the error of every converted operator's result against the float network, as T grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from neuro.coding.network import SpikingNetwork
from neuro.coding.synapse import Product, Synapse
from quant.capture import Captured


@dataclass(frozen=True)
class Fidelity:
    """One converted operator.

    Attributes:
        node: its name in the captured graph.
        path: the module it came from; `operator` is what it computes.
        errors: |y_T - y| / |y| of its result, one for each T asked for.
    """

    node: str
    path: str
    operator: str
    errors: tuple[float, ...]


@torch.no_grad()
def fidelity(
    network: SpikingNetwork, captured: Captured, inputs: tuple[Tensor, ...], timesteps: Sequence[int]
) -> list[Fidelity]:
    """Return the error of every `Synapse` and `Product`, in order.

    Args:
        network: made of `captured`, calibrated.
        captured: the float network.
        inputs: a few samples, `[B, ...]`; the float results of all operators are held at once.
        timesteps: T to look at, rising.
    """
    converted = [one for one in network.operators if one.is_driven]
    expected = Recorder(captured.graph, {one.node for one in converted}).record(inputs)
    errors: dict[str, list[float]] = {one.module: [] for one in converted}
    modules = dict(network.graph.named_modules())
    handles = []
    for one in converted:
        module = modules[one.module]
        assert isinstance(module, Synapse | Product)
        handles.append(
            module.register_forward_hook(_compare(module, expected[one.node], timesteps, errors[one.module]))
        )
    try:
        for _ in network.over_time(*inputs, timesteps=max(timesteps)):
            pass
    finally:
        for handle in handles:
            handle.remove()
    return [Fidelity(one.node, one.path, one.operator, tuple(errors[one.module])) for one in converted]


def _compare(module: Synapse | Product, expected: Tensor, timesteps: Sequence[int], errors: list[float]) -> Any:
    scale = float(expected.double().norm()) or 1.0

    def hook(_: nn.Module, inputs: Any, output: Tensor) -> None:
        clock, place = module.current.clock, module.current.place
        values = place.split(output, clock.steps)
        for t in timesteps:
            if clock.first < t <= clock.first + clock.steps:
                now = values[t - clock.first - 1]
                errors.append(float((now.double() - place.split(expected, 1)[0].double()).norm()) / scale)

    return hook


class Recorder(fx.Interpreter):
    """Keeps the values of some nodes."""

    def __init__(self, module: fx.GraphModule, names: set[str]) -> None:
        super().__init__(module)
        self._names = names
        self._found: dict[str, Tensor] = {}

    def record(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Run and return the values by node."""
        self.run(*inputs)
        return self._found

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._names:
            self._found[n.name] = value.detach()
        return value
