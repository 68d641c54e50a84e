"""Where a value of the graph holds the samples of the batch, so that timesteps can be samples too.

Timesteps are run as further samples of a batch: `[T * B, ...]`, time outermost. What keeps something from one timestep
to the next has to find the samples again in values that were reshaped and permuted: windows of attention are
`[B * windows, ...]`, and other networks put the sequence before the batch.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from hardware_models.errors import InputError


class SamplePlace(NamedTuple):
    """The axis that holds the samples, as `[outer, samples, inner]` merged into one.

    Attributes:
        axis: its number.
        outer: how many entries stand around the samples; 1 where they are outermost, as nearly everywhere.
        dims: number of axes of the value.
    """

    axis: int
    outer: int
    dims: int

    def split(self, x: Tensor, steps: int) -> Tensor:
        """Return `[steps, ...]` of `x`, which holds `steps` times as many samples; the other axes stay in place."""
        if self.axis == 0 and self.outer == 1:
            return x.unflatten(0, (steps, x.shape[0] // steps))
        parts = (self.outer, steps, x.shape[self.axis] // (self.outer * steps))
        apart = x.unflatten(self.axis, parts).movedim(self.axis + 1, 0)
        return apart.flatten(self.axis + 1, self.axis + 2)

    def join(self, x: Tensor) -> Tensor:
        """Undo `split`."""
        if self.axis == 0 and self.outer == 1:
            return x.flatten(0, 1)
        apart = x.unflatten(self.axis + 1, (self.outer, x.shape[self.axis + 1] // self.outer))
        return apart.movedim(0, self.axis + 1).flatten(self.axis, self.axis + 2)


def find_samples(module: fx.GraphModule, inputs: tuple[Tensor, ...]) -> dict[str, SamplePlace]:
    """Return where each node that depends on the inputs holds the samples.

    Raises:
        InputError: a shape is no multiple of the batch, or samples influence each other.
    """
    axes: dict[str, tuple[int, int] | None] = {}
    symbol = batch_symbol(module.graph)
    for node in module.graph.nodes:
        value = node.meta.get("val")
        if node.op in ("get_attr", "output") or not isinstance(value, Tensor):
            continue
        multiples = {axis: _multiple(node, size, symbol) for axis, size in enumerate(value.shape)}
        with_samples = [(axis, multiple) for axis, multiple in multiples.items() if multiple]
        if len(with_samples) > 1:
            raise InputError(f"{line(node)}: {node.target} holds the batch in two axes; samples must stay apart.")
        axes[node.name] = with_samples[0] if with_samples else None
    dims = {node.name: node.meta["val"].dim() for node in module.graph.nodes if node.name in axes}
    outer = _Probe(module, axes).find(inputs)
    return {name: SamplePlace(found[0], outer[name], dims[name]) for name, found in axes.items() if found}


def where(node: fx.Node) -> str:
    """Return the path of the module that a node came from."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path and not path.startswith("_")]
    return paths[-1].removeprefix("L['self'].") if paths else "the network"


def line(node: fx.Node) -> str:
    """Return where a node came from in words: the path of its module and the line of code, the user's if there is."""
    lines = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', node.meta.get("stack_trace") or "")
    own = [one for one in lines if "-packages" not in one[0]] or lines
    return f"{where(node)} ({Path(own[-1][0]).name}:{own[-1][1]})" if own else where(node)


def batch_symbol(graph: fx.Graph) -> Any:
    """Return the symbol for the size of the batch.

    Raises:
        InputError: the graph is for one size alone.
    """
    for node in graph.nodes:
        if node.op == "placeholder" and isinstance(node.meta.get("val"), Tensor):
            size = node.meta["val"].shape[0]
            if isinstance(size, torch.SymInt):
                return size.node.expr
    raise InputError("the network was captured for one size of batch only; export it with a dynamic first axis.")


def _multiple(node: fx.Node, size: Any, symbol: Any) -> int:
    """How many entries of this axis belong to each sample; 0 where the axis does not depend on the batch."""
    if not isinstance(size, torch.SymInt):
        return 0
    expression = size.node.expr
    if any(str(one).startswith(("u", "zuf")) for one in expression.free_symbols):
        raise InputError(
            f"{line(node)}: {node.target} makes an axis as long as the values of a tensor say; only sizes that are "
            "fixed can be converted, so keep all entries and mask those that do not count (torch.where)."
        )
    once, twice = (expression.subs(symbol, count) for count in (1, 2))
    if not (once.is_Integer and twice == 2 * once and int(once) > 0):
        raise InputError(
            f"{line(node)}: {node.target} makes an axis of {expression} entries, where {symbol} is the batch; only "
            "multiples of the batch can be followed, so give every other axis a fixed size."
        )
    return int(once)


class _Probe(fx.Interpreter):
    """Runs three samples, of which one is then exchanged, and looks which entries of an axis changed."""

    def __init__(self, module: fx.GraphModule, axes: dict[str, tuple[int, int] | None]) -> None:
        super().__init__(module)
        self._axes = axes
        self._sums: dict[str, Tensor] = {}
        self._changed: dict[str, Tensor] = {}

    @torch.no_grad()
    def find(self, inputs: tuple[Tensor, ...]) -> dict[str, int]:
        """Return the number of entries around the samples, by the nodes that have an axis for them."""
        one = tuple(x[:1] for x in inputs)
        other = tuple(_other(x) for x in one)
        self.run(*(torch.cat([x, x, x]) for x in one))
        self.run(*(torch.cat([x, y, x]) for x, y in zip(one, other, strict=True)))
        outer = {}
        for name, found in self._axes.items():
            if found is None and self._changed.get(name, torch.tensor(False)).any():
                raise self._mixes(name)
            if found is not None:
                outer[name] = self._outer(name, found[1])
        return outer

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        if n.name in self._axes:
            sums = _fingerprint(out, self._axes[n.name])
            if n.name in self._sums:
                self._changed[n.name] = self._sums[n.name] != sums
            else:
                self._sums[n.name] = sums
        return out

    def _outer(self, name: str, multiple: int) -> int:
        changed, sums = self._changed[name], self._sums[name]
        ways = [n for n in range(1, multiple + 1) if multiple % n == 0]
        if not changed.any():  # a value made for each sample from constants: the three are the same
            alike = [n for n in ways if sums.view(n, 3, -1).amax(1).equal(sums.view(n, 3, -1).amin(1))]
            return next(iter(alike), 1)
        for outer in ways:
            middle = torch.zeros_like(changed).view(outer, 3, multiple // outer)
            middle[:, 1] = True
            if not (changed & ~middle.flatten()).any():
                return outer
        raise self._mixes(name)

    def _mixes(self, name: str) -> InputError:
        node = next(n for n in self.graph.nodes if n.name == name)
        return InputError(
            f"{line(node)}: {node.target} mixes the samples of a batch, so a sample's result depends on the others; "
            "each must be computed alone."
        )


def _fingerprint(value: Tensor, axis: tuple[int, int] | None) -> Tensor:
    """One number for each entry of the axis, or for the whole."""
    real = torch.view_as_real(value) if value.is_complex() else value
    rows = real.detach().double()
    rows = rows.flatten().unsqueeze(0) if axis is None else rows.movedim(axis[0], 0).reshape(rows.shape[axis[0]], -1)
    weights = torch.linspace(1, 2, rows.shape[1], dtype=torch.float64, device=rows.device)
    return rows.nan_to_num(0.0, 1e300, -1e300) @ weights


def _other(x: Tensor) -> Tensor:
    """A sample that differs from `x` everywhere it may."""
    if x.is_floating_point():
        return torch.flip(x, [x.dim() - 1]) + math.pi / 10
    return torch.where(x > 0, x - 1, x + 1).to(x.dtype) if x.dtype != torch.bool else x
