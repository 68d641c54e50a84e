"""`profile`: from a torch module and a batch to a Workload."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.neurons import reset
from neuro.profiling.build import build_workload
from neuro.profiling.watch import Watcher, neuron_types


def profile(
    model: nn.Module,
    batch: Tensor,
    timesteps: int | None = None,
    time_first: bool | None = None,
    name: str | None = None,
) -> Workload:
    """Run `model(batch)` in evaluation mode and measure every operator that depends on the batch.

    Works on any module: operators are watched where they are dispatched, neurons of this project, SpikingJelly,
    snnTorch, Norse and Sinabs are known by their base classes. Neurons are reset before and after, so the
    result does not depend on what ran before.

    Args:
        model: the network; left in the mode it was in.
        batch: input, `[B, ...]`, or `[T, B, ...]` when `time_first`.
        timesteps: T; taken from a time-first batch or from `model.timesteps` when not given, else 1.
        time_first: whether the batch's first axis is time; by default true for five axes, `[T, B, C, H, W]`.
        name: of the Workload; the class's name by default.

    Returns:
        A Workload whose counts are sums over the B samples.

    Raises:
        InputError: an empty batch, a T that does not fit, parameters without data, or an operator whose inner
            products cannot be seen.
    """
    time_first = batch.dim() == 5 if time_first is None else time_first
    steps = _timesteps(model, batch, timesteps, time_first)
    samples = batch.shape[1] if time_first else batch.shape[0]
    if batch.numel() == 0 or samples == 0:
        raise InputError(f"the batch to profile has shape {tuple(batch.shape)}; give at least one sample.")
    if any(p.is_meta for p in model.parameters()):
        raise InputError("the model's parameters are on the meta device; profiling measures values, so load weights.")
    watcher = Watcher(model, steps, samples)
    was_training, fast_path = model.training, torch.backends.mha.get_fastpath_enabled()
    # The fused encoder layer hides its products; without the fast path they are dispatched one by one.
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    reset(model)
    try:
        with torch.no_grad(), watcher.watching(batch, steps if time_first else 1):
            model(batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        model.train(was_training)
        reset(model)
    return build_workload(name or type(model).__name__, watcher.calls, steps, samples)


def _timesteps(model: nn.Module, batch: Tensor, timesteps: int | None, time_first: bool) -> int:
    found = batch.shape[0] if time_first else getattr(model, "timesteps", None)
    if timesteps is not None and time_first and timesteps != found:
        raise InputError(f"timesteps={timesteps} but the time-first batch has T={found}; give one of them.")
    steps = timesteps if timesteps is not None else found
    if steps is None and any(isinstance(m, neuron_types()) for m in model.modules()):
        raise InputError(
            "the network has spiking neurons but no number of timesteps is known; call profile(model, batch, timesteps=T)."
        )
    if steps is not None and steps < 1:
        raise InputError(f"timesteps was {steps}; give a whole number of at least 1.")
    return int(steps or 1)
