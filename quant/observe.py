"""What values a network's quantizers meet, and their ranges chosen from that."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, fx

from hardware_models.errors import InputError
from quant.network import WEIGHTS, QuantizedNetwork, presented
from quant.quantizers import Quantizer, Spikes
from quant.ranges import RangeMethod
from quant.walk import Walk

_MOST_VALUES = 1 << 17
"""Values of one quantizer that are looked at; of more, every n-th."""


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
    walk = Walk(network.layers, [presented(batch, network.timesteps) for batch in checked(batches)])
    ranges = Ranges(network, walk, method, percentile)
    training = network.training
    network.eval()
    try:
        for node in walk.nodes:
            ranges.choose(node)
            walk.compute(node)
    finally:
        network.train(training)
    return ranges.silent()


def checked(batches: Iterable[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """Return batches that can be calibrated with.

    Raises:
        InputError: there are none, one is constant, or NaN or infinite values are among them.
    """
    found = [tuple(batch) if isinstance(batch, tuple | list) else (batch,) for batch in batches]
    if not found:
        raise InputError("there are no data to calibrate with; give at least one batch.")
    for batch in found:
        for x in batch:
            _check(x)
    return found


def _check(x: Tensor) -> None:
    if x.numel() == 0:
        raise InputError(f"an input of shape {list(x.shape)} holds no samples; give at least one.")
    if not x.is_floating_point():
        return
    if not bool(x.isfinite().all()):
        raise InputError(
            f"an input of shape {list(x.shape)} holds NaN or infinite values; leave such samples out of the "
            "calibration data."
        )
    if x.numel() > 1 and bool((x == x.flatten()[0]).all()):
        raise InputError(
            f"an input of shape {list(x.shape)} is {float(x.flatten()[0]):g} everywhere, which tells no range; "
            "calibrate with real samples."
        )


class Ranges:
    """Chooses the range of each quantizer of values just before it is first run.

    Args:
        network: with quantizers.
        walk: through its graph; `choose` is called for each node before it is computed.
        method: how a range is chosen, see `quant.ranges`.
        percentile: of that method.
    """

    def __init__(self, network: QuantizedNetwork, walk: Walk, method: RangeMethod, percentile: float) -> None:
        self._quantizers = {name: one for name, one in network.quantizers().items() if not name.startswith(WEIGHTS)}
        self._walk, self._method, self._percentile = walk, method, percentile
        self._calls: dict[str, list[fx.Node]] = {}
        for node in walk.nodes:
            if node.op == "call_module" and node.target in self._quantizers:
                self._calls.setdefault(str(node.target), []).append(node)
        self._seen: dict[str, list[Tensor]] = {name: [] for name in self._calls}

    def choose(self, node: fx.Node) -> None:
        """Choose the range that a node is to apply, from all values that its quantizer is known to meet by then.

        Raises:
            InputError: NaN or infinite values, or an unknown method.
        """
        name = str(node.target)
        if node.op != "call_module" or name not in self._calls:
            return
        waiting = self._calls[name]
        for one in [call for call in waiting if self._walk.holds(call.all_input_nodes[0])]:
            waiting.remove(one)
            values = self._walk.values(one.all_input_nodes[0])
            self._seen[name] += [self._few(x, self._quantizers[name], len(values)) for x in values]
        try:
            self._quantizers[name].initialise(torch.cat(self._seen[name]), self._method, self._percentile)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    def silent(self) -> list[str]:
        """Return the names of quantizers that met zeros alone, and warn of them."""
        found = [name for name, values in self._seen.items() if values and not any(bool(x.any()) for x in values)]
        if found:
            some = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
            warnings.warn(f"{some} met zeros alone and keep the scale 1.", CalibrationWarning, stacklevel=3)
        return found

    def _few(self, x: Tensor, quantizer: Quantizer, batches: int) -> Tensor:
        """Values in a shape that the quantizer's `initialise` takes, with the extremes where those decide."""
        if isinstance(quantizer, Spikes):  # what a neuron integrates is the mean over time of what flows in
            x = x.unflatten(0, (quantizer.timesteps, -1)).mean(0) if quantizer.batch_axis == 0 else x
        values = x.detach().flatten()
        kept = values[:: _odd(values.numel() * batches / _MOST_VALUES)]
        if self._method != "minmax":
            return kept  # an extreme value more would count for many
        return torch.cat([kept, values.amin().view(1), values.amax().view(1)])


def _odd(step: float) -> int:
    """The next odd number, so as not to meet the same channels only."""
    return max(1, int(-(-step // 1))) | 1
