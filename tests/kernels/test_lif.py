"""Multi-step neurons: every implementation against the reference, bit for bit, and torch.library's promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hardware_models.errors import InputError
from neuro.kernels import native
from neuro.kernels.dispatch import using
from neuro.kernels.lif import IntegerNeuron, Neuron, cpu, integer_multi_step, multi_step, multi_step_packed, reference
from neuro.neurons import IF, LIF, PLIF, FireReset, IntegerLIF, Surrogate, surrogate

needs_compiler = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not())
pytestmark = needs_compiler

SURROGATES = ["sigmoid", "atan", "triangle", "rectangle", "piecewise_quadratic"]
CHARGES: dict[str, dict[str, Any]] = {
    "if": {"leak": False},
    "lif": {"tau": 2.0, "decay_input": True},
    "lif-undecayed": {"tau": 2.0},
    "lif-third": {"tau": 3.0, "decay_input": True},
    "lif-undecayed-third": {"tau": 3.0},
    "lif-forgets": {"tau": 1.0, "decay_input": True},
}
each_charge = pytest.mark.parametrize("charge", CHARGES)
each_reset = pytest.mark.parametrize("v_reset", [0.0, None, -0.25], ids=["zero", "soft", "hard"])
each_detach = pytest.mark.parametrize("detach", [True, False], ids=["detached", "through-reset"])
each_surrogate = pytest.mark.parametrize("name", SURROGATES)
each_half = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])


def _random(*shape: int, seed: int = 0, scale: float = 1.5) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator) * scale + 0.5


def _gradients(
    run: Callable[..., tuple[Tensor, Tensor]], x: Tensor, v: Tensor | None, *also: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Spikes, last potential, and the gradients of x, v and others under a different weight for every spike."""
    leaves = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, v) if t is not None]
    s, v_last = run(*leaves, *([None] if v is None else []))
    weights = torch.linspace(-1, 2, s.numel(), dtype=torch.float32).reshape(s.shape).to(s.dtype)
    return s.detach(), v_last, list(torch.autograd.grad((s * weights).sum(), [*leaves, *also]))


def _assert_close(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-6) -> None:
    """Within `tolerance` of the largest."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()) if b.numel() else 0)


def _check(x: Tensor, v: Tensor | None, p: FireReset, tolerance: float = 1e-6, **charge: Any) -> Tensor:
    """The native kernel against the reference; the spikes."""
    run: Callable[..., tuple[Tensor, Tensor]] = lambda x, v: multi_step(x, v, p, **charge)  # noqa: E731
    with using("reference"):
        expected, v_expected, gradients_expected = _gradients(run, x, v)
    with using("native", strict=True):
        s, v_last, gradients = _gradients(run, x, v)
        with torch.no_grad():
            packed = multi_step_packed(x, v, p, **charge)
    assert torch.equal(s, expected)
    assert torch.equal(v_last, v_expected)
    assert torch.equal(packed, reference.packed(expected))
    assert s.dtype == x.dtype
    _assert_close(gradients, gradients_expected, tolerance)
    return s


# --- values and gradients ---


@each_charge
@each_reset
@each_detach
@each_surrogate
def test_equals_the_reference(charge: str, v_reset: float | None, detach: bool, name: str) -> None:
    p = FireReset(0.75, v_reset, surrogate(name), detach)
    s = _check(_random(5, 3, 217), _random(3, 217, seed=1, scale=0.5), p, **CHARGES[charge])
    assert 0.05 < s.mean() < 0.95


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 9, 16, 32])
@pytest.mark.parametrize("shape", [(1,), (63,), (2, 1025), (3, 5, 7, 7), ()])
def test_timesteps_and_odd_sizes(steps: int, shape: tuple[int, ...]) -> None:
    p = FireReset(surrogate=surrogate("atan"), detach_reset=False)
    _check(_random(steps, *shape), None, p, tau=3.0, decay_input=True, tolerance=4e-6)


def test_many_timesteps() -> None:
    """A block of potentials no longer fits into the cache."""
    _check(_random(300, 130), None, FireReset(), tau=2.0, decay_input=True)


@each_charge
@each_half
def test_half_precision_has_single_precision_potentials(charge: str, dtype: torch.dtype) -> None:
    x = _random(6, 2, 133).to(dtype)
    _check(x, None, FireReset(), tolerance=2e-3 if dtype == torch.float16 else 1e-2, **CHARGES[charge])
    s, v_last = multi_step(x, None, FireReset(), **CHARGES[charge])
    whole = multi_step(x.float(), None, FireReset(), **CHARGES[charge])
    assert torch.equal(s.float(), whole[0])
    assert v_last.dtype == torch.float32
    assert torch.equal(v_last, whole[1])


@each_half
def test_every_half_precision_number_is_read_and_written_right(dtype: torch.dtype) -> None:
    """IF with threshold infinity keeps its input as potential, and the gradient goes through the conversion back."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    x = x[~x.isnan()].unsqueeze(0)
    _, v_last = multi_step(x, None, FireReset(v_threshold=math.inf), leak=False)
    assert torch.equal(v_last, x[0].float())
    numbers = torch.cat([_random(4096, scale=10.0**e) for e in range(-8, 5)]).unsqueeze(0)
    weights = numbers.to(dtype)
    zeros = torch.zeros_like(weights).requires_grad_()
    # The rectangle of height alpha = 1/3 is the same everywhere near the threshold.
    s, _ = multi_step(zeros, None, FireReset(0.0, None, surrogate("rectangle", 1 / 3)), leak=False)
    (gradient,) = torch.autograd.grad(s, zeros, weights)
    assert torch.equal(gradient, (weights.float() * torch.tensor(1 / 3)).to(dtype))


@each_reset
@each_detach
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("tau", [1.7, 2.0])
def test_learned_tau(v_reset: float | None, detach: bool, decay_input: bool, tau: float) -> None:
    p = FireReset(1.0, v_reset, surrogate("atan"), detach)
    x, v, w = _random(5, 3, 700), _random(3, 700, seed=2), torch.tensor(tau, requires_grad=True)
    run: Callable[..., tuple[Tensor, Tensor]] = lambda x, v: multi_step(x, v, p, w, decay_input)  # noqa: E731
    with using("native", strict=True):
        s, v_last, gradients = _gradients(run, x, v, w)
    with using("reference"):
        expected, v_expected, gradients_expected = _gradients(run, x, v, w)
    assert torch.equal(s, expected)
    assert torch.equal(v_last, v_expected)
    # The reference adds ten thousand terms of either sign in single precision.
    _assert_close(gradients[:2], gradients_expected[:2])
    _assert_close(gradients[2:], gradients_expected[2:], 2e-5)


@each_detach
@pytest.mark.parametrize("divisor", [1.0, 4.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_integer_lif(detach: bool, divisor: float, dtype: torch.dtype) -> None:
    x = _random(5, 3, 217, scale=2.0).to(dtype)
    run: Callable[..., tuple[Tensor, Tensor]] = lambda x, v: integer_multi_step(  # noqa: E731
        x, v, 4, 4 / 3, detach, divisor
    )
    with using("native", strict=True):
        s, v_last, gradients = _gradients(run, x, None)
    with using("reference"):
        expected, v_expected, gradients_expected = _gradients(run, x, None)
    assert torch.equal(s, expected)
    assert torch.equal(v_last, v_expected)
    assert len((s * divisor).unique()) >= 5
    _assert_close(gradients, gradients_expected, 1e-6 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("neuron", [IF(), LIF(3.0), PLIF(3.0), LIF(2.0, v_reset=None, decay_input=False), IntegerLIF()])
def test_modules_equal_their_own_steps(neuron: nn.Module) -> None:
    x = _random(4, 2, 65)
    neuron.step_mode = "m"
    s, v = neuron(x), neuron.v
    neuron.reset()
    neuron.step_mode = "s"
    assert torch.equal(torch.stack([neuron(x_t) for x_t in x]), s)
    assert torch.equal(neuron.v, v)
    neuron.step_mode = "m"
    assert torch.equal(neuron(x), s)  # two passes in a row


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=4),
    steps=st.integers(1, 10),
    seed=st.integers(0, 99),
    threads=st.integers(1, 3),
)
def test_any_shape(shape: list[int], steps: int, seed: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # Not the sigmoid: far from the threshold the reference's own 1 - sigmoid(x) has lost its digits.
        p = FireReset(v_reset=None, surrogate=surrogate("atan"))
        _check(_random(steps, *shape, seed=seed), None, p, tau=1.5, tolerance=4e-6)
    finally:
        torch.set_num_threads(before)


def test_threads_do_not_change_a_bit() -> None:
    x, w = _random(4, 40000), torch.tensor(1.7, requires_grad=True)
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(_gradients(lambda x, v: multi_step(x, v, FireReset(), w), x, None, w))
    torch.set_num_threads(before)
    for s, v_last, gradients in found[1:]:
        assert torch.equal(s, found[0][0])
        assert torch.equal(v_last, found[0][1])
        assert all(torch.equal(a, b) for a, b in zip(gradients, found[0][2], strict=True))


@pytest.mark.parametrize("dtype", cpu.DTYPES)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 1023, 5001])
def test_large_results_are_written_past_the_caches(dtype: torch.dtype, size: int) -> None:
    """With the same bits, wherever a timestep begins in its cache line."""
    x = _random(3, size).to(dtype)
    run: Callable[..., tuple[Tensor, Tensor]] = lambda x, v: multi_step(x, v, FireReset(), 2.0, True)  # noqa: E731
    s, v_last, gradients = _gradients(run, x, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "STREAMED_BYTES", 0)
        streamed = _gradients(run, x, None)
    assert torch.equal(streamed[0], s)
    assert torch.equal(streamed[1], v_last)
    assert torch.equal(streamed[2][0], gradients[0])


@each_charge
@each_reset
def test_not_a_number_and_infinity_propagate(charge: str, v_reset: float | None) -> None:
    x = _random(4, 4, 50)
    x[1, 0, ::3], x[0, 1, ::3], x[2, 2, ::3], x[3, 3, ::3], x[3, 3, 1::3] = (
        math.nan, math.inf, -math.inf, math.inf, -math.inf
    )  # fmt: skip
    for detach in (True, False):
        p = FireReset(1.0, v_reset, surrogate("sigmoid"), detach)
        run: Callable[..., tuple[Tensor, Tensor]] = lambda x, v, p=p: multi_step(x, v, p, **CHARGES[charge])  # noqa: E731
        with using("reference"):
            expected = _gradients(run, x, None)
        for implementation in ("native", "fused"):
            with using(implementation, strict=True):
                found = _gradients(run, x, None)
            for a, b in zip([*found[:2], *found[2]], [*expected[:2], *expected[2]], strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6, equal_nan=True)


@each_surrogate
@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0, 25.0])
def test_surrogate_derivative_to_the_last_digits(name: str, alpha: float) -> None:
    """One IF step has the derivative itself as its gradient; double precision says what it should be."""
    x = torch.cat([torch.linspace(-9, 9, 100_001), torch.tensor([0.0, -0.0, 1e-30, 1e30, math.inf])]).unsqueeze(0)
    x.requires_grad_()
    s, _ = multi_step(x, None, FireReset(0.0, None, surrogate(name, alpha)), leak=False)
    (found,) = torch.autograd.grad(s.sum(), x)
    exact = surrogate(name, alpha).derivative(x.detach().double(), alpha)
    inside = exact > 1e-30
    if name == "sigmoid":
        e = torch.exp(-(alpha * x.detach()).double().abs())  # 1 - sigmoid(x) cancels, in double precision too
        exact = alpha * e / (1 + e) ** 2
        inside = exact > 1e-30
    if name == "rectangle":
        assert torch.equal(found, surrogate(name, alpha).derivative(x.detach(), alpha))
    elif name in ("sigmoid", "atan"):
        assert ((found - exact) / exact)[inside].abs().max() < 1e-6
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6 * alpha, check_dtype=False)


# --- layouts ---


def test_channels_last_is_neither_copied_nor_reordered() -> None:
    images = _random(4 * 2, 6, 5, 3).contiguous(memory_format=torch.channels_last)
    x = images.view(4, 2, 6, 5, 3)
    _check(x, None, FireReset(), tau=2.0, decay_input=True)
    s, v_last = multi_step(x, None, FireReset(), 2.0, True)
    assert s.stride() == x.stride()
    assert v_last.stride() == x[0].stride()
    assert multi_step_packed(x, None, FireReset(), 2.0, True).stride()[1:] == x.stride()[1:]
    assert cpu.in_storage_order(x) is x
    # The potential lies in another order than the input.
    _check(x, _random(2, 6, 5, 3), FireReset(), tau=2.0, decay_input=True)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(0, 1),
        lambda x: x[:, ::2],
        lambda x: x[:, :, 1:],
        lambda x: x[::2],
        lambda x: x[:, :1].expand(-1, 4, -1),
        lambda x: x[0].expand(3, -1, -1),
    ],
)
def test_non_contiguous(view: Callable[[Tensor], Tensor]) -> None:
    _check(view(_random(4, 6, 35)), None, FireReset(), tau=2.0, decay_input=True)


def test_potential_is_expanded_and_gets_its_gradient() -> None:
    v = torch.tensor(0.25, requires_grad=True)
    x = _random(3, 50)
    s, _ = multi_step(x, v, FireReset(), 2.0)
    (found,) = torch.autograd.grad(s.sum(), v)
    with using("reference"):
        (expected,) = torch.autograd.grad(multi_step(x, v, FireReset(), 2.0)[0].sum(), v)
    torch.testing.assert_close(found, expected)


def test_empty_batch() -> None:
    s = _check(torch.empty(4, 0, 3), None, FireReset(), tau=2.0)
    assert s.shape == (4, 0, 3)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_no_timestep_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="T at least 1"):
        multi_step(torch.empty(shape), None, FireReset())


def test_a_potential_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"potential of shape \(4,\)"):
        multi_step(torch.empty(2, 3), torch.empty(4), FireReset())


@pytest.mark.slow
def test_more_elements_than_32_bits_count() -> None:
    """2^31 + 2^20 elements in 16 bits: 4 GiB in, packed out; the far end equals the near one."""
    columns = 1 << 20
    x = _random(1, columns).to(torch.bfloat16).expand(2049, columns).reshape(3, 683, columns)
    packed = multi_step_packed(x, None, FireReset(0.25), 2.0, True)
    assert torch.equal(packed[0, -1], packed[0, 0])
    assert 0 < packed[0, 0].count_nonzero() < columns


# --- torch.library ---


def _arguments(x: Tensor, v: Tensor | None, tau: Tensor | None, neuron: Neuron | IntegerNeuron) -> tuple[Any, ...]:
    return (x, v, tau, *neuron.settings(), False)


@pytest.mark.parametrize(
    "neuron", [Neuron(FireReset(), 2.0, True), Neuron(FireReset(v_reset=None), leak=False), IntegerNeuron(4, 2.0)]
)
@pytest.mark.parametrize("with_v", [True, False])
def test_opcheck(neuron: Neuron | IntegerNeuron, with_v: bool) -> None:
    x = _random(3, 2, 5).requires_grad_()
    v = _random(2, 5).requires_grad_() if with_v else None
    torch.library.opcheck(torch.ops.neuro.lif_forward.default, _arguments(x, v, None, neuron))


def test_opcheck_of_a_learned_tau_and_of_packed_spikes() -> None:
    neuron = Neuron(FireReset(), torch.tensor(2.0), True)
    x, tau = _random(3, 2, 5).requires_grad_(), torch.tensor(2.0, requires_grad=True)
    torch.library.opcheck(torch.ops.neuro.lif_forward.default, _arguments(x, None, tau, neuron))
    packed = (*_arguments(x.detach(), None, None, neuron)[:-1], True)
    torch.library.opcheck(torch.ops.neuro.lif_forward.default, packed)


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [LIF(), PLIF(), IntegerLIF(), IF(v_reset=None)]
    return nn.Sequential(*(m for neuron in layers for m in (nn.Linear(8, 8), neuron)))


def test_compiles_without_a_graph_break() -> None:
    net, x = _network(), _random(4, 3, 8)
    expected = net(x)
    expected.sum().backward()
    gradients = [p.grad for p in net.parameters()]
    net.zero_grad()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    s = compiled(x)
    s.sum().backward()
    assert torch.equal(s, expected)
    _assert_close([p.grad for p in net.parameters()], gradients)
    assert torch.equal(compiled(x), expected)


def test_exports() -> None:
    net, x = _network(), _random(4, 3, 8)
    expected = net(x)
    batch = torch.export.Dim("batch", min=2, max=64)
    with pytest.warns(UserWarning, match="assigned during export"):
        program = torch.export.export(net, (x,), dynamic_shapes=({1: batch},))
    calls = [node for node in program.graph.nodes if "lif_forward" in str(node.target)]
    assert len(calls) == 4
    assert torch.equal(program.module()(x), expected)
    assert program.module()(_random(4, 7, 8)).shape == (4, 7, 8)


def test_autocast_keeps_the_fast_path() -> None:
    net, x = nn.Sequential(nn.Linear(64, 64), LIF()), _random(4, 3, 64)
    with using("native", strict=True), torch.autocast("cpu", torch.bfloat16):
        s = net(x)
        expected, _ = multi_step(net[0](x).float(), None, FireReset(), 2.0, True)
    s.sum().backward()
    assert s.dtype == torch.bfloat16
    assert torch.equal(s.float(), expected)
    assert net[0].weight.grad.abs().sum() > 0


def test_nothing_but_the_input_is_kept_for_the_backward_pass() -> None:
    x, kept = _random(4, 50).requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        multi_step(x, None, FireReset(), 2.0, True)
    assert [t.data_ptr() for t in kept if t is not None] == [x.data_ptr()]


def test_packed_spikes_come_without_the_last_potential() -> None:
    neuron = Neuron(FireReset(), 2.0)
    s, v_last = cpu.forward(_random(9, 50), None, None, neuron.settings(), packed=True)
    assert s.shape == (2, 50)
    assert v_last.numel() == 0


def test_the_library_refuses_a_second_derivative() -> None:
    x = _random(2, 3).requires_grad_()
    s, _ = multi_step(x, None, FireReset(), 2.0)
    (gradient,) = torch.autograd.grad(s.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()


# --- who is served by whom ---


def test_others_than_the_kernels_know_fall_back(caplog: pytest.LogCaptureFixture) -> None:
    own = Surrogate("sigmoid", lambda x, alpha: torch.ones_like(x), 1.0)  # a name of ours, not our derivative
    x = _random(3, 20).requires_grad_()
    s, _ = multi_step(x, None, FireReset(surrogate=own), 2.0, True)
    (gradient,) = torch.autograd.grad(s[0].sum(), x)
    assert torch.equal(gradient[0], torch.full((20,), 0.5))
    double = multi_step(x.double(), None, FireReset(), 2.0, True)
    assert double[0].dtype == double[1].dtype == torch.float64
    threshold = torch.tensor(1.0, requires_grad=True)
    s, _ = multi_step(x, None, FireReset(threshold), 2.0, True)
    assert torch.autograd.grad(s.sum(), threshold)[0] != 0
