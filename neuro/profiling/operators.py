"""What the operators that are not synaptic mean: which move data, which compute, which cannot be seen into."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from hardware_models.workload import Operator
from neuro.profiling.activity import Layout
from neuro.profiling.calls import Call, Seen
from neuro.profiling.timeline import beside

NORMS = {
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    "_batch_norm_with_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
    "native_layer_norm",
    "native_group_norm",
    "_fused_rms_norm",
}

POOLS = {
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
}

REDUCTIONS = {
    "sum",
    "nansum",
    "mean",
    "amax",
    "amin",
    "aminmax",
    "max",
    "min",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "prod",
    "cumsum",
    "cumprod",
    "logcumsumexp",
    "logsumexp",
    "norm",
    "linalg_vector_norm",
    "count_nonzero",
}

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
    "take",
    "embedding",
    "slice_scatter",
    "select_scatter",
    "diagonal_scatter",
    "as_strided_copy",
    "fill_",
    "fill",
    "zero_",
    "roll",
    "flip",
    "rot90",
    "repeat",
    "im2col",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    "native_channel_shuffle",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "_upsample_nearest_exact2d",
    "reflection_pad1d",
    "reflection_pad2d",
    "reflection_pad3d",
    "replication_pad1d",
    "replication_pad2d",
    "replication_pad3d",
    "tril",
    "triu",
    "contiguous",
    "_unsafe_view",
    "_unsafe_index",
    "as_strided_",
    "squeeze_",
    "unsqueeze_",
    "transpose_",
    "t_",
    "detach_",
    "_reshape_alias",
    "_reshape_copy",
    "lift_fresh",
    "set_",
    "resize_",
    "index_put",
    "index_put_",
    "masked_fill",
    "masked_fill_",
    "masked_select",
    "masked_scatter",
    "scatter",
    "scatter_",
    "index_copy",
    "index_copy_",
    "where",
    "sort",
    "topk",
    "kthvalue",
    "median",
    "argmax",
    "argmin",
    "argsort",
    "nonzero",
    "isnan",
    "isinf",
    "isfinite",
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "_assert_async",
}
"""Operations that move or choose data and compute nothing that a cost model counts. Resampling,
`scatter_add`, `index_add` and `col2im` add, so they are not among them."""

SHAPE_ONLY = {
    "empty_like",
    "zeros_like",
    "ones_like",
    "full_like",
    "rand_like",
    "randn_like",
    "randint_like",
    "new_empty",
    "new_empty_strided",
    "new_zeros",
    "new_ones",
    "new_full",
    "sym_size",
}
"""Operations that read the shape of a tensor and none of its values: their result does not depend on the input."""

_PRODUCT_WORDS = {
    *("mm", "bmm", "mv", "matmul", "gemm", "dot", "vdot", "kron", "einsum", "trilinear", "bilinear", "linear"),
    *("conv", "convolution", "deconv", "attention", "sdpa", "mha", "head", "transformer", "rnn", "lstm", "gru"),
    *("fft", "cdist", "dist", "pdist", "embedding", "linalg", "lu", "qr", "svd", "eig", "eigh", "cholesky"),
    *("solve", "triangular", "inverse", "det", "slogdet", "householder", "ormqr", "geqrf", "lstsq"),
}
"""Words in the name of an operation that hides products: it is refused where no rule sees into it."""

_INTERPOLATIONS = ("upsample", "_upsample", "grid_sampler")
_WITHOUT_PRODUCTS = ("linalg_vector_norm",)
"""Names with such a word that multiply no two tensors."""


@functools.cache
def qualified_name(func: Any) -> str:
    """The operation's name: bare for aten, with its namespace for anybody else's."""
    name: str = func.overloadpacket.__name__
    return name if func.namespace in ("aten", "prims") else f"{func.namespace}::{name}"


@functools.cache
def hides_products(name: str) -> bool:
    """Whether an operation without a rule has to be refused, since by its name it multiplies and accumulates."""
    bare = name.rpartition("::")[2]
    if bare.startswith(_INTERPOLATIONS) or bare in _WITHOUT_PRODUCTS:
        return False
    words = bare.lower().strip("_").split("_")
    return any(word in _PRODUCT_WORDS or word.rstrip("0123456789d") in _PRODUCT_WORDS for word in words) or any(
        bare.lower().endswith(word) for word in ("mm", "matmul", "linear", "attention", "gemm", "conv")
    )


def plain_operator(name: str, activations: list[Tensor]) -> Operator:
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
    steps = seen.steps(*activations)
    call = Call(plain_operator(name, activations), name, steps, seen.per_sample(out.numel(), steps))
    if "::" in name:
        call.note = f"{name} is an operator of another library; what it computes inside is not counted"
    if name.rstrip("_") == "mul" and len(activations) > 1:
        x, y = activations[:2]
        times = seen.time(x), seen.time(y)
        call.activations["left"] = seen.activity(x, Layout(times[0] or beside(times[1], y, x), 1), None)
        call.activations["right"] = seen.activity(y, Layout(times[1] or beside(times[0], x, y), 1), None)
    elif name in ("sum", "mean"):
        call.activations["input"] = seen.activity(activations[0], Layout(seen.time(activations[0]), 1), None)
        call.fan_out["input"] = 1  # over spikes it takes as many additions as there are unit spikes
    return call
