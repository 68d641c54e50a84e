"""Products of spikes: with weights, and with each other."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neuro.bench.case import Case, Contender, Work
from neuro.bench.neurons import plain_loop
from neuro.bench.setting import Setting
from neuro.kernels import sdsa
from neuro.kernels.spike_linear import spike_linear
from neuro.neurons import LIF

HEADS = (4, 32, 8, 196, 32)
"""`[T, B, heads, N, d]` of the attention: stage 3 of Meta-SpikeFormer 15m at 224x224."""

DENSITY = 0.2


def gemm_cases(setting: Setting) -> Iterator[Case]:
    """Spikes times int8 weights, exact, against fp32."""
    torch.manual_seed(0)
    spikes = (torch.rand(1024, 512, device=setting.device) < DENSITY).float()
    weight = torch.randint(-127, 128, (512, 512), dtype=torch.int8, device=setting.device)
    dense = weight.float()
    packed = spikes.to(torch.int8)
    yield Case("spikes x int8, [1024, 512] x [512, 512]", lambda: spike_linear(packed, weight), [
        Contender("fp32 matmul", lambda: spikes @ dense.T, goal=setting.goal(8.0)),
    ])  # fmt: skip


def sdsa_cases(setting: Setting) -> Iterator[Case]:
    """SDSA-3 with its neuron, inference, channels before tokens in memory as convolutions leave them."""
    torch.manual_seed(0)
    *outer, tokens, width = HEADS
    q, k, v = (
        (torch.rand(*outer, width, tokens, device=setting.device) < DENSITY).to(setting.dtype).transpose(-2, -1)
        for _ in range(3)
    )
    goal = setting.goal
    compiled = torch.compile(attention)
    yield Case("SDSA-3 + LIF inference", lambda: fused_attention(q, k, v), [
        Contender("the operators, eager", _unrecorded(lambda: attention(q, k, v)), goal=goal(None, 4.0)),
        Contender("the operators, torch.compile", _unrecorded(lambda: compiled(q, k, v)), goal=goal(None, 2.0)),
    ])  # fmt: skip


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """SDSA-3 by its operators."""
    return plain_loop(q @ (k.transpose(-2, -1) @ v) * 0.25)


def fused_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same in one kernel."""
    neuron = LIF()
    assert isinstance(neuron.v_threshold, float)
    constants = sdsa.Neuron(neuron.v_threshold, neuron.v_reset, neuron.tau, neuron.decay_input, True)
    return sdsa.sdsa(q, k, v, constants, 3, 0.25)[0]


def _unrecorded(work: Work) -> Work:
    def run() -> None:
        with torch.no_grad():
            work()

    return run
