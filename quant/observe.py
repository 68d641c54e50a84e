"""What values a network's quantizers meet, and their ranges chosen from that."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hardware_models.errors import InputError
from quant.network import WEIGHTS, QuantizedNetwork
from quant.quantizers import Quantizer, Spikes
from quant.ranges import RangeMethod

_MOST_VALUES = 1 << 16
"""Values of one quantizer that are kept; of more, every n-th."""


class CalibrationWarning(UserWarning):
    """Data that cannot tell what range a value has."""


@torch.no_grad()
def initialise(
    network: QuantizedNetwork,
    batches: Iterable[tuple[Tensor, ...]],
    method: RangeMethod = "mse",
    percentile: float = 99.99,
) -> list[str]:
    """Choose every activation's range from data, in the order of the network: each quantizer sees quantized values.

    Args:
        network: with quantizers; runs in evaluation mode, and is left in the mode it is in.
        batches: inputs, each `[B, ...]`.
        method: how a range is chosen, see `quant.ranges`.
        percentile: of that method.

    Returns:
        Names of quantizers that met zeros alone and keep the scale 1; a `CalibrationWarning` names them too.

    Raises:
        InputError: no batches, inputs that are constant, or NaN among the values.
    """
    training = network.training
    network.eval()
    seen: dict[str, list[Tensor]] = {}
    count = 0
    try:
        with _observed(network, seen, method, percentile):
            for batch in batches:
                _check(batch)
                network(*batch)
                count += 1
    finally:
        network.train(training)
    if not count:
        raise InputError("there are no data to calibrate with; give at least one batch.")
    silent = [name for name, values in seen.items() if not any(bool(x.any()) for x in values)]
    if silent:
        some = ", ".join(silent[:3]) + (f" and {len(silent) - 3} more" if len(silent) > 3 else "")
        warnings.warn(f"{some} met zeros alone and keep the scale 1.", CalibrationWarning, stacklevel=2)
    return silent


def _check(batch: tuple[Tensor, ...]) -> None:
    for x in batch:
        if x.is_floating_point() and x.numel() > 1 and bool((x == x.flatten()[0]).all()):
            raise InputError(
                f"an input of shape {list(x.shape)} is {float(x.flatten()[0]):g} everywhere, which tells no range; "
                "calibrate with real samples."
            )


@contextmanager
def _observed(
    network: QuantizedNetwork, seen: dict[str, list[Tensor]], method: RangeMethod, percentile: float
) -> Iterator[None]:
    def before(name: str, quantizer: Quantizer) -> object:
        def note(_: object, args: tuple[Tensor, ...]) -> None:
            values = seen.setdefault(name, [])
            values.append(_few(args[0], quantizer))
            if len(values) > 8:  # fold what was kept into one, thinned
                values[:] = [_thinned(torch.cat(values, 0), _MOST_VALUES)]
            try:
                quantizer.initialise(torch.cat(values, 0), method, percentile)
            except InputError as error:
                raise InputError(f"{name}: {error}") from error

        return quantizer.register_forward_pre_hook(note)

    handles = [before(name, one) for name, one in network.quantizers().items() if not name.startswith(WEIGHTS)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]


def _few(x: Tensor, quantizer: Quantizer) -> Tensor:
    """Values in a shape that the quantizer's `initialise` takes."""
    if isinstance(quantizer, Spikes):  # what a neuron integrates is the mean over time of what flows in
        x = x.unflatten(0, (quantizer.timesteps, -1)).mean(0) if quantizer.batch_axis == 0 else x
    return _thinned(x.detach().flatten(), _MOST_VALUES // 8)


def _thinned(values: Tensor, most: int) -> Tensor:
    """Every n-th value, with the least and the greatest; n is odd, so as not to meet the same channels only."""
    if values.numel() <= most:
        return values
    return torch.cat([values[:: values.numel() // most | 1], values.amin().view(1), values.amax().view(1)])
