"""Step equations and neuron modules against traces and gradients worked out by hand.

All numbers are sums of powers of two where possible, so that equality is exact.
"""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from hardware_models.errors import InputError
from neuro.neurons import (
    IF,
    LIF,
    PLIF,
    FireReset,
    IntegerLIF,
    SpikingNeuron,
    if_step,
    integer_lif_step,
    lif_step,
    reset,
    surrogate,
    unroll_integer_spikes,
)

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _double(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.double)


def _trace(step: Step, x: list[float], v0: float = 0.0) -> tuple[list[float], list[float]]:
    v, spikes, potentials = _double([v0]), [], []
    for x_t in x:
        s, v = step(_double([x_t]), v)
        spikes.append(s.item())
        potentials.append(v.item())
    return spikes, potentials


# --- values ---


def test_if_hard_reset() -> None:
    # h: .75 | .75 + .5 = 1.25 fires, v = 0 | 0 + .25 | .25 + .75 = 1 fires (a tie does)
    s, v = _trace(lambda x, v: if_step(x, v, FireReset()), [0.75, 0.5, 0.25, 0.75])
    assert s == [0, 1, 0, 1]
    assert v == [0.75, 0, 0.25, 0]


def test_if_soft_reset() -> None:
    # h: .75 | 1.25 fires, v = .25 | .25 + .25 = .5 | .5 + 2 = 2.5 fires once, v = 1.5 | 1.5 fires, v = .5
    s, v = _trace(lambda x, v: if_step(x, v, FireReset(v_reset=None)), [0.75, 0.5, 0.25, 2.0, 0.0])
    assert s == [0, 1, 0, 1, 1]
    assert v == [0.75, 0.25, 0.5, 1.5, 0.5]


def test_if_other_threshold_and_reset_potential() -> None:
    # from v = -.5, threshold 2: h = .5 | .5 + 1.75 = 2.25 fires, v = -.5 | -.5 + .25 = -.25
    s, v = _trace(lambda x, v: if_step(x, v, FireReset(2.0, -0.5)), [1.0, 1.75, 0.25], v0=-0.5)
    assert s == [0, 1, 0]
    assert v == [0.5, -0.5, -0.25]
    # soft, threshold .5: h = .75 fires, v = .25 | .25 + .125 = .375 | .375 + .25 = .625 fires, v = .125
    s, v = _trace(lambda x, v: if_step(x, v, FireReset(0.5, None)), [0.75, 0.125, 0.25])
    assert s == [1, 0, 1]
    assert v == [0.25, 0.375, 0.125]


def test_lif_decay_input_hard_reset() -> None:
    # h = v/2 + x/2: .5 | .25 + 1 = 1.25 fires, v = 0 | .25 | .125 + 1 = 1.125 fires
    s, v = _trace(lambda x, v: lif_step(x, v, FireReset(), 2.0), [1.0, 2.0, 0.5, 2.0])
    assert s == [0, 1, 0, 1]
    assert v == [0.5, 0, 0.25, 0]


def test_lif_decay_input_soft_reset() -> None:
    # h = v/2 + x/2: .5 | 1.25 fires, v = .25 | .125 + .25 = .375 | .1875 + 1 = 1.1875 fires, v = .1875
    s, v = _trace(lambda x, v: lif_step(x, v, FireReset(v_reset=None), 2.0), [1.0, 2.0, 0.5, 2.0])
    assert s == [0, 1, 0, 1]
    assert v == [0.5, 0.25, 0.375, 0.1875]


def test_lif_without_decay_input_hard_reset() -> None:
    # h = v/2 + x: .75 | .375 + .75 = 1.125 fires, v = 0 | .25 | .125 + 1 = 1.125 fires
    s, v = _trace(lambda x, v: lif_step(x, v, FireReset(), 2.0, decay_input=False), [0.75, 0.75, 0.25, 1.0])
    assert s == [0, 1, 0, 1]
    assert v == [0.75, 0, 0.25, 0]


def test_lif_without_decay_input_soft_reset_tau_four() -> None:
    # h = 3v/4 + x: 1.5 fires, v = .5 | .375 + .25 = .625 | .46875 + 1 = 1.46875 fires, v = .46875
    p = FireReset(v_reset=None)
    s, v = _trace(lambda x, v: lif_step(x, v, p, 4.0, decay_input=False), [1.5, 0.25, 1.0])
    assert s == [1, 0, 1]
    assert v == [0.5, 0.625, 0.46875]


def test_lif_leaks_towards_its_reset_potential() -> None:
    # v_reset = -.5, h = v + (x - (v + .5))/2 = v/2 + x/2 - .25, from rest:
    # -.25 + 1 - .25 = .5 | .25 + 1.25 - .25 = 1.25 fires, v = -.5
    # -.25 - .25 = -.5, rests | -.25 + 1.5 - .25 = 1 fires
    p = FireReset(v_reset=-0.5)
    s, v = _trace(lambda x, v: lif_step(x, v, p, 2.0), [2.0, 2.5, 0.0, 3.0], v0=-0.5)
    assert s == [0, 1, 0, 1]
    assert v == [0.5, -0.5, -0.5, -0.5]
    # v_reset = .25, input not decayed: h = v - (v - .25)/2 + x = v/2 + .125 + x, from rest:
    # .75 | .375 + .125 + .5 = 1 fires, v = .25 | .75
    p = FireReset(v_reset=0.25)
    s, v = _trace(lambda x, v: lif_step(x, v, p, 2.0, decay_input=False), [0.5, 0.5, 0.5], v0=0.25)
    assert s == [0, 1, 0]
    assert v == [0.75, 0.25, 0.75]


def test_lif_with_tau_one_forgets_at_once() -> None:
    # h = v + (x - v)/1 = x
    s, v = _trace(lambda x, v: lif_step(x, v, FireReset(), 1.0), [0.75, 0.75, 1.0])
    assert s == [0, 0, 1]
    assert v == [0.75, 0.75, 0]


def test_integer_lif() -> None:
    # tau = 4/3, so h = v/4 + x; s = round(clamp(h, 0, 4)); v = h - s:
    #   2.75 -> 3, v = -.25                      -.0625 + 1.5 = 1.4375 -> 1, v = .4375
    #   .109375 - 1 = -.890625 -> 0, v = h       -.22265625 + 6 = 5.77734375 -> 4, v = 1.77734375
    s, v = _trace(lambda x, v: integer_lif_step(x, v, 4, 4 / 3), [2.75, 1.5, -1.0, 6.0])
    assert s == [3, 1, 0, 4]
    assert v == pytest.approx([-0.25, 0.4375, -0.890625, 1.77734375], abs=1e-12)


def test_integer_lif_rounds_half_to_even() -> None:
    s, _ = integer_lif_step(_double([0.5, 1.5, 2.5, 3.5, 4.5]), torch.zeros(5), 4, 4 / 3)
    assert s.tolist() == [0, 2, 2, 4, 4]


# --- gradients; the surrogate is the triangle of height one, g(u) = max(0, 1 - |u|), u = h - threshold ---

TRIANGLE = surrogate("triangle", 1.0)


def _input_gradient(neuron: SpikingNeuron, x: list[float], weights: list[float]) -> list[float]:
    """The gradient of sum_t weights[t] s[t] with respect to x."""
    x_seq = _double(x).unsqueeze(1).requires_grad_()
    (neuron(x_seq)[:, 0] * _double(weights)).sum().backward()
    return x_seq.grad[:, 0].tolist()


@pytest.mark.parametrize(
    ("detach_reset", "expected"),
    [
        # IF, hard: h1 = .75 (s 0, g .75), h2 = .75 + .5 = 1.25 (s 1, g .75), v2 = 0, h3 = .75 (s 0, g .75).
        # L = s1 + 2 s2 + 4 s3.  dL/dh3 = 4 * .75 = 3.
        # Detached, dv/dh = 1 - s: dv2/dh2 = 0, dv1/dh1 = 1.
        #   dL/dh2 = 2 * .75 + 3 * 0 = 1.5,  dL/dh1 = .75 + 1.5 * 1 = 2.25
        (True, [2.25, 1.5, 3.0]),
        # Not detached, dv/dh = 1 - s - h g: dv2/dh2 = -1.25 * .75 = -.9375, dv1/dh1 = 1 - .75 * .75 = .4375.
        #   dL/dh2 = 1.5 - 3 * .9375 = -1.3125,  dL/dh1 = .75 - 1.3125 * .4375 = .17578125
        (False, [0.17578125, -1.3125, 3.0]),
    ],
)
def test_gradient_if_hard(detach_reset: bool, expected: list[float]) -> None:
    neuron = IF(surrogate=TRIANGLE, detach_reset=detach_reset)
    assert _input_gradient(neuron, [0.75, 0.5, 0.75], [1, 2, 4]) == expected


@pytest.mark.parametrize(
    ("detach_reset", "expected"),
    [
        # LIF, tau 2, decay_input, soft, h = v/2 + x/2: h1 = .75 (g .75), v1 = .75; h2 = .375 + 1 = 1.375
        # (s 1, g .625), v2 = .375; h3 = .1875 + .5 = .6875 (g .6875).  L = s1 + 2 s2 + 4 s3.
        # dL/dh3 = 4 * .6875 = 2.75, dL/dx3 = 1.375, dL/dv2 = 1.375.
        # Detached, dv/dh = 1: dL/dh2 = 1.25 + 1.375 = 2.625, dL/dv1 = 1.3125, dL/dh1 = .75 + 1.3125 = 2.0625
        (True, [1.03125, 1.3125, 1.375]),
        # Not detached, dv/dh = 1 - g: dL/dh2 = 1.25 + 1.375 * .375 = 1.765625, dL/dv1 = .8828125,
        #   dL/dh1 = .75 + .8828125 * .25 = .970703125
        (False, [0.4853515625, 0.8828125, 1.375]),
    ],
)
def test_gradient_lif_soft(detach_reset: bool, expected: list[float]) -> None:
    neuron = LIF(2.0, v_reset=None, surrogate=TRIANGLE, detach_reset=detach_reset)
    assert _input_gradient(neuron, [1.5, 2.0, 1.0], [1, 2, 4]) == expected


@pytest.mark.parametrize(
    ("detach_reset", "expected"),
    [
        # IF, reset to .5, from .5: h1 = .75 (s 0, g .75), h2 = .75 + .5 = 1.25 (s 1, g .75).  L = s2.
        # Detached dv1/dh1 = 1; else 1 - s + (v_reset - h) g = 1 - .25 * .75 = .8125.  dL/dx1 = .75 dv1/dh1.
        (True, [0.75, 0.75]),
        (False, [0.609375, 0.75]),
    ],
)
def test_gradient_if_reset_potential(detach_reset: bool, expected: list[float]) -> None:
    neuron = IF(v_reset=0.5, surrogate=TRIANGLE, detach_reset=detach_reset)
    assert _input_gradient(neuron, [0.25, 0.5], [0, 1]) == expected


def test_gradient_lif_without_decay_input() -> None:
    # tau 4, h = 3v/4 + x: h1 = .75 (g .75), h2 = .5625 + .25 = .8125 (g .8125).  L = s1 + 2 s2, detached.
    # dL/dx2 = 1.625, dL/dx1 = .75 + 1.625 * .75 = 1.96875
    neuron = LIF(4.0, decay_input=False, surrogate=TRIANGLE)
    assert _input_gradient(neuron, [0.75, 0.25], [1, 2]) == [1.96875, 1.625]


@pytest.mark.parametrize(
    ("detach_reset", "x", "expected"),
    [
        # h = v/4 + x, ds/dh = 1 inside [0, 4]; L = s1 + 2 s2.  h1 = 2.75 (s 3, v -.25), h2 = 1.4375.
        # dL/dh2 = 2, dL/dv1 = .5; detached dv/dh = 1: dL/dx1 = 1 + .5; else dv/dh = 1 - 1 = 0: dL/dx1 = 1
        (True, [2.75, 1.5], [1.5, 2.0]),
        (False, [2.75, 1.5], [1.0, 2.0]),
        # h1 = -1 is outside: ds/dh = 0, dv/dh = 1 either way; h2 = -.25 + 1.5 = 1.25.  dL/dx1 = 0 + .5
        (True, [-1.0, 1.5], [0.5, 2.0]),
        (False, [-1.0, 1.5], [0.5, 2.0]),
        # h1 = 0 and h2 = 4 stand on the borders, which belong to the window
        (True, [0.0, 4.0], [1.5, 2.0]),
        (True, [0.0, 4.25], [1.0, 0.0]),
    ],
)
def test_gradient_integer_lif(detach_reset: bool, x: list[float], expected: list[float]) -> None:
    neuron = IntegerLIF(4, 4 / 3, normalize=False, detach_reset=detach_reset)
    assert _input_gradient(neuron, x, [1, 2]) == pytest.approx(expected, abs=1e-12)


def test_gradient_of_plif_time_constant() -> None:
    # tau 2 is w = 0, sigmoid .5: h = x/2 = .75, g = .75, dh/dw = x * .5 * .5 = .375, ds/dw = .28125
    neuron = PLIF(2.0, surrogate=TRIANGLE)
    neuron(torch.tensor([[1.5]])).sum().backward()
    assert neuron.w.grad.item() == 0.28125


# --- modules: state, step modes ---

NEURONS = {
    "if": lambda **k: IF(**k),
    "lif": lambda **k: LIF(tau=3.0, **k),
    "lif-soft": lambda **k: LIF(tau=3.0, v_reset=None, decay_input=False, **k),
    "lif-reset": lambda **k: LIF(tau=3.0, v_reset=-0.25, **k),
    "plif": lambda **k: PLIF(tau=3.0, **k),
    "ilif": lambda **k: IntegerLIF(**k),
}


@pytest.mark.parametrize("name", NEURONS)
def test_multi_step_is_single_steps_in_a_row(name: str) -> None:
    x = (torch.randn(5, 2, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0)) * 2).requires_grad_()
    multi, single = NEURONS[name](), NEURONS[name](step_mode="s")
    s_multi = multi(x)
    s_single = torch.stack([single(x_t) for x_t in x])
    assert torch.equal(s_multi, s_single)
    assert torch.equal(multi.v, single.v)
    assert 0 < (s_multi > 0).double().mean() < 1
    weights = torch.arange(1.0, 6.0).view(5, 1, 1)
    grads = [torch.autograd.grad((s * weights).sum(), x)[0] for s in (s_multi, s_single)]
    torch.testing.assert_close(grads[0], grads[1])
    assert grads[0].abs().sum() > 0


@pytest.mark.parametrize("name", NEURONS)
def test_state(name: str) -> None:
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(1)) * 1.3
    neuron = NEURONS[name]()
    assert neuron.v is None
    first = neuron(x)
    assert not neuron.v.requires_grad  # kept for inspection, without the graph
    assert torch.equal(first, neuron(x))  # multi-step passes start from rest
    continued = NEURONS[name]()
    both = torch.cat([continued(x[:2]), continued(x[2:], continued.v)])  # or from where one says
    assert torch.equal(first, both)

    neuron.step_mode = "s"
    neuron.reset()
    alone = neuron(x[0])
    carried = neuron.v
    neuron(x[0])
    assert not torch.equal(neuron.v, carried)
    neuron.reset()
    assert torch.equal(alone, neuron(x[0]))
    assert torch.equal(carried, neuron.v)


def test_reset_function_takes_a_bare_neuron_and_a_nest() -> None:
    bare = IF()
    nest = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(LIF(), IntegerLIF()))
    bare(torch.ones(1, 2))
    nest(torch.ones(1, 2))
    reset(bare)
    reset(nest)
    assert bare.v is None
    assert all(m.v is None for m in nest.modules() if isinstance(m, SpikingNeuron))


def test_rest_is_the_reset_potential() -> None:
    neuron = IF(v_reset=-0.5, step_mode="s")
    neuron(torch.zeros(2))
    assert neuron.v.tolist() == [-0.5, -0.5]
    assert LIF(v_reset=None).resting_potential == 0.0


def test_no_timestep_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(0, 2\); T must be at least 1"):
        IF()(torch.zeros(0, 2))


def test_step_mode_is_checked() -> None:
    with pytest.raises(InputError, match="step_mode was 'x'"):
        LIF(step_mode="x")
    with pytest.raises(InputError, match="step_mode was 'multi'"):
        LIF().step_mode = "multi"


@pytest.mark.parametrize("tau", [0.5, 0, -2.0, math.nan, "2"])
def test_bad_tau(tau: object) -> None:
    for neuron in (LIF, PLIF, lambda tau: IntegerLIF(tau=tau)):
        with pytest.raises(InputError, match="tau"):
            neuron(tau)


def test_plif_tau() -> None:
    assert PLIF(5.0).tau.item() == pytest.approx(5.0)
    with pytest.raises(InputError, match="above 1"):
        PLIF(1.0)
    x = torch.rand(6, 50, generator=torch.Generator().manual_seed(2)) * 2
    assert torch.equal(PLIF(2.0)(x), LIF(2.0)(x))


@pytest.mark.parametrize("levels", [0, -1, 2.5])
def test_bad_levels(levels: object) -> None:
    with pytest.raises(InputError, match="levels="):
        IntegerLIF(levels=levels)  # type: ignore[arg-type]


def test_a_neuron_without_step_says_so() -> None:
    with pytest.raises(TypeError, match="SpikingNeuron must define step"):
        SpikingNeuron()(torch.zeros(1, 1))


@pytest.mark.parametrize("name", NEURONS)
def test_repr_shows_the_parameters(name: str) -> None:
    text = repr(NEURONS[name](detach_reset=False))
    assert "step_mode='m'" in text
    assert "detach_reset=False" in text
    assert ("tau=" in text) == (name != "if")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NEURONS)
def test_dtype_is_kept(name: str, dtype: torch.dtype) -> None:
    x = torch.rand(3, 8, generator=torch.Generator().manual_seed(4)).to(dtype).requires_grad_()
    neuron = NEURONS[name]()
    s = neuron(x)
    s.sum().backward()
    assert s.dtype == neuron.v.dtype == x.grad.dtype == dtype
    assert neuron(x[:, 0]).dtype == dtype  # one neuron, a scalar per step


# --- unrolling integer spikes ---


@given(
    levels=st.integers(1, 6),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_unrolled_spikes_are_binary_and_add_up(levels: int, shape: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, levels + 1, shape, generator=generator).double()
    sub_steps = unroll_integer_spikes(counts, levels)
    assert sub_steps.shape == (levels, *shape)
    assert ((sub_steps == 0) | (sub_steps == 1)).all()
    assert torch.equal(sub_steps.sum(0), counts)
    assert (sub_steps.diff(dim=0) <= 0).all()  # the spikes come first

    weight = torch.randint(-9, 10, (5, shape[-1]), generator=generator).double()
    assert torch.equal(F.linear(counts, weight), sum(F.linear(s, weight) for s in sub_steps))


@given(seed=st.integers(0, 2**31), levels=st.integers(1, 5), stride=st.integers(1, 2))
@settings(max_examples=25, deadline=None)
def test_convolution_of_counts_is_the_sum_over_sub_steps(seed: int, levels: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    neuron = IntegerLIF(levels, normalize=True)
    x = torch.randn(3, 2, 4, 5, 5, generator=generator) * levels
    s = neuron(x)
    weight = torch.randint(-9, 10, (6, 4, 3, 3), generator=generator).float()
    whole = F.conv2d(s.flatten(0, 1) * levels, weight, stride=stride, padding=1)
    parts = [F.conv2d(part.flatten(0, 1), weight, stride=stride, padding=1) for part in neuron.unroll(s)]
    torch.testing.assert_close(sum(parts), whole, atol=1e-4, rtol=0)
    assert all(((part == 0) | (part == 1)).all() for part in neuron.unroll(s))


def test_normalised_output_is_the_count_over_levels() -> None:
    x = torch.randn(4, 30, generator=torch.Generator().manual_seed(5)) * 3
    counts, scaled = IntegerLIF(4, normalize=False)(x), IntegerLIF(4)(x)
    assert torch.equal(scaled * 4, counts)
    assert set(counts.unique().tolist()) == {0, 1, 2, 3, 4}
    assert torch.equal(IntegerLIF(4, normalize=False).unroll(counts), IntegerLIF(4).unroll(scaled))
