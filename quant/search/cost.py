"""What a recipe costs on a chip: one measured Workload whose operands get the recipe's widths."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from hardware_models.chip import Chip
from hardware_models.comparison import find_chips
from hardware_models.engine import Run
from hardware_models.errors import InputError
from hardware_models.estimate import estimate
from hardware_models.layer_table import UNREAD_BITS, Array, LayerTable, layer_table
from hardware_models.workload import Layer, Workload
from quant.recipes import Activations, Recipe, SpikingActivations
from quant.search.elastic import Choice, Value
from quant.search.space import FLOAT_BITS


class Cost(Protocol):
    """Figures of a candidate that need no run of it, such as `energy_j`, `latency_s` and `size_bits`; lower is better.

    They have to be cheap: a search asks for thousands.
    """

    def __call__(self, recipe: Recipe, choice: Choice) -> Mapping[str, float]:
        """Return the figures of the network of `choice` (empty where it is not elastic) under `recipe`."""
        ...


class _Base(NamedTuple):
    """A workload in columns, and which rows belong to which searched layer.

    Attributes:
        table: as measured.
        rows: of the searched layers with weights, by module path.
        products: rows that multiply two values.
        read_bits: `[L]` widest value that each layer reads, or hands on where it is a neuron.
    """

    table: LayerTable
    rows: dict[str, list[int]]
    products: list[int]
    read_bits: Array


class ChipCost:
    """Energy (J) and latency (s) of one inference on a chip.

    Searched layers, and all products of values, get the recipe's widths; others keep those of the workload. What a
    layer hands on is as wide as the widest of its readers wants it. Shares of zeros stay as measured, though fewer bits
    make more of them, and one-bit operands take multiply-accumulates of that width: only a measurement of the quantized
    network sees which of them select what is added. Layers that the recipe lets fire keep their measured spikes, and
    only their weights change width. Values are those in the middle of the chip's bands.

    Args:
        workload: the network, measured under the space's base recipe (`neuro.profiling.low_bit.profile_low_bit`; any
            whose layers are called by module path will do); of an elastic network a function from a choice to that.
        chip: name, file, or the chip itself.
        paths: the searched layers, `Space.paths`.
        run: how the network is executed; None for timesteps in batches.

    Raises:
        InputError: an unknown chip (with the nearest names), or a searched layer that the workload does not have.
    """

    def __init__(
        self,
        workload: Workload | Callable[[Choice], Workload],
        chip: str | Path | Chip,
        paths: Sequence[str],
        run: Run | None = None,
    ) -> None:
        self.workload, self.paths, self.run = workload, tuple(paths), run
        self.chip = chip if isinstance(chip, Chip) else find_chips([str(chip)])[0]
        self._bases: dict[tuple[tuple[str, Value], ...], _Base] = {}
        if isinstance(workload, Workload):
            self._bases[()] = _base(workload, self.paths, complete=True)

    def __call__(self, recipe: Recipe, choice: Choice) -> Mapping[str, float]:
        """Return `energy_j` and `latency_s`, each where the chip answers that question.

        Raises:
            InputError: as `estimate`.
        """
        found = estimate(self.table(recipe, choice), self.chip, self.run)
        figures = {"energy_j": found.total_energy_j, "latency_s": found.total_latency_s}
        return {name: float(values[0]) for name, values in figures.items() if values is not None}

    def table(self, recipe: Recipe, choice: Choice) -> LayerTable:
        """Return the network in columns, at the recipe's widths."""
        base = self._base(choice)
        inputs, weights = base.table.input_bits.copy(), base.table.weight_bits.copy()
        widened = np.zeros(len(base.table), dtype=bool)
        for path, rows in base.rows.items():
            rule = recipe.rule(path, None)
            weights[rows] = FLOAT_BITS if rule.weights is None else rule.weights.bits
            if not isinstance(rule.activations, SpikingActivations):
                inputs[rows] = _width(rule.activations)
                widened[rows] = True
        products = recipe.products or recipe.activations
        if not isinstance(products, SpikingActivations):
            inputs[base.products] = weights[base.products] = _width(products)
            widened[base.products] = True
        return _at_widths(base, inputs, weights, widened)

    def _base(self, choice: Choice) -> _Base:
        if isinstance(self.workload, Workload):
            return self._bases[()]
        key = tuple(choice.items())
        if key not in self._bases:
            self._bases[key] = _base(self.workload(choice), self.paths, complete=False)
        return self._bases[key]


def _width(rule: Activations | None) -> int:
    return FLOAT_BITS if rule is None else rule.bits


def _at_widths(base: _Base, inputs: Array, weights: Array, widened: Array) -> LayerTable:
    """Return the table with new widths; layers that no longer take spikes multiply and accumulate all there is."""
    table = base.table
    read = np.where(
        widened & table.synaptic, np.where(table.weight_is_activation, np.maximum(inputs, weights), inputs), 0
    )
    read = np.where(widened, read, base.read_bits)
    outputs = table.output_bits.copy()
    if len(table.edges):
        producers, consumers = table.edges.T
        fed = np.zeros(len(table), dtype=outputs.dtype)
        np.maximum.at(fed, producers, read[consumers])
        changed = np.zeros(len(table), dtype=bool)
        changed[producers] = True
        outputs = np.where(changed & ~table.neuron, fed, outputs)
    dense = table.macs_dense
    return replace(
        table,
        input_bits=inputs,
        weight_bits=weights,
        output_bits=outputs,
        macs=np.where(widened, dense, table.macs),
        acs=np.where(widened, 0, table.acs),
        spike_driven=table.spike_driven & ~widened,
        shifted=table.shifted & ~widened,
        input_spikes=np.where(widened, 0, table.input_spikes),
        step_spikes=np.where(widened[:, None], 0, table.step_spikes),
    )


def _base(workload: Workload, paths: Sequence[str], complete: bool) -> _Base:
    table = layer_table(workload)
    synaptic = np.flatnonzero(table.synaptic)
    rows: dict[str, list[int]] = {}
    products: list[int] = []
    for row in synaptic.tolist():
        path = _path_of(table.names[row], paths)
        if table.weight_is_activation[row]:
            products.append(row)
        elif path is not None:
            rows.setdefault(path, []).append(row)
    missing = [path for path in paths if path not in rows]
    if complete and missing:
        names = [table.names[row] for row in synaptic]
        near = difflib.get_close_matches(missing[0], names, 3, 0.5) or names[:3]
        raise InputError(
            f"the workload has no layer {missing[0]!r} (it has {', '.join(near)}); measure the network that is "
            "searched, and let its layers be called by module path."
        )
    read = np.array([_read_bits(layer) for layer in workload.layers], dtype=np.int64)
    return _Base(table, rows, products, read)


def _path_of(name: str, paths: Sequence[str]) -> str | None:
    """The longest path that a name starts with: `stem.conv2d`, `stem:aten.convolution` and `stem` are `stem`'s."""
    found = [path for path in paths if name == path or name.startswith((f"{path}.", f"{path}:", f"{path}#"))]
    return max(found, key=len, default=None)


def _read_bits(layer: Layer) -> int:
    if layer.operator == "neuron":
        return layer.output.number_bits if layer.output else UNREAD_BITS
    return max((one.number_bits for one in layer.operands if one.role == "activation"), default=UNREAD_BITS)
