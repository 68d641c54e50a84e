"""Spike-driven self-attention and its neuron in one pass over the bits of q, k and v.

    SDSA-1        s = q SN(scale sum_n(k v))
    SDSA-3, -4    s = SN(scale q (k^T v))

`sdsa` runs a whole attention for inference: the products are integers counted on packed bits, the potential stays in
registers over T, and s is all that is written, dense or time-packed.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import torch
from torch import Tensor

from hardware_models.errors import InputError, RunError
from neuro.kernels import gpu, native
from neuro.kernels.bitpack import reference as bitpack
from neuro.kernels.dispatch import LOGGER, Implementation, Operator, Request, current_wish
from neuro.kernels.sdsa import cpu, reference
from neuro.kernels.sdsa.reference import Neuron

__all__ = ["Neuron", "sdsa"]

KINDS: Final = (1, 3, 4)


def sdsa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    neuron: Neuron,
    kind: int = 3,
    scale: float | Tensor = 1.0,
    timesteps: int | None = None,
    packed: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run spike-driven self-attention over all timesteps, from rest. For inference: it has no gradient.

    Args:
        q: spikes `[T, B, heads, N, d]` in any strides (channels before tokens in memory is fastest), fp32, fp16, bf16,
            bool or uint8; or time-packed bytes `[ceil(T/8), B, heads, N, d]`, bit t % 8 of byte t // 8 being timestep
            t, with `timesteps` given. Floating-point values other than 0 and 1 are computed as the reference does.
        k: like q.
        v: like q.
        neuron: constants of the IF or LIF neuron.
        kind: 1, 3 or 4; 4 is 3 with a learned scale.
        scale: in front of the neuron, a number or a tensor of one element.
        timesteps: T, needed where q is time-packed.
        packed: return the spikes time-packed.

    Returns:
        Spikes, of q's shape and dtype or `[ceil(T/8), ...]` bytes, and the last potential `[B, heads, N, d]` (SDSA-1:
        `[B, heads, 1, d]`) in fp32. Equal to the reference bit for bit while N d < 2^24.

    Raises:
        InputError: shapes, dtypes, `kind` or `timesteps` do not fit, or an integer operand holds more than 0 and 1.
    """
    steps = q.shape[0] if timesteps is None and q.dim() else timesteps or 0
    _check(q, k, v, kind, steps)
    learned = scale if isinstance(scale, Tensor) else None
    number = 1.0 if isinstance(scale, Tensor) else scale
    return torch.ops.neuro.sdsa_forward(q, k, v, min(kind, 3), number, learned, *neuron, steps, packed)


def _check(q: Tensor, k: Tensor, v: Tensor, kind: int, timesteps: int) -> None:
    if kind not in KINDS:
        raise InputError(f"sdsa was given kind={kind!r}; give 1, 3 or 4.")
    if q.dim() != 5 or not q.shape == k.shape == v.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise InputError(f"sdsa was given q, k, v of shapes {shapes}; give three times [T, B, heads, N, d].")
    if not q.dtype == k.dtype == v.dtype or not (q.dtype in cpu.CODES or q.dtype == torch.float64):
        dtypes = ", ".join(str(x.dtype) for x in (q, k, v))
        raise InputError(f"sdsa was given q, k, v of dtypes {dtypes}; give one floating-point type, bool or uint8.")
    if timesteps < 1:
        raise InputError(f"sdsa was given timesteps={timesteps}; T must be at least 1.")
    if q.shape[0] != timesteps and not (q.dtype == torch.uint8 and q.shape[0] == (timesteps + 7) // 8):
        raise InputError(
            f"sdsa was given {q.shape[0]} planes of {q.dtype} for timesteps={timesteps}; give T planes of spikes, or "
            "ceil(T/8) of time-packed bytes."
        )


def _native(
    q: Tensor, k: Tensor, v: Tensor, kind: int, scale: float | Tensor, neuron: Neuron, timesteps: int, packed: bool
) -> tuple[Tensor, Tensor]:
    done = cpu.forward(q, k, v, kind, float(scale), neuron, timesteps, packed)
    if done is not None:
        return done
    if not q.is_floating_point():
        raise InputError(f"sdsa was given {q.dtype} operands with values above 1; give spikes, 0 and 1.")
    _tell_of_other_values(q.dtype, current_wish().strict)
    return _reference(q, k, v, kind, scale, neuron, timesteps, packed)


@functools.cache
def _tell_of_other_values(dtype: torch.dtype, strict: bool) -> None:
    reason = "a value is neither 0 nor 1"
    if strict:
        raise RunError(f"kernel sdsa: native cannot run here ({reason}), and NEURO_KERNELS_STRICT forbids another one.")
    LOGGER.warning("sdsa on cpu, %s: reference (native: %s)", dtype, reason)


def _reference(
    q: Tensor, k: Tensor, v: Tensor, kind: int, scale: float | Tensor, neuron: Neuron, timesteps: int, packed: bool
) -> tuple[Tensor, Tensor]:
    if cpu.is_time_packed(q, timesteps):
        q, k, v = [bitpack.unpack(x, timesteps, torch.uint8) for x in (q, k, v)]
    s, last = reference.sdsa(q, k, v, kind, scale, neuron)
    out, potential = cpu.outputs(q, kind, timesteps, packed)
    return out.copy_(bitpack.pack(s, False)[0] if packed else s), potential.copy_(last)


def _triton(*arguments: Any) -> tuple[Tensor, Tensor]:
    from neuro.kernels.sdsa import triton

    return triton.forward(*arguments)


def _native_refuses(request: Request) -> str:
    if request.device != "cpu":
        return f"the tensor is on {request.device}, not on the CPU"
    if request.dtype not in cpu.CODES:
        return f"dtype {str(request.dtype).removeprefix('torch.')}"
    return native.why_not()


OPERATOR: Final = Operator(
    "sdsa",
    [
        Implementation("triton", lambda request: gpu.refuses(request, cpu.CODES), _triton),
        Implementation("native", _native_refuses, _native),
        Implementation("reference", lambda request: "", _reference),
    ],
)


@torch.library.custom_op("neuro::sdsa_forward", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kind: int,
    scale: float,
    learned: Tensor | None,
    v_threshold: float,
    v_reset: float | None,
    tau: float,
    decay_input: bool,
    leak: bool,
    timesteps: int,
    packed: bool,
) -> tuple[Tensor, Tensor]:
    neuron = Neuron(v_threshold, v_reset, tau, decay_input, leak)
    given = scale if learned is None else learned
    return OPERATOR(Request(q.device.type, q.dtype), q, k, v, kind, given, neuron, timesteps, packed)


@_forward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, kind: int, scale: float, learned: Tensor | None, v_threshold: float,
    v_reset: float | None, tau: float, decay_input: bool, leak: bool, timesteps: int, packed: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return cpu.outputs(q, kind, timesteps, packed)
