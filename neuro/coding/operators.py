"""What becomes of each operator of a captured graph.

    synapse   linear in its one operand that depends on the input, with weights: driven by spikes
    product   bilinear in two operands that depend on the input: driven by the spikes of both
    scale     times a constant
    add       sums of values, constants included
    reduce    sums and means over axes, pooling by averages, interpolation: linear, without weights
    move      only moves values, or copies them
    nonlinear everything else, computed exactly on the value

An operator that is in none of these is not converted, and stops the conversion.
"""

from __future__ import annotations

import operator
from typing import Any, Literal

import torch
from torch import fx

aten = torch.ops.aten

Kind = Literal["synapse", "product", "scale", "add", "reduce", "move", "nonlinear", "index"]

_BY_NAME: dict[str, str] = {
    "synapse": """conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d linear""",
    "product": """matmul mm bmm einsum addmm baddbmm addbmm mul outer dot mv""",
    "add": """add sub rsub neg addcmul_constant""",
    "reduce": """mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
        adaptive_avg_pool3d _adaptive_avg_pool2d upsample_nearest1d upsample_nearest2d upsample_nearest3d
        upsample_bilinear2d upsample_bicubic2d upsample_linear1d upsample_trilinear3d cumsum col2im""",
    "move": """view reshape _unsafe_view permute transpose t movedim swapaxes numpy_T unsqueeze squeeze select slice
        narrow expand expand_as repeat repeat_interleave flatten unflatten split split_with_sizes chunk unbind
        tensor_split cat concat stack hstack vstack roll flip rot90 index index_select gather take_along_dim
        pixel_shuffle pixel_unshuffle channel_shuffle contiguous clone to _to_copy type_as alias detach lift_fresh
        lift_fresh_copy dropout feature_dropout alpha_dropout native_dropout constant_pad_nd pad reflection_pad1d
        reflection_pad2d replication_pad1d replication_pad2d replication_pad3d im2col unfold diagonal tril triu
        select_scatter slice_scatter copy as_strided identity embedding view_as real masked_fill where zeros_like
        ones_like full_like new_zeros new_ones new_full new_empty empty_like zeros ones full arange empty scatter
        index_put tile broadcast_to meshgrid diag_embed atleast_1d atleast_2d atleast_3d""",
    "nonlinear": """relu relu6 gelu silu sigmoid tanh hardtanh hardsigmoid hardswish leaky_relu elu celu selu mish
        softplus softsign prelu rrelu glu logsigmoid log_sigmoid softmax _softmax log_softmax _log_softmax safe_softmax
        layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm batch_norm
        _native_batch_norm_legit_no_training max_pool1d max_pool2d max_pool3d max_pool2d_with_indices
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax amin max min maximum minimum clamp clamp_min
        clamp_max clip exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square pow reciprocal div true_divide abs sign
        sgn sin cos tan asin acos atan atan2 sinh cosh erf erfc erfinv floor ceil round trunc frac remainder fmod
        var std var_mean std_mean norm linalg_vector_norm logsumexp prod cumprod normalize cosine_similarity
        local_response_norm threshold heaviside topk sort argmax argmin eq ne lt le gt ge logical_not
        logical_and logical_or bitwise_not bitwise_and bitwise_or isnan isinf isfinite any all nan_to_num softshrink
        hardshrink tanhshrink lerp addcmul addcdiv cdist grid_sampler affine_grid_generator nonzero_static
        floor_divide fft_rfft2 fft_irfft2 fft_fft2 complex view_as_real view_as_complex""",
}
KINDS: dict[str, str] = {name: kind for kind, names in _BY_NAME.items() for name in names.split()}

_PLAIN_FUNCTIONS = (operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod)


def operator_name(node: fx.Node) -> str:
    """Return the operator's name without library and overload, such as `conv2d`."""
    packet = getattr(node.target, "overloadpacket", None)
    return str(packet.__name__ if packet is not None else getattr(node.target, "__name__", node.target))


def kind_of(node: fx.Node, dynamic: set[fx.Node]) -> str | None:
    """Return what becomes of a node; None where there is no rule. `dynamic` are the nodes that depend on the input."""
    if node.target in _PLAIN_FUNCTIONS or not isinstance(node.meta.get("val"), torch.Tensor | tuple | list):
        return "index"
    name = operator_name(node)
    if name.startswith("sym_"):
        return "index"
    kind = KINDS.get(name)
    operands = [one for one in _operands(node) if one in dynamic]
    if kind == "product" and len(operands) < 2:
        return "scale" if name == "mul" else "synapse"
    if kind == "product" and len(set(operands)) == 1:
        return "nonlinear"  # a square
    if kind == "synapse" and len(operands) > 1:
        return "product"
    if name == "div" and len(operands) == 1 and operands[0] is node.args[0]:
        return "scale"
    return kind


def _operands(node: fx.Node) -> list[fx.Node]:
    """The tensors an operator reads, each as often as it is read."""
    found: list[Any] = []
    for argument in node.args:
        found.extend(argument if isinstance(argument, list | tuple) else [argument])
    return [one for one in found if isinstance(one, fx.Node) and isinstance(one.meta.get("val"), torch.Tensor)]
