"""Independent truths: counting by explicit loops, one output and one tap at a time, and small helpers."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from hardware_models.workload import Layer, Workload
from neuro.profiling import profile


def spikes(*shape: int, density: float = 0.4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(shape, generator=generator) < density).float()
    x.view(-1)[0] = 1  # never silent
    return x


def counts(*shape: int, highest: int = 3, seed: int = 0) -> Tensor:
    """Integer spikes 0..highest, with a 1 among them so that the unit is 1."""
    x = torch.randint(highest + 1, shape, generator=torch.Generator().manual_seed(seed)).float()
    x.view(-1)[0] = 1
    return x


def only(workload: Workload, operator: str) -> Layer:
    found = [layer for layer in workload.layers if layer.operator == operator]
    assert len(found) == 1, [layer.name for layer in workload.layers]
    return found[0]


def layer(workload: Workload, name: str) -> Layer:
    return next(found for found in workload.layers if found.name == name)


def profiled_layer(module: nn.Module, x: Tensor, operator: str, **kwargs) -> Layer:
    return only(profile(module, x, **kwargs), operator)


def conv_accumulates(module: nn.Module, x: Tensor) -> int:
    """Go through every output, tap and input channel of a convolution (1-d to 3-d) and add up |spikes| there."""
    axes = x.dim() - 2
    out_size = module(x).shape[2:]
    per_group_in = module.in_channels // module.groups
    per_group_out = module.out_channels // module.groups
    total = 0
    for group in range(module.groups):
        block = x[:, group * per_group_in : (group + 1) * per_group_in].abs()
        for where in itertools.product(*map(range, out_size)):
            for tap in itertools.product(*map(range, module.kernel_size)):
                at = [
                    where[a] * module.stride[a] + tap[a] * module.dilation[a] - module.padding[a] for a in range(axes)
                ]
                if all(0 <= at[a] < x.shape[2 + a] for a in range(axes)):
                    total += int(block[(slice(None), slice(None), *at)].sum()) * per_group_out
    return total


def transposed_accumulates(module: nn.Module, x: Tensor) -> int:
    """The same for a transposed convolution: every input spike writes through every tap that lands inside."""
    axes = x.dim() - 2
    out_size = module(x).shape[2:]
    per_group_out = module.out_channels // module.groups
    total = 0
    for where in itertools.product(*map(range, x.shape[2:])):
        here = int(x[(slice(None), slice(None), *where)].abs().sum())
        for tap in itertools.product(*map(range, module.kernel_size)):
            to = [where[a] * module.stride[a] + tap[a] * module.dilation[a] - module.padding[a] for a in range(axes)]
            if all(0 <= to[a] < out_size[a] for a in range(axes)):
                total += here * per_group_out
    return total


def by_ones(module: nn.Module, x: Tensor) -> int:
    """The sum of an all-ones convolution of |x|: each spike once for every output that it reaches."""
    ones = type(module)(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        module.padding,
        groups=module.groups,
        dilation=module.dilation,
        bias=False,
        dtype=torch.float64,
    )
    nn.init.ones_(ones.weight)
    with torch.no_grad():
        return round(float(ones(x.abs().double()).sum()))
