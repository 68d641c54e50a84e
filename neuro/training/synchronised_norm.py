"""BatchNorm whose statistics are those of the batch of all processes, on the CPU too."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Norm = TypeVar("Norm", bound=_BatchNorm)


class _Total(torch.autograd.Function):
    """The sum over processes; so is the gradient of what was summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SynchronisedBatchNorm(_BatchNorm):
    """In training, mean and variance over the samples of all processes; else a BatchNorm like any other.

        m = sum x / N,   s^2 = sum (x - m)^2 / N,   y = (x - m) / sqrt(s^2 + eps) g + b

    N counts all processes' samples. The gradient runs through both sums, over the processes too. (torch's own
    SyncBatchNorm takes tensors on a GPU alone.)

    Args:
        plain: what it is without other processes.
        given: of any BatchNorm.
    """

    def __init__(self, *given: Any, plain: type[_BatchNorm] = nn.BatchNorm2d, **named: Any) -> None:
        super().__init__(*given, **named)
        self.plain = plain

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`, `[N, C, ...]`."""
        if not self.training:
            return super().forward(x)
        others = [axis for axis in range(x.dim()) if axis != 1]
        count = x.new_tensor(x.numel() / x.shape[1], dtype=torch.float64)
        dist.all_reduce(count)
        total = count.to(torch.float32)
        wide = x.float()
        mean = _total(wide.sum(others)) / total
        shape = [1, -1, *[1] * (x.dim() - 2)]
        centred = wide - mean.view(shape)
        variance = _total(centred.square().sum(others)) / total
        self._track(mean.detach(), variance.detach(), float(count))
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Move the running statistics as BatchNorm does: the variance without bias."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / max(count - 1, 1)).to(self.running_var.dtype), share)

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"expected [N, C, ...], got {tuple(x.shape)}")


def _total(x: Tensor) -> Tensor:
    total: Tensor = _Total.apply(x)
    return total


def synchronise(model: nn.Module) -> None:
    """Make every BatchNorm of `model` a synchronised one, in place; parameters and statistics stay the same tensors."""
    for name, one in list(model.named_modules()):
        if isinstance(one, _BatchNorm) and not isinstance(one, SynchronisedBatchNorm):
            model.set_submodule(name, _with_state(SynchronisedBatchNorm, one, plain=type(one)))


def restore(model: nn.Module) -> None:
    """Make every synchronised BatchNorm of `model` what it was before, in place."""
    for name, one in list(model.named_modules()):
        if isinstance(one, SynchronisedBatchNorm):
            model.set_submodule(name, _with_state(one.plain, one))


def _with_state(kind: type[Norm], norm: _BatchNorm, **more: Any) -> Norm:
    """A BatchNorm of a kind that holds the tensors of another."""
    made = kind(norm.num_features, norm.eps, norm.momentum, affine=False, **more)
    made.affine, made.weight, made.bias = norm.affine, norm.weight, norm.bias
    made.track_running_stats, made.num_batches_tracked = norm.track_running_stats, norm.num_batches_tracked
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    return made.train(norm.training)
