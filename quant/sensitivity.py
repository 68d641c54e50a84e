"""How much each layer suffers from its low bits alone: what a search for mixed precision starts from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from hardware_models.errors import InputError
from quant.network import QuantizedNetwork
from quant.observe import checked
from quant.quantizers import Spikes


class Sensitivity(NamedTuple):
    """What quantizing one layer alone does to the network's output y.

    Attributes:
        error: |y' - y|^2 / |y|^2 over all samples.
        loss: with labels, by how much the cross-entropy rises; else the relative entropy of softmax(y) and softmax(y'),
            over the last axis. Mean over the samples, nats.
    """

    error: float
    loss: float


@contextmanager
def only(network: QuantizedNetwork, chosen: Collection[str]) -> Iterator[None]:
    """Let the quantizers with these names quantize, and all others hand values on as they are.

    Neurons that do not fire hand on what is above 0, for that is all that they can send.

    Args:
        network: is as it was afterwards. A compiled form of it does not see the difference.
        chosen: of `network.quantizers()`.

    Raises:
        InputError: a name that the network does not have.
    """
    every = network.quantizers()
    unknown = sorted(set(chosen) - set(every))
    if unknown:
        raise InputError(f"the network has no quantizer {unknown[0]!r}; its names are those of network.quantizers().")
    off = [one for name, one in every.items() if name not in chosen]
    for one in off:
        off_form = torch.relu if isinstance(one, Spikes) else _as_it_is
        setattr(one, "forward", off_form)  # noqa: B010 (a method of this one module)
    try:
        yield
    finally:
        for one in off:
            del one.forward


@torch.no_grad()
def sensitivity(
    network: QuantizedNetwork,
    batches: Iterable[tuple[Tensor, ...]],
    labels: Sequence[Tensor] | None = None,
) -> dict[str, Sensitivity]:
    """Quantize each layer alone, weights and what it reads, and compare with the network in floating point.

    Args:
        network: calibrated; run in evaluation mode, and left as it is. Its weights count as those in floating point:
            after GPTQ they are already rounded, so give a network whose weights are rounded to nearest.
        batches: inputs, each `[B, ...]`.
        labels: classes, `[B]` for each batch.

    Returns:
        By module path, in order, each layer that has quantizers. Operators of one module count together; so do layers
        that read one quantized value, as far as that value goes.

    Raises:
        InputError: no data, data that are constant or not finite, or labels that do not fit.
    """
    data = checked(batches)
    if labels is not None and [len(x) for x in labels] != [len(batch[0]) for batch in data]:
        raise InputError(
            f"labels for {sum(map(len, labels))} samples in {len(labels)} batches were given, expected one for each of "
            f"{sum(len(batch[0]) for batch in data)} samples in {len(data)} batches; give them in the same batches."
        )
    training = network.training
    network.eval()
    try:
        with only(network, ()):
            exact = [network(*batch) for batch in data]
        found = {}
        for path, names in _by_path(network).items():
            with only(network, names):
                found[path] = _compare(exact, [network(*batch) for batch in data], labels)
    finally:
        network.train(training)
    return found


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _by_path(network: QuantizedNetwork) -> dict[str, set[str]]:
    """The names of the quantizers of each module."""
    found: dict[str, set[str]] = {}
    for one in network.operators:
        names = {one.weight, *one.inputs} - {""}
        if names:
            found.setdefault(one.path, set()).update(names)
    return found


def _compare(exact: list[Tensor], found: list[Tensor], labels: Sequence[Tensor] | None) -> Sensitivity:
    y, quantized = torch.cat(exact).double(), torch.cat(found).double()
    error = float((quantized - y).square().sum() / y.square().sum().clamp_min(1e-30))
    if labels is not None:
        truth = torch.cat(list(labels)).to(y.device)
        entropy = torch.nn.functional.cross_entropy
        return Sensitivity(error, float(entropy(quantized, truth) - entropy(y, truth)))
    log_p, log_q = y.log_softmax(-1), quantized.log_softmax(-1)
    return Sensitivity(error, float((log_p.exp() * (log_p - log_q)).sum() / len(y)))
