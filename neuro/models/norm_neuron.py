"""A convolution's BatchNorm, the shortcut and the neuron behind them, as one kernel where nobody watches them.

`normalized` is `neuron(layer(x))`, `shortcut` is `neuron(residual + layer(x))`. Where the neuron is an IF or LIF in
multi-step mode and a compiled kernel serves it, all behind the convolution is one pass over memory
(`neuro.kernels.norm_lif`); BatchNorm's running statistics and the neuron's potential end up where the modules would
leave them. Modules run one by one for other neurons and BatchNorms, and while a hook on one of them, or a
`TorchDispatchMode` (a profiler, a flop counter), would miss what it came for. What stands against one pass in the
modules themselves is logged once (logger `neuro.kernels`).
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn

from neuro.kernels.dispatch import LOGGER
from neuro.kernels.lif import Neuron
from neuro.kernels.norm_lif import Norm, Output, norm_lif, update_running
from neuro.kernels.norm_lif.dispatch import choose
from neuro.kernels.watching import is_watched
from neuro.models.reparameterize import NormalizedConv
from neuro.neurons import IF, LIF

_told: set[tuple[str, str, torch.dtype]] = set()


def each_step(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a stateless `[N, C, H, W]` layer to every timestep of `[T, B, C, H, W]`."""
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def normalized(layer: nn.Module, neuron: nn.Module, x: Tensor) -> Tensor:
    """Return the spikes `neuron(layer(x))`; `x` is `[T, B, C, H, W]`, `layer` a convolution, normalised or not."""
    if is_watched(neuron, *_parts(layer)):
        return neuron(each_step(layer, x))
    y, bn = _convolved(layer, x)
    if bn is not None and _fits(neuron, y, bn):
        return _fused(y, bn, neuron).s
    return neuron(_normed(y, bn))


def shortcut(layer: nn.Module, neuron: nn.Module, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Return the spikes `neuron(h)` and the sum `h = residual + layer(x)`, which is the next shortcut."""
    if is_watched(neuron, *_parts(layer)):
        h = residual + each_step(layer, x)
        return neuron(h), h
    y, bn = _convolved(layer, x)
    if residual.shape == y.shape and residual.dtype == y.dtype and _fits(neuron, y, bn):
        found = _fused(y, bn, neuron, residual)
        assert found.h is not None
        return found.s, found.h
    h = residual + _normed(y, bn)
    return neuron(h), h


def _parts(layer: nn.Module) -> tuple[nn.Module, ...]:
    return (layer, layer.bn) if isinstance(layer, NormalizedConv) else (layer,)


def _convolved(layer: nn.Module, x: Tensor) -> tuple[Tensor, nn.BatchNorm2d | None]:
    """What comes out of the convolution, and the BatchNorm that is still to come."""
    if not isinstance(layer, NormalizedConv):
        return each_step(layer, x), None
    return layer.before_norm(x.flatten(0, 1)).unflatten(0, x.shape[:2]), layer.bn


def _normed(y: Tensor, bn: nn.BatchNorm2d | None) -> Tensor:
    return y if bn is None else each_step(bn, y)


def _fits(neuron: nn.Module, y: Tensor, bn: nn.BatchNorm2d | None) -> TypeGuard[IF]:
    """Whether a compiled kernel does what the modules would do; if only the modules themselves forbid it, say so."""
    reason = _modules_refuse(neuron, bn)
    if reason:
        _tell(reason, y.device.type, y.dtype)
        return False
    if y.numel() <= (y.shape[2] if bn is not None and _uses_batch(bn) else 0):
        return False  # nothing to compute, or a variance of one value, which the modules refuse
    assert isinstance(neuron, IF)
    return choose(y, _constants(neuron)) != "reference"


def _modules_refuse(neuron: nn.Module, bn: nn.BatchNorm2d | None) -> str:
    """Why no kernel may stand for these modules; empty where one may."""
    if type(neuron) not in (IF, LIF):
        return f"neuron {type(neuron).__name__}"
    assert isinstance(neuron, IF)
    if neuron.step_mode != "m":
        return "the neuron is in single-step mode"
    if bn is not None and type(bn) is not nn.BatchNorm2d:
        return f"{type(bn).__name__} is more than a BatchNorm2d"
    if bn is not None and bn.momentum is None:
        return "BatchNorm with momentum None, whose running mean is that of all batches"
    return ""


@torch.compiler.assume_constant_result
def _tell(reason: str, device: str, dtype: torch.dtype) -> None:
    if (reason, device, dtype) not in _told:
        _told.add((reason, device, dtype))
        LOGGER.info("norm_lif on %s, %s: modules one by one (%s)", device, dtype, reason)


def _uses_batch(bn: nn.BatchNorm2d) -> bool:
    return bn.training or bn.running_mean is None


def _constants(neuron: IF) -> Neuron:
    if isinstance(neuron, LIF):
        return Neuron(neuron.fire_reset, neuron.tau, neuron.decay_input)
    return Neuron(neuron.fire_reset, leak=False)


def _fused(y: Tensor, bn: nn.BatchNorm2d | None, neuron: IF, residual: Tensor | None = None) -> Output:
    keep_sum = residual is not None
    norm = None
    if bn is not None:
        given = (None, None) if _uses_batch(bn) else (bn.running_mean, bn.running_var)
        norm = Norm(bn.weight, bn.bias, *given, bn.eps)
    found = norm_lif(y, norm, _constants(neuron), residual, keep_sum=keep_sum)
    if bn is not None and bn.training and bn.track_running_stats:
        _track(bn, found, y.numel() // y.shape[2])
    neuron.v = found.v.to(y.dtype)
    return found


def _track(bn: nn.BatchNorm2d, found: Output, count: int) -> None:
    if bn.running_mean is None or bn.running_var is None or bn.momentum is None:
        return
    if bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
    update_running(bn.running_mean, bn.running_var, found, count, bn.momentum)
