"""Spiking neurons: step equations (`functional`), surrogate gradients, modules with explicit state."""

from neuro.neurons.functional import FireReset, if_step, integer_lif_step, lif_step, unroll_integer_spikes
from neuro.neurons.modules import IF, LIF, PLIF, IntegerLIF, SpikingNeuron, reset
from neuro.neurons.surrogate import SURROGATES, Surrogate, surrogate

__all__ = [
    "IF",
    "LIF",
    "PLIF",
    "SURROGATES",
    "FireReset",
    "IntegerLIF",
    "SpikingNeuron",
    "Surrogate",
    "if_step",
    "integer_lif_step",
    "lif_step",
    "reset",
    "surrogate",
    "unroll_integer_spikes",
]
