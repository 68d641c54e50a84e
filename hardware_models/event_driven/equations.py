"""The equations of an event-driven chip, on plain arrays; `event_driven` explains them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Amount = Any
"""A number, or an array that broadcasts."""

BLOCK: Final = 4_000_000
"""Elements of one intermediate array of timesteps x cores x hardware, 32 MB."""


NEURON_ENERGIES: Final = ("neuron.access_energy", "neuron.update_energy", "neuron.spike_energy")
HOP_ENERGIES: Final = ("network.hop_x_energy", "network.hop_y_energy")
GENERATION_TIMES: Final = ("neuron.access_time", "neuron.update_time", "neuron.spike_time", "network.message_time")
"""What a core spends on accesses, updates, spikes and packets: the order of `CoreWork.generation`."""
RECEIPT_TIMES: Final = ("network.receive_time", "synapse.time")
"""What a core spends on packets and operations: the order of `CoreWork.receipt`."""


def synapse_energy(operations: Amount, synapse_j: Amount) -> Array:
    """Return joules of synaptic operations: `S e_synapse`; all broadcast."""
    return np.asarray(operations * synapse_j)


def neuron_energy(
    accesses: Amount, updates: Amount, spikes: Amount, access_j: Amount, update_j: Amount, spike_j: Amount
) -> Array:
    """Return joules of neurons: `A e_access + U e_update + F e_spike`; all broadcast."""
    return np.asarray(accesses * access_j + updates * update_j + spikes * spike_j)


def network_energy(
    packets: Amount, hops_x: Amount, hops_y: Amount, message_j: Amount, hop_x_j: Amount, hop_y_j: Amount
) -> Array:
    """Return joules of packets: `K e_message + hops_x e_x + hops_y e_y`, hops summed over packets; all broadcast."""
    return np.asarray(packets * message_j + hops_x * hop_x_j + hops_y * hop_y_j)


def slowest(work: Array, seconds: Array, of_variant: Array) -> Array:
    """Return the time of the core with most to do.

    Args:
        work: `[F, U, P, T]` how often each of F things is done by each of P cores in each timestep, on U chips.
        seconds: `[F, S, H]` what doing it once takes.
        of_variant: `[H]` which of the U chips each of H hardware variants is.

    Returns:
        `[S, H, T]` seconds; 0 where there is no core.
    """
    _, draws, variants = seconds.shape
    cores, steps = work.shape[2:]
    out = np.zeros((draws, variants, steps))
    size = max(1, BLOCK // max(1, draws * cores * steps))
    for start in range(0, variants, size):
        chips = slice(start, start + size)
        if work.shape[1] == 1:
            by_core = np.tensordot(seconds[:, :, chips], work[:, 0], axes=(0, 0))
        else:
            by_core = np.einsum("fsu,fupt->supt", seconds[:, :, chips], work[:, of_variant[chips]], optimize=True)
        out[:, chips] = by_core.max(axis=2, initial=0.0)
    return out


def waiting_work(whole: Amount, busiest: Amount, senders: Amount, together: Amount, alone: Amount) -> Array:
    """Return the receipts that packets take which wait for each other: `L W + L_1 (W_s - W / n)`; all broadcast.

    Args:
        whole: W, packets or operations of all receipts.
        busiest: W_s / W, share that one sender's packets have in it, at least 1 / n.
        senders: n, how many cores the senders' work would fill.
        together, alone: L and L_1, see `waiting`.
    """
    return np.asarray(whole * (together + alone * (busiest - 1.0 / senders)))


def timestep_seconds(
    generation: Amount, receipt: Amount, links: Amount, waiting: Amount, barrier: Amount, tick: Amount
) -> Array:
    """Return the time of a timestep: `max(max(generation, receipt, links, waiting) + barrier, tick)`; all broadcast."""
    busy = np.maximum(np.maximum(np.maximum(generation, receipt), links), waiting)
    return np.asarray(np.maximum(busy + barrier, tick))
