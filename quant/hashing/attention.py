"""Attention whose similarities are inner products of binary codes, at a cost linear in the number of tokens.

    x  <- x / |x|                                             queries and keys, one by one
    K(x)_m = exp(-|x - a_m|^2 / (2 s)) - mean_m               Gaussian kernel to m anchors a, s the mean of |x - a|^2
    h(x)   = sign(W K(x))                                     a code of b bits, -1 or 1
    o_i    = sum_j w_ij v_j / sum_j w_ij,   w_ij = <h(q_i), h(k_j)> + b + 1 >= 1

The sums over j are formed once for all i, since sum_j <h_i, h_j> v_j = h_i (sum_j h_j v_j^T): products with codes are
additions alone. Source: Liu et al., EcoFormer, NeurIPS 2022, arXiv:2209.09004, and its code (ziplab/EcoFormer).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from hardware_models.errors import InputError

Offset = Literal["all", "own"]
"""Which values the offset b + 1 weighs: `all` keys' (a weighted mean), or each token's `own`, as the published code."""

MOST_BITS = 64


class _Sign(torch.autograd.Function):
    """1 above zero, else -1, NaN stays NaN; straight through where |x| < 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x.isnan(), x, (x > 0).to(x.dtype) * 2 - 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * (x.abs() < 1)


def sign(x: Tensor) -> Tensor:
    """Return 1 where x > 0, else -1, of the same shape; its gradient is that of x where |x| < 1, else 0."""
    out: Tensor = _Sign.apply(x)
    return out


def kernel(x: Tensor, anchors: Tensor) -> Tensor:
    """Return exp(-|x - a|^2 / (2 s)), s the mean of |x - a|^2 over tokens and anchors of each sample and head.

    Args:
        x: `[B, heads, N, d]`.
        anchors: `[heads, m, d]`.

    Returns:
        `[B, heads, N, m]`.
    """
    squares = x.square().sum(-1, keepdim=True) + anchors.square().sum(-1).unsqueeze(-2)
    distances = (squares - 2 * torch.matmul(x, anchors.transpose(-2, -1))).clamp(min=0)
    variance = distances.mean((-2, -1), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    return torch.exp(-distances / (2 * variance))


def linear_attention(q: Tensor, k: Tensor, v: Tensor, offset: Offset = "all") -> Tensor:
    """Return sum_j w_ij v_j / sum_j w_ij, w_ij = <q_i, k_j> + b + 1, without the matrix w.

    With `offset="own"` the numerator is sum_j <q_i, k_j> v_j + (b + 1) v_i, as in the published code.

    Args:
        q: codes `[B, heads, N, b]` of the queries.
        k: codes `[B, heads, M, b]` of the keys.
        v: values `[B, heads, M, d]`; for `own`, M = N.
        offset: which values b + 1 weighs.

    Returns:
        `[B, heads, N, d]`.
    """
    weight = q.shape[-1] + 1
    similar = torch.matmul(q, k.sum(-2).unsqueeze(-1)) + k.shape[-2] * weight
    context = torch.matmul(k.transpose(-2, -1), v)
    added = v.sum(-2, keepdim=True) if offset == "all" else v
    return (torch.matmul(q, context) + weight * added) / similar


class HashedAttention(nn.Module):
    """Attention by binary codes that Gaussian kernels to anchors decide.

    Before `learn_hashes` the anchors are random directions and the hash functions random; all of the state is in the
    state dict from the beginning. The scale of softmax attention has no part in it: codes depend on directions only.

    Args:
        heads: number of heads; each has its own anchors and hash functions.
        head_width: d, the width of a query.
        bits: b, bits of a code, 1 to 64.
        anchors: m, at least 1.
        offset: `all`, or `own` to run weights of the published code.
        seed: of the state before learning.

    Attributes:
        anchors: buffer `[heads, m, d]`, rows of length 1.
        mean: buffer `[heads, m]`, what is subtracted from the kernel.
        weight: parameter `[heads, b, m]`, the hash functions; the published code keeps it fixed once learned.

    Raises:
        InputError: a number out of range.
    """

    anchors: Tensor
    mean: Tensor

    def __init__(
        self, heads: int, head_width: int, bits: int = 16, anchors: int = 25, offset: Offset = "all", seed: int = 0
    ) -> None:
        super().__init__()
        check_bits(bits)
        for name, given in (("heads", heads), ("head_width", head_width), ("anchors", anchors)):
            if given < 1:
                raise InputError(f"{name} is {given}, expected at least 1; give the size of the attention.")
        if offset not in get_args(Offset):
            raise InputError(f"offset is {offset!r}, expected 'all' or 'own'; choose one of them.")
        self.heads, self.head_width, self.bits, self.offset = heads, head_width, bits, offset
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(heads, anchors, head_width, generator=generator)
        self.register_buffer("anchors", functional.normalize(directions, dim=-1))
        self.register_buffer("mean", torch.zeros(heads, anchors))
        self.weight = nn.Parameter(torch.randn(heads, bits, anchors, generator=generator))

    def features(self, x: Tensor) -> Tensor:
        """Return the centred kernel `[B, heads, N, m]` of tokens `[B, heads, N, d]`."""
        return kernel(functional.normalize(x, dim=-1), self.anchors) - self.mean.unsqueeze(-2)

    def codes(self, x: Tensor) -> Tensor:
        """Return codes `[B, heads, N, b]` of -1 and 1 of tokens `[B, heads, N, d]`; NaN where a token holds NaN."""
        return sign(torch.matmul(self.features(x), self.weight.transpose(-2, -1)))

    def forward(self, q: Tensor, k: Tensor | None, v: Tensor) -> Tensor:
        """Attend.

        Args:
            q: queries `[B, heads, N, d]`.
            k: keys `[B, heads, M, d]`, hashed together with the queries; None where the keys are the queries.
            v: values `[B, heads, M, e]`.

        Returns:
            `[B, heads, N, e]`.

        Raises:
            InputError: shapes that do not fit.
        """
        self._check(q, k, v)
        if k is None:
            codes = self.codes(q)
            return linear_attention(codes, codes, v, self.offset)
        codes = self.codes(torch.cat((q, k), -2))
        queries, keys = codes.split((q.shape[-2], k.shape[-2]), -2)
        return linear_attention(queries, keys, v, self.offset)

    def extra_repr(self) -> str:
        _, anchors, width = self.anchors.shape
        return f"{self.heads}, {width}, bits={self.bits}, anchors={anchors}, offset={self.offset!r}"

    def _check(self, q: Tensor, k: Tensor | None, v: Tensor) -> None:
        keys = q if k is None else k
        for name, x in (("queries", q), ("keys", keys)):
            if x.dim() != 4 or x.shape[1] != self.heads or x.shape[-1] != self.head_width:
                raise InputError(
                    f"{name} have shape {list(x.shape)}, expected [B, {self.heads}, N, {self.head_width}]; "
                    "move the heads to the second axis."
                )
        if v.dim() != 4 or v.shape[:3] != keys.shape[:3]:
            raise InputError(
                f"values have shape {list(v.shape)} and keys {list(keys.shape)}; give one value for each key."
            )
        if self.offset == "own" and v.shape[-2] != q.shape[-2]:
            raise InputError(
                f"{q.shape[-2]} queries meet {v.shape[-2]} values, but offset 'own' adds a query its own value; "
                "use offset='all'."
            )


def check_bits(bits: int) -> None:
    """Refuse a number of bits outside 1 to 64."""
    if not 1 <= bits <= MOST_BITS:
        raise InputError(f"bits is {bits}, expected 1 to {MOST_BITS}; 16 is what EcoFormer uses.")
