"""What each dispatched operator means: loop bounds, operands, and the accumulates or multiplications it takes.

Sizes are those of one sample and one timestep; a `Call` counts over the batch. `steps` is how many timesteps a
tensor holds along its first axis: T in multi-step code, 1 in single-step code.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hardware_models.workload import Bounds, Operator
from neuro.profiling.activity import Activity, Layout, conv_fan_out, measure
from neuro.profiling.forms import Values, recognise


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
        macs: multiply-accumulates, over batch and the call's timesteps.
        acs: accumulates, likewise.
        driven_by: operand whose spikes drive the accumulates.
        output: activity of a neuron's spikes.
        sources: names of the layers whose results it reads.
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
    acs: int = 0
    driven_by: str | None = None
    output: Activity | None = None
    sources: frozenset[str] = frozenset()
    note: str = ""


class Seen(NamedTuple):
    """What the watcher knows of the tensors that an operator reads.

    Attributes:
        batch: samples of one timestep.
        steps: timesteps held by a tensor.
        is_weight: whether a tensor does not depend on the network's input.
        activity: measures an activation, remembering recent ones.
        weight: describes a weight, remembering it.
    """

    batch: int
    steps: Callable[[Tensor], int]
    is_weight: Callable[[Tensor], bool]
    activity: Callable[[Tensor, Layout, tuple[Tensor, ...] | None], Activity]
    weight: Callable[[Tensor], Weight]


Rule = Callable[[Seen, str, tuple[Any, ...], Any], list[Call]]


def describe_weight(w: Tensor) -> Weight:
    """Return what the values of a weight are."""
    return Weight(recognise(w), w.numel(), int(w.count_nonzero()))


def convolution(seen: Seen, op: str, args: tuple[Any, ...], out: Tensor) -> list[Call]:
    """`aten.convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)`."""
    x, w, _, stride, padding, dilation, transposed, _, groups = args[:9]
    axes = x.dim() - 2
    spread = [tuple(v) * axes if len(v) == 1 else tuple(v) for v in (stride, padding, dilation)]
    bounds = Bounds(
        groups=groups,
        in_channels=x.shape[1],
        out_channels=out.shape[1],
        in_size=tuple(x.shape[2:]),
        out_size=tuple(out.shape[2:]),
        kernel=tuple(w.shape[2:]),
        stride=spread[0],
        padding=spread[1],
        dilation=spread[2],
        transposed=transposed,
    )
    steps = seen.steps(x)
    samples = x.shape[0] // steps
    sizes = (bounds.in_size, bounds.out_size, bounds.kernel, *spread)
    # A transposed convolution is the same pairs of positions with the two sides exchanged.
    fan_out = _transposed_fan_out(*sizes) if transposed else conv_fan_out(*sizes)
    activity = seen.activity(x, Layout(steps, x.shape[1], bounds.in_size), fan_out)
    per_position = bounds.out_channels // groups
    spikes = int(activity.accumulates.sum()) * per_position if activity.values.form != "float" else None
    call = Call("conv", op, steps, math.prod(out.shape[1:]), bounds)
    return [_against_weight(call, activity, seen.weight(w), bounds.macs * steps * samples, spikes)]


@functools.cache
def _transposed_fan_out(
    in_size: tuple[int, ...],
    out_size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[Tensor, ...]:
    axes = []
    for size, out, taps, step, pad, spread in zip(in_size, out_size, kernel, stride, padding, dilation, strict=True):
        reached = torch.arange(size).view(-1, 1) * step + torch.arange(taps).view(1, -1) * spread - pad
        axes.append(((reached >= 0) & (reached < out)).sum(1).double())
    return tuple(axes)


def _against_weight(call: Call, activity: Activity, weight: Weight, macs: int, spikes: int | None) -> Call:
    """Fill in the cost of activation x weight: the cheaper of spikes and low-bit weights drives accumulates."""
    call.activations["input"] = activity
    call.weights["weight"] = weight
    costs: dict[str, int] = {}
    if spikes is not None:
        costs["input"] = spikes
    if weight.values.form in ("binary", "ternary"):
        costs["weight"] = macs * weight.nonzero // weight.elements
    return _cheapest(call, costs, macs)


def _cheapest(call: Call, costs: dict[str, int], macs: int) -> Call:
    if costs:
        call.driven_by = min(costs, key=lambda name: costs[name])
        call.acs = costs[call.driven_by]
    else:
        call.macs = macs
    return call


def matrix_product(seen: Seen, op: str, left: Tensor, right: Tensor, steps: int) -> Call:
    """`[G, M, K] x [G, K, N]`; a linear layer where one side is a weight, else a product of activations."""
    if seen.is_weight(right):
        return _linear(seen, op, left, right, steps)
    if seen.is_weight(left):
        return _linear(seen, op, right.transpose(-2, -1), left.transpose(-2, -1), steps)
    groups, m, k = left.shape
    n = right.shape[-1]
    heads = _per_sample(groups, steps * seen.batch)
    samples = groups // (steps * heads)
    bounds = Bounds(groups=heads, in_channels=heads * k, out_channels=heads * n, in_size=(m,), out_size=(m,))
    call = Call("matmul", op, steps, heads * m * n, bounds)
    # Channels of the right operand are its columns; of the left its reduction axis.
    a = seen.activity(left, Layout(steps, k, ()), None)
    b = seen.activity(right, Layout(steps, n, ()), None)
    call.activations = {"left": a, "right": b}
    costs = {}
    if a.values.form != "float":
        costs["left"] = int(a.magnitude.sum()) * n
    if b.values.form != "float":
        costs["right"] = int(b.magnitude.sum()) * m
    return _cheapest(call, costs, bounds.macs * steps * samples)


def _linear(seen: Seen, op: str, x: Tensor, w: Tensor, steps: int) -> Call:
    """`[G, M, K]` activations times `[G, K, N]` weights, the groups being batch or heads."""
    k, n = w.shape[-2:]
    rows = x.numel() // k
    positions = _per_sample(rows, steps * seen.batch)
    samples = rows // (steps * positions)
    bounds = Bounds(in_channels=k, out_channels=n, in_size=(positions,), out_size=(positions,))
    call = Call("linear", op, steps, positions * n, bounds)
    activity = seen.activity(x, Layout(steps, k, ()), None)
    spikes = int(activity.magnitude.sum()) * n if activity.values.form != "float" else None
    return _against_weight(call, activity, seen.weight(w), bounds.macs * steps * samples, spikes)


def _per_sample(count: int, samples: int) -> int:
    """`count / samples` where it divides (the usual case), else `count`: rows that no batch accounts for."""
    return count // samples if count % samples == 0 and count >= samples else count


def _product_rule(left: int, right: int) -> Rule:
    """The rule of an operation whose matrices are its arguments number `left` and `right`."""

    def rule(seen: Seen, op: str, args: tuple[Any, ...], out: Any) -> list[Call]:
        a, b = args[left], args[right]
        steps = max(seen.steps(a), seen.steps(b))
        b = b.unsqueeze(-1) if b.dim() == 1 else b
        return [matrix_product(seen, op, a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), steps)]

    return rule


def fused_attention(seen: Seen, op: str, args: tuple[Any, ...], out: Any) -> list[Call]:
    """Fused softmax attention on q, k, v `[B, heads, N, d]`: the two products that the kernel hides."""
    steps = max(seen.steps(t) for t in args[:3])
    q, k, v = (t.flatten(0, -3) for t in args[:3])
    scores = matrix_product(seen, op, q, k.transpose(-2, -1), steps)
    scores.op = f"{op}:qk"
    (groups, m, _), n, d = q.shape, k.shape[1], v.shape[-1]
    heads = _per_sample(groups, steps * seen.batch)
    bounds = Bounds(groups=heads, in_channels=heads * n, out_channels=heads * d, in_size=(m,), out_size=(m,))
    values = Call("matmul", f"{op}:av", steps, heads * m * d, bounds)
    activity = seen.activity(v, Layout(steps, d, ()), None)
    values.activations = {"right": activity}
    costs = {"right": int(activity.magnitude.sum()) * m} if activity.values.form != "float" else {}
    values.note = "fused attention: the softmax weights are not visible and taken as dense floating point"
    return [scores, _cheapest(values, costs, bounds.macs * groups // heads)]


SYNAPTIC_RULES: dict[str, Rule] = {
    "convolution": convolution,
    "convolution_overrideable": convolution,
    "mm": _product_rule(0, 1),
    "addmm": _product_rule(1, 2),
    "bmm": _product_rule(0, 1),
    "baddbmm": _product_rule(1, 2),
    "mv": _product_rule(0, 1),
    "_scaled_dot_product_flash_attention_for_cpu": fused_attention,
    "_scaled_dot_product_flash_attention": fused_attention,
    "_scaled_dot_product_efficient_attention": fused_attention,
    "_scaled_dot_product_cudnn_attention": fused_attention,
    "_scaled_dot_product_fused_attention_overrideable": fused_attention,
}
"""aten operations made of multiply-accumulates."""

NORMS = {
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "native_layer_norm",
    "native_group_norm",
    "_fused_rms_norm",
}

POOLS = {
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
}

REDUCTIONS = {"sum", "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "prod", "cumsum", "norm"}

OPAQUE = {
    "mkldnn_rnn_layer",
    "_cudnn_rnn",
    "miopen_rnn",
    "_thnn_fused_lstm_cell",
    "_thnn_fused_gru_cell",
    "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
    "_cdist_forward",
    "_fft_r2c",
    "_fft_c2c",
    "_fft_c2r",
    "grid_sampler_2d",
    "_embedding_bag",
    "_int_mm",
    "_scaled_mm",
    "addr",
    "dot",
    "_trilinear",
}
"""Operations that compute products inside and have no rule; the watcher refuses to pass over them."""

MOVES = {
    "cat",
    "stack",
    "clone",
    "copy_",
    "copy",
    "_to_copy",
    "constant_pad_nd",
    "index",
    "index_select",
    "gather",
    "embedding",
    "slice_scatter",
    "select_scatter",
    "fill_",
    "zero_",
    "roll",
    "flip",
    "repeat",
    "im2col",
    "col2im",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample_nearest2d",
    "reflection_pad2d",
    "replication_pad2d",
    "tril",
    "triu",
    "contiguous",
    "_unsafe_view",
    "lift_fresh",
    "set_",
    "resize_",
    "scatter",
    "index_put",
    "index_put_",
    "masked_fill",
    "masked_fill_",
    "sort",
    "topk",
    "argmax",
    "argsort",
    "nonzero",
}
"""Operations that move or choose data and compute nothing that a cost model counts."""


def elementwise_operator(name: str, activations: list[Tensor]) -> Operator:
    """Classify an operation that is not synaptic, by its name and number of activation operands."""
    if name in NORMS:
        return "norm"
    if name in POOLS:
        return "pool"
    if name in REDUCTIONS:
        return "reduce"
    if name.rstrip("_") in ("add", "sub") and len(activations) > 1:
        return "add"
    return "elementwise"


def plain_call(seen: Seen, name: str, activations: list[Tensor], out: Tensor) -> Call:
    """Describe an operation that is not synaptic."""
    operator = elementwise_operator(name, activations)
    steps = max(seen.steps(x) for x in activations)
    per_step = _per_sample(out.numel(), steps * seen.batch)
    call = Call(operator, name, steps, per_step)
    if name.rstrip("_") == "mul" and len(activations) > 1:
        return _product(call, seen, activations)
    if name in ("sum", "mean"):
        return _reduction(call, seen, activations[0])
    return call


def _product(call: Call, seen: Seen, activations: list[Tensor]) -> Call:
    """An element-by-element product of activations; with spikes on one side it only selects."""
    for label, x in zip(("left", "right"), activations, strict=False):
        call.activations[label] = seen.activity(x, _any_layout(seen.steps(x)), None)
    if any(a.values.form in ("binary", "ternary") for a in call.activations.values()):
        call.operator = "mask"
    return call


def _reduction(call: Call, seen: Seen, x: Tensor) -> Call:
    """A sum; over spikes it takes as many additions as there are unit spikes."""
    activity = seen.activity(x, _any_layout(seen.steps(x)), None)
    call.activations["input"] = activity
    if activity.values.form != "float":
        call.acs = int(activity.magnitude.sum())
        call.driven_by = "input"
    return call


def _any_layout(steps: int) -> Layout:
    return Layout(steps, 1, ())
