"""What every form of a network costs under a convention, the quantized ones among them."""

from __future__ import annotations

from collections.abc import Mapping

from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.conventions import Convention, estimate_quantized, rival_bits_of
from hardware_models.workload import Workload
from neuro.records import FormKey


def estimate_forms(
    rules: Convention, workloads: Mapping[str, Workload], inference: FormKey
) -> dict[str, ConventionEstimate]:
    """Estimate each measured form, and two of them as if quantized to as many bits as the spikes carry.

    Args:
        rules: the convention.
        workloads: by form, `float` and `inference` among them.
        inference: the spiking form that inference runs.
    """
    estimates = {form: rules.estimate(workload) for form, workload in workloads.items()}
    bits = rival_bits_of(workloads[inference])
    estimates["quantized"] = estimate_quantized(workloads["float"], bits)
    estimates["spiking-quantized"] = estimate_quantized(workloads[inference], bits)
    return estimates
