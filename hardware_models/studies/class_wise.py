"""One network in the place of which several devices each run a thinned one for a part of the classes.

The features that the devices find are sent to one more, where a small network fuses them to an answer (ED-ViT,
arXiv:2410.11650). With device d's estimate, its link and the fusion's estimate:

    energy     = sum over d of (energy of d + bits of its features x energy per bit) + energy of the fusion
    latency    = max over d of (latency of d + time of a message + bits / bandwidth) + latency of the fusion
    throughput = 1 / the slowest device, link or fusion
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hardware_models.chip import Chip
from hardware_models.engine import Question, Run
from hardware_models.errors import InputError
from hardware_models.estimate import Estimate, estimate
from hardware_models.studies.joined_costs import all_known, throughput, what_estimates_say
from hardware_models.studies.links import Link
from hardware_models.totals import Floats
from hardware_models.whole_numbers import whole_numbers
from hardware_models.workload import Workload

ASSUMPTIONS: Final = (
    "Every device has a link of its own to the one that fuses, which waits for the last of them.",
    "A device sends the result of its last layer once for an inference, as one message.",
    "That the input reaches every device is not counted.",
)


@dataclass(frozen=True, eq=False)
class ClassWiseSplit:
    """Several thinned networks and what fuses them; `[3]` is value, low and high, every figure at its end at once.

    Attributes:
        devices: what each thinned network costs on its chip.
        fusion: what fusing costs.
        feature_bits: that each device sends.
        energy_j: joules of one inference, `[3]`; None where a chip or link does not tell.
        latency_s: seconds of one inference, `[3]`, in the same way.
        throughput_per_s: inferences in a second with all at work, `[3]`, in the same way.
        refused: questions whose answer is None, with the reason.
        assumptions: one sentence each.
    """

    devices: tuple[Estimate, ...]
    fusion: Estimate
    feature_bits: tuple[float, ...]
    energy_j: Floats | None
    latency_s: Floats | None
    throughput_per_s: Floats | None
    refused: dict[Question, str]
    assumptions: tuple[str, ...]


def class_wise_split(
    networks: Sequence[Workload],
    chips: Sequence[Chip],
    links: Link | Sequence[Link],
    fusion: Workload,
    fusion_chip: Chip,
    bits_per_feature: int = 32,
    run: Run | None = None,
) -> ClassWiseSplit:
    """Return what `networks`, one on each of `chips`, and the network that fuses their features cost together.

    Args:
        networks: the thinned networks; the features of each are the result of its last layer in one timestep.
        chips: one for each network.
        links: one for each network, or one kind for all.
        fusion: reads all features as the input of its first layer.
        fusion_chip: where it runs.
        bits_per_feature: width in which a feature is sent.
        run: how each network is executed; None for timesteps in batches.

    Raises:
        InputError: a wrong number of chips or links; features that are not as many as the fusion reads; a chip that
            cannot run its network, or runs only a part of it.
    """
    links = (links,) * len(networks) if isinstance(links, Link) else tuple(links)
    if not networks or not len(networks) == len(chips) == len(links):
        raise InputError(
            f"{len(networks)} networks, {len(chips)} chips and {len(links)} links were given; give one of each for "
            "every device."
        )
    width = int(whole_numbers("bits_per_feature", bits_per_feature))
    features = [network.layers[-1].out_elements for network in networks if network.layers]
    _check_fusion(sum(features), fusion)
    devices = [_whole(network, chip, run) for network, chip in zip(networks, chips, strict=True)]
    last = _whole(fusion, fusion_chip, run)
    bits = [float(count * width) for count in features]
    refused: dict[Question, str] = {}
    pairs = list(zip(links, bits, strict=True))
    energies = all_known("energy", [*devices, last], [(link, _energy(link, size)) for link, size in pairs], refused)
    times = all_known("latency", [*devices, last], [(link, _latency(link, size)) for link, size in pairs], refused)
    return ClassWiseSplit(
        devices=tuple(devices),
        fusion=last,
        feature_bits=tuple(bits),
        energy_j=None if energies is None else energies.sum(axis=0),
        latency_s=None if times is None else _slowest_then_fused(times, len(devices)),
        throughput_per_s=None if times is None else throughput(times),
        refused=refused,
        assumptions=(*ASSUMPTIONS, *what_estimates_say([*devices, last])),
    )


def _slowest_then_fused(times: Floats, devices: int) -> Floats:
    """Seconds from `[devices, fusion, links]` by 3."""
    arrived: Floats = (times[:devices] + times[devices + 1 :]).max(axis=0)
    return arrived + times[devices]


def _check_fusion(features: int, fusion: Workload) -> None:
    bounds = fusion.layers[0].bounds if fusion.layers else None
    if bounds is None:
        raise InputError(f"{fusion.name!r} does not begin with a convolution or product; give one that reads features.")
    read = bounds.in_channels * math.prod(bounds.in_size)
    if read != features:
        raise InputError(f"{fusion.name!r} reads {read} features but the devices send {features}; give as many.")


def _whole(network: Workload, chip: Chip, run: Run | None) -> Estimate:
    """The estimate of a network of which the chip runs every product."""
    found = estimate(network, chip, run)
    left = next((layer.name for layer in network.synaptic_layers() if layer.name in found.left_out), None)
    if left is not None:
        raise InputError(
            f"chip {chip.name!r} does not run {left!r} of {network.name!r} ({found.left_out[left]}); give another chip."
        )
    return found


def _energy(link: Link, bits: float) -> Floats | None:
    return link.energy_j(bits) if "energy_per_bit" in link.figures else None


def _latency(link: Link, bits: float) -> Floats | None:
    known = {"bandwidth", "latency_per_message"} <= set(link.figures)
    return np.asarray(link.latency_s(bits, 1)) if known else None
