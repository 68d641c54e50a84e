"""What the answer after t timesteps costs, to stand beside its accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from hardware_models.conventions import Convention
from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.data.batching import present
from neuro.evaluation.anytime import check_rising
from neuro.profiling import profile


@dataclass(frozen=True)
class Cost:
    """What one inference takes, mean over the profiled samples.

    Attributes:
        spikes: of all neurons.
        firing_rate: spikes per neuron and timestep; None for a network without neurons.
        sops: synaptic operations, spikes times fan-out.
        energy_j: joules under a convention; `energy_low_j` and `energy_high_j` are its band.
    """

    spikes: float
    firing_rate: float | None
    sops: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float


def costs(model: nn.Module, images: Tensor, timesteps: Sequence[int], rules: Convention) -> dict[int, Cost]:
    """Profile `model` once, at the largest T, and return what its first t timesteps cost.

    Widths, and which of two spiking operands drives a product, are those of the whole run (`Workload.until`).

    Args:
        model: takes time-first batches and runs causally in time.
        images: `[B, C, H, W]`, presented in every timestep, or `[T, B, C, H, W]` with the largest T.
        timesteps: rising, such as 1, 2, 4.
        rules: the convention of the energy.

    Raises:
        InputError: `timesteps` that do not rise from at least 1, images of another T or shape, and what profiling
            and the convention refuse.
    """
    check_rising(timesteps)
    workload = profile(model, _time_first(images, timesteps[-1]))
    return {t: cost_of(workload.until(t), rules) for t in timesteps}


def cost_of(workload: Workload, rules: Convention) -> Cost:
    """Return what one inference of a measured network costs under a convention.

    Raises:
        InputError: what the convention refuses.
    """
    estimate = rules.estimate(workload)
    low, high = estimate.energy_band_j
    rate = workload.firing_rate
    return Cost(
        spikes=workload.spikes,
        firing_rate=None if math.isnan(rate) else rate,
        sops=workload.synaptic_operations,
        energy_j=estimate.energy_j,
        energy_low_j=low,
        energy_high_j=high,
    )


def _time_first(images: Tensor, timesteps: int) -> Tensor:
    if images.dim() == 4:
        return present(images, timesteps)
    if images.dim() == 5 and images.shape[0] == timesteps:
        return images
    raise InputError(
        f"the images to profile have the shape {tuple(images.shape)}; give [B, C, H, W], or [T, B, C, H, W] with the "
        f"largest T, {timesteps}."
    )
