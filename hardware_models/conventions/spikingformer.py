"""The counting of Spikingformer's published energies, the most used in spiking transformers.

    E = E_MAC x MACs + E_AC x ACs,   E_MAC = 4.6 pJ, E_AC = 0.9 pJ (fp32, 45 nm)
    convolution or linear layer, {0,1} input:  ACs  = dense operations over all T x firing rate
    convolution or linear layer, other input:  MACs = dense operations over all T
    attention product:                         ACs  = dense operations over all T x min(rates of its spike
    operands)

so the pair of products of linear spiking attention, Q (K^T V), takes

    T x heads x N x d_h^2 x (min(rate_k, rate_v) + rate_q)   accumulates

with N tokens and d_h channels per head.
"""

from __future__ import annotations

from typing import ClassVar

from hardware_models.conventions.base import Convention, Priced, mean_density, spike_operands
from hardware_models.workload import SYNAPTIC, Layer, Workload


class Spikingformer(Convention):
    """Dense operations times firing rate."""

    name: ClassVar[str] = "spikingformer"
    title: ClassVar[str] = "dense operations x firing rate, fp32 at 45 nm"
    source: ClassVar[str] = (
        "Zhou et al., Spikingformer, arXiv:2304.11954; rules read in "
        "zhouchenlin2096/Spikingformer energy_consumption_calculation (Apache-2.0)"
    )
    rules: ClassVar[tuple[str, ...]] = (
        "A convolution or linear layer with {0,1} input takes dense operations x firing rate ACs.",
        "A convolution or linear layer with any other input takes its dense operations as MACs.",
        "An attention product takes dense operations x the smallest rate of its {0,1} operands as ACs.",
        "Dense operations count padding as data and cover all timesteps that the layer runs in.",
    )
    assumptions: ClassVar[tuple[str, ...]] = (
        *Convention.assumptions,
        "Neuron updates, normalization, pooling, masks and residual additions are free.",
        "Rates are means over timesteps, samples and positions, so borders are counted as if padding spiked.",
        "Biases are not in a Workload's loop bounds; the published logs count them where a layer has one.",
    )

    def price(self, layer: Layer, workload: Workload) -> Priced | None:
        """Price dense operations by rate; see `Convention.price`."""
        if layer.operator not in SYNAPTIC:
            return None
        dense = float(layer.dense_macs)
        rates = [mean_density(layer, operand) for operand in spike_operands(layer)]
        if not rates:
            return self.priced(dense, 0.0, "MAC: dense operations")
        return self.priced(0.0, dense * min(rates), f"AC: dense operations x rate {min(rates):.6g}")

    def priced(self, macs: float, acs: float, rule: str) -> Priced:
        """Return counts at the convention's two constants."""
        return Priced(macs, acs, ((macs, self.fp32_mac), (acs, self.fp32_ac)), rule)

    def remarks(self, workload: Workload) -> tuple[str, ...]:
        """Name the layers with spikes that these rules do not recognise."""
        missed = [
            layer.name
            for layer in workload.synaptic_layers()
            if not spike_operands(layer)
            and any(operand.role == "activation" and operand.is_spikes for operand in layer.operands)
        ]
        if not missed:
            return ()
        names = ", ".join(missed)
        return (f"Ternary, integer or power-of-two spikes count as MACs, for the source knows {{0,1}} only: {names}.",)
