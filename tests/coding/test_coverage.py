"""Whatever PyTorch can say converts: the spiking network is the float network, and every product is driven by spikes.

The networks are in `plain_networks.py`; the truth is what the module itself returns.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from plain_networks import CASES, captured
from torch import Tensor

from neuro.coding.calibrate import calibrate
from neuro.coding.network import SpikingNetwork
from neuro.coding.rewrite import Scheme, to_spiking


def leaves(answer: object) -> list[Tensor]:
    """The tensors of an answer, in order."""
    if isinstance(answer, Tensor):
        return [answer]
    return [one for part in answer for one in leaves(part)]  # type: ignore[attr-defined]


def errors(network: SpikingNetwork, inputs: tuple[Tensor, ...], wanted: Tensor) -> list[float]:
    with torch.no_grad():
        outputs = [one for piece in network.over_time(*inputs) for one in piece]
    return [float((one - wanted).norm() / wanted.norm()) for one in outputs]


@pytest.mark.parametrize("name", CASES)
def test_a_network_converts(name: str) -> None:
    case = CASES[name]
    model, inputs = case.make()
    with torch.no_grad():
        wanted = leaves(model(*(x.clone() for x in inputs)))[0]

    ideal = to_spiking(captured(name), Scheme(spikes="ideal"), 3, piece=2)
    assert max(errors(ideal, inputs, wanted)) < 1e-5
    driven = Counter(one.operator for one in ideal.operators if one.kind in ("synapse", "product"))
    assert driven == case.products

    spiking = to_spiking(captured(name), Scheme(levels=14), 24, piece=8)
    calibrate(spiking, [inputs])
    over_time = errors(spiking, inputs, wanted)
    assert over_time[-1] < 1e-2
    assert over_time[-1] <= over_time[0]
