"""The operators made of multiply-accumulates: loop bounds, operands, and what drives their accumulates.

Sizes are those of one sample and one timestep; a `Call` counts over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hardware_models.workload import Bounds
from neuro.profiling.activity import Activity, Layout, conv_fan_out, transposed_fan_out
from neuro.profiling.calls import Call, Seen, Weight
from neuro.profiling.timeline import Time, beside, leading, outside, transposed

Rule = Callable[[Seen, str, tuple[Any, ...], Tensor], list[Call]]

_DYNAMIC_WEIGHT = "its weights depend on the input"


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
    time = outside(seen.time(x), math.prod(x.shape[1:]))
    steps = time.steps if time else 1
    sizes = (bounds.in_size, bounds.out_size, bounds.kernel, *spread)
    fan_out = transposed_fan_out(*sizes) if transposed else conv_fan_out(*sizes)
    plain = math.prod(bounds.kernel) == 1 and set(spread[0]) == {1} and not any(spread[1])
    activity = seen.activity(x, Layout(time, x.shape[1], bounds.in_size), None if plain else fan_out)
    call = Call("conv", op, steps, math.prod(out.shape[1:]), bounds)
    _weigh(call, activity, bounds.out_channels // groups, seen.weight(w), bounds.macs * x.shape[0])
    call.note = "" if seen.is_weight(w) else _DYNAMIC_WEIGHT
    if x.shape[0] != call.steps * seen.batch:
        call.note = (
            f"it ran on {x.shape[0]} samples where {call.steps * seen.batch} were expected: its sums are exact, its "
            "sizes are those of one sample in one run"
        )
    return [call]


def _weigh(call: Call, activity: Activity, fan_out: int, weight: Weight, macs: int) -> None:
    """Enter the operands of activation x weight, and what the accumulates would be if either drove them."""
    call.activations["input"] = activity
    call.weights["weight"] = weight
    call.macs = macs
    call.fan_out["input"] = fan_out
    if weight.values.form in ("binary", "ternary") and weight.nonzero:
        call.weight_acs = macs * weight.nonzero // weight.elements


class _Side(NamedTuple):
    """One matrix of a product, or a stack of them, `[G, rows, columns]`."""

    x: Tensor
    time: Time | None
    is_weight: bool

    def turned(self) -> _Side:
        """The same with rows and columns exchanged."""
        rows, columns = self.x.shape[-2:]
        return _Side(self.x.transpose(-2, -1), transposed(self.time, rows, columns), self.is_weight)


def _side(seen: Seen, x: Tensor, *shape: int) -> _Side:
    """`x` seen as `[G, rows, columns]`; what is known of it is asked before a reshape may copy it."""
    return _Side(x.reshape(shape or (-1, *x.shape[-2:])), seen.time(x), seen.is_weight(x))


def matrix_product(seen: Seen, op: str, left: _Side, right: _Side) -> Call:
    """`[G, M, K] x [G, K, N]`; a linear layer where one side is a weight, else a product of activations."""
    if right.is_weight:
        return _linear(seen, op, left, right.x)
    if left.is_weight:
        return _linear(seen, op, right.turned(), left.turned().x)
    (groups, m, k), n = left.x.shape, right.x.shape[-1]
    times = [outside(left.time, k), outside(right.time, n)]
    if None in times:  # of one side the timesteps are not known: matrix by matrix they are those of the other
        times = [times[0] or beside(times[1], right.x, left.x), times[1] or beside(times[0], left.x, right.x)]
    steps = max(time.steps if time else 1 for time in times)
    heads = seen.per_sample(groups, steps)
    bounds = Bounds(groups=heads, in_channels=heads * k, out_channels=heads * n, in_size=(m,), out_size=(m,))
    call = Call("matmul", op, steps, heads * m * n, bounds)
    # Channels of the right operand are its columns; of the left its reduction axis.
    call.activations["left"] = seen.activity(left.x, Layout(times[0], k), None)
    call.activations["right"] = seen.activity(right.x, Layout(times[1], n), None)
    call.macs = bounds.macs * groups // heads
    call.fan_out = {"left": n, "right": m}
    return call


def _linear(seen: Seen, op: str, side: _Side, w: Tensor) -> Call:
    """`[G, M, K]` activations times `[G, K, N]` weights; the groups are samples, or matrices of their own."""
    if w.stride(0) == 0:
        w = w[:1]
    x, (k, n) = side.x, w.shape[-2:]
    time = outside(side.time, k)
    steps = time.steps if time else 1
    rows = x.numel() // k
    matrices = seen.per_sample(w.shape[0], steps) if w.shape[0] > 1 else 1
    positions = seen.per_sample(rows // matrices, steps)
    bounds = Bounds(
        groups=matrices,
        in_channels=matrices * k,
        out_channels=matrices * n,
        in_size=(positions,),
        out_size=(positions,),
    )
    call = Call("linear", op, steps, matrices * positions * n, bounds)
    weight = seen.weight(w[:matrices])
    _weigh(call, seen.activity(x, Layout(time, k), None), n, weight, rows * k * n)
    return call


def _product_rule(left: int, right: int) -> Rule:
    """The rule of an operation whose matrices are its arguments number `left` and `right`."""

    def rule(seen: Seen, op: str, args: tuple[Any, ...], out: Tensor) -> list[Call]:
        a, b = args[left], args[right]
        a = _side(seen, a, 1, 1, -1) if a.dim() == 1 else _side(seen, a)
        b = _side(seen, b, 1, -1, 1) if b.dim() == 1 else _side(seen, b)
        return [matrix_product(seen, op, a, b)]

    return rule


def _outer_product(seen: Seen, op: str, args: tuple[Any, ...], out: Tensor) -> list[Call]:
    return [matrix_product(seen, op, _side(seen, args[1], 1, -1, 1), _side(seen, args[2], 1, 1, -1))]


def fused_attention(seen: Seen, op: str, args: tuple[Any, ...], out: Tensor) -> list[Call]:
    """Fused softmax attention on q, k, v `[B, heads, N, d]`: the two products that the kernel hides."""
    k, v = _side(seen, args[1]), _side(seen, args[2])
    # In grouped-query attention several heads of queries read one of keys: they are so many more rows.
    q = _side(seen, args[0], k.x.shape[0], -1, args[0].shape[-1])
    (groups, m, _), n, d = q.x.shape, k.x.shape[1], v.x.shape[-1]
    steps = seen.steps(*args[:3])
    heads = seen.per_sample(groups, steps)
    bounds = Bounds(groups=heads, in_channels=heads * n, out_channels=heads * d, in_size=(m,), out_size=(m,))
    values = Call("matmul", f"{op}:av", steps, heads * m * d, bounds)
    values.activations["right"] = seen.activity(v.x, Layout(outside(v.time, d), d), None)
    values.macs = bounds.macs * groups // heads
    values.fan_out = {"right": m}
    values.note = "fused attention: the softmax weights are not visible and taken as dense floating point"
    return [matrix_product(seen, f"{op}:qk", q, k.turned()), values]


def fused_lstm(seen: Seen, op: str, args: tuple[Any, ...], out: Tensor) -> list[Call]:
    """oneDNN's LSTM on `[L, B, I]`: its two linear layers, the second on the states that the kernel went through."""
    x, w_input, w_state, _, _, state = args[:6]
    backwards = args[7]
    passed = [out[1:], state.view_as(out[:1])] if backwards else [state.view_as(out[:1]), out[:-1]]
    along = leading(x.shape[0], tuple(out.shape)) if seen.steps(x) == x.shape[0] else None
    states = _Side(torch.cat(passed), along, False)
    inputs = matrix_product(seen, f"{op}:input", _side(seen, x), _side(seen, w_input.t()))
    return [inputs, matrix_product(seen, f"{op}:state", states, _side(seen, w_state.t()))]


RULES: dict[str, Rule] = {
    "convolution": convolution,
    "_convolution": convolution,
    "convolution_overrideable": convolution,
    "mm": _product_rule(0, 1),
    "_int_mm": _product_rule(0, 1),
    "addmm": _product_rule(1, 2),
    "_addmm_activation": _product_rule(1, 2),
    "bmm": _product_rule(0, 1),
    "baddbmm": _product_rule(1, 2),
    "addbmm": _product_rule(1, 2),
    "mv": _product_rule(0, 1),
    "addmv": _product_rule(1, 2),
    "dot": _product_rule(0, 1),
    "vdot": _product_rule(0, 1),
    "addr": _outer_product,
    "mkldnn_rnn_layer": fused_lstm,
    "_scaled_dot_product_flash_attention_for_cpu": fused_attention,
    "_scaled_dot_product_flash_attention": fused_attention,
    "_scaled_dot_product_efficient_attention": fused_attention,
    "_scaled_dot_product_cudnn_attention": fused_attention,
    "_scaled_dot_product_fused_attention_overrideable": fused_attention,
}
"""aten operations made of multiply-accumulates."""
