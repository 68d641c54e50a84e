"""The arithmetic of low bits: from values to a few levels, with the gradient that training uses.

A value is kept as a code q, a whole number, which stands for (q - z) s with the scale s and the zero point z. Rounding
and signs have no useful gradient of their own; each function says what is used instead (a straight-through estimator).
All functions are pure: tensors in, tensors out, of any shape that broadcasts.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from hardware_models.errors import InputError, unknown_name

Estimator = Literal["clipped", "polynomial", "identity"]
"""The gradient of a sign: see `sign`."""

MOST_BITS = 16


def check_bits(bits: int, least: int = 1) -> None:
    """Refuse a width outside of `least`..16.

    Raises:
        InputError: the width.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not least <= bits <= MOST_BITS:
        raise InputError(f"a width of {bits} bits was given; give a whole number from {least} to {MOST_BITS}.")


def integer_range(bits: int, signed: bool, narrow: bool = False) -> tuple[int, int]:
    """Return the least and the greatest code of `bits` bits.

    Unsigned codes are 0 .. 2^b - 1, signed ones -2^(b-1) .. 2^(b-1) - 1; narrow ones leave out the least, so that the
    range is symmetric. One signed bit is -1 or 0.

    Raises:
        InputError: a width outside of 1..16, or narrow codes of one bit, which would be 0 alone.
    """
    check_bits(bits, 2 if signed and narrow else 1)
    if not signed:
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1


def round_through(x: Tensor) -> Tensor:
    """Round half to even; the gradient is that of the identity (Bengio et al., arXiv:1308.3432)."""
    return x + (x.round() - x).detach()


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """Return x; its gradient is multiplied by `factor`."""
    return x.detach() + (x - x.detach()) * factor


def uniform_codes(x: Tensor, scale: Tensor, zero_point: Tensor | float, low: int, high: int) -> Tensor:
    """q = round(clamp(x / s + z, low, high)).

    Straight through the rounding, the derivatives of the value (q - z) s are those of LSQ (Esser et al.,
    arXiv:1902.08153) in s, and of LSQ+ (Bhalgat et al., arXiv:2004.09576) in z; in x they are 1 inside of the range and
    0 outside.
    """
    return round_through(torch.clamp(x / scale + zero_point, low, high))


def pact(x: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Values 0..clip on 2^b - 1 steps: y = round(clamp(x, 0, a) (2^b - 1) / a) a / (2^b - 1).

    The derivative in the learned clip a is 1 where x >= a and 0 elsewhere (PACT, Choi et al., arXiv:1805.06085, eq. 3).

    Raises:
        InputError: a width outside of 1..16.
    """
    high = integer_range(bits, signed=False)[1]
    clipped = x.clamp_min(0).minimum(clip)
    return clipped + (uniform_codes(clipped, clip / high, 0.0, 0, high) * clip / high - clipped).detach()


def sign(x: Tensor, estimator: Estimator = "clipped") -> Tensor:
    """+1 where x >= 0, else -1; there is no 0.

    The derivative that training uses is, by `estimator`,

        clipped     1 for |x| <= 1, else 0 (BinaryConnect, arXiv:1511.00363)
        polynomial  2 - 2 |x| for |x| <= 1, else 0 (Bi-Real Net, arXiv:1808.00278, eq. 6)
        identity    1

    Raises:
        InputError: another estimator.
    """
    if estimator == "clipped":
        smooth = x.clamp(-1, 1)
    elif estimator == "polynomial":
        inside = x.clamp(-1, 1)
        smooth = inside * (2 - inside.abs())
    elif estimator == "identity":
        smooth = x
    else:
        raise unknown_name("gradient of a sign", str(estimator), get_args(Estimator))
    return smooth + (torch.where(x >= 0, 1.0, -1.0).to(x.dtype) - smooth).detach()


def mean_magnitude(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Mean |x| over `axes`, which are kept: the scale of binary weights nearest to x (XNOR-Net, arXiv:1603.05279)."""
    return x.abs().mean(axes, keepdim=True)


def ternary_codes(x: Tensor, threshold: Tensor) -> Tensor:
    """sign(x) where |x| > threshold, else 0; the gradient passes straight through to x (arXiv:1605.04711)."""
    codes = torch.where(x.abs() > threshold, x.sign(), torch.zeros_like(x))
    return x + (codes - x).detach()


def ternary_threshold(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return threshold and scale of ternary weight networks (Li et al., arXiv:1605.04711, eq. 6 and 3).

    Threshold 0.7 mean|x|; scale the mean |x| of those above it; both over `axes`, which are kept.
    """
    magnitude = x.abs()
    threshold = 0.7 * magnitude.mean(axes, keepdim=True)
    above = (magnitude > threshold).to(x.dtype)
    return threshold, (magnitude * above).sum(axes, keepdim=True) / above.sum(axes, keepdim=True).clamp_min(1)


def power_of_two_codes(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """0 or sign(x) 2^k with k = 0 .. 2^(b-1) - 2, whichever power is nearest to |x| / s in the logarithm.

    Below half of the smallest power it is 0. Straight through to x / s inside of the range.

    Raises:
        InputError: a width outside of 2..5, beyond which 2^k leaves 16 bits.
    """
    if not 2 <= bits <= 5:
        raise InputError(f"powers of two of {bits} bits were asked for; give 2 to 5.")
    most = 2 ** (bits - 1) - 2
    ratio = torch.clamp(x / scale, -(2.0**most), 2.0**most)
    magnitude = ratio.detach().abs()
    power = torch.exp2(torch.log2(magnitude.clamp_min(0.5)).round().clamp(0, most))
    codes = torch.where(magnitude < 0.5, torch.zeros_like(power), power * ratio.detach().sign())
    return ratio + (codes - ratio).detach()


def spikes(current: Tensor, threshold: Tensor, leak: float = 1.0, membrane_bits: int | None = None) -> Tensor:
    """Integrate and fire with soft reset, for `[T, ...]` currents; return spikes 0 or 1, `[T, ...]`.

        v[t] = leak u[t-1] + x[t] / theta        s[t] = [v[t] >= 1]        u[t] = v[t] - s[t]

    starting from v = 1/2, so that T equal currents x fire round(T x / theta) times, at most T. An integer membrane of b
    bits holds v as a whole number of steps of 2^(2-b) (so that the threshold is 2^(b-2)), rounds what flows in, and
    saturates at -2^(b-1) and 2^(b-1) - 1.

    The derivative of a spike in v is the triangle max(0, 1 - |v - 1|) (Esser et al., arXiv:1603.08270); rounding passes
    straight through.

    Raises:
        InputError: a width of the membrane outside of 3..16.
    """
    if membrane_bits is not None:
        check_bits(membrane_bits, 3)
    state = torch.full_like(current[0], 0.5)
    fired = []
    for x in (current / threshold).unbind(0):
        v = state * leak + x
        if membrane_bits is not None:
            low, high = integer_range(membrane_bits, signed=True)
            v = uniform_codes(v, torch.tensor(2.0 ** (2 - membrane_bits), device=v.device), 0.0, low, high)
            v = v * 2.0 ** (2 - membrane_bits)
        spike = _fire(v)
        fired.append(spike)
        state = v - spike
    return torch.stack(fired)


def _fire(v: Tensor) -> Tensor:
    """[v >= 1] with a triangle for its derivative: the integral of the triangle, straight through."""
    distance = (v - 1).clamp(-1, 1)
    smooth = distance - distance * distance.abs() / 2
    return smooth + ((v >= 1).to(v.dtype) - smooth).detach()
