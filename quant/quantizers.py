"""Quantizers: modules that put values onto a few levels and hold what that takes, a scale above all.

Every quantizer answers `codes(x)`, whole numbers q as floating point, `scale(x)` and `zero_point()`; its result is
(q - z) s. All state is there from the beginning: parameters where they are learned, buffers where not.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError, unknown_name
from quant import schemes
from quant.ranges import RangeMethod, find_range
from quant.schemes import Estimator

_TINY = 1e-12
"""Least scale: a learned one may not reach 0."""

BinaryScale = Literal["mean", "learned", "one"]


class Quantizer(nn.Module):
    """Puts values onto levels.

    Attributes:
        bits: width of a code.
        signed: whether codes below 0 occur (with the zero point taken off).
        axis: of the channels that have their own scale; None where there is one scale.
    """

    bits: int
    signed: bool
    axis: int | None

    def forward(self, x: Tensor) -> Tensor:
        """Return (q - z) s, of the shape of x."""
        return (self.codes(x) - self.zero_point()) * self.scale(x)

    def codes(self, x: Tensor) -> Tensor:
        """Return q, whole numbers in floating point, with a gradient."""
        raise NotImplementedError

    def scale(self, x: Tensor) -> Tensor:
        """Return s, which broadcasts to x; where it is made of x, as for binary weights, of this x."""
        raise NotImplementedError

    def zero_point(self) -> Tensor | float:
        """Return z, a whole number."""
        return 0.0

    def limits(self) -> tuple[int, int]:
        """Return the least and the greatest code."""
        raise NotImplementedError

    def initialise(self, x: Tensor, method: RangeMethod = "mse", percentile: float = 99.99) -> None:
        """Choose the state by values that were observed, `[n, ...]` as in `forward`; some need none."""

    def words(self) -> str:
        """Say for people what it does, such as `4 bit signed, 64 scales`."""
        scales = 1 if self.axis is None else max((p.numel() for p in self.parameters()), default=0)
        by_channel = "" if self.axis is None else f", {scales} scales" if scales > 1 else ", by channel"
        return f"{self.bits} bit{' signed' if self.signed else ''}{by_channel}"

    def _along(self, value: Tensor, x: Tensor) -> Tensor:
        """A value for each channel, in a shape that broadcasts to x."""
        if self.axis is None:
            return value
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return value.view(shape)

    def _others(self, x: Tensor) -> tuple[int, ...]:
        """The axes that share a scale."""
        if self.axis is None:
            return tuple(range(x.dim()))
        return tuple(i for i in range(x.dim()) if i != self.axis % x.dim())

    def _rows(self, x: Tensor) -> Tensor:
        """The values of each scale, `[C, n]`."""
        x = x.detach()
        return x.reshape(1, -1) if self.axis is None else x.movedim(self.axis, 0).reshape(x.shape[self.axis], -1)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, signed={self.signed}, axis={self.axis}"


def _state(module: nn.Module, name: str, value: Tensor, learned: bool) -> None:
    if learned:
        module.register_parameter(name, nn.Parameter(value))
    else:
        module.register_buffer(name, value)


def _set(state: Tensor, value: Tensor) -> None:
    with torch.no_grad():
        state.copy_(value.reshape(state.shape))


class Uniform(Quantizer):
    """Equal steps: q = round(clamp(x / s + z, low, high)).

    Args:
        bits: 1 to 16.
        signed: codes -2^(b-1) .. 2^(b-1) - 1, else 0 .. 2^b - 1.
        narrow: leave out the least code.
        channels: scales to hold; 1 with `axis` None.
        axis: of the channels.
        learned: the scale is trained by LSQ's rule, with its gradient divided by sqrt(elements x greatest code); and
            the zero point, where there is one, by LSQ+'s.
        affine: hold a zero point; for unsigned codes.
        elements: values that share a scale: of a weight, or of one sample.

    Raises:
        InputError: a width outside of 1..16, or a zero point for signed codes.
    """

    scale_: Tensor
    zero_: Tensor

    def __init__(
        self,
        bits: int,
        signed: bool,
        *,
        narrow: bool = False,
        channels: int = 1,
        axis: int | None = None,
        learned: bool = True,
        affine: bool = False,
        elements: int = 1,
    ) -> None:
        super().__init__()
        self.low, self.high = schemes.integer_range(bits, signed, narrow)
        if affine and signed:
            raise InputError("a zero point was asked for with signed codes; give signed=False, it does the same.")
        self.bits, self.signed, self.axis, self.affine, self.learned = bits, signed or affine, axis, affine, learned
        self.elements = elements
        _state(self, "scale_", torch.ones(channels if axis is not None else ()), learned)
        if affine:
            _state(self, "zero_", torch.zeros(()), learned)

    def codes(self, x: Tensor) -> Tensor:
        return schemes.uniform_codes(x, self.scale(x), self.zero_point(), self.low, self.high)

    def scale(self, x: Tensor) -> Tensor:
        scale = self.scale_.abs().clamp_min(_TINY)
        if self.learned:
            scale = schemes.scaled_gradient(scale, 1 / math.sqrt(max(1, self.elements * self.high)))
        return self._along(scale, x)

    def zero_point(self) -> Tensor | float:
        return schemes.round_through(self.zero_) if self.affine else 0.0

    def limits(self) -> tuple[int, int]:
        return self.low, self.high

    def initialise(self, x: Tensor, method: RangeMethod = "mse", percentile: float = 99.99) -> None:
        steps = self.high - self.low
        symmetric = self.low < 0
        low, high = find_range(self._rows(x), method, steps, symmetric=symmetric, percentile=percentile)
        if self.affine:
            scale = (high - low) / steps
            _set(self.zero_, torch.round(-low / scale.clamp_min(_TINY)).clamp(self.low, self.high))
        else:
            scale = high / self.high if self.high else -low / -self.low
        _set(self.scale_, torch.where(scale > _TINY, scale, torch.ones_like(scale)))


class Pact(Quantizer):
    """Unsigned equal steps up to a learned clip a: s = a / (2^b - 1); see `schemes.pact`."""

    clip_: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.low, self.high = schemes.integer_range(bits, signed=False)
        self.bits, self.signed, self.axis = bits, False, None
        self.clip_ = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return schemes.pact(x, self._clip(), self.bits)

    def codes(self, x: Tensor) -> Tensor:
        return schemes.uniform_codes(x, self.scale(x), 0.0, self.low, self.high)

    def scale(self, x: Tensor) -> Tensor:
        return self._clip() / self.high

    def limits(self) -> tuple[int, int]:
        return self.low, self.high

    def initialise(self, x: Tensor, method: RangeMethod = "mse", percentile: float = 99.99) -> None:
        high = find_range(self._rows(x), method, self.high, symmetric=False, percentile=percentile)[1]
        _set(self.clip_, torch.where(high > _TINY, high, torch.ones_like(high)))

    def _clip(self) -> Tensor:
        return self.clip_.abs().clamp_min(_TINY)


class Binary(Quantizer):
    """Two levels: q = sign((x - beta) / a), and s q with the scale s.

    Args:
        scale: `mean` takes s = mean|x| of the tensor that is quantized (weights; then a = 1), `learned` holds s
            (a = s), `one` is 1.
        estimator: the derivative of the sign, see `schemes.sign`.
        channels: of `axis`, where scales or shifts are by channel.
        axis: of the channels; None for one scale.
        shift: hold a learned beta for each channel (ReActNet's sign, arXiv:2003.03488).

    Raises:
        InputError: another scale.
    """

    scale_: Tensor
    shift_: Tensor

    def __init__(
        self,
        scale: BinaryScale,
        estimator: Estimator = "clipped",
        *,
        channels: int = 1,
        axis: int | None = None,
        shift: bool = False,
    ) -> None:
        super().__init__()
        if scale not in get_args(BinaryScale):
            raise unknown_name("scale of two levels", scale, get_args(BinaryScale))
        self.bits, self.signed, self.axis = 1, True, axis
        self.scaling, self.estimator, self.shifts = scale, estimator, shift
        self.by_channel = axis is not None and scale == "learned" and not shift
        _state(self, "scale_", torch.ones(channels if self.by_channel else ()), scale == "learned")
        _state(self, "shift_", torch.zeros(channels if shift else ()), shift)

    def codes(self, x: Tensor) -> Tensor:
        if self.shifts:
            x = x - self._along(self.shift_, x)
        if self.scaling == "learned":
            x = x / self.scale(x)
        return schemes.sign(x, self.estimator)

    def scale(self, x: Tensor) -> Tensor:
        if self.scaling == "mean":
            return schemes.mean_magnitude(x, self._others(x)).clamp_min(_TINY)
        scale = self.scale_.abs().clamp_min(_TINY)
        return self._along(scale, x) if self.by_channel else scale

    def limits(self) -> tuple[int, int]:
        return -1, 1

    def initialise(self, x: Tensor, method: RangeMethod = "mse", percentile: float = 99.99) -> None:
        if self.scaling == "learned":
            rows = self._rows(x) if self.by_channel else x.detach().reshape(1, -1)
            find_range(rows, "minmax", 1, symmetric=True)  # refuses what is not finite
            scale = rows.abs().mean(1)
            _set(self.scale_, torch.where(scale > _TINY, scale, torch.ones_like(scale)))


class Shift(nn.Module):
    """x - beta: the trained thresholds of a sign alone, for formats whose sign has none.

    Args:
        quantizer: holds beta, by channel; it is shared, not copied.
    """

    def __init__(self, quantizer: Binary) -> None:
        super().__init__()
        self.axis = quantizer.axis
        self.shift_ = quantizer.shift_

    def forward(self, x: Tensor) -> Tensor:
        """Return x - beta, of the shape of x."""
        shape = [1] * x.dim()
        if self.axis is not None:
            shape[self.axis] = -1
        return x - self.shift_.view(shape)


class Ternary(Quantizer):
    """Three levels of a weight, found from the weight itself.

    Args:
        rule: `threshold`: q = sign(w) where |w| > 0.7 mean|w|, s the mean of those (arXiv:1605.04711); `mean`:
            q = round(clamp(w / s, -1, 1)) with s = mean|w| (BitNet b1.58, arXiv:2402.17764, eq. 1 to 3).
        axis: of the channels that have their own scale; None for one.

    Learned ternary scales are `Uniform(2, signed=True, narrow=True)`.
    """

    def __init__(self, rule: Literal["threshold", "mean"], *, axis: int | None = None) -> None:
        super().__init__()
        self.bits, self.signed, self.axis, self.rule = 2, True, axis, rule

    def codes(self, x: Tensor) -> Tensor:
        if self.rule == "mean":
            return schemes.uniform_codes(x, self.scale(x), 0.0, -1, 1)
        return schemes.ternary_codes(x, schemes.ternary_threshold(x, self._others(x))[0])

    def scale(self, x: Tensor) -> Tensor:
        if self.rule == "mean":
            return schemes.mean_magnitude(x, self._others(x)).clamp_min(_TINY)
        return schemes.ternary_threshold(x, self._others(x))[1].clamp_min(_TINY)

    def limits(self) -> tuple[int, int]:
        return -1, 1


class PowerOfTwo(Quantizer):
    """0 and powers of two of either sign: products are shifts. See `schemes.power_of_two_codes`."""

    scale_: Tensor

    def __init__(self, bits: int, *, channels: int = 1, axis: int | None = None) -> None:
        super().__init__()
        schemes.power_of_two_codes(torch.zeros(1), torch.ones(1), bits)  # refuses the width
        self.bits, self.signed, self.axis = bits, True, axis
        self.scale_ = nn.Parameter(torch.ones(channels if axis is not None else ()))

    def codes(self, x: Tensor) -> Tensor:
        return schemes.power_of_two_codes(x, self.scale(x), self.bits)

    def scale(self, x: Tensor) -> Tensor:
        return self._along(self.scale_.abs().clamp_min(_TINY), x)

    def limits(self) -> tuple[int, int]:
        largest = 2 ** (2 ** (self.bits - 1) - 2)
        return -largest, largest

    def initialise(self, x: Tensor, method: RangeMethod = "mse", percentile: float = 99.99) -> None:
        high = find_range(self._rows(x), "minmax", 2, symmetric=True)[1] / self.limits()[1]
        _set(self.scale_, torch.where(high > _TINY, high, torch.ones_like(high)))


class Spikes(Quantizer):
    """A layer of integrate-and-fire neurons: values of T timesteps become T times spikes theta or 0.

    The batch holds the timesteps before the samples, `[T B, ...]`. See `schemes.spikes`; theta is learned.

    Args:
        timesteps: T.
        place: which axis holds the batch, and how many entries stand around it there: `[..., outer T B, ...]`.
        leak: of the membrane potential from one timestep to the next.
        membrane_bits: width of an integer membrane potential; None keeps it in floating point.
    """

    threshold_: Tensor
    elementwise_neuron = True
    """For who measures networks: each value is a neuron of its own."""

    def __init__(
        self, timesteps: int, leak: float = 1.0, membrane_bits: int | None = None, place: tuple[int, int] = (0, 1)
    ) -> None:
        super().__init__()
        if timesteps < 1 or not 0 < leak <= 1:
            raise InputError(f"T = {timesteps} and a leak of {leak} were given; give T >= 1 and a leak in (0, 1].")
        self.bits, self.signed, self.axis = 1, False, None
        self.timesteps, self.leak, self.membrane_bits = timesteps, leak, membrane_bits
        self.batch_axis, self.outer = place
        self.threshold_ = nn.Parameter(torch.ones(()))

    def codes(self, x: Tensor) -> Tensor:
        axis, shape = self.batch_axis, x.shape
        apart = x.unflatten(axis, (self.outer, self.timesteps, shape[axis] // (self.outer * self.timesteps)))
        fired = schemes.spikes(apart.movedim(axis + 1, 0), self.scale(x), self.leak, self.membrane_bits)
        return fired.movedim(0, axis + 1).reshape(shape)

    def scale(self, x: Tensor) -> Tensor:
        return self.threshold_.abs().clamp_min(_TINY)

    def limits(self) -> tuple[int, int]:
        return 0, 1

    def initialise(self, x: Tensor, method: RangeMethod = "mse", percentile: float = 99.99) -> None:
        fired = self._rows(x).clamp_min(0)  # what is negative fires nothing
        high = find_range(fired, method, self.timesteps, symmetric=False, percentile=percentile)[1]
        _set(self.threshold_, torch.where(high > _TINY, high, torch.ones_like(high)))

    def words(self) -> str:
        membrane = f", {self.membrane_bits}-bit membrane" if self.membrane_bits else ""
        return f"spikes{membrane}"

    def extra_repr(self) -> str:
        return f"timesteps={self.timesteps}, leak={self.leak}, membrane_bits={self.membrane_bits}"


class ShiftedPReLU(nn.Module):
    """y = PReLU(x - gamma) + zeta, all by channel (ReActNet, arXiv:2003.03488, eq. 4).

    Begins as the rectifier that it takes the place of, but with slope 1/4 below 0.
    """

    def __init__(self, channels: int, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.before = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.after = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of the shape of x."""
        shape = [1] * x.dim()
        shape[self.axis] = -1
        x = x - self.before.view(shape)
        return torch.where(x >= 0, x, x * self.slope.view(shape)) + self.after.view(shape)


__all__ = ["Binary", "Pact", "PowerOfTwo", "Quantizer", "ShiftedPReLU", "Spikes", "Ternary", "Uniform"]


def every(module: nn.Module) -> dict[str, Quantizer]:
    """Return the quantizers of a network by their names."""
    return {name: one for name, one in module.named_modules() if isinstance(one, Quantizer)}
