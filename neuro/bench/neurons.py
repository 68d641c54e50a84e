"""Neurons, alone and behind BatchNorm and shortcut, T = 4: fp32 on a CPU, bf16 on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from neuro.bench import peers
from neuro.bench.case import Case, Contender, Work
from neuro.bench.setting import Setting
from neuro.kernels import lif
from neuro.kernels.norm_lif import Norm, norm_lif, update_running
from neuro.neurons import LIF
from neuro.neurons.functional import lif_step

SHAPE = (4, 32, 256, 14, 14)
"""`[T, B, C, H, W]`."""

NormalizedNeuron = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Spikes and sum of an input and its shortcut."""


def lif_cases(setting: Setting) -> Iterator[Case]:
    """LIF: training, inference, and inference with packed output."""
    torch.manual_seed(0)
    x = torch.randn(SHAPE, device=setting.device, dtype=setting.dtype)
    ours, goal = LIF(), setting.goal
    compiled = torch.compile(plain_loop)
    # Training reads x and writes s, then reads x and ds and writes dx; a copy reads and writes.
    yield Case("LIF forward + backward", trained(ours, x), [
        peers.contender("SpikingJelly", "spikingjelly", lambda: trained(_spikingjelly(setting), x), goal(8.0, 2.0)),
        peers.contender("snnTorch", "snntorch", lambda: trained(peers.run_snntorch(), x), goal(10.0)),
        Contender("torch.compile of the plain loop", trained(compiled, x)),
        Contender("copy of as many bytes", _copied(x, 5 / 2), goal=goal(None, 0.8)),
    ])  # fmt: skip
    yield Case("LIF inference", _inferred(ours, x), [
        peers.contender("SpikingJelly", "spikingjelly", lambda: _inferred(_spikingjelly(setting), x), goal(10.0, 4.0)),
        Contender("copy of the same bytes", _copied(x, 1), goal=goal(0.7)),
    ])  # fmt: skip
    constants = ours.fire_reset, ours.tau, ours.decay_input
    yield Case("LIF inference, packed output", lambda: lif.multi_step_packed(x, None, *constants), [
        Contender("torch.compile of the plain loop, dense output", _inferred(compiled, x), goal=goal(None, 1.3)),
    ])  # fmt: skip


def norm_lif_cases(setting: Setting) -> Iterator[Case]:
    """BatchNorm + shortcut + LIF, gradients of x, shortcut, weight and bias; the sum is kept for the next shortcut."""
    torch.manual_seed(0)
    x, residual, grad_s, grad_h = (torch.randn(SHAPE, device=setting.device, dtype=setting.dtype) for _ in range(4))
    channels, goal = SHAPE[2], setting.goal

    def step(way: NormalizedNeuron) -> Work:
        def work() -> None:
            leaves = [x.detach().requires_grad_(), residual.detach().requires_grad_()]
            torch.autograd.backward(list(way(*leaves)), [grad_s, grad_h])

        return work

    def with_theirs() -> Work:
        return step(Layers(channels, _spikingjelly(setting)).to(setting.device))

    plain = Layers(channels, plain_loop).to(setting.device)
    yield Case("BatchNorm + shortcut + LIF, forward + backward", step(Fused(channels).to(setting.device)), [
        Contender("the layers, eager", step(plain)),
        Contender("the layers, torch.compile", step(torch.compile(plain)), goal=goal(1.5)),
        peers.contender("BatchNorm and SpikingJelly", "spikingjelly", with_theirs, goal(None, 2.0)),
    ])  # fmt: skip


class Layers(nn.Module):
    """BatchNorm, shortcut and neuron as layers."""

    def __init__(self, channels: int, neuron: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.neuron = neuron

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        h = self.bn(x.flatten(0, 1)).unflatten(0, x.shape[:2]) + residual
        return self.neuron(h), h


class Fused(nn.Module):
    """The same in one operator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        lif_ = LIF()
        self.constants = lif.Neuron(lif_.fire_reset, lif_.tau, lif_.decay_input)

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        bn = self.bn
        found = norm_lif(x, Norm(bn.weight, bn.bias, None, None, bn.eps), self.constants, residual, keep_sum=True)
        assert bn.running_mean is not None
        assert bn.running_var is not None
        update_running(bn.running_mean, bn.running_var, found, x.numel() // x.shape[2], 0.1)
        assert found.h is not None
        return found.s, found.h


def plain_loop(x: Tensor) -> Tensor:
    """LIF stepped by its equations, as `torch.compile` gets it."""
    neuron = LIF()
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in x.unbind(0):
        s, v = lif_step(x_t, v, neuron.fire_reset, neuron.tau, neuron.decay_input)
        spikes.append(s)
    return torch.stack(spikes)


def trained(neuron: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    """Return forward and backward through `neuron`."""
    leaf = x.clone().requires_grad_()
    grad = torch.ones_like(x)

    def work() -> None:
        leaf.grad = None
        neuron(leaf).backward(grad)

    return work


def _spikingjelly(setting: Setting) -> peers.Run:
    return peers.run_spikingjelly(peers.spikingjelly_lif().to(setting.device))


def _inferred(neuron: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    def work() -> None:
        with torch.no_grad():
            neuron(x)

    return work


def _copied(x: Tensor, times: float) -> Work:
    """Return a copy that reads and writes `times` as many bytes as a copy of x, into memory that is there."""
    source = torch.ones(int(x.numel() * times), dtype=x.dtype, device=x.device)
    out = source.clone()
    return lambda: out.copy_(source)
