"""What is recorded of one execution of one operator, and what the rules may ask of the tensors it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from hardware_models.workload import Bounds, Operator
from neuro.profiling.activity import Activity, FanOut, Layout
from neuro.profiling.forms import Values, recognise
from neuro.profiling.timeline import Time

Source = tuple[str, int]
"""A site and the number of its call: where a tensor was computed."""


class Weight(NamedTuple):
    """A weight operand: what its values are, its size, and how many are not zero."""

    values: Values
    elements: int
    nonzero: int


@dataclass
class Call:
    """One execution of one operator.

    Attributes:
        operator: what it is.
        op: the dispatched operation's name.
        steps: timesteps this call covers.
        out_elements: size of the result in one sample and timestep.
        bounds: loop bounds of a synaptic operator.
        activations: measured activations by operand name.
        weights: weight operands by name.
        macs: multiply-accumulates if nothing is skipped, over batch and the call's timesteps.
        fan_out: by name of activation, how many accumulates each of its (position-weighted) unit spikes takes, shifted
            ones where it is powers of two; only these activations can drive the operator.
        weight_acs: accumulates if the weight drives the operator; None where its values forbid it.
        output: activity of a neuron's spikes.
        sources: calls whose results it reads.
        note: something the reader of the figures has to know.
    """

    operator: Operator
    op: str
    steps: int
    out_elements: int
    bounds: Bounds | None = None
    activations: dict[str, Activity] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)
    macs: int = 0
    fan_out: dict[str, int] = field(default_factory=dict)
    weight_acs: int | None = None
    output: Activity | None = None
    sources: frozenset[Source] = frozenset()
    note: str = ""


class Seen(NamedTuple):
    """What the watcher knows of the tensors that an operator reads.

    Attributes:
        batch: samples of one timestep.
        time: where a tensor holds its timesteps.
        is_weight: whether a tensor does not depend on the network's input.
        activity: measures an activation, remembering what it measured before.
        weight: describes a weight, remembering it.
    """

    batch: int
    time: Callable[[Tensor], Time | None]
    is_weight: Callable[[Tensor], bool]
    activity: Callable[[Tensor, Layout, FanOut | None], Activity]
    weight: Callable[[Tensor], Weight]

    def steps(self, *tensors: Tensor) -> int:
        """Timesteps held by the tensor that holds most."""
        return max(time.steps if (time := self.time(x)) else 1 for x in tensors)

    def per_sample(self, count: int, steps: int) -> int:
        """`count` of one sample and timestep; all of it where the batch does not account for it."""
        samples = steps * self.batch
        return count // samples if count % samples == 0 and count >= samples else count


def describe_weight(w: Tensor) -> Weight:
    """Return what the values of a weight are; weights of -1 and 1 alone take one bit."""
    values, nonzero = recognise(w), int(w.count_nonzero())
    if values.form == "ternary" and nonzero == w.numel():
        values = values._replace(bits=1)
    return Weight(values, w.numel(), nonzero)
