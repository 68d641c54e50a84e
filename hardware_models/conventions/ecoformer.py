"""The counting of EcoFormer's published energies: multiplications and additions apart, dense.

    E = E_mul x multiplications + E_add x additions,   E_mul = 3.7 pJ, E_add = 0.9 pJ (fp32, 45 nm)
    convolution, linear layer or matrix product:  dense operations, each one multiplication and one addition
    the same with binarized activations:          dense operations, each one addition
    scaling, element by element:                  one multiplication each

No credit is given for zeros: a binary code saves the multiplication, not the addition. Biases, normalization,
softmax and activation functions are free. The published 2.011 G multiplications and 1.988 G additions of
PVTv2-B0 are exactly its convolutions, linear layers and attention products, and the scaling of the attention
scores.

Hashed attention (`quant.hashing`) is counted by hand in the source, for H heads, N tokens of width d, m anchors and
codes of b bits:

    hashing.distance     |x - a|^2            2 H N m d additions: squaring is not counted
    hashing.kernel       exp(-. / 2 s)        2 H N m multiplications
    hashing.codes        W K                  H N m b of both
    hashing.sum          sum_j h_j            H N b additions
    hashing.normaliser   h_i sum_j h_j        H N b of both, although h is -1 or 1
    hashing.context      sum_j h_j v_j^T      H N b d additions
    hashing.read         h_i context          H N b d additions
    hashing.offset       + (b + 1) v          H N d additions: the product with b + 1 is not counted
    div, mul             1 / ., . x           H N and H N d multiplications
"""

from __future__ import annotations

import math
from typing import ClassVar

from hardware_models.arithmetic import add_energy, multiply_energy
from hardware_models.conventions.base import FP32, Convention, Priced, accumulates_only, shifting
from hardware_models.workload import SYNAPTIC, Layer, Workload

_SCALINGS = ("mul", "div")
"""Elementwise operations that are multiplications, as in `aten.mul.Tensor`."""

_HASHING = {
    "hashing.distance": (0, 2),
    "hashing.kernel": (2, 0),
    "hashing.sum": (0, 1),
    "hashing.normaliser": (1, 1),
    "hashing.offset": (0, 1),
}
"""Multiplications and additions of those operations of hashed attention that have a count of their own: for each dense
operation of a product, each term of a sum, each value of the rest."""


class EcoFormer(Convention):
    """Dense multiplications and additions, counted separately."""

    name: ClassVar[str] = "ecoformer"
    title: ClassVar[str] = "dense multiplications and additions apart, fp32 at 45 nm"
    source: ClassVar[str] = (
        "Liu et al., EcoFormer, NeurIPS 2022, arXiv:2209.09004; rules read in "
        "ziplab/EcoFormer pvt/get_energy.py (Apache-2.0)"
    )
    rules: ClassVar[tuple[str, ...]] = (
        "A synaptic layer takes one multiplication and one addition per dense operation.",
        "Where an operand is binary, ternary, small integers or powers of two it takes the additions only.",
        "Zeros are not skipped: dense operations, whatever the density.",
        "An elementwise multiplication or division takes one multiplication for each value.",
        "Hashed attention: squared distances take two additions for each pair of values, the kernel two "
        "multiplications a value, the normaliser a multiplication and an addition for each bit, sums of codes and the "
        "offset an addition a value.",
    )
    assumptions: ClassVar[tuple[str, ...]] = (
        *Convention.assumptions,
        "Biases, normalization, softmax, activation functions, neurons and residual additions are free.",
        "Spikes are treated as the source treats binary codes: they save multiplications, not additions.",
    )

    def price(self, layer: Layer, workload: Workload) -> Priced | None:
        """Price dense multiplications and additions; see `Convention.price`."""
        counted = _count(layer)
        if counted is None:
            return None
        multiplications, additions = counted
        both = min(multiplications, additions)
        return Priced(
            macs=both,
            acs=additions - both,
            prices=(
                (multiplications, multiply_energy(self.technology, FP32, FP32)),
                (additions, add_energy(self.technology, FP32)),
            ),
            rule=_describe(layer, multiplications, additions),
        )

    def operations(self, workload: Workload) -> tuple[float, float]:
        """Return the multiplications and the additions of one inference of one sample."""
        counted = [counts for layer in workload.layers if (counts := _count(layer))]
        return math.fsum(one for one, _ in counted), math.fsum(other for _, other in counted)

    def remarks(self, workload: Workload) -> tuple[str, ...]:
        """Name the layers that shift."""
        return shifting(workload)


def _count(layer: Layer) -> tuple[float, float] | None:
    """Return multiplications and additions of a layer; None where the rules leave it out."""
    if layer.op in _HASHING:
        multiplications, additions = _HASHING[layer.op]
        units = _units(layer)
        return multiplications * units, additions * units
    if layer.operator in SYNAPTIC:
        dense = float(layer.dense_macs)
        return (0.0 if accumulates_only(layer) else dense), dense
    if _is_scaling(layer):
        return float(layer.out_elements * layer.timesteps), 0.0
    return None


def _units(layer: Layer) -> float:
    """Return dense operations of a product, terms of a sum, values of anything else."""
    if layer.operator in SYNAPTIC:
        return float(layer.dense_macs)
    elements = layer.operand("input").elements if layer.operator == "reduce" else layer.out_elements
    return float(elements * layer.timesteps)


def _describe(layer: Layer, multiplications: float, additions: float) -> str:
    if layer.op in _HASHING:
        return f"{multiplications:.0f} multiplications, {additions:.0f} additions of hashing"
    if layer.operator in SYNAPTIC:
        return "dense multiplications and additions" if multiplications else "dense additions"
    return f"{multiplications:.0f} multiplications, no addition"


def _is_scaling(layer: Layer) -> bool:
    name = layer.op.removeprefix("aten.").split(".")[0].rstrip("_")
    return layer.operator == "elementwise" and name in _SCALINGS
