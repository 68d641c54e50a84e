"""A workload as if its weights and activations were b-bit integers: the honest rival of a spiking network.

A spiking network of T timesteps sends at most T spikes through a connection: T + 1 levels where they are binary, which
an integer of ceil(log2(T + 1)) bits holds in one timestep. So the parent network quantized to that width is what spikes
have to beat. Operations stay as they were executed; only their widths change:

    E = MACs x E_MAC(b x b bits) + ACs x E_AC(b bits)
"""

from __future__ import annotations

from typing import Final

from hardware_models.arithmetic import WIDEST_INTEGER, Number
from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.conventions.horowitz45 import Horowitz45
from hardware_models.errors import InputError
from hardware_models.workload import Layer, Operand, Workload


class Quantized(Horowitz45):
    """`horowitz45` with every operand taken as an integer of `bits` bits."""

    def __init__(self, bits: int) -> None:
        if not 1 <= bits <= WIDEST_INTEGER:
            raise InputError(f"{bits} bits cannot be estimated; give a width of 1 to {WIDEST_INTEGER} bits.")
        self.bits = bits

    def factors(self, layer: Layer) -> tuple[Number, Number]:
        """Return b x b bits."""
        return Number(self.bits), Number(self.bits)

    def addend(self, layer: Layer) -> Number:
        """Return b bits."""
        return Number(self.bits)

    def remarks(self, workload: Workload) -> tuple[str, ...]:
        """Say what was supposed."""
        return (
            f"Weights and activations of every layer, first and last included, are taken as {self.bits}-bit "
            "integers; the operations are those executed as measured.",
        )


def rival_bits(timesteps: int) -> int:
    """Return ceil(log2(T + 1)): the width that holds as many levels as T timesteps of binary spikes.

    Raises:
        InputError: T < 1.
    """
    if timesteps < 1:
        raise InputError(f"{timesteps} timesteps hold no spikes; give T >= 1.")
    return timesteps.bit_length()


WIDEST_RIVAL: Final = 8
"""The width that quantization after training usually takes; a wider network would be an easy rival."""


def rival_bits_of(workload: Workload) -> int:
    """Return the width of the quantized network that carries as much through one connection as the spikes measured.

    T spikes of L values besides 0 (1 binary, 2 ternary, as many as its bits hold for an integer one) add up to
    at most T L + 1 sums: ceil(log2(T L + 1)) bits. Power-of-two spikes reach more with two timesteps than a
    rival may have. At most `WIDEST_RIVAL`.
    """
    outputs = [layer.output for layer in workload.neuron_layers() if layer.output]
    if any(one.form == "power-of-two" for one in outputs):
        return WIDEST_RIVAL if workload.timesteps > 1 else max(one.bits for one in outputs)
    levels = max((_levels(one) for one in outputs), default=1)
    return min(rival_bits(workload.timesteps * levels), WIDEST_RIVAL)


def _levels(spikes: Operand) -> int:
    """How many values besides 0 a spike can take."""
    return {"binary": 1, "ternary": 2}.get(spikes.form, 2**spikes.bits - 1 - spikes.signed)


def estimate_quantized(workload: Workload, bits: int) -> ConventionEstimate:
    """Return the cost of `workload` as if it were quantized to `bits` bits.

    Args:
        workload: usually the float parent's.
        bits: 1 to 32; `rival_bits(T)` for the rival of T timesteps.

    Raises:
        InputError: a width outside 1..32, or a layer without recorded operations.
    """
    return Quantized(bits).estimate(workload)
