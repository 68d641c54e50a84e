"""What kind each operator of a captured graph is; spikes and low bits both go by it.

    synapse   linear in its one operand that depends on the input, with weights
    product   bilinear in two operands that depend on the input
    scale     times a constant
    add       sums of values, constants included
    reduce    sums and means over axes, pooling by averages, interpolation, Fourier transforms: linear, without weights
    move      only moves values, or copies them; chooses by what does not depend on floating point values
    nonlinear everything else
    index     computes sizes, or takes a result out of several

and where nothing may be computed in floating point (`neuro.coding.spike_only`), what would be nonlinear is

    comparison  only compares values: maxima, rectifiers
    ladder      made by thresholds alone

An operator that is in none of these is not converted, and stops the conversion.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any, Literal, get_args

import torch
from torch import fx

Kind = Literal["synapse", "product", "scale", "add", "reduce", "move", "nonlinear", "index", "comparison", "ladder"]

_BY_KIND: dict[Kind, str] = {
    "synapse": """conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d linear""",
    "product": """matmul mm bmm mv dot mul multiply""",
    "add": """add sub subtract rsub neg negative""",
    "reduce": """mean sum nansum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
        adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d cumsum col2im trace embedding_bag _embedding_bag
        scatter_add index_add
        upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
        _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa grid_sampler grid_sampler_2d
        grid_sampler_3d _fft_r2c _fft_c2r _fft_c2c""",
    "move": """view reshape _unsafe_view _reshape_alias view_copy permute transpose t movedim swapaxes numpy_T
        unsqueeze squeeze select slice narrow expand expand_as repeat repeat_interleave flatten unflatten split
        split_with_sizes chunk unbind tensor_split unsafe_split unsafe_split_with_sizes cat concat stack hstack
        vstack roll flip rot90 index index_select gather take_along_dim take pixel_shuffle pixel_unshuffle
        channel_shuffle native_channel_shuffle contiguous clone to _to_copy type_as alias detach detach_
        lift_fresh lift_fresh_copy native_dropout constant_pad_nd pad reflection_pad1d reflection_pad2d
        reflection_pad3d replication_pad1d replication_pad2d replication_pad3d im2col unfold diagonal tril triu
        select_scatter slice_scatter diagonal_scatter copy as_strided identity embedding view_as real
        view_as_real view_as_complex complex masked_fill masked_scatter where scatter index_put index_copy
        index_fill tile broadcast_to meshgrid diag_embed one_hot max_unpool2d zeros_like ones_like full_like
        empty_like new_zeros new_ones new_full new_empty zeros ones full empty arange eye linspace scalar_tensor
        _assert_tensor_metadata""",
    "nonlinear": """relu relu6 gelu silu sigmoid tanh hardtanh hardsigmoid hardswish leaky_relu elu celu selu mish
        softplus prelu _prelu_kernel rrelu rrelu_with_noise log_sigmoid log_sigmoid_forward threshold heaviside
        softshrink hardshrink softmax _softmax _safe_softmax log_softmax _log_softmax logsumexp
        layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm
        max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d
        adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d amax amin aminmax max min
        maximum minimum fmax fmin cummax cummin median nanmedian kthvalue mode topk sort argmax argmin
        clamp clamp_min clamp_max clip exp exp2 expm1 log log2 log10 log1p logaddexp logaddexp2 logcumsumexp sqrt rsqrt
        square pow reciprocal div divide true_divide floor_divide remainder fmod abs sign sgn signbit copysign sin cos
        tan asin acos atan atan2 sinh cosh asinh acosh atanh hypot sinc erf erfc erfinv lgamma digamma i0 logit xlogy
        floor ceil round trunc frac nan_to_num var std var_mean std_mean norm linalg_vector_norm prod cumprod
        _pdist_forward eq ne lt le gt ge logical_not logical_and logical_or logical_xor bitwise_not bitwise_and
        bitwise_or bitwise_xor isnan isinf isfinite any all count_nonzero bucketize searchsorted""",
}
KINDS: dict[str, Kind] = {name: kind for kind, names in _BY_KIND.items() for name in names.split()}
"""Kinds of operators by name; `kind_of` also looks at the operands."""

assert set(_BY_KIND) < set(get_args(Kind))

_BY_ELEMENTS = ("mul", "multiply")
_CHOOSES_BY = {
    "embedding": 1,
    "where": 0,
    "masked_fill": 1,
    "masked_scatter": 1,
    "index": 1,
    "index_select": 2,
    "index_put": 1,
    "index_copy": 2,
    "index_fill": 2,
    "index_add": 2,
    "gather": 2,
    "take": 1,
    "take_along_dim": 1,
    "scatter": 2,
    "scatter_add": 2,
    "grid_sampler": 1,
    "grid_sampler_2d": 1,
    "grid_sampler_3d": 1,
}
"""Operators that move or add up what another operand chooses, and which one that is."""

_SIZES = (operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod)


def operator_name(node: fx.Node) -> str:
    """Return the operator's name without library and overload, such as `conv2d`."""
    packet = getattr(node.target, "overloadpacket", None)
    return str(packet.__name__ if packet is not None else getattr(node.target, "__name__", node.target))


def kind_of(node: fx.Node, dynamic: Collection[fx.Node]) -> Kind | None:
    """Return the kind of a node; None where there is no rule.

    Args:
        node: calls an operator.
        dynamic: the nodes that depend on the values of the inputs.
    """
    value = node.meta.get("val")
    if node.target in _SIZES or not isinstance(value, torch.Tensor | tuple | list):
        return "index"
    name = operator_name(node)
    kind = KINDS.get(name)
    if kind is None or getattr(node.target, "namespace", "aten") != "aten":
        return None
    operands = [one for one in _tensors(node.args) if one in dynamic]
    if name in _CHOOSES_BY:
        choice = _tensors(node.args[_CHOOSES_BY[name] : _CHOOSES_BY[name] + 1])
        if any(_from_floats(one, dynamic) for one in choice):
            return "nonlinear"
        return _kind_of_write(node, kind)
    if name in ("div", "divide", "true_divide"):
        by_constant = len(operands) <= 1 and operands == _tensors(node.args[:1])
        return "scale" if by_constant and not node.kwargs.get("rounding_mode") else "nonlinear"
    if name in _BY_ELEMENTS:
        return _product_by_elements(operands)
    if kind in ("synapse", "product"):
        return "product" if len(operands) > 1 else "synapse"
    return kind


def _kind_of_write(node: fx.Node, kind: Kind) -> Kind:
    """Writing at an index may also add to or multiply what is there."""
    if "reduce" in node.kwargs:
        return "reduce" if node.kwargs["reduce"] == "add" else "nonlinear"
    return "reduce" if operator_name(node) == "index_put" and node.args[3:4] == (True,) else kind


def _product_by_elements(operands: list[fx.Node]) -> Kind:
    if len(operands) < 2:
        return "scale"
    whole = any(not one.meta["val"].is_floating_point() for one in operands)
    return "nonlinear" if whole or operands[0] is operands[1] else "product"  # a mask or an index; a square


def _tensors(arguments: Any) -> list[fx.Node]:
    """The tensors among arguments, each as often as it is read."""
    found: list[fx.Node] = []
    for one in arguments:
        if isinstance(one, list | tuple):
            found.extend(_tensors(one))
        elif isinstance(one, fx.Node) and isinstance(one.meta.get("val"), torch.Tensor):
            found.append(one)
    return found


def _from_floats(node: fx.Node, dynamic: Collection[fx.Node]) -> bool:
    """Whether a choice depends on floating point values, and not on integer inputs alone, such as a padding mask."""
    seen, todo = set(), [node]
    while todo:
        one = todo.pop()
        if one in seen or one not in dynamic:
            continue
        value = one.meta.get("val")
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return True
        seen.add(one)
        todo.extend(one.all_input_nodes)
    return False
