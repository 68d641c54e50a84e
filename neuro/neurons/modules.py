"""Neuron modules: thin shells around the step equations of `functional`, with explicit, resettable state.

Step modes follow SpikingJelly, so that modules of both libraries can be mixed:

- `"m"` (multi-step, the default): input `[T, ...]`, output `[T, ...]`. A forward pass starts from the resting
  state (or from `v` when given) and leaves the last potential in `.v` for inspection, so two passes in a row
  give the same result.
- `"s"` (single-step): input and output `[...]`, one timestep. The state `.v` is carried to the next call
  until `reset()`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.kernels import lif
from neuro.neurons.functional import FireReset, if_step, integer_lif_step, lif_step, unroll_integer_spikes
from neuro.neurons.surrogate import Surrogate, surrogate


class SpikingNeuron(nn.Module):
    """Base of the neurons: step modes and state; a subclass gives `step(x, v) -> (s, v)`."""

    v: Tensor | None

    def __init__(self, step_mode: str = "m") -> None:
        super().__init__()
        self.step_mode = step_mode
        self.v = None

    @property
    def step_mode(self) -> str:
        """`"m"` for `[T, ...]` input, `"s"` for one timestep a call."""
        return self._step_mode

    @step_mode.setter
    def step_mode(self, mode: str) -> None:
        if mode not in ("s", "m"):
            raise InputError(f"step_mode was {mode!r}; give 's' (one timestep a call) or 'm' (input [T, ...]).")
        self._step_mode = mode

    @property
    def resting_potential(self) -> float:
        """The potential of a neuron that has not been charged yet."""
        return 0.0

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spikes and the new potential of one timestep."""
        raise TypeError(f"{type(self).__name__} must define step(x, v)")

    def multi_step(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the spikes `[T, ...]` of input `[T, ...]` and the last potential: `step` repeated.

        `v` is the potential before the first step, None for the resting potential.
        """
        v = self._initial(x[0]) if v is None else v
        spikes = []
        for x_t in x.unbind(0):
            s, v = self.step(x_t, v)
            spikes.append(s)
        return torch.stack(spikes), v

    def forward(self, x: Tensor, v: Tensor | None = None) -> Tensor:
        """Return the spikes for `x`; see the module docstring for shapes and state."""
        if self.step_mode == "s":
            state = v if v is not None else self.v
            s, self.v = self.step(x, self._initial(x) if state is None else state)
            return s
        if x.shape[0] == 0:
            raise InputError(f"a neuron in multi-step mode was given {tuple(x.shape)}; T must be at least 1.")
        s, v = self.multi_step(x, v)
        self.v = v.detach().to(x.dtype)
        return s

    def __getstate__(self) -> dict[str, Any]:
        # A potential that carries a graph (single-step training) cannot be copied or pickled; its value can.
        return self.__dict__ | {"v": None if self.v is None else self.v.detach()}

    def reset(self) -> None:
        """Forget the state; the next pass starts from the resting potential."""
        self.v = None

    def _initial(self, like: Tensor) -> Tensor:
        return torch.full_like(like, self.resting_potential)


class IF(SpikingNeuron):
    """Integrate-and-fire neuron, h = v + x (`functional.if_step`).

    Args:
        v_threshold: firing threshold.
        v_reset: hard reset potential, or None for soft reset.
        surrogate: name or `Surrogate`.
        detach_reset: keep the reset out of the gradient.
        step_mode: `"m"` or `"s"`.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate: str | Surrogate = "sigmoid",
        detach_reset: bool = True,
        step_mode: str = "m",
    ) -> None:
        super().__init__(step_mode)
        if not (v_reset is None or isinstance(v_reset, int | float)):
            raise InputError(f"v_reset was {v_reset!r}; give a number for a hard reset, or null for a soft one.")
        self.v_threshold = v_threshold
        self.v_reset = v_reset
        self.surrogate = _as_surrogate(surrogate)
        self.detach_reset = detach_reset

    @property
    def resting_potential(self) -> float:
        return self.v_reset or 0.0

    @property
    def fire_reset(self) -> FireReset:
        """The firing and reset parameters as `functional` takes them."""
        return FireReset(self.v_threshold, self.v_reset, self.surrogate, self.detach_reset)

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return if_step(x, v, self.fire_reset)

    def multi_step(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        # A subclass with its own step is stepped through autograd.
        if type(self).step is not IF.step:
            return super().multi_step(x, v)
        return lif.multi_step(x, v, self.fire_reset, leak=False)

    def extra_repr(self) -> str:
        return (
            f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, surrogate={self.surrogate.name}, "
            f"detach_reset={self.detach_reset}, step_mode={self.step_mode!r}"
        )


class LIF(IF):
    """Leaky integrate-and-fire neuron (`functional.lif_step`).

    Args:
        tau: membrane time constant in timesteps, >= 1.
        decay_input: divide the input current by tau too (Meta-SpikeFormer does).
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        decay_input: bool = True,
        surrogate: str | Surrogate = "sigmoid",
        detach_reset: bool = True,
        step_mode: str = "m",
    ) -> None:
        super().__init__(v_threshold, v_reset, surrogate, detach_reset, step_mode)
        self.tau = _checked_tau(tau)
        self.decay_input = decay_input

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return lif_step(x, v, self.fire_reset, self.tau, self.decay_input)

    def multi_step(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        if type(self).step is not LIF.step:
            return super().multi_step(x, v)
        return lif.multi_step(x, v, self.fire_reset, self.tau, self.decay_input)

    def extra_repr(self) -> str:
        return f"tau={self.tau}, decay_input={self.decay_input}, {super().extra_repr()}"


class PLIF(IF):
    """Parametric LIF: 1/tau = sigmoid(w) is learned, one w per layer (Fang et al., ICCV 2021).

    Args:
        tau: initial time constant in timesteps, > 1.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        decay_input: bool = True,
        surrogate: str | Surrogate = "sigmoid",
        detach_reset: bool = True,
        step_mode: str = "m",
    ) -> None:
        super().__init__(v_threshold, v_reset, surrogate, detach_reset, step_mode)
        if not (isinstance(tau, int | float) and tau > 1):
            raise InputError(f"PLIF was given tau={tau!r}; give an initial tau above 1, since 1/tau = sigmoid(w) < 1.")
        self.w = nn.Parameter(torch.tensor(-math.log(tau - 1)))
        self.decay_input = decay_input

    @property
    def tau(self) -> Tensor:
        """The present time constant in timesteps, 1 / sigmoid(w)."""
        return 1 / self.w.sigmoid()

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return lif_step(x, v, self.fire_reset, self.tau.to(x.dtype), self.decay_input)

    def multi_step(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        if type(self).step is not PLIF.step:
            return super().multi_step(x, v)
        return lif.multi_step(x, v, self.fire_reset, self.tau, self.decay_input)

    def extra_repr(self) -> str:
        return f"tau={self.tau.item():.4g} (learned), decay_input={self.decay_input}, {super().extra_repr()}"


class IntegerLIF(SpikingNeuron):
    """Integer LIF neuron: spike counts 0..levels in a timestep (`functional.integer_lif_step`).

    Args:
        levels: the largest count, D in the V3 paper.
        tau: leak in timesteps; with T = 1 it has no effect (V3 trains with T = 1).
        normalize: emit s / levels, as V3 does to keep activations in [0, 1]; the factor folds into the
            weights.
    """

    def __init__(
        self,
        levels: int = 4,
        tau: float = 4 / 3,
        normalize: bool = True,
        detach_reset: bool = True,
        step_mode: str = "m",
    ) -> None:
        super().__init__(step_mode)
        if not (isinstance(levels, int) and levels >= 1):
            raise InputError(f"IntegerLIF was given levels={levels!r}; give a whole number of at least 1.")
        self.levels = levels
        self.tau = _checked_tau(tau)
        self.normalize = normalize
        self.detach_reset = detach_reset

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        s, v = integer_lif_step(x, v, self.levels, self.tau, self.detach_reset)
        return (s / self.levels if self.normalize else s), v

    def multi_step(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        if type(self).step is not IntegerLIF.step:
            return super().multi_step(x, v)
        divisor = self.levels if self.normalize else 1.0
        return lif.integer_multi_step(x, v, self.levels, self.tau, self.detach_reset, divisor)

    def unroll(self, s: Tensor) -> Tensor:
        """Unroll this neuron's output `[...]` into binary sub-steps `[levels, ...]`.

        Their sum is the output (times `levels` where it is normalised).
        """
        counts = (s * self.levels).round() if self.normalize else s
        return unroll_integer_spikes(counts, self.levels)

    def extra_repr(self) -> str:
        return (
            f"levels={self.levels}, tau={self.tau:.4g}, normalize={self.normalize}, "
            f"detach_reset={self.detach_reset}, step_mode={self.step_mode!r}"
        )


def reset(module: nn.Module) -> None:
    """Reset every neuron in `module`, itself included: ours, SpikingJelly's and snnTorch's.

    Theirs are known by what they offer, `step_mode` and `reset()` or `reset_mem()`; a `reset()` of any other module
    is not ours to call, for it may redraw weights.
    """
    for m in module.modules():
        forget = getattr(m, "reset", None) if hasattr(m, "step_mode") else getattr(m, "reset_mem", None)
        if callable(forget):
            forget()


def _as_surrogate(given: str | Surrogate) -> Surrogate:
    return surrogate(given) if isinstance(given, str) else given


def _checked_tau(tau: float) -> float:
    if not (isinstance(tau, int | float) and tau >= 1):
        raise InputError(f"tau was {tau!r}; give a time constant of at least 1 timestep.")
    return tau
