"""BatchNorm, membrane shortcut and neuron in one operator: what lies between two convolutions of a network.

Layer after layer writes and reads the normalised tensor and the sum. Here the input is read, and only what is needed
is written. In bytes per neuron and timestep, fp32 (half in 16 bits), without the last potential's 4/T:

                                    here                       BatchNorm | shortcut | neuron
    inference                       4 + 4                      4 + 4 |             | 4 + 4
      with shortcut                 8 + 8                      4 + 4 | 8 + 4       | 4 + 4
    training, forward               4 (+ 4) + 4                8 + 4 |             | 4 + 4
      with shortcut                 8 (+ 4) + 8                8 + 4 | 8 + 4       | 4 + 4
    training, backward              8 (+ 8) + 4                16 + 4 |            | 8 + 4
      with shortcut                 16 (+ 8) + 8               16 + 4 | 8 + 4      | 8 + 4

Reads + writes. What stands in parentheses is read from the cache where a tensor is contiguous, since its channels are
finished a few at a time, and from memory where it is channels-last. Nothing is kept for backward but x and, with
a shortcut, the sum, which is the next shortcut anyway.

Given the same statistics, spikes and sums on the CPU equal those of `nn.BatchNorm2d`, addition and neuron bit for bit
in every dtype. Statistics of the batch are summed in double precision and rounded once; torch's agree to 1e-6 relative,
so a potential within that of the threshold may fire in one and not in the other. Gradients in fp32 agree with those in
double precision, where the spikes do, to 1e-6 of the largest of the tensor for T <= 8 (2e-6 at T = 16, where potentials
have added up), and to 1e-6 absolute where the largest is below 1: sums in which incoming gradients of about 1 cancel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hardware_models.errors import InputError
from neuro.kernels.lif.settings import IntegerNeuron, Neuron
from neuro.kernels.norm_lif.dispatch import choose, run
from neuro.kernels.norm_lif.reference import Norm, Output

__all__ = ["Norm", "Output", "norm_lif", "update_running"]


def norm_lif(
    x: Tensor,
    norm: Norm | None,
    neuron: Neuron | IntegerNeuron,
    residual: Tensor | None = None,
    v: Tensor | None = None,
    keep_sum: bool = False,
) -> Output:
    """Run BatchNorm, shortcut and neuron over all timesteps; equations in `reference`.

    Args:
        x: input `[T, B, C, ...]`. Contiguous and channels-last are taken as they are, others are copied.
        norm: BatchNorm's parameters and statistics, `[C]` each; None for shortcut and neuron alone. Statistics are
            those of this process: synchronised BatchNorm is not among them.
        neuron: the neuron.
        residual: the shortcut, added to the normalised x; of x's shape and dtype.
        v: potential before the first step, `[B, C, ...]` or what expands to it; None for the resting potential.
        keep_sum: return the sum of both, which the next shortcut needs.

    Raises:
        InputError: shapes or dtypes do not fit, or statistics of a single value are asked for.
    """
    _check(x, norm, residual, v)
    v = None if v is None else v.expand(x.shape[1:])
    return run(choose(x, neuron), x, norm, neuron, residual, v, keep_sum)


@torch.no_grad()
def update_running(running_mean: Tensor, running_var: Tensor, found: Output, count: int, momentum: float) -> None:
    """Move running statistics towards those of a batch of `count` values a channel, as `nn.BatchNorm2d` does."""
    assert found.mean is not None
    assert found.var is not None
    running_mean.copy_(momentum * found.mean + (1 - momentum) * running_mean)
    unbiased = found.var * (count / (count - 1))
    running_var.copy_(momentum * unbiased + (1 - momentum) * running_var)


def _check(x: Tensor, norm: Norm | None, residual: Tensor | None, v: Tensor | None) -> None:
    if x.dim() < 3 or x.shape[0] == 0:
        raise InputError(f"norm_lif was given x of shape {tuple(x.shape)}; give [T, B, C, ...] with T at least 1.")
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        raise InputError(
            f"norm_lif was given a residual {tuple(residual.shape)} of {residual.dtype} for x {tuple(x.shape)} of "
            f"{x.dtype}; give the same of both."
        )
    if v is not None and not _expands(v, x.shape[1:]):
        raise InputError(f"norm_lif was given a potential {tuple(v.shape)} for x {tuple(x.shape)}; give [B, C, ...].")
    if norm is None:
        return
    for name, value in norm._asdict().items():
        if isinstance(value, Tensor) and value.shape != x.shape[2:3]:
            raise InputError(f"norm_lif was given {name} of shape {tuple(value.shape)} for {x.shape[2]} channels.")
    if (norm.mean is None) != (norm.var is None):
        raise InputError("norm_lif was given only one of mean and var; give both, or neither for the batch's own.")
    if norm.mean is None and 0 < x.numel() <= x.shape[2]:
        raise InputError(
            f"norm_lif was given one value a channel, x {tuple(x.shape)}, which has no variance; give more."
        )


def _expands(v: Tensor, shape: torch.Size) -> bool:
    return v.dim() == len(shape) and all(m in (1, n) for m, n in zip(v.shape, shape, strict=True))
