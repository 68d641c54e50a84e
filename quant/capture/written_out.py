"""Operators that hide products, written out with those that show them.

Attention, gates, interpolation and recurrent cells multiply values that both depend on the input. Written out, each of
these products is an operator of the graph, gets its rule and stands in the audit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions

aten = torch.ops.aten


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale Q K^T + mask) V, as `torch.nn.functional.scaled_dot_product_attention` in evaluation mode."""
    if dropout_p:
        return NotImplemented
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    scores = torch.matmul(query * scale, key.transpose(-2, -1))
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(attn_mask.logical_not(), -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), value)


def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The same as PyTorch's operator for the CPU has it; its second result serves training alone."""
    return attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale), query.new_zeros(())


def glu(x: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), a and b the halves of `x`."""
    value, gate = x.chunk(2, dim)
    return value * torch.sigmoid(gate)


def lerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """start + weight (end - start)."""
    return start + (end - start) * weight


def addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    """x + value a b."""
    return x + _times(a * b, value)


def addcdiv(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    """x + value a / b."""
    return x + _times(a / b, value)


def added_product(multiply: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """beta x + alpha (a times b) for a product of matrices."""

    def written(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        product = _times(multiply(a, b), alpha)
        return product if beta == 0 else product + _times(x, beta)

    return written


def bilinear(a: Tensor, b: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = sum over i, j of a_i W_oij b_j + bias_o: a linear operator on a, whose result is multiplied by b."""
    outputs, left, right = weight.shape
    rows = torch.nn.functional.linear(a, weight.transpose(1, 2).reshape(outputs * right, left))
    y = torch.matmul(rows.unflatten(-1, (outputs, right)), b.unsqueeze(-1)).squeeze(-1)
    return y if bias is None else y + bias


def distances(a: Tensor, b: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """Euclidean distances of all rows of a and b: the root of |a|^2 + |b|^2 - 2 a b^T."""
    if p != 2.0:
        return NotImplemented
    squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1).unsqueeze(-2)
    return (squares - 2 * torch.matmul(a, b.transpose(-2, -1))).clamp(min=0).sqrt()


def _times(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor


_STAYS = """
    _fused_rms_norm _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    avg_pool1d batch_norm clip concat conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    embedding_bag grid_sampler group_norm hstack instance_norm layer_norm linear log_sigmoid log_softmax matmul
    max max_pool1d max_pool2d max_pool3d min one_hot pad prelu relu6 repeat_interleave rms_norm selu softmax
    square std std_mean take_along_dim tile type_as upsample_bicubic2d upsample_bilinear2d upsample_linear1d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean vstack where
"""
"""Operators composed of others that stay whole, since they have a rule; every other composed one is taken apart."""


def _composed() -> dict[Any, Any]:
    """PyTorch's own definitions of the operators that it composes of others."""
    whole = _STAYS.split()
    return {
        operator: definition
        for operator, definition in torch.export.default_decompositions().items()
        if torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), "CompositeImplicitAutograd")
        and operator.overloadpacket.__name__ not in whole
    }


@functools.cache
def written_out() -> dict[Any, Any]:
    """Return the decompositions for `ExportedProgram.run_decompositions`; other operators stay as they are."""
    return {
        **_composed(),
        **get_decompositions([aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input]),
        aten.scaled_dot_product_attention.default: attention,
        aten._scaled_dot_product_flash_attention_for_cpu.default: fused_attention,
        aten.glu.default: glu,
        aten.lerp.Tensor: lerp,
        aten.lerp.Scalar: lerp,
        aten.addcmul.default: addcmul,
        aten.addcdiv.default: addcdiv,
        aten.addmm.default: added_product(torch.mm),
        aten.baddbmm.default: added_product(torch.bmm),
        aten.addbmm.default: added_product(lambda a, b: torch.bmm(a, b).sum(0)),
        aten.addmv.default: added_product(torch.mv),
        aten.addr.default: added_product(lambda a, b: a.unsqueeze(1) * b),
        aten.bilinear.default: bilinear,
        aten.cdist.default: distances,
        aten._cdist_forward.default: distances,
    }
