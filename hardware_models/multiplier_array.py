"""What engines for arrays of multipliers share: figures, the energy and time of arithmetic, what runs elsewhere."""

from __future__ import annotations

from typing import Final

import numpy as np

from hardware_models.engine import Array, FigureSpec
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import Widths
from hardware_models.sparsity import OperandRules

FIGURES: Final = (
    FigureSpec("array.clock", "Hz", "clock frequency of the array", "rate"),
    FigureSpec("accumulator.bits", "bit", "width of a partial sum", "size"),
    FigureSpec("ac.energy", "J", "one accumulate of a spike-driven layer; absent: it costs a multiply-accumulate"),
    FigureSpec("sparsity.check_energy", "J", "looking at one value to find out whether it can be skipped"),
    FigureSpec("neuron.update_energy", "J", "arithmetic of one neuron update"),
    FigureSpec("neuron.membrane_bits", "bit", "width of a stored membrane potential", "size"),
    FigureSpec("static.power", "W", "power that flows whether or not it works"),
)


def arithmetic_energy(layers: LayerTable, hw: Hardware, rules: OperandRules, widths: Widths) -> Array:
    """Return joules of the multiply-accumulates, or additions where spikes drive an add-only mode, `[S, H, L]`."""
    worked = rules.input.energy_share(layers.input_density) * rules.weight.energy_share(layers.weight_density)
    each = hw("mac.energy", "multiply-accumulates")
    if "ac.energy" in hw and layers.spike_driven.any():
        # An integer spike of n takes n additions where there is no multiplier.
        fired = layers.input_density * layers.input_elements * layers.timesteps
        additions = np.maximum(1.0, layers.input_spikes / np.maximum(fired, 1.0))
        each = np.where(layers.spike_driven, hw("ac.energy", "accumulates") * additions, each)
    return layers.macs_dense * widths.operations * worked * each


def time_share(layers: LayerTable, rules: OperandRules) -> Array:
    """Return the share of the cycles that zeros leave, `[L]`; skipping waits for the busiest channel."""
    busiest = layers.busiest_channel_density if rules.input.policy in ("skip", "group-skip") else None
    return rules.input.time_share(layers.input_density, busiest) * rules.weight.time_share(layers.weight_density)


def left_out(table: LayerTable) -> dict[str, str]:
    """Return the layers that run neither on the array nor beside it, with the reason."""
    reason = "neither a matrix product nor a neuron; a vector unit or the host runs it, for which there is no figure"
    return {
        name: reason
        for name, on_array, neuron in zip(table.names, table.synaptic, table.neuron, strict=True)
        if not (on_array or neuron)
    }
