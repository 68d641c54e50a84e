"""Spike-driven attention and its neuron in one kernel on a GPU; the kernels are in device.py, the meaning in reference.

q, k and v are read once (k and v once for each block of tokens, from the second cache), and the spikes are all that is
written. Importing this needs Triton; `gpu.refuses` says whether to.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from neuro.kernels.gpu import on_device
from neuro.kernels.lif.settings import Settings
from neuro.kernels.lif.triton import neuron as neuron_arguments
from neuro.kernels.sdsa.cpu import is_time_packed, outputs
from neuro.kernels.sdsa.device import attention_kernel, mask_kernel
from neuro.kernels.sdsa.reference import Neuron

EXACT = 2048
"""The largest integer below which fp16 has them all: the tokens that a single product may count."""


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kind: int,
    scale: float | Tensor,
    neuron: Neuron,
    timesteps: int,
    packed: bool,
) -> tuple[Tensor, Tensor]:
    """Return what `reference.sdsa` returns; arguments as in `cpu.forward`, `scale` a number or a tensor of one.

    To look at every value before going on would stall the GPU: values other than 0 and 1 are multiplied as fp16.
    """
    out, last = outputs(q, kind, timesteps, packed)
    if not out.numel():
        return out, last.fill_(neuron.v_reset or 0.0)
    packed_in, bits = is_time_packed(q, timesteps), q.dtype == torch.bool
    q, k, v = (x.view(torch.uint8) if x.dtype == torch.bool else x for x in (q, k, v))
    written = out.view(torch.uint8) if out.dtype == torch.bool else out
    _, batch, heads, tokens, width = q.shape
    grid, blocks = _blocks(kind, tokens, width, packed_in or bits)
    kernel = mask_kernel if kind == 1 else attention_kernel
    with on_device(q):
        kernel[(batch * heads, *grid)](
            q,
            k,
            v,
            written,
            last,
            _scale(scale, q.device),
            *(stride for x in (q, k, v, out) for stride in x.stride()),
            HEADS=heads,
            N=tokens,
            D=width,
            **neuron_arguments(_settings(neuron)),
            T=timesteps,
            PACKED_IN=packed_in,
            PACKED_OUT=packed,
            **blocks,
            enable_fp_fusion=False,
        )
    return out, last


def _scale(scale: float | Tensor, device: torch.device) -> Tensor:
    """The scale in the GPU's memory; filling it in there, unlike a copy, may stand in a CUDA graph."""
    if isinstance(scale, Tensor):
        return scale.to(device, torch.float32)
    return torch.full((), scale, dtype=torch.float32, device=device)


def _blocks(kind: int, tokens: int, width: int, bits: bool) -> tuple[tuple[int, ...], dict[str, int | bool]]:
    """The grid beside its first axis, and the kernel's sizes: powers of two that tensor cores take."""
    whole = max(triton.next_power_of_2(width), 16)
    if kind == 1:
        columns = min(whole, 32)
        return (triton.cdiv(width, columns),), {"BN": 64, "BE": columns, "num_warps": 4}
    columns, inner = min(whole, 64), min(whole, 128)
    rows = 64 if tokens > 32 else 32
    blocks = {"BM": rows, "BN": 64, "BD": inner, "BE": columns, "BITS": bits, "WIDE": tokens > EXACT}
    grid = (triton.cdiv(tokens, rows), triton.cdiv(width, columns))
    return grid, blocks | {"num_warps": 8 if columns > 32 else 4, "num_stages": 2}


def _settings(p: Neuron) -> Settings:
    charge = "if" if not p.leak else "lif" if p.decay_input else "lif_undecayed"
    return Settings(charge, p.tau, p.v_threshold, p.v_reset)
