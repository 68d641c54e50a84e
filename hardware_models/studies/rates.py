"""A measured network as if it had fired at other rates, for another number of timesteps."""

from __future__ import annotations

import math

import numpy as np

from hardware_models.errors import InputError
from hardware_models.workload import Layer, Operand, Workload


def at_rates(workload: Workload, timesteps: int | None = None, scale: float = 1.0) -> Workload:
    """Return `workload` with T' timesteps, in each of which every layer has its mean density times `scale`.

        density'_t = scale mean_t(density_t),   ACs' = ACs sum(density') / sum(density),   MACs' = MACs T' / T

    Spikes keep their form and their share of each channel; layers outside of time stay as they are, and so does what
    the first layer reads, unless a neuron fires it: that is the network's input. With T' <= T and a scale of 1,
    `Workload.until` tells what was measured instead.

    Args:
        workload: a measured spiking network.
        timesteps: T'; None keeps T.
        scale: of all spike densities.

    Raises:
        InputError: T' below 1, a scale that is not above 0, or one that makes a layer fire more than once a timestep.
    """
    wanted = workload.timesteps if timesteps is None else timesteps
    if wanted < 1:
        raise InputError(f"{wanted} timesteps hold no spikes; give at least 1.")
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"rates cannot be multiplied by {scale}; give a number above 0.")
    entry = _entry(workload)
    layers = tuple(
        _layer(layer, workload.timesteps, wanted, 1.0 if layer.name == entry else scale) for layer in workload.layers
    )
    found = workload.model_copy(update={"timesteps": wanted, "layers": layers})
    found._arrays = {
        key: np.rint(np.repeat(counts.mean(axis=0, keepdims=True) * scale, wanted, axis=0)).astype(np.int64)
        if len(counts) == workload.timesteps
        else counts
        for key, counts in workload.arrays.items()
    }
    return found


def at_firing_rate(workload: Workload, rate: float, timesteps: int | None = None) -> Workload:
    """Return `workload` as if its neurons fired `rate` spikes per timestep on average; see `at_rates`.

    Raises:
        InputError: a network that fires nothing, or as `at_rates`.
    """
    own = workload.firing_rate
    if not own > 0:
        raise InputError(f"{workload.name!r} fires no spikes; give a network that was measured while spiking.")
    return at_rates(workload, timesteps, rate / own)


def _entry(workload: Workload) -> str | None:
    """The name of the layer that reads the network's input; None where a neuron stands before it."""
    first = next(workload.synaptic_layers(), None)
    fired = {name for neuron in workload.neuron_layers() for name in neuron.consumers}
    return None if first is None or first.name in fired else first.name


def _layer(layer: Layer, measured: int, timesteps: int, scale: float) -> Layer:
    if layer.timesteps != measured:  # outside of time
        return layer
    operands = tuple(_operand(one, layer, timesteps, scale) for one in layer.operands)
    driver = next((one for one in layer.operands if one.name == layer.driven_by), None)
    acs = 0
    if driver is not None and layer.acs:
        after = next(one for one in operands if one.name == layer.driven_by)
        acs = round(layer.acs * sum(after.density) / sum(driver.density))
    return layer.model_copy(
        update={
            "timesteps": timesteps,
            "operands": operands,
            "macs": layer.macs * timesteps // layer.timesteps,
            "acs": acs,
            "acs_by_timestep": _shared(acs, timesteps) if layer.acs_by_timestep else (),
            "output": layer.output and _operand(layer.output, layer, timesteps, scale),
        }
    )


def _operand(operand: Operand, layer: Layer, timesteps: int, scale: float) -> Operand:
    """An operand in T' timesteps; its density changes where it holds spikes."""
    if operand.role == "weight" or len(operand.density) != layer.timesteps:
        return operand
    factor = scale if operand.is_spikes else 1.0
    density = factor * operand.mean_density
    if density > 1 + 1e-9:
        raise InputError(
            f"layer {layer.name!r} has spikes at {operand.mean_density:.3g} of its places and would have them at "
            f"{density:.3g} with {scale:g} times the rate; give at most {1 / operand.mean_density:.3g}."
        )

    def mean(values: tuple[float, ...] | tuple[int, ...]) -> float:
        return factor * sum(values) / len(values)

    update = {
        "density": (min(density, 1.0),) * timesteps,
        "nonzero": (round(mean(operand.nonzero)),) * timesteps,
    }
    if operand.magnitude:
        update["magnitude"] = (round(mean(operand.magnitude)),) * timesteps
    if operand.max_channel_density:
        update["max_channel_density"] = (min(mean(operand.max_channel_density), 1.0),) * timesteps
    return operand.model_copy(update=update)


def _shared(total: int, timesteps: int) -> tuple[int, ...]:
    """A number in whole parts, as even as they can be."""
    return tuple(total * (step + 1) // timesteps - total * step // timesteps for step in range(timesteps))
