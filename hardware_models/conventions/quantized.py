"""A workload as if its weights and activations were b-bit integers: the honest rival of a spiking network.

A spiking network of T timesteps sends at most T spikes through a connection: T + 1 levels, which an integer
of ceil(log2(T + 1)) bits holds in one timestep. So the parent network quantized to that width is what spikes
have to beat. Operations stay as they were executed; only their widths change:

    E = MACs x E_MAC(b x b bits) + ACs x E_AC(b bits)
"""

from __future__ import annotations

from hardware_models.arithmetic import WIDEST_INTEGER, Number
from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.conventions.horowitz45 import Horowitz45
from hardware_models.errors import InputError
from hardware_models.workload import Layer, Workload


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


def estimate_quantized(workload: Workload, bits: int) -> ConventionEstimate:
    """Return the cost of `workload` as if it were quantized to `bits` bits.

    Args:
        workload: usually the float parent's.
        bits: 1 to 32; `rival_bits(T)` for the rival of T timesteps.

    Raises:
        InputError: a width outside 1..32, or a layer without recorded operations.
    """
    return Quantized(bits).estimate(workload)
