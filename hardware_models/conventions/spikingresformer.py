"""The counting of SpikingResformer's published energies: exact synaptic operations, additions only.

    E = E_AC x SOPs,   E_AC = 0.9 pJ (fp32, 45 nm)

The source sends each layer's input spikes through the same convolution with all-ones weights and sums the
result, so a spike at the border triggers fewer accumulates than one inside. A Workload records those exact
counts as `acs`. Two layers are skipped by name in the source, `prologue.0` (the first convolution, on images)
and `classifier` (the last linear layer), and there is no MAC term: what those cost is in no energy of that
paper.
"""

from __future__ import annotations

from typing import ClassVar

from hardware_models.conventions.base import Convention, Priced, accumulates_only, shifting
from hardware_models.workload import Layer, Workload


class SpikingResformer(Convention):
    """Exact synaptic operations of all layers but the first and the classifier, each one fp32 addition."""

    name: ClassVar[str] = "spikingresformer"
    title: ClassVar[str] = "exact synaptic operations without stem and classifier, no MAC term"
    source: ClassVar[str] = (
        "Shi et al., SpikingResformer, CVPR 2024, arXiv:2403.14302; rules read in "
        "xyshi2000/SpikingResformer utils/utils.py, main.py and models/spikingresformer.py (MIT)"
    )
    rules: ClassVar[tuple[str, ...]] = (
        "Each accumulate that a spike triggers counts, exactly at borders; integer spikes by value, others once.",
        "The first convolution or linear layer and a linear layer at the end (the classifier) are skipped.",
        "There is no MAC term: a layer without spikes is left out.",
    )
    assumptions: ClassVar[tuple[str, ...]] = (
        *Convention.assumptions,
        "Neuron updates, normalization, pooling, masks and residual additions are free.",
        "Borders are as exact as the Workload's recorded accumulates.",
    )

    def price(self, layer: Layer, workload: Workload) -> Priced | None:
        """Price recorded accumulates; see `Convention.price`."""
        skipped = any(layer is other for other in _skipped(workload))
        if skipped or not accumulates_only(layer) or layer.driven_by == "weight":
            return None
        acs = layer.acs / workload.batch
        return Priced(0.0, acs, ((acs, self.fp32_ac),), "AC: executed, borders exact")

    def remarks(self, workload: Workload) -> tuple[str, ...]:
        """Name the layers that shift."""
        return shifting(workload)


def _skipped(workload: Workload) -> list[Layer]:
    """Return the stem and the classifier: the first weighted layer, and the last layer if it is linear."""
    synaptic = list(workload.synaptic_layers())
    stem = next((layer for layer in synaptic if layer.operator != "matmul"), None)
    classifier = synaptic[-1] if synaptic and synaptic[-1].operator == "linear" else None
    return [layer for layer in (stem, classifier) if layer is not None]
