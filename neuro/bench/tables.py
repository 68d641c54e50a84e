"""The tables of `neuro bench`: what is compared with what, and the ratio asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from neuro.bench import peers
from neuro.bench.case import Case, Contender, Result, Work, run
from neuro.neurons import LIF

SHAPE = (4, 32, 256, 14, 14)
"""`[T, B, C, H, W]` of the neuron's table."""


def measure(names: list[str], rounds: int, device: str) -> Iterator[Result]:
    """Yield the results of the named tables, each as soon as it is there."""
    for name in names:
        for case in TABLES[name](device):
            yield from run(case, rounds)


def lif_tables(device: str) -> Iterator[Case]:
    """LIF, T = 4, fp32: training and inference."""
    torch.manual_seed(0)
    x = torch.randn(SHAPE, device=device)
    ours = LIF()
    yield Case("LIF forward + backward", _trained(ours, x), [
        _peer("SpikingJelly", "spikingjelly", lambda: _trained(_spikingjelly(device), x), 8.0),
        _peer("snnTorch", "snntorch", lambda: _trained(peers.run_snntorch(), x), 10.0),
    ])  # fmt: skip
    out = torch.empty_like(x)
    yield Case("LIF inference", _inferred(ours, x), [
        _peer("SpikingJelly", "spikingjelly", lambda: _inferred(_spikingjelly(device), x), 10.0),
        Contender("copy of the same bytes", lambda: out.copy_(x), goal=0.7),
    ])  # fmt: skip


def gemm_tables(device: str) -> Iterator[Case]:
    """Spikes times int8 weights, exact, against fp32."""
    from neuro.kernels.spike_linear import spike_linear

    torch.manual_seed(0)
    spikes = (torch.rand(1024, 512, device=device) < 0.2).float()
    weight = torch.randint(-127, 128, (512, 512), dtype=torch.int8, device=device)
    dense = weight.float()
    packed = spikes.to(torch.int8)
    yield Case("spikes x int8, [1024, 512] x [512, 512]", lambda: spike_linear(packed, weight), [
        Contender("fp32 matmul", lambda: spikes @ dense.T, goal=8.0),
    ])  # fmt: skip


TABLES: Mapping[str, Callable[[str], Iterator[Case]]] = {"lif": lif_tables, "gemm": gemm_tables}
"""The tables by name."""


def _peer(name: str, package: str, make: Callable[[], Work], goal: float) -> Contender:
    reason = peers.missing(package)
    return Contender(name, None if reason else make(), reason, goal)


def _spikingjelly(device: str) -> peers.Run:
    return peers.run_spikingjelly(peers.spikingjelly_lif().to(device))


def _trained(neuron: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    """Return forward and backward through `neuron`."""
    leaf = x.clone().requires_grad_()
    grad = torch.ones_like(x)

    def work() -> None:
        leaf.grad = None
        neuron(leaf).backward(grad)

    return work


def _inferred(neuron: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    def work() -> None:
        with torch.no_grad():
            neuron(x)

    return work
