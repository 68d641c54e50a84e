"""`profile`: from a torch module and a batch to a Workload."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hardware_models.errors import InputError
from hardware_models.workload import Workload
from neuro.profiling.build import build_workload
from neuro.profiling.peers import evaluated_at_rest, is_neuron
from neuro.profiling.watch import Watcher


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
        time_first: whether the batch's first axis is time; by default true for five axes, `[T, B, C, H, W]`,
            unless the network holds 3-d convolutions.
        name: of the Workload; the class's name by default.

    Returns:
        A Workload whose counts are sums over the B samples.

    Raises:
        InputError: an empty batch, a T that does not fit, parameters without data, or an operator whose inner
            products cannot be seen.
    """
    if time_first is None:
        time_first = batch.dim() == 5 and not any(isinstance(m, nn.Conv3d) for m in model.modules())
    steps = _timesteps(model, batch, timesteps, time_first)
    samples = batch.shape[1] if time_first else batch.shape[0]
    if batch.numel() == 0 or samples == 0:
        raise InputError(f"the batch to profile has shape {tuple(batch.shape)}; give at least one sample.")
    if any(p.is_meta for p in model.parameters()):
        raise InputError("the model's parameters are on the meta device; profiling measures values, so load weights.")
    watcher = Watcher(model, steps, samples)
    with (
        evaluated_at_rest(model),
        _plain_attention(),
        torch.random.fork_rng(_devices(batch)),
        torch.no_grad(),
        _refusals(watcher),
        watcher.watching(batch, steps if time_first else 1),
    ):
        model(batch)
    return build_workload(name or type(model).__name__, watcher.calls, steps, samples)


@contextmanager
def _refusals(watcher: Watcher) -> Iterator[None]:
    """Raise what the watcher refused, even where the network or scripted code caught it."""
    try:
        yield
    except Exception as error:
        if watcher.refusal is None or error is watcher.refusal:
            raise
        raise watcher.refusal from error
    if watcher.refusal is not None:
        raise watcher.refusal


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without its fast path, the encoder layer dispatches its products one by one; without a fused kernel, so does
    attention itself, and both operands of its second product are seen."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _devices(batch: Tensor) -> list[torch.device]:
    """The devices whose random numbers the network may draw, besides the processor's."""
    return [] if batch.device.type == "cpu" else [batch.device]


def _timesteps(model: nn.Module, batch: Tensor, timesteps: int | None, time_first: bool) -> int:
    found = batch.shape[0] if time_first else getattr(model, "timesteps", None)
    if timesteps is not None and time_first and timesteps != found:
        raise InputError(f"timesteps={timesteps} but the time-first batch has T={found}; give one of them.")
    steps = timesteps if timesteps is not None else found
    if steps is None and any(map(is_neuron, model.modules())):
        raise InputError(
            "the network has spiking neurons but no number of timesteps is known; call profile(model, batch, "
            "timesteps=T)."
        )
    if steps is not None and steps < 1:
        raise InputError(f"timesteps was {steps}; give a whole number of at least 1.")
    return int(steps or 1)
