"""Neuromorphic many-core chips: energy, latency and cores of a spiking network, from its measured spikes.

Energy is affine in what happens (P populations, T timesteps):

    E = P_static t + A e_access + U e_update + F e_spike + S e_synapse + K (e_message + hops e_hop)

A accesses and U updates of neurons (both N T: every neuron, in every timestep), F spikes fired, S synaptic
operations, K packets, one for each spike and core that it is sent to. The static power is that of whole chips
and of occupied cores, and of the clock: `clock.energy * clock.frequency`.

A timestep ends when the slowest core and the fullest link are done, and all tiles have met at a barrier:

    t_step = max( max_cores (A t_access + U t_update + F t_spike + K_out t_message),
                  max_cores (K_in t_receive + S t_synapse),
                  max_links (packets t_hop),
                  max_wires (packets that wait for each other) ) + t_barrier(tiles),
             and at least the tick, where there is one

The last term is that of meshes that block (`settings.blocking`); `waiting` derives it.

Sources: the affine form and the first two terms of the timestep are those of SANA-FE (J. Boyle et al., IEEE TCAD
2025, its simple timing model), which fits its figures of Loihi 1 to Intel's Nahuku board. With the last term eight
mappings of its gesture network come within 7 % of its detailed timing model, which the first two miss by up to 17 %.

`settings.without` says which figures a chip goes without, and why (another figure holds them, or nobody has
published them); they count as nothing, which the estimate says. Every other missing figure is refused by name.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hardware_models.engine import Cost, FigureSpec, Run
from hardware_models.errors import InputError, unknown_name
from hardware_models.event_driven.counts import core_work, events
from hardware_models.event_driven.mesh import Order
from hardware_models.event_driven.network import network
from hardware_models.event_driven.notes import assumptions, left_out
from hardware_models.event_driven.populations import populations
from hardware_models.event_driven.totals import Laid, energy, latency, traffic
from hardware_models.hardware import Hardware
from hardware_models.layer_table import LayerTable
from hardware_models.precision import narrowed

Array = npt.NDArray[Any]

FIGURES: Final = (
    FigureSpec("chip.cores", "1", "cores of one chip, where its mesh is not given", "size"),
    FigureSpec("chip.count", "1", "chips that may be joined (settings.multi_chip)", "size"),
    FigureSpec("mesh.columns", "1", "tiles of one chip along x", "size"),
    FigureSpec("mesh.rows", "1", "tiles of one chip along y", "size"),
    FigureSpec("tile.cores", "1", "cores that share one router of the mesh", "size"),
    FigureSpec("core.neurons", "1", "neurons that one core holds", "size"),
    FigureSpec("core.synapse_memory", "B", "memory for weights of one core", "size"),
    FigureSpec("core.synapses", "1", "weights that one core holds, whatever their width", "size"),
    FigureSpec("core.axons_in", "1", "inputs of one core", "size"),
    FigureSpec("core.axons_out", "1", "destinations that the neurons of one core have", "size"),
    FigureSpec("core.weight_bits", "bit", "widest weight; wider ones are taken as quantized to it", "size"),
    FigureSpec("neuron.state_bits", "bit", "state of one neuron, read and written in every update", "size"),
    FigureSpec("network.packet_bits", "bit", "one packet", "size"),
    FigureSpec("synapse.energy", "J", "one synaptic operation"),
    FigureSpec("neuron.access_energy", "J", "one neuron in one timestep, whatever it does"),
    FigureSpec("neuron.update_energy", "J", "one neuron that is updated, on top of its access"),
    FigureSpec("neuron.spike_energy", "J", "one spike fired"),
    FigureSpec("network.message_energy", "J", "one packet: a spike sent to one core, without its hops"),
    FigureSpec("network.hop_x_energy", "J", "one hop of a packet along x"),
    FigureSpec("network.hop_y_energy", "J", "one hop of a packet along y"),
    FigureSpec("network.border_energy", "J", "a packet that leaves a chip for the next"),
    FigureSpec("power.chip", "W", "one chip, whatever it does"),
    FigureSpec("power.core", "W", "one occupied core, whatever it does"),
    FigureSpec("clock.energy", "J", "one cycle of one chip's clock, whatever it does"),
    FigureSpec("clock.frequency", "Hz", "the clock", "rate"),
    FigureSpec("tick.time", "s", "one timestep of a chip that keeps real time"),
    FigureSpec("synapse.time", "s", "one synaptic operation"),
    FigureSpec("neuron.access_time", "s", "one neuron in one timestep, whatever it does"),
    FigureSpec("neuron.update_time", "s", "one neuron that is updated, on top of its access"),
    FigureSpec("neuron.spike_time", "s", "one spike fired"),
    FigureSpec("network.message_time", "s", "sending one packet"),
    FigureSpec("network.receive_time", "s", "receiving one packet"),
    FigureSpec("network.hop_x_time", "s", "one packet on one link along x"),
    FigureSpec("network.hop_y_time", "s", "one packet on one link along y"),
    FigureSpec("network.border_time", "s", "one packet on the link between two chips"),
    FigureSpec(
        "barrier.*", "s", "the barrier that ends a timestep, when as many tiles take part as the last part says"
    ),
    FigureSpec("barrier_chips.time", "s", "the barrier that ends a timestep on several chips"),
)


class Settings(BaseModel):
    """What a chip does, beside its figures.

    Attributes:
        placement: order in which cores are filled, see `mesh`.
        multi_chip: whether a network may be laid on several chips.
        split: how a layer is split over cores: by contiguous channels, or by contiguous rows of all channels, which
            spares large feature maps most packets; a layer whose kernels do not fit one core then keeps channels.
        balance: whether a layer fills one core after the other (`full`), or is split evenly over its cores (`even`).
        split_layers: whether a layer may be split over cores.
        one_core: whether the chip is one core that all populations share, layer after layer.
        weight_sharing: whether a convolution's kernel is stored once, and not once for each connection.
        graded_spikes: whether a packet carries a value: multiple spikes are one event, and layers driven by
            values that are no spikes, or by powers of two, run on the chip.
        barrier: what the barrier takes between two numbers of tiles that are given: as for the lower number
            (`steps`), or in proportion (`linear`).
        blocking: whether packets whose receiver is busy hold up the mesh behind them and at last their senders
            (see `waiting`); else they wait where nothing else is held up.
        without: figures that the chip goes without, with the reason: another figure holds them, or they are not
            known and what they would add is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    placement: Order = "row-major"
    multi_chip: bool = False
    split: Literal["channels", "rows"] = "channels"
    balance: Literal["full", "even"] = "full"
    split_layers: bool = True
    one_core: bool = False
    weight_sharing: bool = False
    graded_spikes: bool = False
    barrier: Literal["steps", "linear"] = "steps"
    blocking: bool = False
    without: dict[str, str] = Field(default_factory=dict)

    @field_validator("without")
    @classmethod
    def _known(cls, without: dict[str, str]) -> dict[str, str]:
        known = [spec.name for spec in FIGURES if spec.kind == "cost"]
        for name in without:
            if name not in known:
                raise unknown_name("figure in settings.without", name, known)
        return without


def evaluate(table: LayerTable, hw: Hardware, run: Run) -> Cost:
    """Return what one inference costs on a neuromorphic chip.

    Timesteps run one after another, whatever `run` says: a chip that holds all layers at once has no other way.

    Args:
        table: the network.
        hw: the chip.
        run: taken no notice of, see above.

    Raises:
        InputError: a figure is missing, or given though the settings go without it; the network does not fit.
    """
    _refuse_both(hw)
    on_chip = table.synaptic & ((table.spike_driven & ~table.shifted) | hw.settings.graded_spikes)
    outside = left_out(table, on_chip)
    if not on_chip.any():
        return Cost(left_out=outside)
    groups = populations(table, on_chip)
    counts = events(table, groups, hw.settings.graded_spikes)
    laid = network(table, groups, hw)
    work = core_work(table, groups, counts, laid.split, laid.by_rows, laid.axons)
    chip = Laid(table, groups, counts, laid, work, hw)
    time = latency(chip)
    layers = table.select(table.synaptic & on_chip)
    return Cost(
        energy_j=energy(chip, time) if hw.answers("energy") else {},
        latency_s=None if time is None else time.by_layer,
        total_latency_s=None if time is None else time.total,
        utilization=None if time is None else time.utilization,
        traffic_bytes=traffic(chip),
        cores=chip.by_population(laid.cores[laid.of_variant]),
        assumptions=assumptions(table, groups, laid, hw, on_chip),
        narrowed=narrowed(layers, layers.input_bits, laid.weight_bits.min(axis=0)),
        left_out=outside,
    )


def _refuse_both(hw: Hardware) -> None:
    for name in hw.settings.without:
        if name in hw:
            raise InputError(
                f"chip {hw.chip.name!r} gives figure {name!r}, and its settings go without it; take one of them out."
            )
