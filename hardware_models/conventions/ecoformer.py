"""The counting of EcoFormer's published energies: multiplications and additions apart, dense.

    E = E_mul x multiplications + E_add x additions,   E_mul = 3.7 pJ, E_add = 0.9 pJ (fp32, 45 nm)
    convolution, linear layer or matrix product:  dense operations, each one multiplication and one addition
    the same with binarized activations:          dense operations, each one addition
    scaling, element by element:                  one multiplication each

No credit is given for zeros: a binary code saves the multiplication, not the addition. Biases, normalization,
softmax and activation functions are free. The published 2.011 G multiplications and 1.988 G additions of
PVTv2-B0 are exactly its convolutions, linear layers and attention products, and the scaling of the attention
scores.
"""

from __future__ import annotations

from typing import ClassVar

from hardware_models.arithmetic import add_energy, multiply_energy
from hardware_models.conventions.base import FP32, Convention, Priced, accumulates_only, shifting
from hardware_models.workload import SYNAPTIC, Layer, Workload

_SCALINGS = ("mul", "div")
"""Elementwise operations that are multiplications, as in `aten.mul.Tensor`."""


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
    )
    assumptions: ClassVar[tuple[str, ...]] = (
        *Convention.assumptions,
        "Biases, normalization, softmax, activation functions, neurons and residual additions are free.",
        "Spikes are treated as the source treats binary codes: they save multiplications, not additions.",
    )

    def price(self, layer: Layer, workload: Workload) -> Priced | None:
        """Price dense multiplications and additions; see `Convention.price`."""
        multiplication = multiply_energy(self.technology, FP32, FP32)
        addition = add_energy(self.technology, FP32)
        if layer.operator in SYNAPTIC:
            dense = float(layer.dense_macs)
            if accumulates_only(layer):
                return Priced(0.0, dense, ((dense, addition),), "dense additions")
            return Priced(
                dense,
                0.0,
                ((dense, multiplication), (dense, addition)),
                "dense multiplications and additions",
            )
        if _is_scaling(layer):
            products = float(layer.out_elements * layer.timesteps)
            return Priced(0.0, 0.0, ((products, multiplication),), f"{products:.0f} multiplications, no addition")
        return None

    def remarks(self, workload: Workload) -> tuple[str, ...]:
        """Name the layers that shift."""
        return shifting(workload)


def _is_scaling(layer: Layer) -> bool:
    name = layer.op.removeprefix("aten.").split(".")[0].rstrip("_")
    return layer.operator == "elementwise" and name in _SCALINGS
